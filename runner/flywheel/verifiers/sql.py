"""The sql checks: an answer is one query that binds, or gives the gold query's rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flywheel.records import Subject
from flywheel.spec.models import SqlVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, unknown
from flywheel.verifiers.fixture import Fixture, QueryRefused, QueryUndecided, kept_fixture
from flywheel.verifiers.rows import Table, difference

_GOLDS_KEPT = 1024
_GOLD_ROWS_KEPT = 500


class _Gold(NamedTuple):
    query: str
    table: Table
    ordered: bool


def open_sql(spec: SqlVerifier, root: Path) -> Check:
    fixture = _fixture(spec, root)
    check = _parses(fixture) if spec.check == "parses" else _same_rows(fixture, spec.max_rows)

    def decided(subject: Subject) -> Finding:
        try:
            return check(subject)
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
        return kept_fixture(setup, 0.9 * spec.timeout_seconds)
    except duckdb.Error as error:
        raise VerifierInvalid(f"setup {spec.setup} fails: {one_line(str(error), 300)}") from error


def _parses(fixture: Fixture) -> Check:
    def check(subject: Subject) -> Finding:
        fixture.bind(fixture.query(subject.answer))
        return PASS

    return check


def _same_rows(fixture: Fixture, max_rows: int) -> Check:
    gold_of = _gold_of(fixture, max_rows)

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
        different = difference(fixture.rows(query, max_rows), gold.table, gold.ordered)
        return PASS if different is None else fail(different)

    return check


def _gold_of(fixture: Fixture, max_rows: int) -> Callable[[str], _Gold]:
    """Runs a gold query; small results are kept."""

    @lru_cache(_GOLDS_KEPT)
    def kept(sql: str) -> tuple[str, bool, Table | None]:
        query = fixture.query(sql)
        table = fixture.rows(query, max_rows)
        return query, fixture.is_ordered(query), table if len(table.rows) <= _GOLD_ROWS_KEPT else None

    def gold_of(sql: str) -> _Gold:
        query, ordered, table = kept(sql)
        return _Gold(query, table or fixture.rows(query, max_rows), ordered)

    return gold_of


def _bare(query: str) -> str:
    return query.strip("; \n")


def _stopped(reason: str, seconds: float) -> str:
    return f"timed out after {seconds:g} s" if reason.startswith("interrupt error") else reason
