"""Paid answers, on disk before anyone uses them.

`.flywheel/calls/` holds append-only segments, a record a line: `crc32 length json`. Two kinds of record
matter: `sent` (a request goes out; its upper bound in tokens and dollars) and `reply` (what became of it). A
request without a reply after a crash may have been paid: reading gives it as a failed reply, fault
"interrupted", at its upper bound. All replies of a moment share one `fdatasync` (group commit). Once the
store has them, their segment is deleted.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, StoreError, Tampered
from flywheel.files import checked_line, record_in, sync_folder
from flywheel.records import LessonRequest, Reply
from flywheel.teachers.bill import plausible

Entry = tuple[dict[str, Any], Reply]
"""A request as JSON values (of an interrupted one its key, teacher, purpose and mode alone) and its reply."""


#: Replies that are read back, and on their way into the store, at a time.
ENTRIES_AT_A_TIME = 1_000


class JournalFull(StoreError):
    """An answer could not be written; it is not used either, and is asked for again."""


@dataclass(frozen=True)
class Sent:
    """A request on its way: `flight` is one asking of it, `attempts` how often it was sent, this time included.

    `usd` and `tokens` are what earlier attempts cost plus the upper bound of this one.
    """

    flight: str
    request: dict[str, Any]
    teacher: str
    attempts: int
    tokens: int
    usd: float


def request_json(request: LessonRequest, key: str) -> dict[str, Any]:
    """The request as JSON values, with its key; what came later is left out where it is not used."""
    later = {"schema": request.schema, "temperature": request.temperature, "item": request.item}
    return {
        "key": key,
        "teacher": request.teacher,
        "purpose": request.purpose,
        "task": request.task,
        "mode": request.mode,
        "mode_description": request.mode_description,
        "n": request.n,
        "failures": list(request.failures),
        "seeds": list(request.seeds),
        "row": request.row,
        "messages": [[m.role, m.content] for m in request.messages],
        "parameters": request.parameters,
        "sample": request.sample,
        "seed": request.seed,
        **{name: value for name, value in later.items() if value is not None},
    }


class Journal:
    """The writer: one a process. `append` returns once the record survives a power cut."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = threading.Lock()
        self._waiting: list[tuple[bytes, str, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._open: dict[str, Sent] = {}
        self._number = max((int(p.stem) for p in segments(folder)), default=0)
        self._file = -1

    def sent(self, record: Sent) -> None:
        """Notes an attempt before it goes out. Written, not synced: it outlives the process, not a power cut."""
        with self._lock:
            self._open[record.flight] = record
            self._write(checked_line(_sent_json(record)))

    async def append(self, request: dict[str, Any], reply: Reply, flight: str = "") -> None:
        """Makes an answer durable. Raises `JournalFull` when the disk cannot take it."""
        record = {"kind": "reply", "flight": flight, "request": request, "reply": _reply_json(reply)}
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((checked_line(record), flight, done))
        if self._flush is None or self._flush.done():
            self._flush = loop.create_task(self._flush_waiting())
        await done

    async def flushed(self) -> None:
        """Returns when nothing waits for the disk."""
        if self._flush is not None:
            await asyncio.wait({self._flush})

    async def _flush_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write_synced, batch)
                error = None
            except FlywheelError as full:
                error = full
            for _, _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)

    def _write_synced(self, batch: list[tuple[bytes, str, asyncio.Future[None]]]) -> None:
        with self._lock:
            self._write(b"".join(line for line, _, _ in batch))
            for _, flight, _ in batch:
                self._open.pop(flight, None)
            # Synced outside the lock: the descriptor may be closed by a rotation meanwhile.
            file = os.dup(self._file)
        try:
            os.fdatasync(file)
        except OSError as error:
            raise _full(self.folder, error) from error
        finally:
            os.close(file)

    def _write(self, data: bytes) -> None:
        """All of `data` or nothing: what a full disk cut short is taken back."""
        self._start()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            os.ftruncate(self._file, os.fstat(self._file).st_size - (len(data) - len(view)))
            raise _full(self.folder, error) from error

    def _start(self) -> None:
        if self._file >= 0:
            return
        self._number += 1
        path = self.folder / f"{self._number:08d}.journal"
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_folder(self.folder)
        except OSError as error:
            raise _full(self.folder, error) from error

    def rotate(self) -> list[Path]:
        """Starts a new segment; returns the closed ones, complete in themselves.

        Attempts on their way move to the new segment first, so that a crash in between counts none of them
        twice.
        """
        with self._lock:
            if self._file >= 0:
                old, self._file = self._file, -1
                for record in self._open.values():
                    self._write(checked_line(_sent_json(record)))
                for flight in self._open:
                    os.write(old, checked_line({"kind": "moved", "flight": flight}))
                os.fdatasync(old)
                os.close(old)
            current = self._number if self._file >= 0 else -1
            return [p for p in segments(self.folder) if int(p.stem) != current]

    def drain(self, commit: Callable[[list[Entry]], None]) -> int:
        """Hands all replies of closed segments to `commit`, some at a time, then deletes the segments. Returns how
        many.

        `commit` returns only when the store has them for good; when it raises, nothing is deleted.
        """
        return _drain(self.rotate(), commit)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def segments(folder: Path) -> list[Path]:
    """Segment files, oldest first."""
    return sorted(folder.glob("*.journal"))


