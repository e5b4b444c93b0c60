"""Rows in: JSON-ready dicts to a table, by Arrow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

#: Columns that hold JSON text; Python values are encoded on the way in and decoded on the way out.
JSON_COLUMNS = frozenset(
    {"row", "inputs", "parents", "summary", "versions", "request", "settings", "rules", "preconditions", "verdicts",
     "slices", "manifest", "confusion", "wrong", "samples", "messages", "tools", "refused", "flagged", "redacted",
     "stages"}
)  # fmt: skip


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows` into `table`; keys are column names, absent columns become NULL.

    Raises duckdb.Error with nothing inserted.
    """
    if not rows:
        return
    import pyarrow as pa

    columns = list({key: None for row in rows for key in row})
    batch = pa.table({name: _array(pa, name, [row.get(name) for row in rows]) for name in columns})
    names = ", ".join(f'"{name}"' for name in columns)
    connection.register("incoming_rows", batch)
    connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming_rows")
    # Not where that failed: an aborted transaction refuses this too, and would hide why. It ends with the transaction.
    connection.unregister("incoming_rows")


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def _array(pa: Any, column: str, values: list[Any]) -> Any:
    if column in JSON_COLUMNS:
        values = [None if value is None else _ENCODER.encode(value) for value in values]
    if all(value is None for value in values):
        return pa.array(values, pa.string())
    try:
        return pa.array(values)
    except UnicodeEncodeError:
        return pa.array([_storable(value) for value in values])


def _storable(value: Any) -> Any:
    """Text that UTF-8 cannot carry (a lone surrogate from a model's JSON) is kept as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """The row itself, its JSON columns as values. What a query calls by such a name and is no JSON stays text."""
    for key in JSON_COLUMNS & row.keys():
        if isinstance(row[key], str):
            with suppress(ValueError):
                row[key] = json.loads(row[key])
    return row
