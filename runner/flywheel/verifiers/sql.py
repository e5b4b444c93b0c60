"""The sql checks: an answer is one query that binds, or gives the gold query's rows on every database of the schema.

On a generated database order counts only where the gold's own does not hang on the order of insertion, and the
database is passed over for a gold that fails there, or whose very rows hang on that order (LIMIT among ties).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flywheel.records import Subject
from flywheel.spec.verifiers import SqlVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, read, unknown
from flywheel.verifiers.fixture import Fixture, Instance, QueryRefused, QueryUndecided, RowsRefused, kept_fixture
from flywheel.verifiers.instances import turned
from flywheel.verifiers.rows import Table, difference
from flywheel.verifiers.syntax import Literals, Query

_GOLDS_KEPT = 1024
_EXPECTED_KEPT = 4096
_GOLD_ROWS_KEPT = 500


class _Gold(NamedTuple):
    query: Query
    table: Table


class _Expected(NamedTuple):
    table: Table
    ordered: bool


def open_sql(spec: SqlVerifier, root: Path, unsafe: bool = False) -> Check:
    fixture = _fixture(spec, root)
    check = _parses(fixture) if spec.check == "parses" else _same_rows(fixture, spec.max_rows)

    def decided(subject: Subject) -> Finding:
        try:
            return check(read(subject, "sql"))
        except QueryRefused as error:
            return fail(str(error))
        except QueryUndecided as error:
            return unknown(_stopped(str(error), spec.timeout_seconds))

    return decided


def _fixture(spec: SqlVerifier, root: Path) -> Fixture:
    import duckdb

    setup = (root / spec.setup).read_text(encoding="utf-8")
    try:
        # A little less than the pool gives, so that a slow query costs itself and not the process.
        return kept_fixture(setup, 0.9 * spec.timeout_seconds, spec.instances)
    except duckdb.Error as error:
        raise VerifierInvalid(f"setup {spec.setup} fails: {one_line(str(error), 300)}") from error


def _parses(fixture: Fixture) -> Check:
    def check(subject: Subject) -> Finding:
        fixture.original.bind(fixture.query(subject.answer))
        return PASS

    return check


def _same_rows(fixture: Fixture, max_rows: int) -> Check:
    gold_of = _gold_of(fixture, max_rows)
    disagreement = _disagreement(fixture, max_rows)

    def check(subject: Subject) -> Finding:
        try:
            gold = gold_of(subject.reference or "")
        except (QueryRefused, QueryUndecided) as error:
            return unknown(f"the gold query fails: {error}")
        if gold.table.cut:
            return unknown(f"the gold query gives more than {max_rows:,} rows; raise max_rows")
        query = fixture.query(subject.answer)
        if _bare(query) == _bare(gold.query):
            return PASS
        different = difference(fixture.original.rows(query, max_rows), gold.table, gold.query.is_ordered)
        different = different or disagreement(query, gold.query)
        return PASS if different is None else fail(different)

    return check


def _gold_of(fixture: Fixture, max_rows: int) -> Callable[[str], _Gold]:
    """Runs a gold query; small results are kept."""

    @lru_cache(_GOLDS_KEPT)
    def kept(sql: str) -> tuple[Query, Table | None]:
        query = fixture.query(sql)
        table = fixture.original.rows(query, max_rows)
        return query, table if len(table.rows) <= _GOLD_ROWS_KEPT else None

    def gold_of(sql: str) -> _Gold:
        query, table = kept(sql)
        return _Gold(query, table or fixture.original.rows(query, max_rows))

    return gold_of


def _disagreement(fixture: Fixture, max_rows: int) -> Callable[[Query, Query], str | None]:
    """Compares an answer with a gold on every generated database: where and how they first differ."""

    @lru_cache(_EXPECTED_KEPT)
    def expected(place: int, gold: Query, literals: Literals) -> _Expected | None:
        return expected_rows(gold, fixture.instances[place], literals, fixture, max_rows)

    def compare(answer: Query, gold: Query) -> str | None:
        literals = answer.literals | gold.literals
        for place, instance in enumerate(fixture.instances):
            met = literals if instance.spare else Literals()
            right = expected(place, gold, met)
            if right is None:
                continue
            try:
                table = instance.database.rows(answer, max_rows, fixture.read_by(answer, instance.further(met)))
            except RowsRefused:
                continue
            except QueryRefused as error:
                return f"on the {instance.label}: {error}"
            if different := difference(table, right.table, right.ordered):
                return f"on the {instance.label}: {different}"
        return None

    return compare


def expected_rows(
    gold: Query, instance: Instance, literals: Literals, fixture: Fixture, max_rows: int
) -> _Expected | None:
    """What the gold gives on the instance, and whether its order counts; None where it decides nothing."""
    further = fixture.read_by(gold, instance.further(literals))
    try:
        table = instance.database.rows(gold, max_rows, further)
        if table.cut:
            return None
        if not gold.may_hang_on_order or not instance.content:
            return _Expected(table, gold.is_ordered)
        again = fixture.empty.rows(gold, max_rows, turned(fixture.read_by(gold, instance.content), further))
    except (QueryRefused, QueryUndecided, RowsRefused):
        return None
    if difference(again, table, gold.is_ordered) is None:
        return _Expected(table, gold.is_ordered)
    return _Expected(table, ordered=False) if difference(again, table, ordered=False) is None else None


def _bare(query: Query) -> str:
    return query.text.strip("; \n")


def _stopped(reason: str, seconds: float) -> str:
    return f"timed out after {seconds:g} s" if reason.startswith("interrupt error") else reason
