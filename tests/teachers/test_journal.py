"""The journal: durable, ordered, honest about damage, and drained without loss."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from desks import chat_desk, request
from stub_server import StubServer

from flywheel.errors import Tampered
from flywheel.records import Reply
from flywheel.teachers import drain, read_journal
from flywheel.teachers.journal import Journal, JournalFull, Sent, request_json, segments


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def reply(key: str, usd: float = 1.0) -> Reply:
    return Reply(key, "gpt", "ok", text=f"text of {key}\n{{{{ }}}} \u2028 \ud800 é", usd=usd)


def sent(flight: str, attempts: int = 1, usd: float = 5.0) -> Sent:
    return Sent(flight, {"key": f"key-{flight}"}, "gpt", attempts, 100, usd)


async def append(journal: Journal, *keys: str, flight: str = "") -> None:
    await asyncio.gather(*(journal.append({"key": key}, reply(key), flight) for key in keys))


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls")
    run(append(journal, "a", "b", "c"))
    journal.close()
    found = list(read_journal(tmp_path / "calls"))
    assert found == [({"key": key}, reply(key)) for key in "abc"]
    (segment,) = segments(tmp_path / "calls")
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "calls").stat().st_mode) == 0o700


def test_a_request_is_kept_whole(tmp_path: Path, server: StubServer) -> None:
    asked = request(3, row={"q": "x"}, failures=({"gold": 1},), mode=None)
    with chat_desk(tmp_path, server.url) as desk:
        desk.ask([asked])
    ((kept, answer),) = read_journal(tmp_path / "calls")
    (attempt,) = kept.pop("attempts")
    assert (attempt["fault"], attempt["tokens"], attempt["usd"]) == ("", 10, 13.0)
    assert kept == request_json(asked, asked.key)
    assert kept["messages"] == [["user", "prompt 3"]]
    assert (kept["key"], answer.key) == (asked.key, asked.key)


def test_a_torn_tail_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run(append(journal, "a", "b"))
    journal.close()
    (segment,) = segments(tmp_path)
    data = segment.read_bytes()
    for cut in range(len(data) // 2 + 10, len(data)):
        segment.write_bytes(data[:cut])
        assert [r.key for _, r in read_journal(tmp_path)] == ["a"]


def test_damage_in_the_middle_stops_with_its_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run(append(journal, "a"))
    run(append(journal, "b"))
    run(append(journal, "c"))
    journal.close()
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[data.index(b"text of b")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(Tampered, match=r"00000001\.journal: record 2 is damaged"):
        list(read_journal(tmp_path))


def test_requests_sent_but_never_answered_are_counted_in_full(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.sent(sent("one"))
    journal.sent(sent("two"))
    journal.sent(sent("two", attempts=2, usd=9.0))
    journal.sent(sent("three"))
    run(append(journal, "a", flight="one"))
    journal.close()
    found = [r for _, r in read_journal(tmp_path)]
    assert [r.key for r in found] == ["a", "key-two", "key-three"]
    assert [(r.fault, r.usd, r.attempts) for r in found[1:]] == [("interrupted", 9.0, 2), ("interrupted", 5.0, 1)]


def test_draining_hands_over_and_deletes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.sent(sent("open"))
    run(append(journal, "a", "b"))
    committed: list[Any] = []
    assert journal.drain(committed.extend) == 2
    # The call in flight has moved on: it is neither lost nor counted yet.
    assert [r.key for _, r in committed] == ["a", "b"]
    run(append(journal, "c", flight="open"))
    journal.close()
    assert [r.key for _, r in read_journal(tmp_path)] == ["c"]
    assert drain(tmp_path, committed.extend) == 1
    assert segments(tmp_path) == []


def test_a_call_in_flight_at_a_drain_and_lost_later_is_counted_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.sent(sent("open"))
    run(append(journal, "a"))
    journal.rotate()
    journal.close()
    assert [r.key for _, r in read_journal(tmp_path)] == ["a", "key-open"]


def test_a_commit_that_fails_deletes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run(append(journal, "a"))

    def refuse(entries: object) -> None:
        raise RuntimeError("the store is gone")

    with pytest.raises(RuntimeError, match="the store is gone"):
        journal.drain(refuse)
    journal.close()
    assert [r.key for _, r in read_journal(tmp_path)] == ["a"]


def test_answers_of_one_moment_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (synced.append(file), sync(file)))
    journal = Journal(tmp_path)
    run(append(journal, *(str(i) for i in range(500))))
    journal.close()
    assert len(list(read_journal(tmp_path))) == 500
    assert len(synced) < 10


def test_a_full_disk_is_an_error_and_leaves_no_torn_record(tmp_path: Path, server: StubServer) -> None:
    """A file size limit of the kernel stands in for the full disk: the same short write, then the same refusal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with chat_desk(tmp_path, server.url, {"concurrency": 4}) as desk:
        desk.ask([request(i) for i in range(4)])
        size = segments(tmp_path / "calls")[0].stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2_000, hard))
        try:
            with pytest.raises(JournalFull, match=r"could not be written .* Free some space"):
                desk.ask([request(i) for i in range(4, 40)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        saved = {r.key for _, r in read_journal(tmp_path / "calls") if r.status == "ok"}
        assert len(saved) >= 4
        replies = desk.ask([request(i) for i in range(40)])
    assert all(r.status == "ok" for r in replies)
    assert {r.key for r in replies if not r.cached}.isdisjoint(saved)
    assert len({r.key for _, r in read_journal(tmp_path / "calls") if r.status == "ok"}) == 40
