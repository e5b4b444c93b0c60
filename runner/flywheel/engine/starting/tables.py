"""The table that a project begins with: a file of rows, or a data set of the Hugging Face hub."""

from __future__ import annotations

import codecs
import importlib.util
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, SpecInvalid, UsageError
from flywheel.hashing import canonical
from flywheel.json_text import distinct
from flywheel.records import Row
from flywheel.records.rows import RowFile, read_row_file, shown
from flywheel.text import did_you_mean, one_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TEXT_COLUMNS = (".csv", ".tsv")


@dataclass(frozen=True)
class SourceTable:
    """Rows and where each stands."""

    name: str
    """The file, or the data set's id, as the person named it."""
    columns: tuple[str, ...]
    """In the order in which the table shows them."""
    rows: tuple[Row, ...]
    """With every column; what a row lacks is None."""
    lines: tuple[int, ...]
    """1-based: a line of the file, or a number of a row."""
    note: str = ""
    """How the file was read, where that is a guess."""

    @property
    def stem(self) -> str:
        """What the table is called: the file's name without its ending."""
        return re.sub(r"\.\w+$", "", self.name.rstrip("/").rpartition("/")[2])

    def values(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows]


def read_table(source: str) -> SourceTable:
    """The table in a file (CSV, TSV, JSON, JSONL, Parquet; columns as `records.rows` reads them), or the data set of
    that id. Raises UsageError where there is neither, SpecInvalid with every bad row, FlywheelError of the hub."""
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in _TEXT_COLUMNS:
            file = read_row_file(path)
            return _table(source, file.rows, file.lines)
        file, note = _read_text(path)
        return replace(_table(source, [_unpacked(row) for row in file.rows], file.lines), note=note)
    if path.exists() or not _HUB_ID.fullmatch(source) or path.suffix.lower() in (".jsonl", ".json", *_TEXT_COLUMNS):
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*") if p.is_file()))
        raise UsageError(f"{source}: there is no such file. {near or 'Name a CSV, TSV, JSON, JSONL or Parquet file.'}")
    rows = _hub_rows(source)
    return _table(source, rows, range(1, len(rows) + 1))


def _table(name: str, rows: Sequence[Row], lines: Iterable[int]) -> SourceTable:
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    if not rows:
        raise UsageError(f"{name} is empty: no rows to begin with.")
    return SourceTable(name, columns, tuple({column: row.get(column) for column in columns} for row in rows), (*lines,))


def _read_text(path: Path) -> tuple[RowFile, str]:
    """A table of text in UTF-8, or as Excel writes it otherwise: UTF-16 for "Unicode text", Windows-1252 for plain CSV
    in western Europe and America. And what to look at where it is not UTF-8."""
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
    try:
        if encoding == "cp1252":
            data.decode("utf-8")
            return read_row_file(path), ""
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return read_row_file(path), ""  # it says where
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(text, encoding="utf-8", newline="")
        try:
            file = read_row_file(copy)
        except SpecInvalid as invalid:
            raise SpecInvalid([replace(fault, file=shown(path)) for fault in invalid.faults]) from None
    odd = next((word for word in re.findall(r"\w+", text) if not word.isascii()), "")
    name = "UTF-16" if encoding == "utf-16" else "Windows-1252"
    return file, f'not UTF-8, so read as {name}: "{one_line(odd, 30)}". If letters are wrong, save it as UTF-8'


def _unpacked(row: Row) -> Row:
    """A cell that holds a JSON object or list, as that; a table of text has no other way to say it."""
    return {column: _nested(cell) if cell[:1] in ("{", "[") else cell for column, cell in row.items()}


def _nested(cell: str) -> Any:
    try:
        value = json.loads(cell, object_pairs_hook=distinct)
        canonical(value)  # NaN and the like are text here
    except (ValueError, RecursionError, FlywheelError):
        return cell
    return value


def _hub_rows(source: str) -> list[Row]:
    if os.environ.get("FLYWHEEL_ONLINE") != "1":
        raise UsageError(
            f"{source}: there is no such file. If it is a data set of the Hugging Face hub, set FLYWHEEL_ONLINE=1: "
            "without it nothing is fetched."
        )
    if importlib.util.find_spec("datasets") is None:
        raise UsageError(f"{source}: the package datasets is not installed here. Run `pip install datasets`.")
    import datasets

    try:
        found = datasets.load_dataset(source)
    except Exception as error:  # of the hub, the network, or of the data set itself
        raise UsageError(f"{source}: cannot be loaded: {one_line(str(error), 300)}") from error
    split = found["train" if "train" in found else next(iter(found))]
    return [json.loads(json.dumps(row, default=str)) for row in split]
