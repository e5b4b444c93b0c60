"""Naming failures: the taxonomy's predicates run as SQL over the failed rows, first match wins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb

from flywheel.errors import FlywheelError
from flywheel.hashing import canonical
from flywheel.records import Row, Verdict
from flywheel.spec.models import ErrorMode
from flywheel.text import one_line


@dataclass(frozen=True)
class Failed:
    """A wrong answer as predicates see it: `answer`, `gold`, `row.…`, `verdict.…`, `reason.…`."""

    row: Row
    answer: str | None
    gold: str | None
    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class Undecided:
    """A mode's predicate that could not be computed for some rows (a cast of text, a function of JSON on what is none):
    how many, and what the engine said of one."""

    rows: int
    why: str


@dataclass(frozen=True)
class Named:
    """`modes`: the mode's name for each failure, in order. `undecided`: by mode, only where a failure met it, that is
    where no mode before it held."""

    modes: list[str]
    undecided: dict[str, Undecided] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, Any]]:
        """`undecided` as JSON values, for a node's summary."""
        return {mode: vars(found) for mode, found in self.undecided.items()}


class PredicateError(FlywheelError):
    """`index` is the position, among the modes that were tried, of the predicate at fault."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def name_failures(
    failed: Sequence[Failed], modes: Sequence[ErrorMode], verifiers: Sequence[str], like: Iterable[Row] = ()
) -> Named:
    """Names each failure. The last mode without a predicate is the fallback.

    A predicate that cannot be computed for a row is unknown for that row, as NULL is, and the next mode is tried.
    `like`: rows of the same file, failed or not, from which columns get their types: those of the failed alone may
    lack a column, or hold numbers alone in one that holds text too. Raises PredicateError where a predicate does not
    bind to the rows.
    """
    if not failed:
        return Named([])
    connection = open_table(failed, verifiers, like)
    try:
        values = {n: _held(connection, mode, n) for n, mode in enumerate(modes) if mode.when is not None}
        fallback = next(number for number, mode in enumerate(modes) if mode.when is None)
        found = [_first(place, values, fallback) for place in range(len(failed))]
        return Named([modes[number].name for number, _ in found], _undecided(connection, modes, found))
    finally:
        connection.close()


def _undecided(
    connection: duckdb.DuckDBPyConnection, modes: Sequence[ErrorMode], found: Sequence[tuple[int, list[int]]]
) -> dict[str, Undecided]:
    rows = Counter(number for _, met in found for number in met)
    first = {n: next(place for place, (_, met) in enumerate(found) if n in met) for n in sorted(rows)}
    return {
        modes[n].name: Undecided(rows[n], why_unknown(connection, modes[n].when or "", p)) for n, p in first.items()
    }


# --- one predicate ----------------------------------------------------------------------------------------------------

UNKNOWN = "unknown"


def held(connection: duckdb.DuckDBPyConnection, when: str) -> list[str]:
    """For each row of the table "true", "false", "null" or `UNKNOWN`.

    Raises duckdb.Error where it does not run, whatever the rows hold.

    TRY gives NULL where its argument raises, row by row. It takes no window, no subquery and nothing random: such a
    predicate runs as it is, and is unknown for all rows where it raises for one.
    """
    value = f"coalesce(CAST(({when}\n) AS BOOLEAN)::VARCHAR, 'null')"
    try:
        return _column(connection, f"coalesce(TRY({value}), '{UNKNOWN}')")
    except duckdb.Error:
        pass
    connection.execute(f"EXPLAIN SELECT {value} FROM failed ORDER BY place").fetchall()  # an aggregate does not bind
    try:
        return _column(connection, value)
    except duckdb.Error:
        return _column(connection, f"'{UNKNOWN}'")


def why_unknown(connection: duckdb.DuckDBPyConnection, when: str, place: int) -> str:
    """What the engine says of the predicate on one row."""
    try:
        connection.execute(f"SELECT CAST(({when}\n) AS BOOLEAN) FROM failed WHERE place = {place}").fetchall()
    except duckdb.Error as error:
        return one_line(first_lines(error), 200)
    return "it cannot be computed for another row, and not row by row"


def _column(connection: duckdb.DuckDBPyConnection, expression: str) -> list[str]:
    return [value for (value,) in connection.execute(f"SELECT {expression} FROM failed ORDER BY place").fetchall()]


def _held(connection: duckdb.DuckDBPyConnection, mode: ErrorMode, index: int) -> list[str]:
    try:
        return held(connection, mode.when or "")
    except duckdb.Error as error:
        raise PredicateError(f'taxonomy mode "{mode.name}": {first_lines(error)}', index) from error


def _first(place: int, found: Mapping[int, Sequence[str]], fallback: int) -> tuple[int, list[int]]:
    """(the first mode that holds, those before it that could not be computed)."""
    unknown: list[int] = []
    for number, values in found.items():
        if number > fallback:
            break
        if values[place] == "true":
            return number, unknown
        if values[place] == UNKNOWN:
            unknown.append(number)
    return fallback, unknown


# --- the failures as a table ------------------------------------------------------------------------------------------


def open_table(
    failed: Sequence[Failed], verifiers: Sequence[str], like: Iterable[Row] = ()
) -> duckdb.DuckDBPyConnection:
    """A locked-down database in memory with the table `failed`.

    Rows go in as JSON: `validate` comes here too, and must not wait for pyarrow.
    """
    connection = memory()
    rows, structure = _as_json(failed, verifiers, like)
    connection.execute(
        "CREATE TEMP TABLE failed AS SELECT unnest(one, max_depth := 1) FROM (SELECT unnest(from_json(?, ?)) AS one)",
        [json.dumps(rows, ensure_ascii=True), json.dumps([structure])],
    )
    return connection


def memory() -> duckdb.DuckDBPyConnection:
    """A connection to one locked-down database in memory: what is temporary is the connection's own. (To open a
    database costs more than most questions.)"""
    return _memory().cursor()


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    for setting in (
        "enable_external_access = false",
        "python_enable_replacements = false",
        # In 2.0.0 it fails on `split_part(answer, …) = …` where all answers are NULL, as they are in `validate`.
        "disabled_optimizers = 'statistics_propagation'",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    return connection


def _as_json(
    failed: Sequence[Failed], verifiers: Sequence[str], like: Iterable[Row]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows, and DuckDB's description of their types."""
    known = [*(one.row for one in failed), *like]
    names = _sql_names(sorted({key for row in known for key in row}))
    types = {column: _type_of(row.get(column) for row in known) for column in names}
    each = dict.fromkeys(verifiers, "VARCHAR") or {"none": "VARCHAR"}
    structure = {
        "place": "BIGINT",
        "answer": "VARCHAR",
        "gold": "VARCHAR",
        "row": {names[column]: kind for column, kind in types.items()} or {"none": "VARCHAR"},
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
                "row": {names[column]: _typed(one.row.get(column), kind) for column, kind in types.items()},
                "verdict": _each(by_name, verifiers, "outcome"),
                "reason": _each(by_name, verifiers, "reason"),
            }
        )
    return rows, structure


