"""How calls are paced: limits a minute, `Retry-After`, adaptive concurrency, the circuit breaker."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from desks import chat_desk, request
from stub_server import Behaviour, Hit, StubServer, answers, completion, cut_short, raw, reset, status

from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.journal import read_journal
from flywheel.teachers.pace import WINDOW_SECONDS, Pace, Windows


class Capacity:
    """A behaviour: at most `most` calls at a time, 429 for the rest."""

    def __init__(self, most: int, delay: float = 0.02) -> None:
        self.most = most
        self.delay = delay
        self.busy = 0
        self.refused = 0
        self.used: list[int] = []

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        if self.busy >= self.most:
            self.refused += 1
            return await status(429)(hit)
        self.busy += 1
        self.used.append(self.busy)
        try:
            await asyncio.sleep(self.delay)
            return web.json_response(completion("ok"))
        finally:
            self.busy -= 1


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"Retry-After-Ms": "400"}])
@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
def test_nothing_is_sent_before_retry_after(
    tmp_path: Path, server: StubServer, headers: dict[str, str], model: str
) -> None:
    with chat_desk(tmp_path, server.url, {"model": model, "concurrency": 1, "timeout_seconds": 60.0}) as desk:
        desk.ask([request(99)])
        server.enqueue(status(429, headers=headers))
        replies = desk.ask([request(i) for i in range(5)])
    assert all(reply.status == "ok" for reply in replies)
    pause = 1.0 if "Retry-After" in headers else 0.4
    assert pause <= server.times()[2] - server.times()[1] < pause + 0.6


async def for_two_seconds(hit: Hit) -> web.StreamResponse:
    """429 until a date, which has whole seconds."""
    return await status(429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})(hit)


def test_nothing_is_sent_before_a_date(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(for_two_seconds)
    with chat_desk(tmp_path, server.url, {"concurrency": 1}) as desk:
        desk.ask([request(i) for i in range(3)])
    assert 0.95 <= server.times()[1] - server.times()[0] < 2.6


def most_in_a_window(times: list[float], amounts: list[int], seconds: float) -> int:
    """The most that any window of so many seconds holds; one that begins at a call holds the most."""
    inside = ([a for t, a in zip(times, amounts, strict=True) if start <= t < start + seconds] for start in times)
    return max(sum(found) for found in inside)


@pytest.mark.parametrize(("rpm", "tpm"), [(60, None), (None, 9_000), (60, 9_000)])
def test_no_minute_holds_more_than_the_limit(rpm: int | None, tpm: int | None) -> None:
    """A clock of our own: 600 calls that are all there at once, sent up to 20 s after they were let in."""
    chance = random.Random(3)
    windows, now = Windows(rpm, tpm), 0.0
    sent: list[tuple[float, int]] = []
    for _ in range(600):
        bound = chance.randint(100, 400)
        while (wait := windows.wait(bound, now)) > 0:
            now += wait
        place = windows.hold(bound)
        now += chance.choice([0.0, 0.0, 0.0, 20.0])
        windows.send(place, now)
        used = chance.randint(50, bound)
        windows.settle(place, used)
        sent.append((now, used))
    times, tokens = [at for at, _ in sent], [used for _, used in sent]
    assert rpm is None or most_in_a_window(times, [1] * 600, 60.0) <= rpm
    assert tpm is None or most_in_a_window(times, tokens, 60.0) <= tpm


def test_the_limit_itself_is_used() -> None:
    windows, now, sent = Windows(60, None), 0.0, 0
    while now < 600:
        while windows.wait(1, now) == 0:
            windows.send(windows.hold(1), now)
            sent += 1
        now += windows.wait(1, now)
    assert sent == 60 * 10


def test_tokens_that_were_not_used_make_room() -> None:
    windows = Windows(None, 1_000)
    place = windows.hold(900)
    windows.send(place, 0.0)
    assert windows.wait(200, 1.0) == WINDOW_SECONDS - 1.0
    windows.settle(place, 300)
    assert windows.wait(200, 1.0) == 0.0


def test_a_call_whose_bound_is_over_the_limit_goes_alone() -> None:
    windows = Windows(None, 1_000)
    assert windows.wait(5_000, 0.0) == 0.0
    place = windows.hold(5_000)
    windows.send(place, 0.0)
    assert windows.wait(1, 1.0) == WINDOW_SECONDS - 1.0
    assert windows.wait(1, WINDOW_SECONDS) == 0.0
    # What ends after its minute is over is forgotten already.
    windows.settle(place, 10)
    assert windows.wait(1_000, WINDOW_SECONDS) == 0.0


def test_a_call_that_was_never_sent_does_not_count() -> None:
    windows = Windows(1, None)
    windows.drop(windows.hold(0))
    assert windows.wait(0, 0.0) == 0.0


def test_requests_a_minute(tmp_path: Path, server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a minute of half a second; attempts that fail are requests, too."""
    monkeypatch.setattr("flywheel.teachers.pace.WINDOW_SECONDS", 0.5)
    server.enqueue(answers(), status(500), status(500))
    with chat_desk(tmp_path, server.url, {"rpm": 10, "concurrency": 32}) as desk:
        replies = desk.ask([request(i) for i in range(28)])
    assert {reply.status for reply in replies} == {"ok"}
    assert len(server.hits) == 30
    assert most_in_a_window(server.times(), [1] * 30, 0.45) <= 10
    assert server.times()[-1] - server.times()[0] < 2.0


