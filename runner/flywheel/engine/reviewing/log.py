"""What people said, on disk before anybody is told so: `.flywheel/reviews/reviews.log`, a checksummed record a line.

Append-only, and locked while a line is written: pages of several people, and an apply that reads, need not know of each
other. A line that a killed process left half written was never acknowledged; the next one takes its place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import FlywheelError, Tampered
from flywheel.files import checked_line, record_in, sync_folder
from flywheel.records.reviews import Review

if TYPE_CHECKING:
    from filelock import FileLock

    from flywheel.store import Store


def read_reviews(state: Path) -> list[Review]:
    """All of them, in the order in which they were given. Raises Tampered where a line is not as it was written."""
    path = _path(state)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    # The last piece follows the last line end: empty, or a line that is being written, or never was.
    return [_review(path, number, line) for number, line in enumerate(lines[:-1], 1)]


def keep(state: Path, review: Review) -> None:
    """Make a word durable; the same form sent twice is kept once. Raises FlywheelError where the disk is full."""
    path = _path(state)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock(path):
        if any(known.review_id == review.review_id for known in read_reviews(state)):
            return
        try:
            _append(path, checked_line(asdict(review)))
        except OSError as error:
            raise FlywheelError(
                f"{path}: the word could not be kept ({error.strerror}). Free some space and send it again."
            ) from error


def take_in(state: Path, store: Store) -> None:
    """Bring the store up to the log. Safe to repeat: what is here already is left alone."""
    reviews = read_reviews(state)
    known = {row["review_id"] for row in store.query("SELECT review_id FROM reviews")} if reviews else set()
    fresh = [(number, review) for number, review in enumerate(reviews, 1) if review.review_id not in known]
    store.write("reviews", _rows(fresh))


def _rows(reviews: Sequence[tuple[int, Review]]) -> list[dict[str, object]]:
    return [
        {"sequence": number, **asdict(review), "given_at": datetime.fromisoformat(review.given_at)}
        for number, review in reviews
    ]


def _path(state: Path) -> Path:
    return state / "reviews" / "reviews.log"


def _lock(path: Path) -> FileLock:
    from filelock import FileLock  # it imports asyncio

    return FileLock(path.with_suffix(".lock"), thread_local=False)


def _review(path: Path, number: int, line: bytes) -> Review:
    record = record_in(line)
    try:
        if record is not None:
            return Review(**record)
    except TypeError:
        pass
    raise Tampered(
        f"{path}:{number}: this line is not as it was written. Put back a copy of the file, or remove the line "
        "to go on without that word."
    )


def _append(path: Path, line: bytes) -> None:
    """All of the line, synced, or nothing of it."""
    new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = _whole_until(file)
        os.ftruncate(file, end)
        try:
            if os.pwrite(file, line, end) < len(line):
                raise OSError(28, "No space left on device")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, end)
            raise
    finally:
        os.close(file)
    if new:
        sync_folder(path.parent)


def _whole_until(file: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(file).st_size
    return os.pread(file, size, 0).rfind(b"\n") + 1
