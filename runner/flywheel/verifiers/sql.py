"""The sql checks: an answer is one query that binds, or gives the gold query's rows on every database of the schema.

On a generated database order counts only where the gold's own does not hang on the order of insertion, and the
database is passed over for a gold that fails there, or whose very rows hang on that order (LIMIT among ties).

A query that is stopped, for its time or its memory, has one outcome with every engine and rule: unknown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from flywheel.records import Subject
from flywheel.spec.databases import beside, database_of, database_problem, holes
from flywheel.spec.verifiers import SqlVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, VerifierInvalid, fail, read, unknown
from flywheel.verifiers.fixture import Instance, QueryRefused, QueryUndecided, RowsRefused, kept_fixture
from flywheel.verifiers.instances import Content, turned
from flywheel.verifiers.matching import Rule, rule_of
from flywheel.verifiers.rows import Table, difference
from flywheel.verifiers.witnesses import witnesses

_GOLDS_KEPT = 1024
_EXPECTED_KEPT = 4096
_GOLD_ROWS_KEPT = 500
#: Rows of a result that the benchmarks' rules look at; their scripts have no bound.
_OFFICIAL_ROWS = 1_000_000


class Engine(Protocol):
    """A database for queries, with its generated instances; queries are the engine's own."""

    instances: tuple[Instance, ...]
    original: Any

    def query(self, sql: str) -> Any: ...

    def read_by(self, query: Any, content: Content) -> Content: ...

    @property
    def empty(self) -> Any: ...

    def __hash__(self) -> int: ...


class OpensEngine(NamedTuple):
    """A database that is opened when it is asked, and its name where a row has several."""

    open: Callable[[], Engine]
    name: str = ""


class _Gold(NamedTuple):
    query: Any
    table: Table


class _Expected(NamedTuple):
    table: Table
    ordered: bool
    counted: bool = False
    """Only how many rows there are is held against an answer: which ones hangs on the order of insertion."""


def open_sql(spec: SqlVerifier, root: Path, unsafe: bool = False) -> Check:
    sources_of = _sources(spec, root)
    check = _parses(sources_of) if spec.check == "parses" else _same_rows(spec, sources_of)

    def decided(subject: Subject) -> Finding:
        try:
            return check(read(subject, "sql"))
        except QueryRefused as error:
            return fail(str(error))
        except QueryUndecided as error:
            return unknown(_stopped(str(error), spec.timeout_seconds))

    return decided


# --- which database ---


def _sources(spec: SqlVerifier, root: Path) -> Callable[[Subject], Sequence[OpensEngine]]:
    """The databases of a row. Raises VerifierInvalid where the one for all rows cannot be opened."""
    if spec.engine == "sqlite" and spec.database is not None and holes(spec.database):
        return partial(_of_row, spec, root)
    opened = _openers(spec, root)
    for source in opened:
        source.open()
    return lambda subject: opened


def _openers(spec: SqlVerifier, root: Path) -> list[OpensEngine]:
    # A little less than the pool gives, so that a slow query costs itself and not the process.
    seconds, count = 0.9 * spec.timeout_seconds, spec.instances if spec.match == "ours" else 0
    count = count if spec.check == "same_rows" else 0
    if spec.engine == "postgres":
        from flywheel.verifiers.postgres import kept_postgres

        return [OpensEngine(partial(kept_postgres, spec.dsn or "", seconds))]
    if spec.engine == "sqlite" and spec.database is not None:
        return _files(spec, root, spec.database, seconds, count)
    setup = (root / str(spec.setup)).read_text(encoding="utf-8-sig")
    return [OpensEngine(partial(_scripted, spec, setup, seconds, count))]