_TYPES: dict[type, str] = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}


def _type_of(values: Iterable[Any]) -> str:
    """Columns whose values are of several types, or not plain, are text: text as it is, anything else as JSON."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if int in kinds and any(abs(value) >= 1 << 63 for value in known if isinstance(value, int)):
        return "VARCHAR"
    if kinds == {int, float}:
        return "DOUBLE"
    return _TYPES.get(kinds.pop(), "VARCHAR") if len(kinds) == 1 else "VARCHAR"


def _typed(value: Any, kind: str) -> Any:
    return canonical(value) if kind == "VARCHAR" and not isinstance(value, str | None) else value


def _sql_names(columns: Sequence[str]) -> dict[str, str]:
    """Column → its name in SQL, which tells no letter case and has no empty names: `Text` beside `text` is `text_2`."""
    names: dict[str, str] = {}
    for column in columns:
        name, number = column or "_", 1
        while name.lower() in {known.lower() for known in names.values()}:
            number += 1
            name = f"{column}_{number}"
        names[column] = name
    return names


def _each(verdicts: Mapping[str, Verdict], verifiers: Sequence[str], field: str) -> dict[str, str | None]:
    return {name: getattr(verdicts[name], field) if name in verdicts else None for name in verifiers}


def first_lines(error: duckdb.Error) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2] if line.strip())
