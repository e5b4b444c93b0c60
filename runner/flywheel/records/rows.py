"""Rows in files: JSONL, JSON, CSV or Parquet. Every fault names `file:line`, and all of them come at once.

Four encodings, one meaning: a row is a mapping of column to JSON value. What JSON cannot carry without
loss (NaN, half a surrogate pair, bytes that are no text) is refused here, so that no fingerprint or store meets it
later. Decimals and times of Parquet become text: all digits of the one, ISO 8601 of the other.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from flywheel.errors import Fault, FlywheelError, Path_, SpecInvalid
from flywheel.hashing import canonical
from flywheel.json_text import distinct
from flywheel.records import Row
from flywheel.text import did_you_mean, one_line, plural

MAX_FAULTS = 20
"""Faults shown for one file; the rest is counted."""
SAME_FAULTS = 3
"""Rows with one and the same fault that are each shown with their line."""


@dataclass(frozen=True)
class RowFile:
    """The rows of a file and the 1-based place of each: a line (JSONL, CSV) or a row number (JSON, Parquet)."""

    file: str
    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    note: str = ""
    """How the file was read, where that is not how its name says."""


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json`, `.csv` or `.parquet` file, in order; an empty file has none.

    JSON is one array of objects. CSV values are text, between commas, semicolons or tabs; an empty line is skipped.
    Raises `SpecInvalid` with every bad line.
    """
    return list(read_row_file(path).rows)


def each_row(path: Path) -> Iterator[Row]:
    """The same a row at a time. Bad lines are left out, and raised as `SpecInvalid` when all others are read."""
    return (row for _, row in _numbered(path))


def read_row_file(path: Path) -> RowFile:
    """Like `read_rows`, with the line of each row."""
    rows: list[Row] = []
    lines: list[int] = []
    for line, row in _numbered(path):
        rows.append(row)
        lines.append(line)
    note = _separator_note(path) if _READERS[path.suffix.lower()] is _csv else ""
    return RowFile(shown(path), tuple(rows), tuple(lines), note)


def _numbered(path: Path) -> _Numbered:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        hint = did_you_mean(path.suffix, _READERS)
        raise SpecInvalid([Fault(f'unknown kind of data file "{path.suffix}".', file=shown(path), hint=hint)])
    faults: list[Fault] = []
    yield from _guarded(reader, path, faults)
    if faults:
        raise SpecInvalid(few(faults))


def rows_of_text(text: str, name: str) -> list[Row]:
    """The rows of JSON lines that are no file; `name` stands for one where a line is bad. Raises `SpecInvalid`."""
    faults: list[Fault] = []
    rows = [row for _, row in _lines(text.split("\n"), name, faults)]
    if faults:
        raise SpecInvalid(few(faults))
    return rows


def target_text(value: Any) -> str:
    """The right answer as the text a student must write: text unchanged, anything else as canonical JSON."""
    return value if isinstance(value, str) else canonical(value)


