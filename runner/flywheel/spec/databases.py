"""Databases that a spec names: one for all rows, or one per row by a path with holes, `{{ row.column }}`.

What fills a hole is a plain name: a row cannot lead out of the folder that the path names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from flywheel.hashing import fingerprint, hash_file
from flywheel.records.rows import target_text
from flywheel.spec.confinement import confinement_problem
from flywheel.text import did_you_mean, one_line, plural

_HOLE = re.compile(r"\{\{\s*row\.([A-Za-z_]\w*)\s*\}\}")
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]*")
#: What a database leaves beside its file where a writer did not finish.
_LEFT_OVER = {"-wal": "a write-ahead log", "-journal": "the journal of a write that was cut off"}


def holes(path: str) -> list[str]:
    """The columns of a row that fill a path such as `databases/{{ row.db_id }}.sqlite`, each once."""
    return list(dict.fromkeys(_HOLE.findall(path)))


def database_of(path: str, row: Mapping[str, Any]) -> str:
    """The path with the row's values in its holes. Raises ValueError where a value is no plain name."""

    def value(hole: re.Match[str]) -> str:
        text = target_text(row.get(hole[1]))
        if not _NAME.fullmatch(text):
            raise ValueError(f'the column "{hole[1]}" is no name of a database: "{one_line(text, 60)}"')
        return text

    return _HOLE.sub(value, path)


def database_files(root: Path, path: str, suites: bool) -> list[str]:
    """Every database that a row could name, relative to the project; with `suites` those beside each, too."""
    pattern = "".join("*" if i % 2 else _literally(part) for i, part in enumerate(_HOLE.split(path)))
    found = {file for file in root.glob(pattern) if file.is_file()}
    if suites:
        found |= {other for file in found for other in beside(file)}
    base = root.resolve()
    return sorted(file.relative_to(root).as_posix() for file in found if file.resolve().is_relative_to(base))


def beside(path: Path) -> list[Path]:
    """The databases of the file's test suite: all in its folder, as Spider's script takes them."""
    return sorted(other for other in path.parent.iterdir() if ".sqlite" in other.name and not _is_left_over(other))


def databases_digest(root: Path, names: Iterable[str]) -> str:
    """One digest of the files, by content. Raises OSError."""
    return fingerprint([[name, _digest(root / name)] for name in names])


def _digest(path: Path) -> str:
    status = path.stat()
    return _kept_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(4096)
def _kept_digest(path: Path, size: int, changed: int) -> str:
    return hash_file(path)


def _literally(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _is_left_over(path: Path) -> bool:
    return path.name.endswith(("-wal", "-shm", "-journal"))


def path_problem(root: Path, path: str) -> tuple[str, str] | None:
    """Message and hint where the path, with or without holes, cannot be one of databases; None where it can."""
    if "{" in _HOLE.sub("", path) or "}" in _HOLE.sub("", path):
        return "a hole is {{ row.column }} and nothing else.", "Write {{ row.db_id }}."
    if not holes(path):
        return database_problem(root, path)
    if "{{" in Path(path).parts[0]:
        message = "begins with a hole, so that any file could be meant."
        return message, "Begin with a folder: databases/{{ row.db_id }}.sqlite."
    return None


def database_problem(root: Path, name: str) -> tuple[str, str] | None:
    """Message and hint where there is no SQLite database that can be read as it is; None where there is."""
    path = root / name
    if outside := confinement_problem(root, name):
        return f'"{one_line(name, 80)}" {outside[0]}', outside[1]
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        return f'there is no database "{one_line(name, 120)}".', near or f"There is no folder {Path(name).parent}."
    if path.stat().st_size and not _begins(path, b"SQLite format 3\x00"):
        return f'"{one_line(name, 120)}" is no SQLite database.', "Name a database file, or the script with setup."
    for suffix, what in _LEFT_OVER.items():
        log = path.with_name(path.name + suffix)
        if log.is_file() and log.stat().st_size:
            hint = f"Open it once and close it: sqlite3 {name} 'PRAGMA wal_checkpoint(TRUNCATE)'."
            return f'"{one_line(name, 120)}" has {what} beside it, whose rows are not in it yet.', hint
    return None


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(len(magic)) == magic
    except OSError:
        return False


def row_problems(root: Path, path: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """For each database that rows name and that cannot be read: (index of the first such row, message, hint)."""
    first: dict[str, tuple[int, int]] = {}
    for index, row in enumerate(rows):
        if any(row.get(column) is None for column in holes(path)):
            continue  # said already: the row lacks the column
        try:
            name = database_of(path, row)
        except ValueError as error:
            yield index, f"{error}.", "Write its name alone."
            continue
        at, count = first.get(name, (index, 0))
        first[name] = (at, count + 1)
    for name, (index, count) in first.items():
        if problem := database_problem(root, name):
            more = f" ({plural(count, 'row')} of it)" if count > 1 else ""
            yield index, problem[0].removesuffix(".") + more + ".", problem[1]
