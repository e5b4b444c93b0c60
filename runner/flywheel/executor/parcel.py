"""A folder on another machine: packed once, unpacked under the digest of what it holds, and compared."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from flywheel.executor.faults import WorkerError
from flywheel.hashing import fingerprint, hash_file

#: Of a project. More is a model or a data set that no verifier reads.
LIMIT_BYTES = 256 << 20


@dataclass(frozen=True)
class Parcel:
    """A folder as it was when it was packed, and where. `hashes`: file, relative to it → digest of its content."""

    folder: str
    archive: bytes
    hashes: dict[str, str]

    @property
    def digest(self) -> str:
        return fingerprint(self.hashes)


def pack(root: Path, leave_out: Collection[str], limit: int | None = None) -> Parcel:
    """All files of the folder but hidden ones, caches of Python and the folders `leave_out` (relative to it). Raises
    WorkerError where they are more than `limit` bytes; without one, LIMIT_BYTES."""
    limit = LIMIT_BYTES if limit is None else limit
    files = list(_files(root, {(root / name).resolve() for name in leave_out}))
    size = sum(file.stat().st_size for file in files)
    if size > limit:
        largest = max(files, key=lambda file: file.stat().st_size)
        raise WorkerError(
            f"{root}: {size >> 20:,} MiB are too many to send to a cluster, which takes {limit >> 20}. The "
            f"largest file is {largest.relative_to(root)}: put what is so large outside of the project, at the same "
            "path of every machine that reads it, or use `executor: {kind: local}`."
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for file in files:
            archive.add(file, str(file.relative_to(root)))
    return Parcel(str(root), buffer.getvalue(), {str(file.relative_to(root)): hash_file(file) for file in files})


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
            f"{place / changed[0]} is not the {changed[0]} any more that was sent: something on that machine changed "
            f"it. Remove {place} there and run `flywheel apply` again."
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
    def __init__(self, buffer: io.BytesIO, folders: Collection[Path]) -> None:
        super().__init__(buffer)
        self._folders = {str(folder) for folder in folders}

    def persistent_id(self, obj: Any) -> str | None:
        if isinstance(obj, str | Path) and str(obj) in self._folders:
            return f"{'path' if isinstance(obj, Path) else 'text'} {obj}"  # longer than a folder: asked about, too
        return None


class _FromElsewhere(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, places: Mapping[str, Path]) -> None:
        super().__init__(buffer)
        self._places = places

    def persistent_load(self, said: str) -> Path | str:
        kind, _, folder = said.partition(" ")
        return self._places[folder] if kind == "path" else str(self._places[folder])


def send(value: Any, folders: Collection[Path]) -> bytes:
    """Pickled for a machine where these folders, wherever the value names one as a whole, lie elsewhere."""
    buffer = io.BytesIO()
    _ToElsewhere(buffer, folders).dump(value)
    return buffer.getvalue()


def receive(sent: bytes, places: Mapping[str, Path]) -> Any:
    """What was sent, with this machine's folders in the place of the sender's."""
    return _FromElsewhere(io.BytesIO(sent), places).load()