def shown(path: Path) -> str:
    """The path as a person at the prompt would type it: relative to where they are, when it is below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else Path(relative).as_posix()


# --- the four formats --------------------------------------------------------------------------------------

_Numbered = Iterator[tuple[int, Row]]
_Reader = Callable[[Path, list[Fault]], _Numbered]


def _guarded(reader: _Reader, path: Path, faults: list[Fault]) -> _Numbered:
    """`reader`, with an error of the operating system or the text encoding as a fault of the file."""
    try:
        yield from reader(path, faults)
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        faults.append(Fault("not UTF-8 text.", file=shown(path), hint="Save the file as UTF-8.", line=line))
    except OSError as error:
        faults.append(Fault(f"cannot be read: {error.strerror or error}.", file=shown(path)))


def _jsonl(path: Path, faults: list[Fault]) -> _Numbered:
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        try:
            yield from _lines(lines, shown(path), faults)
        except UnicodeDecodeError:
            path.read_bytes().decode("utf-8-sig")  # raises with the place in the file, not in what was read last
            raise


def _lines(lines: Iterable[str], name: str, faults: list[Fault]) -> _Numbered:
    for line, source in enumerate(lines, start=1):
        if source.strip():
            try:
                yield line, _row(source.removesuffix("\n"))
            except _BadRow as bad:
                faults.append(Fault(str(bad), file=name, line=line, hint=bad.hint, source=one_line(source)))


_ARRAY = "Write [{…}, {…}], or one object a line in a .jsonl file."


def _json(path: Path, faults: list[Fault]) -> _Numbered:
    """An array of objects. Its faults name the row, but for what is no JSON at all, which names the line."""
    text = path.read_bytes().decode("utf-8-sig")
    if not text.strip():
        return
    try:
        found = _parsed(text)
    except _BadRow as bad:
        faults.append(Fault(str(bad), file=shown(path), line=bad.line, hint=_ARRAY))
        return
    if not isinstance(found, list):
        faults.append(Fault("not an array of objects.", file=shown(path), line=1, hint=_ARRAY))
        return
    for number, row in enumerate(found, start=1):
        try:
            yield number, _object(row)
        except _BadRow as bad:
            faults.append(Fault(str(bad), file=shown(path), line=number, hint=bad.hint))


def _csv(path: Path, faults: list[Fault]) -> _Numbered:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        separator = _separator(path)
        reader = csv.reader(handle, strict=True, delimiter=separator)
        try:
            header = next(reader, [])
            if problem := _header_problem(header):
                faults.append(Fault(problem, file=shown(path), line=1, hint="Name every column once."))
                return
            for cells in reader:
                if len(cells) == len(header):
                    yield reader.line_num, dict(zip(header, cells, strict=True))
                elif cells:
                    message = f"{plural(len(cells), 'value')} for {plural(len(header), 'column')}."
                    hint = f"Put a value that holds a {_SEPARATORS[separator]} in quotes."
                    faults.append(Fault(message, file=shown(path), line=reader.line_num, hint=hint))
        except csv.Error as error:
            faults.append(Fault(f"not CSV: {error}.", file=shown(path), line=reader.line_num))


_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SNIFFED_ROWS = 20


def _separator(path: Path) -> str:
    """What stands between the columns: a comma, unless the header holds none and all first rows fit another."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        head = list(islice(handle, _SNIFFED_ROWS + 1))
    if path.suffix.lower() == ".tsv":
        return "\t"
    if not head or "," in head[0]:
        return ","
    return next((s for s in (";", "\t", "|") if _fits(head, s)), ",")


def _fits(head: list[str], separator: str) -> bool:
    """Whether the first rows have as many columns as the header, and that are several. The last may be cut off."""
    try:
        rows = [len(row) for row in csv.reader(head, strict=False, delimiter=separator) if row]
    except csv.Error:
        return False
    complete = rows[:-1] if len(head) > _SNIFFED_ROWS else rows
    return rows[0] > 1 and set(complete) == {rows[0]}


def _separator_note(path: Path) -> str:
    separator = _separator(path)
    return (
        ""
        if separator == "," or path.suffix.lower() == ".tsv"
        else f"its columns are separated by {_SEPARATORS[separator]}s; it is read so."
    )


def _header_problem(header: list[str]) -> str:
    if any(not name.strip() for name in header):
        return "a column without a name."
    twice = sorted({name for name in header if header.count(name) > 1})
    return f'the column "{twice[0]}" stands twice.' if twice else ""


def _parquet(path: Path, faults: list[Fault]) -> _Numbered:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        faults.append(Fault(f"not a Parquet file: {one_line(str(error))}.", file=shown(path)))
        return
    found: dict[str, tuple[int, str, int]] = {}
    for number, row in enumerate(rows, start=1):
        values = {}
        for column, value in row.items():
            try:
                values[column] = plain(value)
                canonical(values[column])
            except (FlywheelError, ValueError, TypeError) as error:
                first, why, count = found.get(column, (number, str(error).removeprefix("cannot fingerprint "), 0))
                found[column] = (first, why, count + 1)
        yield number, values
    for column, (first, why, count) in found.items():
        message = f'column "{column}": {why}; so in {plural(count, "row")}.'
        faults.append(Fault(message, file=shown(path), line=first, hint="Store it as text, or leave the column out."))


