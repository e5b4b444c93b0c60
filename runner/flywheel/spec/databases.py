"""Which databases a sql verifier reads: one for all rows, or one per row by a path with holes, `{{ row.column }}`.

What fills a hole is a plain name: a row cannot lead out of the folder that the path names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.hashing import fingerprint, hash_file
from flywheel.records.rows import target_text
from flywheel.spec import secrets
from flywheel.spec.document import Document
from flywheel.spec.files import confined
from flywheel.spec.models import SqlVerifier
from flywheel.spec.outline import HOLE, Outline, holes
from flywheel.text import did_you_mean, one_line, plural

_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]*")
#: What a database leaves beside its file where a writer did not finish.
_LEFT_OVER = {"-wal": "a write-ahead log", "-journal": "the journal of a write that was cut off"}
#: Keys that say where the database is, by engine.
_SOURCES = {"duckdb": ("setup",), "sqlite": ("setup", "database"), "postgres": ("dsn",)}
_OURS_ALONE = ("any_column_order", "ignore_duplicates", "decimals", "max_rows", "instances")


def database_of(path: str, row: Mapping[str, Any]) -> str:
    """The path with the row's values in its holes. Raises ValueError where a value is no plain name."""

    def value(hole: re.Match[str]) -> str:
        text = target_text(row.get(hole[1]))
        if not _NAME.fullmatch(text):
            raise ValueError(f'the column "{hole[1]}" is no name of a database: "{one_line(text, 60)}"')
        return text

    return HOLE.sub(value, path)


def database_files(spec: SqlVerifier, root: Path) -> list[str]:
    """Every database that a row could name, relative to the project, and with `match: spider` those beside each."""
    if spec.database is None:
        return []
    pattern = "".join("*" if i % 2 else _literally(part) for i, part in enumerate(HOLE.split(spec.database)))
    found = {path for path in root.glob(pattern) if path.is_file()}
    if spec.match == "spider":
        found |= {other for path in found for other in beside(path)}
    base = root.resolve()
    return sorted(path.relative_to(root).as_posix() for path in found if path.resolve().is_relative_to(base))


def beside(path: Path) -> list[Path]:
    """The databases of the file's test suite: all in its folder, as Spider's script takes them."""
    return sorted(other for other in path.parent.iterdir() if ".sqlite" in other.name and not _is_left_over(other))


def databases_digest(spec: SqlVerifier, root: Path) -> str:
    """One digest for all that `database_files` names, by content. Raises OSError."""
    return fingerprint([[name, _digest(root / name)] for name in database_files(spec, root)])


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


# --- faults -------------------------------------------------------------------------------------------------


def database_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    """What is wrong with the keys of sql verifiers and with the databases that they name for all rows."""
    for name, verifier in outline.verifiers.items():
        if isinstance(verifier, SqlVerifier):
            place: Path_ = ("verifiers", name)
            yield from _key_faults(document, place, verifier)
            if verifier.engine == "sqlite" and verifier.database is not None:
                yield from _path_faults(document, root, (*place, "database"), verifier.database)


def _key_faults(document: Document, place: Path_, verifier: SqlVerifier) -> Iterator[Fault]:
    sources = _SOURCES[verifier.engine]
    given = [key for key in ("setup", "database", "dsn") if getattr(verifier, key) is not None]
    for key in given:
        if key not in sources:
            engines = [engine for engine, keys in _SOURCES.items() if key in keys]
            message = f"engine {verifier.engine} has no {key}."
            yield document.fault((*place, key), message, f"Write engine: {' or '.join(engines)}.")
    if not given:
        yield document.fault(place, f"no database: {' or '.join(sources)} is missing.", _SOURCE_HINTS[verifier.engine])
    elif len(given) > 1 and all(key in sources for key in given):
        yield document.fault((*place, given[1]), f"{given[0]} names the database already.", "Keep one of the two.")
    if verifier.dsn is not None and not secrets.REFERENCE.fullmatch(verifier.dsn):
        yield document.fault((*place, "dsn"), "it may hold a password.", "Write ${env:NAME} and set the variable NAME.")
    yield from _rule_faults(document, place, verifier)


_SOURCE_HINTS = {
    "duckdb": "Add setup: schema.sql.",
    "sqlite": "Add database: shop.sqlite, or setup: schema.sql.",
    "postgres": "Add dsn: ${env:NAME}.",
}


def _rule_faults(document: Document, place: Path_, verifier: SqlVerifier) -> Iterator[Fault]:
    given = verifier.model_fields_set
    for key in _OURS_ALONE:
        if key in given and verifier.match != "ours":
            hint = f"Remove it: match: {verifier.match} has rules of its own."
            yield document.fault((*place, key), f"counts with match: ours alone, not with {verifier.match}.", hint)
    if "instances" in given and verifier.engine == "postgres" and verifier.instances:
        message = "a role that can only read makes no databases."
        yield document.fault((*place, "instances"), message, "Remove it.")


def _path_faults(document: Document, root: Path, place: Path_, path: str) -> Iterator[Fault]:
    if "{" in HOLE.sub("", path) or "}" in HOLE.sub("", path):
        yield document.fault(place, "a hole is {{ row.column }} and nothing else.", "Write {{ row.db_id }}.")
    elif holes(path) and "{{" in Path(path).parts[0]:
        message = "begins with a hole, so that any file could be meant."
        yield document.fault(place, message, "Begin with a folder: databases/{{ row.db_id }}.sqlite.")
    elif not holes(path) and (problem := database_problem(root, path)):
        yield document.fault(place, *problem)


def database_problem(root: Path, name: str) -> tuple[str, str] | None:
    """Message and hint where there is no SQLite database that can be read as it is; None where there is."""
    path = root / name
    try:
        confined(root, name)
    except SpecInvalid as outside:
        return outside.faults[0].message, outside.faults[0].hint
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


def row_faults(
    root: Path, path: str, place: Path_, file: str, rows: Sequence[tuple[int, Mapping[str, Any]]]
) -> Iterator[Fault]:
    """A fault for each database that rows (with their lines) name and that cannot be read, at the first such row."""
    first: dict[str, tuple[int, int]] = {}
    for line, row in rows:
        if any(row.get(column) is None for column in holes(path)):
            continue  # said already: the row lacks the column
        try:
            name = database_of(path, row)
        except ValueError as error:
            yield Fault(f"{error}.", place, "Write its name alone.", file, line)
            continue
        at, count = first.get(name, (line, 0))
        first[name] = (at, count + 1)
    for name, (line, count) in first.items():
        if problem := database_problem(root, name):
            more = f" ({plural(count, 'row')} of it)" if count > 1 else ""
            yield Fault(problem[0].removesuffix(".") + more + ".", place, problem[1], file, line)