def _scripted(spec: SqlVerifier, setup: str, seconds: float, instances: int) -> Engine:
    import duckdb

    try:
        if spec.engine == "sqlite":
            return _kept_sqlite(None, setup, seconds, instances)
        return kept_fixture(setup, seconds, instances)
    except (duckdb.Error, sqlite3.Error, ValueError) as error:  # ValueError: a null character in the script
        raise VerifierInvalid(f"setup {spec.setup} fails: {one_line(str(error), 300)}") from error


def _files(spec: SqlVerifier, root: Path, name: str, seconds: float, instances: int) -> list[OpensEngine]:
    if problem := database_problem(root, name):
        raise VerifierInvalid(problem[0])
    path = root / name
    paths = beside(path) if spec.match == "spider" else [path]
    several = len(paths) > 1
    return [OpensEngine(partial(_filed, p, seconds, instances), p.stem if several else "") for p in paths]


def _filed(path: Path, seconds: float, instances: int) -> Engine:
    try:
        return _kept_sqlite(path, "", seconds, instances)
    except sqlite3.Error as error:
        raise VerifierInvalid(f"the database {path.name} cannot be used: {one_line(str(error), 300)}") from error


def _kept_sqlite(path: Path | None, setup: str, seconds: float, instances: int) -> Engine:
    from flywheel.verifiers.sqlite import kept_sqlite

    return kept_sqlite(path, setup, seconds, instances)


def _of_row(spec: SqlVerifier, root: Path, subject: Subject) -> Sequence[OpensEngine]:
    try:
        name = database_of(str(spec.database), subject.row)
        return _openers(spec.model_copy(update={"database": name}), root)
    except (ValueError, VerifierInvalid) as error:
        raise QueryUndecided(str(error)) from error


def engines_of(spec: SqlVerifier, root: Path) -> Callable[[Subject], Sequence[Engine]]:
    """The opened databases of a row, without generated ones. The function raises QueryUndecided without any."""
    sources_of = _sources(spec.model_copy(update={"instances": 0}), root)
    return lambda subject: [_opened(source) for source in sources_of(subject)]


# --- the two checks ---


def _parses(sources_of: Callable[[Subject], Sequence[OpensEngine]]) -> Check:
    def check(subject: Subject) -> Finding:
        engine = _opened(sources_of(subject)[0])
        engine.original.bind(engine.query(subject.answer))
        return PASS

    return check


def _same_rows(spec: SqlVerifier, sources_of: Callable[[Subject], Sequence[OpensEngine]]) -> Check:
    rule = rule_of(spec)
    max_rows = spec.max_rows if spec.match == "ours" else _OFFICIAL_ROWS
    gold_of = _gold_of(rule, max_rows)
    disagreement = _disagreement(rule, max_rows)

    def check(subject: Subject) -> Finding:
        for source in sources_of(subject):
            engine = _opened(source)
            finding = on_one(engine, subject)
            if finding.outcome != "pass":
                return (
                    finding
                    if not source.name
                    else finding.__class__(finding.outcome, f"on {source.name}: {finding.reason}")
                )
        return PASS

    def on_one(engine: Engine, subject: Subject) -> Finding:
        try:
            gold = gold_of(engine, subject.reference or "")
        except (QueryRefused, QueryUndecided) as error:
            return unknown(f"the gold query fails: {_stopped(str(error), spec.timeout_seconds)}")
        if gold.table.cut:
            hint = "; raise max_rows" if spec.match == "ours" else ""
            return unknown(f"the gold query gives more than {max_rows:,} rows{hint}")
        query = engine.query(rule.prepared(subject.answer, False))
        if _bare(query) == _bare(gold.query):
            return PASS
        ordered = gold.query.is_ordered if rule.says_ordered is None else rule.says_ordered(gold.query.text)
        different = rule.differ(engine.original.rows(query, max_rows), gold.table, ordered)
        different = different or disagreement(engine, query, gold.query)
        return PASS if different is None else fail(different)

    return check


def _opened(source: OpensEngine) -> Engine:
    try:
        return source.open()
    except VerifierInvalid as error:
        raise QueryUndecided(str(error)) from error


