"""Write, sync, rename: a file or folder that is there is whole. And lines of a log that say whether they are."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, UsageError


def write_text(path: Path, text: str | bytes) -> None:
    """Replace `path` atomically; text becomes UTF-8. Raises FlywheelError where the disk is full or read-only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(text.encode("utf-8") if isinstance(text, str) else text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Replace `folder` by one with these files; the old one is there until the new one is whole."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, text in files.items():
            write_text(temporary / name, text)
        swap(temporary, folder)
    except FlywheelError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _cannot_write(folder, error) from error


def copy_folder(source: Path, target: Path, complete: Callable[[Path], None] = lambda scratch: None) -> None:
    """A whole copy of `source` at `target`, or nothing. `complete` puts more into it before it appears."""

    def build(scratch: Path) -> None:
        shutil.copytree(source, scratch, dirs_exist_ok=True)
        complete(scratch)

    build_folder(target, build)


def build_folder(target: Path, build: Callable[[Path], None]) -> None:
    """`target` as `build` makes it, in an empty folder beside it; whatever `build` raises, nothing is left of that."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        build(temporary)
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
        swap(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_circle(path: Path) -> bool:
    """Whether links on the way to it lead in a circle. `Path.resolve` says so only before Python 3.13."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def refuse_filled(folder: Path) -> None:
    """Raise UsageError where something is at `folder` that is no empty folder."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is there and is no folder"
        raise UsageError(f"{folder}: {what}; nothing in it is overwritten. Name a new folder, or remove this one.")


def build_new_folder(folder: Path, build: Callable[[Path], None]) -> None:
    """Like `build_folder`, where nothing is overwritten. Raises UsageError as `refuse_filled` does."""
    refuse_filled(folder)
    place = folder.absolute()  # "." has no name to put a folder beside

    def build_and_make_room(scratch: Path) -> None:
        build(scratch)
        if place.is_dir():
            place.rmdir()  # where something was put into it meanwhile, that stays

    build_folder(place, build_and_make_room)


def swap(temporary: Path, target: Path) -> None:
    """Put `temporary` at `target`; a folder that is there goes away first, by one rename."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(temporary, target)
    shutil.rmtree(old, ignore_errors=True)


def point(link: Path, target: str) -> None:
    """Make the symbolic link `link` point at `target` (relative), atomically. Raises FlywheelError where something else
    is in its place, as in a copy that was made by following links."""
    if link.exists() and not link.is_symlink():
        raise FlywheelError(
            f"{link} is no link, as in a copy of a project that was made by following links. It was left as it is. "
            f"Move it away (`mv {shlex.quote(str(link))} {shlex.quote(f'{link}.copy')}`) and run the command again."
        )
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def sync_folder(folder: Path) -> None:
    """Names of files in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- lines of a log ---------------------------------------------------------------------------------------------------

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def checked_line(record: Mapping[str, Any]) -> bytes:
    """A record as one line with its checksum and length."""
    body = _ENCODER.encode(record).encode()
    return b"%08x %d %s\n" % (zlib.crc32(body), len(body), body)


def record_in(line: bytes) -> dict[str, Any] | None:
    """What `checked_line` wrote, without the line end; None where it is not whole."""
    crc, _, rest = line.partition(b" ")
    length, _, body = rest.partition(b" ")
    if not (length.isdigit() and int(length) == len(body) and crc == b"%08x" % zlib.crc32(body)):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def _cannot_write(path: Path, error: OSError) -> FlywheelError:
    return FlywheelError(
        f"{path}: cannot be written: {error.strerror or error}. Nothing was changed there; mend it and run the "
        "same command again."
    )