def test_tokens_a_minute(tmp_path: Path, server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may use 336 tokens and uses 10: two at once, and more when they are settled."""
    monkeypatch.setattr("flywheel.teachers.pace.WINDOW_SECONDS", 0.5)
    server.usual = answers("ok", delay=0.02)
    with chat_desk(tmp_path, server.url, {"tpm": 700, "concurrency": 32}) as desk:
        replies = desk.ask([request(i) for i in range(60)])
    assert {reply.status for reply in replies} == {"ok"}
    assert server.most_in_flight == 2
    assert most_in_a_window(server.times(), [10] * 60, 0.45) <= 700


def test_a_wait_of_hours_makes_the_teacher_unavailable(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(status(429, headers={"Retry-After": "7200"}))
    with chat_desk(tmp_path, server.url, {"concurrency": 1}) as desk:
        replies = desk.ask([request(i) for i in range(3)])
    assert {reply.fault for reply in replies} == {"unavailable"}
    assert "7,200 s" in replies[1].detail
    assert len(server.hits) == 1


@pytest.mark.slow
def test_concurrency_finds_the_servers_capacity(tmp_path: Path, server: StubServer) -> None:
    capacity = Capacity(10)
    server.usual = capacity
    with chat_desk(tmp_path, server.url, {"concurrency": 64, "max_retries": 10}) as desk:
        desk.ask([request(i) for i in range(100)])
        warm_up, served = capacity.refused, len(capacity.used)
        replies = desk.ask([request(i) for i in range(100, 700)])
    assert all(reply.status == "ok" for reply in replies)
    assert (capacity.refused - warm_up) / 600 < 0.1
    assert statistics.mean(capacity.used[served:]) > 4


def test_concurrency_comes_back_after_the_worst() -> None:
    """From one call at a time; a limit between two whole numbers must not hold it there."""

    async def call(pace: Pace, fault: TeacherFault | None = None) -> None:
        place = await pace.enter()
        pace.send(place)
        await asyncio.sleep(0)
        pace.leave(place, fault, 0)

    async def main() -> None:
        pace = Pace(32, 16)
        for _ in range(6):
            await call(pace, TeacherFault("rate_limit"))
        assert pace.limit == 1
        await asyncio.gather(*(call(pace) for _ in range(400)))
        assert pace.limit == 32

    asyncio.run(main())


def test_declared_concurrency_is_never_passed(tmp_path: Path, server: StubServer) -> None:
    server.usual = answers("ok", delay=0.01)
    with chat_desk(tmp_path, server.url, {"concurrency": 5}) as desk:
        desk.ask([request(i) for i in range(100)])
    assert server.most_in_flight == 5


def test_the_breaker_lets_a_dead_teacher_rest(tmp_path: Path, server: StubServer) -> None:
    server.usual = status(500)
    with chat_desk(tmp_path, server.url, {"concurrency": 4}) as desk:
        replies = desk.ask([request(i) for i in range(200)])
    assert {reply.fault for reply in replies} <= {"server", "unavailable"}
    assert replies[-1].fault == "unavailable"
    assert "failures in a row" in replies[-1].detail
    assert len(server.hits) < 30


def test_the_breaker_closes_after_a_good_probe(tmp_path: Path, server: StubServer) -> None:
    bad: list[Behaviour] = [status(500)] * 9
    server.enqueue(*bad)
    with chat_desk(tmp_path, server.url, {"concurrency": 4, "max_retries": 6}) as desk:
        replies = desk.ask([request(i) for i in range(50)])
    assert all(reply.status == "ok" for reply in replies)
    assert len(server.hits) == 59


def test_every_call_to_a_faulty_server_is_accounted_for(tmp_path: Path, server: StubServer) -> None:
    faults = [status(429, headers={"Retry-After": "0"}), status(500), reset, cut_short, raw(b"<html>", "text/html")]
    script: list[Behaviour] = []
    for i in range(200):
        script += [faults[i % len(faults)], answers(), answers()]
    server.enqueue(*script)
    with chat_desk(tmp_path, server.url, {"concurrency": 32, "max_retries": 8}) as desk:
        replies = desk.ask([request(i) for i in range(400)])
    assert [r.text for r in replies] == [f"re: prompt {i}" for i in range(400)]
    # Were a connection lost before its request was read, the caller would count it, and the server never have seen it.
    unseen = sum(r.attempts for r in replies) - len(server.hits)
    attempts = [attempt for kept, _ in read_journal(tmp_path / "calls") for attempt in kept["attempts"]]
    faults_of = Counter(attempt["fault"] for attempt in attempts)
    lost = faults_of.pop("connection") + faults_of.pop("timeout", 0)
    assert (faults_of, lost) == ({"": 400, "rate_limit": 40, "server": 40, "malformed": 40}, 80 + unseen)
    assert len(server.hits) == 600