def _gold_of(rule: Rule, max_rows: int) -> Callable[[Engine, str], _Gold]:
    """Runs a gold query; small results are kept."""

    @lru_cache(_GOLDS_KEPT)
    def kept(engine: Engine, sql: str) -> tuple[Any, Table | None]:
        query = engine.query(rule.prepared(sql, True))
        table = engine.original.rows(query, max_rows)
        return query, table if len(table.rows) <= _GOLD_ROWS_KEPT else None

    def gold_of(engine: Engine, sql: str) -> _Gold:
        query, table = kept(engine, sql)
        return _Gold(query, table or engine.original.rows(query, max_rows))

    return gold_of


# --- generated databases ---


def _disagreement(rule: Rule, max_rows: int) -> Callable[[Engine, Any, Any], str | None]:
    """Compares an answer with a gold on every generated database: where and how they first differ."""

    @lru_cache(_EXPECTED_KEPT)
    def expected(engine: Engine, instance: Instance, gold: Any, further: Content) -> _Expected | None:
        return expected_rows(gold, instance, engine.read_by(gold, further), engine, max_rows)

    def compare(engine: Engine, answer: Any, gold: Any) -> str | None:
        for instance in engine.instances:
            for further in _further(instance, gold, answer):
                right = expected(engine, instance, gold, further)
                if right is not None and (different := differs(engine, instance, answer, further, right)):
                    return f"on the {instance.label}: {different}"
        return None

    def differs(engine: Engine, instance: Instance, answer: Any, further: Content, right: _Expected) -> str | None:
        try:
            table = instance.database.rows(answer, max_rows, engine.read_by(answer, further))
        except RowsRefused:
            return None
        except QueryRefused as error:
            return str(error)
        if right.counted:
            table, counted = _counted(table), _counted(right.table)
            return rule.differ(table, counted, False)
        return rule.differ(table, right.table, right.ordered)

    return compare


def _counted(table: Table) -> Table:
    return Table(1, [("row",)] * len(table.rows), table.cut)


def _further(instance: Instance, gold: Any, answer: Any) -> Sequence[Content]:
    """The rows that are added to the instance for these two queries, in each of the ways to add some."""
    if instance.made_for:
        return witnesses(gold, answer, instance.made_for)
    return [instance.further(answer.literals | gold.literals) if instance.spare else ()]


def expected_rows(gold: Any, instance: Instance, further: Content, engine: Engine, max_rows: int) -> _Expected | None:
    """What the gold gives on the instance with further rows, and whether its order counts; None where it decides
    nothing."""
    try:
        table = instance.database.rows(gold, max_rows, further)
        if table.cut or (gold.has_lone_column and _is_of_nothing(table)):
            return None
        if not gold.may_hang_on_order or not (instance.content or further):
            return _Expected(table, gold.is_ordered)
        again = engine.empty.rows(gold, max_rows, turned(engine.read_by(gold, instance.content), further))
    except (QueryRefused, QueryUndecided, RowsRefused):
        return None
    if difference(again, table, gold.is_ordered) is None:
        return _Expected(table, gold.is_ordered)
    if difference(again, table, ordered=False) is None:
        return _Expected(table, ordered=False)
    alike = gold.has_lone_column and len(again.rows) == len(table.rows)
    return _Expected(table, ordered=False, counted=True) if alike else None


def _is_of_nothing(table: Table) -> bool:
    """Whether it is the one row of NULLs, or of 0, that an aggregate gives of no rows."""
    return len(table.rows) == 1 and all(cell in (None, 0) for cell in table.rows[0])


def _bare(query: Any) -> str:
    text: str = query.text
    return text.strip("; \n")


def _stopped(reason: str, seconds: float) -> str:
    """One wording for a query that ran out of time, whoever stopped it."""
    is_time = reason.startswith(("interrupt error", "timed out"))
    return f"timed out after {seconds:g} s" if is_time else reason
