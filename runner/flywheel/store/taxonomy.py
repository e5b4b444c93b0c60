"""Naming failures: the taxonomy's predicates run as SQL over the failed rows, first match wins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from flywheel.errors import FlywheelError
from flywheel.records import Row, Verdict
from flywheel.spec.models import ErrorMode


@dataclass(frozen=True)
class Failed:
    """A wrong answer as predicates see it: `answer`, `gold`, `row.…`, `verdict.…`, `reason.…`."""

    row: Row
    answer: str | None
    gold: str | None
    verdicts: Sequence[Verdict]


class PredicateError(FlywheelError):
    """`index` is the position, among the modes that were tried, of the predicate at fault."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def name_failures(failed: Sequence[Failed], modes: Sequence[ErrorMode], verifiers: Sequence[str]) -> list[str]:
    """The mode's name for each failure, in order. The last mode without a predicate is the fallback.

    Raises PredicateError where a predicate does not bind to the rows.
    """
    if not failed:
        return []
    connection = _throw_away(failed, verifiers)
    try:
        arms = " ".join(f"WHEN ({mode.when}) THEN {number}" for number, mode in enumerate(modes) if mode.when)
        case = f"CASE {arms} END" if arms else "NULL"
        fallback = next(number for number, mode in enumerate(modes) if mode.when is None)
        query = f"SELECT coalesce({case}, {fallback}) FROM failed ORDER BY place"
        return [modes[number].name for (number,) in connection.execute(query).fetchall()]
    except duckdb.Error as error:
        raise _blame(connection, modes, error) from error
    finally:
        connection.close()


def check_predicates(
    sample: Sequence[Row], modes: Sequence[ErrorMode], verifiers: Sequence[str]
) -> list[tuple[int, str]]:
    """Predicates that cannot run over rows like these: (index among `modes`, what DuckDB says)."""
    rows = [Failed(row, None, None, []) for row in sample]
    connection = _throw_away(rows, verifiers)
    try:
        return [(i, text) for i, mode in enumerate(modes) if (text := _fault(connection, mode))]
    finally:
        connection.close()


def _fault(connection: duckdb.DuckDBPyConnection, mode: ErrorMode) -> str:
    if mode.when is None:
        return ""
    try:
        connection.execute(f"SELECT count(*) FILTER (WHERE ({mode.when})) FROM failed").fetchall()
    except duckdb.Error as error:
        return _first_lines(error)
    return ""


def _blame(connection: duckdb.DuckDBPyConnection, modes: Sequence[ErrorMode], error: duckdb.Error) -> PredicateError:
    for index, mode in enumerate(modes):
        if text := _fault(connection, mode):
            return PredicateError(f'taxonomy mode "{mode.name}": {text}', index)
    return PredicateError(_first_lines(error), 0)


def _throw_away(failed: Sequence[Failed], verifiers: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """A locked-down database in memory with the table `failed`.

    Rows go in as JSON: `validate` comes here too, and must not wait for pyarrow.
    """
    connection = duckdb.connect(":memory:")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    rows, structure = _as_json(failed, verifiers)
    connection.execute(
        "CREATE TABLE failed AS SELECT unnest(one, max_depth := 1) FROM (SELECT unnest(from_json(?, ?)) AS one)",
        [json.dumps(rows, ensure_ascii=True), json.dumps([structure])],
    )
    connection.execute("SET lock_configuration = true")
    return connection


def _as_json(failed: Sequence[Failed], verifiers: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows, and DuckDB's description of their types."""
    columns = sorted({key for one in failed for key in one.row})
    types = {column: _type_of(one.row.get(column) for one in failed) for column in columns}
    each = dict.fromkeys(verifiers, "VARCHAR")
    structure = {
        "place": "BIGINT",
        "answer": "VARCHAR",
        "gold": "VARCHAR",
        "row": types or {"none": "VARCHAR"},
        "verdict": each,
        "reason": each,
    }
    rows = []
    for place, one in enumerate(failed):
        by_name = {verdict.verifier: verdict for verdict in one.verdicts}
        rows.append(
            {
                "place": place,
                "answer": one.answer,
                "gold": one.gold,
                "row": _typed(one.row, types),
                "verdict": _each(by_name, verifiers, "outcome"),
                "reason": _each(by_name, verifiers, "reason"),
            }
        )
    return rows, structure


_TYPES: dict[type, str] = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}


def _type_of(values: Iterable[Any]) -> str:
    """Columns whose values are of several types, or not plain, are compared as text."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if int in kinds and any(abs(value) >= 1 << 63 for value in known if isinstance(value, int)):
        return "VARCHAR"
    if kinds == {int, float}:
        return "DOUBLE"
    return _TYPES.get(kinds.pop(), "VARCHAR") if len(kinds) == 1 else "VARCHAR"


def _typed(row: Row, types: Mapping[str, str]) -> dict[str, Any]:
    return {
        column: str(row[column]) if kind == "VARCHAR" and row.get(column) is not None else row.get(column)
        for column, kind in types.items()
    }


def _each(verdicts: Mapping[str, Verdict], verifiers: Sequence[str], field: str) -> dict[str, str | None]:
    return {name: getattr(verdicts[name], field) if name in verdicts else None for name in verifiers}


def _first_lines(error: duckdb.Error) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2] if line.strip())