def plain(value: Any) -> Any:
    """A value of Arrow as JSON has it. Raises ValueError for bytes that are no text."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() if value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):  # an Arrow map
            by_name = all(isinstance(key, str) for key, _ in value) and len(dict(value)) == len(value)
            pairs = [[plain(key), plain(item)] for key, item in value]
            return {key: item for key, item in pairs} if by_name else pairs  # noqa: C416
        case list():
            return [plain(item) for item in value]
        case bytes():
            return _decoded(value)
        case decimal.Decimal():
            return f"{value:f}"
        case datetime.timedelta():
            return f"PT{decimal.Decimal(str(value // _MICROSECOND)) / 1_000_000:f}S"
        case datetime.date() | datetime.time():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
    return value


_MICROSECOND = datetime.timedelta(microseconds=1)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("bytes that are no UTF-8 text") from None


_READERS: dict[str, _Reader] = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}


# --- one row ------------------------------------------------------------------------------------------------


class _BadRow(ValueError):
    def __init__(self, message: str, hint: str = "", line: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.line = line


def _row(source: str) -> Row:
    return _object(_parsed(source))


def _parsed(source: str) -> Any:
    try:
        value = _DECODER.decode(source)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at column {error.colno}."
        raise _BadRow(message, "Write one JSON object a line.", error.lineno) from None
    except RecursionError:
        raise _BadRow("not JSON that can be read: nested too deep.") from None
    except ValueError as error:
        raise error if isinstance(error, _BadRow) else _BadRow("a number with too many digits.") from None
    if "\\u" in source and "\\ud" in source.lower() and not _encodable(value):
        raise _BadRow("text with half of a surrogate pair.", "Write the character itself, or both halves.")
    return value


def _object(value: Any) -> Row:
    if not isinstance(value, dict):
        raise _BadRow("not a JSON object.", 'Write the columns by name: {"question": …}.')
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> Row:
    try:
        return distinct(pairs)
    except ValueError as error:
        raise _BadRow(f"{one_line(str(error), 80)}.", "Keep the one that is meant.") from None


def _refuse_constant(name: str) -> Any:
    raise _BadRow(f"{name} is not JSON.", "Write null, or leave the row out.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _BadRow(f"the number {one_line(digits, 30)} is too large.")
    return value


#: `json.loads` would make one a line.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_distinct)


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def few(faults: Iterable[Fault]) -> list[Fault]:
    """Faults of rows as they are told: what is wrong with more than `SAME_FAULTS` rows of a file in the same words is
    said once, at the first, and with their number; after `MAX_FAULTS` follows how many more there are."""
    found = list(faults)
    alike: dict[tuple[str, str, Path_], list[int]] = {}
    for index, fault in enumerate(found):
        alike.setdefault((fault.message, fault.file, fault.path), []).append(index)
    told: list[tuple[int, Fault]] = []
    for (message, _, _), same in alike.items():
        if len(same) > SAME_FAULTS:
            some = ", ".join(str(found[index].line) for index in same[1 : SAME_FAULTS + 1])
            others = f"{plural(len(same) - 1, 'further row')} ({some}{', …' if len(same) > SAME_FAULTS + 1 else ''})"
            told.append((same[0], replace(found[same[0]], message=f"{message.rstrip('.')}, here and in {others}.")))
        else:
            told += [(index, found[index]) for index in same]
    shown = [fault for _, fault in sorted(told, key=lambda entry: entry[0])]
    if len(shown) <= MAX_FAULTS:
        return shown
    last, rest = shown[MAX_FAULTS - 1], len(shown) - MAX_FAULTS
    more = Fault(f"and {plural(rest, 'more fault')}.", last.path, file=last.file, line=last.line, warning=last.warning)
    return [*shown[:MAX_FAULTS], more]
