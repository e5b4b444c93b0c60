"""The items of a file, one after the other, whatever its encoding: JSON lines, JSON, CSV, Parquet, each also gzipped.

JSON lines, CSV and Parquet are never in memory as a whole; a JSON file is one document, and is.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from flywheel.errors import Fault, SpecInvalid
from flywheel.records import Row
from flywheel.records.rows import plain, shown
from flywheel.text import did_you_mean, one_line

PARQUET_ROWS = 2_000
"""Rows of a Parquet file in memory at a time."""

Numbered = Iterator[tuple[int, Row]]


class TornLine(Exception):
    """The last line of the file has no end and is no JSON: its writer was killed."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def read_items(path: Path) -> Numbered:
    """Each item with its place: a line (JSON lines, CSV) or a number (JSON, Parquet).

    Raises SpecInvalid with `file:line` where one cannot be read, TornLine at a last line that was cut off.
    """
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    reader = _READERS.get(suffix.lower())
    if reader is None:
        hint = f"{did_you_mean(suffix, _READERS)} Each may have .gz behind it."
        raise _fault(path, 0, f'unknown kind of file "{suffix}".', hint)
    try:
        yield from reader(path)
    except UnicodeDecodeError:
        raise _fault(path, 0, "not UTF-8 text.", "Save the file as UTF-8.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _fault(path, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _open(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(path: Path) -> Numbered:
    with _open(path) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                value = parsed(line)
            except ValueError as error:
                if not line.endswith("\n"):
                    raise TornLine(number) from None
                hint = "Write one JSON object a line."
                raise _fault(path, number, f"not JSON: {error}.", hint, one_line(line)) from None
            yield number, _object(path, number, value)


def _json(path: Path) -> Numbered:
    """One document; or JSON lines, which exporters of traces write into `.json` files, too."""
    with _open(path) as handle:
        first = handle.readline()
        rest = handle.readline()
    if rest.strip() and _is_json(first):
        yield from _lines(path)
        return
    with _open(path) as handle:
        text = handle.read()
    try:
        found = parsed(text) if text.strip() else []
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise _fault(path, line, f"not JSON: {error}.", "Is it cut off? Export it again.") from None
    for number, value in enumerate(_listed(found), 1):
        yield number, _object(path, number, value)


def _is_json(line: str) -> bool:
    try:
        parsed(line)
    except ValueError:
        return False
    return True


_LISTS = ("data", "traces", "rows", "results")


def _listed(found: Any) -> list[Any]:
    """The items of a document: an array, the array in an answer of an interface, or the document itself."""
    if isinstance(found, list):
        return found
    for key in _LISTS if isinstance(found, dict) else ():
        inner = found.get(key)
        if isinstance(inner, list) and all(isinstance(value, dict) for value in inner):
            return inner
    return [found]


def _csv(path: Path) -> Numbered:
    csv.field_size_limit(sys.maxsize)  # a conversation is longer than the 128 KiB that are the default
    with _open(path) as handle:
        reader = csv.DictReader(handle, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    hint = "Put a value that holds a comma in quotes."
                    raise _fault(path, reader.line_num, "a line with more or fewer values than columns.", hint)
                yield reader.line_num, dict(row)
        except csv.Error as error:
            raise _fault(path, reader.line_num, f"not CSV: {error}.") from None


def _parquet(path: Path) -> Numbered:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {column: plain(value) for column, value in row.items()}
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise _fault(path, number, f"not Parquet that can be read: {one_line(str(error))}.") from None


def parsed(text: str) -> Any:
    """A JSON value; NaN and infinities, which JSON does not have and logs do, are null. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=lambda name: None, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _object(path: Path, number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise _fault(path, number, "not a JSON object.", "Write one object an item.")
    return value


def _fault(path: Path, line: int, message: str, hint: str = "", source: str = "") -> SpecInvalid:
    return SpecInvalid([Fault(message, file=shown(path), line=line, hint=hint, source=source)])


_READERS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": _lines, ".ndjson": _lines, ".json": _json, ".csv": _csv, ".parquet": _parquet,
}  # fmt: skip
