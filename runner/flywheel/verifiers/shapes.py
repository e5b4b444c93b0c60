"""What SQLite's catalogue says of the tables, as the shapes that generated rows are made for."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flywheel.verifiers.instances import (
    POOL,
    Cells,
    Column,
    Family,
    Fetch,
    ForeignKey,
    TableShape,
    family_of_values,
    number_of,
    parents_first,
    pool_of,
    quoted,
)
from flywheel.verifiers.tokens import tokens

_INTEGER = re.compile("INT", re.IGNORECASE)
_TEXT = re.compile("CHAR|CLOB|TEXT", re.IGNORECASE)
_TIME = re.compile("DATE|TIME", re.IGNORECASE)
_TRUTH = re.compile("BOOL", re.IGNORECASE)
_NUMBER = re.compile("INT|REAL|FLOA|DOUB|NUM|DEC", re.IGNORECASE)


@dataclass(frozen=True)
class SqliteTable(TableShape):
    """`insert` takes one row; values are text, or numbers where the column would keep text as text."""

    def inserts(self, rows: Sequence[Cells]) -> Iterator[tuple[str, list[list[str | None]]]]:
        raise NotImplementedError("SQLite takes one row at a time")

    def values(self, row: Cells) -> tuple[Any, ...]:
        return tuple(_value(column, cell) for column, cell in zip(self.columns, row, strict=True))

    def select(self) -> str:
        columns = ", ".join(f"CAST({quoted(column.name)} AS TEXT)" for column in self.columns)
        return f"SELECT {columns} FROM {self.name}"


def texts(rows: Iterable[tuple[Any, ...]]) -> Iterator[Cells]:
    for row in rows:
        yield tuple(None if cell is None else str(cell) for cell in row)


def read_sqlite_tables(fetch: Fetch) -> tuple[SqliteTable, ...]:
    """The tables that have columns to fill, parents before children."""
    names = fetch(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name",
        [],
    )
    known = {str(name).lower(): str(name) for name, _ in names}
    tables = [_read_table(fetch, str(name), str(sql), known) for name, sql in names]
    return tuple(parents_first([table for table in tables if table.columns]))


def _read_table(fetch: Fetch, name: str, sql: str, known: dict[str, str]) -> SqliteTable:
    described = fetch(f"PRAGMA table_xinfo({quoted(name)})", [])
    unique = fetch(f"PRAGMA index_list({quoted(name)})", [])
    keyed = {
        str(column)
        for _, index, is_unique, *_ in unique
        if is_unique
        for _, _, column in fetch(f"PRAGMA index_info({quoted(str(index))})", [])
    }
    checks = list(_checks(sql))
    columns = tuple(
        _read_column(
            fetch, name, str(column), str(type_), not required and not key, bool(key) or str(column) in keyed, checks
        )
        for _, column, type_, required, _, key, hidden in described
        if not hidden
    )
    insert = (
        f"INSERT OR IGNORE INTO {quoted(name)} ({', '.join(quoted(c.name) for c in columns)})"
        f" VALUES ({', '.join('?' * len(columns))})"
    )
    return SqliteTable(quoted(name), name.lower(), columns, _foreign_keys(fetch, name, columns, known), insert)


def _foreign_keys(fetch: Fetch, name: str, columns: Sequence[Column], known: dict[str, str]) -> tuple[ForeignKey, ...]:
    places = {column.name.lower(): place for place, column in enumerate(columns)}
    found: dict[Any, list[tuple[Any, ...]]] = {}
    for number, _, parent, own, theirs, *_ in fetch(f"PRAGMA foreign_key_list({quoted(name)})", []):
        found.setdefault((number, parent), []).append((own, theirs))
    keys = []
    for (_, parent), pairs in found.items():
        named = known.get(str(parent).lower())
        if named is None or any(str(own).lower() not in places for own, _ in pairs):
            continue
        theirs = [str(column) for _, column in pairs if column is not None] or _primary_key(fetch, named)
        if len(theirs) == len(pairs):
            own = tuple(places[str(column).lower()] for column, _ in pairs)
            keys.append(ForeignKey(own, quoted(named), tuple(theirs)))
    return tuple(keys)


def _primary_key(fetch: Fetch, name: str) -> list[str]:
    described = fetch(f"PRAGMA table_xinfo({quoted(name)})", [])
    return [str(row[1]) for row in sorted(described, key=lambda row: int(row[5])) if row[5]]


def _read_column(
    fetch: Fetch, table: str, name: str, type_: str, nullable: bool, key: bool, checks: Sequence[str]
) -> Column:
    cells = fetch(
        f"SELECT v FROM (SELECT DISTINCT CAST({quoted(name)} AS TEXT) AS v FROM {quoted(table)}"
        f" WHERE typeof({quoted(name)}) NOT IN ('null', 'blob') LIMIT {50 * POOL}) ORDER BY length(v), v LIMIT {POOL}",
        [],
    )
    values = [str(value) for (value,) in cells]
    family = _family(type_, values)
    named = [check for check in checks if re.search(rf"\b{re.escape(name)}\b", check, re.IGNORECASE)]
    if family == "truth":
        return Column(name, type_.upper(), family, nullable, key, ("1", "0"))

    def fits(tried: Sequence[str]) -> list[str]:
        """Those that the CHECKs of this column alone do not refuse."""
        conditions = " AND ".join(f"coalesce({check}, 1)" for check in ["1", *named])
        with suppress(sqlite3.Error):  # a CHECK of several columns
            value = f"CAST(? AS {'NUMERIC' if family == 'number' else 'TEXT'})"
            asked = f"SELECT 1 FROM (SELECT {value} AS {quoted(name)}) WHERE {conditions}"
            return [text for text in tried if fetch(asked, [text])]
        return list(tried)

    return Column(name, type_.upper(), family, nullable, key, *pool_of(family, values, named, fits))


def _checks(sql: str) -> Iterator[str]:
    """What stands in parentheses after each CHECK."""
    depth, last, found = 0, "", ""
    for token in tokens(sql):
        if depth:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            found += token.text if depth else ""
            if not depth:
                yield found
        elif token.text == "(" and last == "CHECK":
            depth, found = 1, ""
        if token.kind not in ("space", "comment"):
            last = token.text.upper()


def _family(type_: str, values: Sequence[str]) -> Family:
    if _TEXT.search(type_) and not _INTEGER.search(type_):
        return family_of_values(values) or "text"
    if _TIME.search(type_):
        return family_of_values(values) or "time"
    if _TRUTH.search(type_):
        return "truth" if {"0", "1"}.issuperset(values) else family_of_values(values) or "text"
    if _NUMBER.search(type_):
        return "number"
    return family_of_values(values) or "text"


def _value(column: Column, cell: str | None) -> Any:
    """A number where the column's type would not make one of a text."""
    keeps = not (_INTEGER.search(column.type) or _TEXT.search(column.type) or _NUMBER.search(column.type))
    if cell is None or column.family != "number" or not keeps:
        return cell
    number = number_of(cell)
    return cell if number is None else int(number) if number.is_integer() else number
