"""Naming failures: the taxonomy's predicates run as SQL over the failed rows, first match wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    answer: str
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
    rows = [Failed(row, "", "", []) for row in sample]
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
    """A locked-down database in memory with the table `failed`."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.register("incoming_failed", _table(failed, verifiers))
    connection.execute("CREATE TABLE failed AS SELECT * FROM incoming_failed")
    connection.unregister("incoming_failed")
    connection.execute("SET lock_configuration = true")
    return connection


def _table(failed: Sequence[Failed], verifiers: Sequence[str]) -> Any:
    import pyarrow as pa

    columns = sorted({key for one in failed for key in one.row})
    texts = {column for column in columns if _mixed(one.row.get(column) for one in failed)}
    by_name = [{verdict.verifier: verdict for verdict in one.verdicts} for one in failed]
    verdict_type = pa.struct([(name, pa.string()) for name in verifiers])
    return pa.table(
        {
            "place": pa.array(range(len(failed)), pa.int64()),
            "answer": pa.array([one.answer for one in failed], pa.string()),
            "gold": pa.array([one.gold for one in failed], pa.string()),
            "row": pa.array([_typed(one.row, columns, texts) for one in failed]),
            "verdict": pa.array([_each(v, verifiers, "outcome") for v in by_name], verdict_type),
            "reason": pa.array([_each(v, verifiers, "reason") for v in by_name], verdict_type),
        }
    )


def _mixed(values: Any) -> bool:
    """Columns whose values are of several types, or not plain, are compared as text."""
    kinds = {type(value) for value in values if value is not None}
    return len(kinds) != 1 or not kinds <= {str, int, float, bool}


def _typed(row: Row, columns: Sequence[str], texts: set[str]) -> dict[str, Any]:
    return {c: None if row.get(c) is None else str(row[c]) if c in texts else row[c] for c in columns}


def _each(verdicts: Mapping[str, Verdict], verifiers: Sequence[str], field: str) -> dict[str, str | None]:
    return {name: getattr(verdicts[name], field) if name in verdicts else None for name in verifiers}


def _first_lines(error: duckdb.Error) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2] if line.strip())