def read_journal(folder: Path) -> Iterator[Entry]:
    """Every reply in `folder`, oldest first, then attempts that were never answered (fault "interrupted").

    A torn last record is left out. Raises `Tampered` for a record that is broken in the middle, with its
    place.
    """
    yield from _entries(segments(folder))


def drain(folder: Path, commit: Callable[[list[Entry]], None]) -> int:
    """`Journal.drain` for what an earlier process left behind; no desk may be open on `folder`."""
    return _drain(segments(folder), commit)


def forget(segment: Path) -> None:
    """Deletes a segment whose replies the store has committed."""
    segment.unlink(missing_ok=True)
    sync_folder(segment.parent)


def _drain(paths: list[Path], commit: Callable[[list[Entry]], None]) -> int:
    entries, count = _entries(paths), 0
    while block := list(islice(entries, ENTRIES_AT_A_TIME)):
        commit(block)
        count += len(block)
    for path in paths:
        forget(path)
    return count


def _entries(paths: list[Path]) -> Iterator[Entry]:
    waiting: dict[str, dict[str, Any]] = {}
    for path in paths:
        for record in _records(path):
            flight = record.get("flight", "")
            if record["kind"] == "sent":
                waiting[flight] = record
                continue
            sent = waiting.pop(flight, None)
            if record["kind"] == "reply":
                yield _believable(record["request"], Reply(**record["reply"]), sent)
    for record in waiting.values():
        yield record["request"], _interrupted(record)


def _believable(request: dict[str, Any], reply: Reply, sent: dict[str, Any] | None) -> Entry:
    """The entry with a cost that a store can hold: an earlier version wrote down whatever a server said. In its place
    stands the upper bound under which the call was sent."""
    if plausible(reply.input_tokens, 0) and plausible(reply.output_tokens, reply.usd):
        return request, reply
    known = sent is not None and plausible(sent["tokens"], sent["usd"])
    tokens, usd = (sent["tokens"], sent["usd"]) if sent is not None and known else (0, 0.0)
    detail = "; ".join(filter(None, [reply.detail, "its cost was beyond belief; counted as its upper bound"]))
    attempts = [one for one in request.get("attempts", ()) if plausible(one["tokens"], one["usd"])]
    cheaper = replace(reply, input_tokens=tokens, output_tokens=0, usd=float(usd), detail=detail)
    return {**request, "attempts": attempts}, cheaper


def _interrupted(record: dict[str, Any]) -> Reply:
    detail = "sent, but the process ended before the answer came; counted as paid in full"
    # What earlier attempts cost is part of it, and was the server's word.
    tokens, usd = (record["tokens"], record["usd"]) if plausible(record["tokens"], record["usd"]) else (0, 0.0)
    return Reply(
        key=record["request"]["key"],
        teacher=record["teacher"],
        status="failed",
        fault="interrupted",
        detail=detail,
        output_tokens=tokens,
        usd=usd,
        attempts=record["attempts"],
    )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        yield from _read(path, lines)


def _read(path: Path, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    waiting = iter(lines)
    for number, line in enumerate(waiting, 1):
        if not line.endswith(b"\n"):  # the torn tail of a write that was cut off
            return
        record = record_in(line[:-1])
        if record is None:
            if any(later.strip(b"\n") for later in waiting):
                raise Tampered(
                    f"{path.name}: record {number} is damaged. Move the file out of {path.parent.name}/ to go on "
                    "without its answers (they will be asked for again)."
                )
            return
        yield record


def _sent_json(record: Sent) -> dict[str, Any]:
    return {"kind": "sent", **vars(record)}


def _reply_json(reply: Reply) -> dict[str, Any]:
    return {k: v for k, v in vars(reply).items() if k != "cached"}


def _full(folder: Path, error: OSError) -> JournalFull:
    return JournalFull(
        f"{folder}: an answer could not be written ({error.strerror}). Free some space, then run "
        "`flywheel apply` again: answers written so far are kept."
    )
