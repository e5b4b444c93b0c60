"""The desk itself: order, cache, sharing, progress, stopping, a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from desks import chat_desk, request
from stub_server import StubServer, answers, hang

from flywheel.errors import FlywheelError, UsageError
from flywheel.records import Reply
from flywheel.teachers import Desk, DeskStopped, is_final, read_journal


def test_replies_come_in_the_order_of_requests(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[answers(delay=0.01 * (i % 7)) for i in range(700)])
    with chat_desk(tmp_path, server.url, {"concurrency": 64}) as desk:
        replies = desk.ask([request(i) for i in range(600)])
    assert [r.text for r in replies] == [f"re: prompt {i}" for i in range(600)]
    assert {r.key for r in replies} == {request(i).key for i in range(600)}


def test_one_key_is_asked_once(tmp_path: Path, server: StubServer) -> None:
    server.usual = answers(delay=0.05)
    results: list[list[Reply]] = []
    with chat_desk(tmp_path, server.url) as desk:
        ask = [threading.Thread(target=lambda: results.append(desk.ask([request(1), request(1)]))) for _ in range(4)]
        for thread in ask:
            thread.start()
        for thread in ask:
            thread.join()
        later = desk.ask([request(1)])
    assert len(server.hits) == 1
    assert {r.text for replies in results for r in replies} == {"re: prompt 1"}
    assert sum(not r.cached for replies in results for r in replies) == 1
    assert later[0].cached
    assert len(list(read_journal(tmp_path / "calls"))) == 1


def test_samples_of_one_prompt_are_different_calls(tmp_path: Path, server: StubServer) -> None:
    same = request(0).messages
    with chat_desk(tmp_path, server.url) as desk:
        desk.ask([request(i, messages=same) for i in range(5)])
    assert len(server.hits) == 5


def test_what_the_store_knows_is_not_asked(tmp_path: Path, server: StubServer) -> None:
    stored = {request(1).key: Reply(request(1).key, "gpt", "ok", "from the store", usd=1.0)}
    stored |= {request(2).key: Reply(request(2).key, "gpt", "failed", fault="timeout")}
    stored |= {request(3).key: Reply(request(3).key, "gpt", "failed", fault="content_filter")}

    def known(keys: Sequence[str]) -> Mapping[str, Reply]:
        return {key: stored[key] for key in keys if key in stored}

    with chat_desk(tmp_path, server.url, known=known) as desk:
        one, two, three, four = desk.ask([request(i) for i in (1, 2, 3, 4)])
        assert desk.spent()["gpt"].calls == 2
    assert (one.text, one.cached) == ("from the store", True)
    # A fault that passes is asked again; one that the model itself gave would only be paid again.
    assert (two.text, two.cached) == ("re: prompt 2", False)
    assert (three.fault, three.cached) == ("content_filter", True)
    assert not four.cached
    assert is_final(three)
    assert not is_final(stored[request(2).key])


def test_drained_answers_are_the_stores_from_then_on(tmp_path: Path, server: StubServer) -> None:
    store: dict[str, Reply] = {}

    def commit(entries: list[tuple[dict[str, Any], Reply]]) -> None:
        store.update({reply.key: reply for _, reply in entries})

    with chat_desk(tmp_path, server.url, known=lambda keys: {k: store[k] for k in keys if k in store}) as desk:
        desk.ask([request(i) for i in range(5)])
        assert desk.drain(commit) == 5
        assert desk.drain(commit) == 0
        assert all(r.cached for r in desk.ask([request(i) for i in range(5)]))
        desk.ask([request(5)])
    assert len(server.hits) == 6
    assert len(list(read_journal(tmp_path / "calls"))) == 1


def test_progress(tmp_path: Path, server: StubServer) -> None:
    events: list[dict[str, Any]] = []
    with chat_desk(tmp_path, server.url, on_event=events.append) as desk:
        desk.ask([request(i) for i in range(10)])
        desk.ask([request(i) for i in range(11)])
    last = events[-1]
    assert last["event"] == "calls"
    assert (last["teacher"], last["asked"], last["done"], last["cached"]) == ("gpt", 21, 11, 10)
    assert (last["usd"], last["tokens"], last["rate_limited"]) == (11 * 13.0, 110, 0)
    json.dumps(events)


def test_an_unknown_teacher_is_named(tmp_path: Path, server: StubServer) -> None:
    with chat_desk(tmp_path, server.url) as desk, pytest.raises(UsageError, match='no teacher "gtp"'):
        desk.ask([request(teacher="gtp")])


def test_stopping_saves_what_comes_in_time_and_lets_everybody_go(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[answers(delay=0.3)] * 4)
    server.usual = hang
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            desk.ask([request(i) for i in range(100)])
        except FlywheelError as error:
            raised.append(error)

    desk = chat_desk(tmp_path, server.url, {"concurrency": 8, "timeout_seconds": 60.0})
    thread = threading.Thread(target=ask)
    thread.start()
    while len(server.hits) < 8:
        time.sleep(0.01)
    started = time.monotonic()
    desk.stop(grace_seconds=1.0)
    thread.join(5)
    assert time.monotonic() - started < 30
    assert [type(error) for error in raised] == [DeskStopped]
    assert len(server.hits) == 8
    found = [reply for _, reply in read_journal(tmp_path / "calls")]
    assert Counter(reply.fault for reply in found) == {"": 4, "interrupted": 4}
    with pytest.raises(DeskStopped):
        desk.ask([request(0)])
    desk.stop()


def test_an_error_of_the_progress_callback_is_not_swallowed(tmp_path: Path, server: StubServer) -> None:
    def fail(event: dict[str, Any]) -> None:
        raise ZeroDivisionError("in the callback")

    with chat_desk(tmp_path, server.url, on_event=fail) as desk, pytest.raises(ZeroDivisionError):
        desk.ask([request(0)])


CALLS = 400
IN_FLIGHT = 16


def child(folder: Path, url: str, max_usd: float) -> subprocess.Popen[bytes]:
    source = "import sys, killed_desk; killed_desk.main(*sys.argv[1:])"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", source, str(folder), url, str(CALLS), str(IN_FLIGHT), str(max_usd)],
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.slow
def test_kill_9_repeats_no_answer_and_overspends_nothing(tmp_path: Path, server: StubServer) -> None:
    """Ten kills at random moments; the server's own log is what is believed."""
    server.usual = answers(delay=0.05)
    chance = random.Random(5)
    kills = 0
    while kills < 10:
        before = len(server.hits)
        process = child(tmp_path, server.url, 1e9)
        wait_for(lambda before=before: len(server.hits) > before + chance.randint(1, 20), process)
        if process.poll() is not None:
            break
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert child(tmp_path, server.url, 1e9).wait() == 0
    seen = Counter(hit.prompt for hit in server.hits)
    assert kills >= 5
    assert len(seen) == CALLS
    replies = [reply for _, reply in read_journal(tmp_path / "calls")]
    # In flight at a kill: more than the calls at a time, for an answer that waits for the disk has given up its place.
    interrupted = sum(reply.fault == "interrupted" for reply in replies)
    assert sum(count - 1 for count in seen.values()) <= interrupted
    answered = [reply for reply in replies if reply.status == "ok"]
    assert len({reply.key for reply in answered}) == len(answered) == CALLS


@pytest.mark.slow
def test_a_limit_holds_over_kills(tmp_path: Path, server: StubServer) -> None:
    """Each call bills $13; whatever was in flight at a kill is counted at its bound ($338)."""
    server.usual = answers(delay=0.05)
    cap, code, kills = 40_000.0, 0, 0
    while code != 5 and kills < 20:
        before = len(server.hits)
        process = child(tmp_path, server.url, cap)
        wait_for(lambda before=before: len(server.hits) > before + 10, process)
        process.send_signal(signal.SIGKILL) if kills < 4 else None
        code = process.wait()
        kills += 1
        assert 13.0 * len(server.hits) <= cap
        assert sum(reply.usd for _, reply in read_journal(tmp_path / "calls")) <= cap
        if code == 0:
            break
    assert kills > 4
    assert code in (0, 5)


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.005)


def test_a_desk_needs_its_student(tmp_path: Path) -> None:
    from flywheel.spec.teachers import StudentTeacher

    with pytest.raises(UsageError, match='"me" is the student, and no student is loaded'):
        Desk({"me": StudentTeacher(kind="student")}, tmp_path, tmp_path / "calls")
