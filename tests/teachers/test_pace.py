"""How calls are paced: `Retry-After`, adaptive concurrency, the circuit breaker."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web
from desks import chat_desk, request
from stub_server import Behaviour, Hit, StubServer, answers, completion, cut_short, raw, reset, status


class Capacity:
    """A behaviour: at most `most` calls at a time, 429 for the rest."""

    def __init__(self, most: int, delay: float = 0.02) -> None:
        self.most = most
        self.delay = delay
        self.busy = 0
        self.refused = 0

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        if self.busy >= self.most:
            self.refused += 1
            return await status(429)(hit)
        self.busy += 1
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


def test_a_wait_of_hours_makes_the_teacher_unavailable(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(status(429, headers={"Retry-After": "7200"}))
    with chat_desk(tmp_path, server.url, {"concurrency": 1}) as desk:
        replies = desk.ask([request(i) for i in range(3)])
    assert {reply.fault for reply in replies} == {"unavailable"}
    assert "7,200 s" in replies[1].detail
    assert len(server.hits) == 1


def test_concurrency_finds_the_servers_capacity(tmp_path: Path, server: StubServer) -> None:
    capacity = Capacity(10)
    server.usual = capacity
    with chat_desk(tmp_path, server.url, {"concurrency": 64, "max_retries": 10}) as desk:
        desk.ask([request(i) for i in range(100)])
        warm_up = capacity.refused
        started = time.monotonic()
        replies = desk.ask([request(i) for i in range(100, 700)])
        seconds = time.monotonic() - started
    assert all(reply.status == "ok" for reply in replies)
    assert (capacity.refused - warm_up) / 600 < 0.1
    # Ten at a time would need 600 / 10 x 0.02 s = 1.2 s.
    assert seconds < 4.0


def test_declared_concurrency_is_never_passed(tmp_path: Path, server: StubServer) -> None:
    server.usual = answers("ok", delay=0.01)
    with chat_desk(tmp_path, server.url, {"concurrency": 5}) as desk:
        desk.ask([request(i) for i in range(100)])
    assert server.most_in_flight == 5


def test_the_breaker_lets_a_dead_teacher_rest(tmp_path: Path, server: StubServer) -> None:
    server.usual = status(500)
    started = time.monotonic()
    with chat_desk(tmp_path, server.url, {"concurrency": 4}) as desk:
        replies = desk.ask([request(i) for i in range(200)])
    assert {reply.fault for reply in replies} <= {"server", "unavailable"}
    assert replies[-1].fault == "unavailable"
    assert "failures in a row" in replies[-1].detail
    assert len(server.hits) < 30
    assert time.monotonic() - started < 3.0


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
    assert sum(r.attempts for r in replies) == len(server.hits) == 600
