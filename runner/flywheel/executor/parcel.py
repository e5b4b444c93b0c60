"""The project's files on another machine: packed once, unpacked under the digest of what they hold, and compared."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from flywheel.executor.faults import WorkerError
from flywheel.hashing import fingerprint, hash_file

#: More is a model or a data set that no verifier reads.
LIMIT_BYTES = 256 << 20
_ROOT = "the project's folder"


@dataclass(frozen=True)
class Parcel:
    """A project as it was when the run began. `hashes`: file, relative to the project → digest of its content."""

    archive: bytes
    hashes: dict[str, str]

    @property
    def digest(self) -> str:
        return fingerprint(self.hashes)


def pack(root: Path, leave_out: Collection[str]) -> Parcel:
    """All files of the project but hidden ones, caches of Python and the folders `leave_out` (relative to it). Raises
    WorkerError where they are more than LIMIT_BYTES."""
    files = list(_files(root, {(root / name).resolve() for name in leave_out}))
    size = sum(file.stat().st_size for file in files)
    if size > LIMIT_BYTES:
        largest = max(files, key=lambda file: file.stat().st_size)
        raise WorkerError(
            f"{root}: {size >> 20:,} MiB are too many to send to a cluster, which takes {LIMIT_BYTES >> 20}. The "
            f"largest file is {largest.relative_to(root)}: move what no verifier reads out of the project, or use "
            "`executor: {kind: local}`."
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for file in files:
            archive.add(file, str(file.relative_to(root)))
    return Parcel(buffer.getvalue(), {str(file.relative_to(root)): hash_file(file) for file in files})


def _files(root: Path, left_out: Collection[Path]) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        here = Path(folder)
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".") and name != "__pycache__" and (here / name).resolve() not in left_out
        )
        yield from (here / name for name in sorted(names) if not name.startswith(".") and (here / name).is_file())


def unpack(parcel: Parcel) -> Path:
    """The folder on this machine that holds the parcel's files, as they were packed. Whoever comes later uses it, too.

    Raises WorkerError where a file in it is another by now.
    """
    place = Path(tempfile.gettempdir()) / f"flywheel-{os.getuid()}" / parcel.digest[:32]
    place.parent.mkdir(mode=0o700, exist_ok=True)
    if place.parent.stat().st_uid != os.getuid():
        raise WorkerError(f"{place.parent} belongs to somebody else; remove it.")
    if not place.exists():
        _move_in(parcel, place)
    changed = [name for name, digest in parcel.hashes.items() if _digest(place / name) != digest]
    if changed:
        raise WorkerError(
            f"{place / changed[0]} is not the project's {changed[0]} any more: something on that machine changed it. "
            f"Remove {place} there and run `flywheel apply` again."
        )
    return place


def _move_in(parcel: Parcel, place: Path) -> None:
    """Beside it first, so that nobody sees a half of it; who comes second leaves the first's."""
    beside = Path(tempfile.mkdtemp(dir=place.parent))
    with tarfile.open(fileobj=io.BytesIO(parcel.archive)) as archive:
        archive.extractall(beside, filter="data")
    try:
        beside.rename(place)
    except OSError:
        rmtree(beside)


def _digest(file: Path) -> str:
    return hash_file(file) if file.is_file() else ""


class _ToElsewhere(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, root: Path) -> None:
        super().__init__(buffer)
        self._root = root

    def persistent_id(self, obj: Any) -> str | None:
        if isinstance(obj, Path) and obj == self._root:
            return f"{_ROOT} as a path"
        return _ROOT if isinstance(obj, str) and obj == str(self._root) else None


class _FromElsewhere(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, root: Path) -> None:
        super().__init__(buffer)
        self._root = root

    def persistent_load(self, name: str) -> Path | str:
        return str(self._root) if name == _ROOT else self._root


def send(value: Any, root: Path) -> bytes:
    """Pickled for a machine where the project's folder is another."""
    buffer = io.BytesIO()
    _ToElsewhere(buffer, root).dump(value)
    return buffer.getvalue()


def receive(sent: bytes, root: Path) -> Any:
    """What was sent, with this machine's folder in the place of the sender's."""
    return _FromElsewhere(io.BytesIO(sent), root).load()
