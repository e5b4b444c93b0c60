"""What was answered and what people said about it, on disk before anybody is told.

`.flywheel/served/` holds a file for each start of a server, only ever added to: a JSON object a line, of kind `answer`
or `feedback`. All lines of a moment share one `fsync` (group commit).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.files import sync_folder

_RECEIPT = re.compile(r"(\d{8}T\d{6}Z-\d+)-[0-9a-f]{16}")


@dataclass(frozen=True)
class ServedFile:
    """The records of one file; `torn` is 1 where a killed server left half a line at its end, which is left out."""

    records: tuple[dict[str, Any], ...]
    torn: int


def read_served(path: Path) -> ServedFile:
    """All that a server wrote. Raises FlywheelError, with the line, for anything else in it."""
    lines = path.read_bytes().split(b"\n")
    # What follows the last line end is nothing, or was cut off with its server.
    return ServedFile(
        tuple(_record(path, number, line) for number, line in enumerate(lines[:-1], 1)), int(lines[-1] != b"")
    )


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if record["kind"] not in ("answer", "feedback"):
            raise ValueError(f"of kind {record['kind']!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FlywheelError(
            f"{path}:{number}: no record of an answer or of feedback ({error}). The file was edited; restore it, or "
            "move it elsewhere."
        ) from error
    return dict(record)


class ServedLog:
    """The writer: one a server. `append` returns once the record survives a power cut."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.path, self._file = _new_file(folder)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._receipts: set[str] = set()

    def new_receipt(self) -> str:
        """It names its file, so that feedback finds it, and cannot be guessed."""
        return f"{self.path.stem}-{secrets.token_hex(8)}"

    async def append(self, record: dict[str, Any]) -> None:
        """Makes a record durable. Raises FlywheelError where the disk cannot take it; no half of it is left then."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_line(record), done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_waiting())
        await done
        if record["kind"] == "answer":
            self._receipts.add(record["id"])

    async def knows(self, receipt: str) -> bool:
        """Whether this server or an earlier one gave an answer under it."""
        found = _RECEIPT.fullmatch(receipt)
        if found is None or receipt in self._receipts:
            return found is not None
        path = self.folder / f"{found[1]}.jsonl"
        return path != self.path and path.is_file() and receipt in await asyncio.to_thread(_receipts_of, path)

    def close(self) -> None:
        os.close(self._file)

    async def _flush_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error = None
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in batch))
            except OSError as full:
                error = full
            for _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(_full(self.path, error))

    def _write(self, data: bytes) -> None:
        """All of `data` or nothing: what a full disk cut short is taken back."""
        before = os.fstat(self._file).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise


def _new_file(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.jsonl"
        with suppress(FileExistsError):  # in a container a server that starts again is the same process number
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_folder(folder)
            return path, file
        time.sleep(0.1)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _full(path: Path, error: OSError) -> FlywheelError:
    return FlywheelError(f"{path}: nothing can be written ({error.strerror}), so no answer is given. Free some space.")


@lru_cache(maxsize=8)
def _receipts_of(path: Path) -> frozenset[str]:
    """Of a file that nobody adds to any more."""
    return frozenset(_answers(path))


def _answers(path: Path) -> Iterator[str]:
    return (record["id"] for record in read_served(path).records if record["kind"] == "answer")
