"""A throw-away DuckDB for untrusted queries: locked down, kept between checks, never changed by one.

DuckDB's settings keep queries from files, the network and Python's variables, and stop most that run too
long. They do not stop resource bombs (`lpad` of gigabytes ignores the memory limit and interrupts): those are
for the address-space limit of the process and for the pool, which kills it. None of this is a boundary
against a flaw in DuckDB itself: that is what the process is confined for (`verifiers.checker`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flywheel.text import one_line, plural
from flywheel.verifiers.instances import Content, TableShape, meeting, needed, quoted, read_tables, various, with_nulls
from flywheel.verifiers.rows import Table, cell
from flywheel.verifiers.syntax import Literals, Query, effects

if TYPE_CHECKING:
    import duckdb

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "256MB",
    "max_temp_directory_size": "0KB",
    "threads": 1,
}
#: Table functions that only compute. `query('…')`, `checkpoint()` and their like are not among them.
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
#: The generated database that gets the rows which a gold query's own conditions select.
MADE = 4
MADE_LABEL = "database of rows that the gold selects"
_SIMPLE_TYPES = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
    | {"UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP", "UUID"}
)


class QueryRefused(Exception):
    """The text is not one query that reads and binds here, or it fails when run; the message says how."""


class QueryUndecided(Exception):
    """The query was stopped (time, memory) or the database broke: nothing is known about the query."""


class RowsRefused(Exception):
    """A constraint that generated rows cannot be checked against beforehand (a unique index on an expression)."""


class Database:
    """One of the databases in a process's DuckDB, as a connection whose names mean it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def bind(self, query: Query) -> None:
        """Raises QueryRefused unless names and types fit the schema. Nothing is executed or folded."""
        with self._transaction():
            self.connection.execute(f"DESCRIBE {query.text}").fetchall()

    def rows(self, query: Query, max_rows: int, further: Content = ()) -> Table:
        """The query's rows; with `further`, those it gives when these rows are in the tables too. Raises QueryRefused,
        QueryUndecided, RowsRefused.

        Only a query that this fixture's original database has run may come with `further`: what it runs in is no
        longer read-only, though rolled back.
        """
        with self._transaction(writing=bool(further)):
            self.insert(further)
            cursor = self.connection.execute(query.text)
            types = [str(column[1]).partition("(")[0] for column in cursor.description or []]
            rows = cursor.fetchmany(max_rows + 1)
        if not _SIMPLE_TYPES.issuperset(types):
            rows = [tuple(map(cell, row)) for row in rows]
        return Table(len(types), rows[:max_rows], cut=len(rows) > max_rows)

    def insert(self, content: Content) -> None:
        import duckdb

        for table, rows in content:
            for statement, columns in table.inserts(rows):
                try:
                    self.connection.execute(statement, columns)
                except duckdb.ConstraintException as error:
                    raise RowsRefused(str(error)) from error

    def fill(self, content: Content) -> None:
        """`insert`, but what is refused is left out."""
        for table, rows in content:
            try:
                self.insert(((table, rows),))
            except RowsRefused:
                for row in rows:
                    with suppress(RowsRefused):
                        self.insert(((table, (row,)),))

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, list(parameters)).fetchall()

    @contextmanager
    def _transaction(self, writing: bool = False) -> Iterator[None]:
        self.connection.execute("BEGIN TRANSACTION" if writing else "BEGIN TRANSACTION READ ONLY")
        try:
            with _telling():
                yield
        finally:
            self.connection.execute("ROLLBACK")


@dataclass(frozen=True)
class Instance:
    """A generated database. `label` says which, in words that follow "on the"."""

    label: str
    database: Any
    """A `Database` of this engine's: its `rows` takes the engine's queries."""
    content: Content = ()
    spare: Content = ()
    """Rows that a query's literals are written into and that are then added."""
    made_for: tuple[TableShape, ...] = ()
    """Tables that get, for each gold query and answer, the rows that their own conditions select."""

    def further(self, literals: Literals) -> Content:
        """Rows to add, for a query's literals."""
        return meeting(self.spare, literals) if self.spare else ()


class Fixture:
    """The database that a setup script makes, and `instances` generated ones of its schema.

    Raises duckdb.Error where the script fails, or its schema cannot be copied.
    """

    def __init__(self, setup: str, query_seconds: float, instances: int = 0) -> None:
        import duckdb

        limit = {"max_execution_time": str(max(1, int(query_seconds * 1000)))}
        connection = duckdb.connect(":memory:", config=_SETTINGS | limit)
        connection.execute(setup)
        self.original = Database(connection)
        macros = self.original.fetch("SELECT function_name FROM duckdb_functions() WHERE NOT internal")
        self._functions = _TABLE_FUNCTIONS | {name for (name,) in macros}
        views = self.original.fetch("SELECT view_name FROM duckdb_views() WHERE NOT internal")
        self._reads_unnamed = bool(macros or views)
        self.instances: tuple[Instance, ...] = tuple(self._generated(instances)) if instances else ()
        connection.execute("SET lock_configuration = true")

    def query(self, sql: str) -> Query:
        """The one query in `sql`. Raises QueryRefused."""
        with _telling():
            statements = self.original.connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryRefused(f"{plural(len(statements), 'statement')} instead of one")
        kind = statements[0].type.name
        if kind != "SELECT":
            raise QueryRefused(f"not a query: {kind}")
        query = Query(statements[0].query, self._tree(statements[0].query))
        for effect in effects(query.tree, self._functions):
            raise QueryRefused(one_line(effect, 100))
        return query

    def read_by(self, query: Query, content: Content) -> Content:
        """Of these rows the ones that the query could read."""
        return content if self._reads_unnamed else needed(content, query.tables)

    @property
    def empty(self) -> Database:
        """The database without rows; there where `instances` are."""
        database: Database = self.instances[0].database
        return database

    def close(self) -> None:
        self.original.connection.close()

    def _tree(self, query: str) -> str:
        """DuckDB's own syntax tree, as JSON."""
        with _telling():
            [(tree,)] = self.original.fetch("SELECT json_serialize_sql(?::VARCHAR)", [query])
        text: str = tree
        if text.startswith('{"error":true'):
            raise QueryRefused("not a query that can be analysed")
        return text

    def _generated(self, count: int) -> Iterator[Instance]:
        tables = read_tables(self.original.fetch)
        yield Instance("empty database", self._copy(1))
        if count > 1:
            yield self._filled("database with NULLs", 2, with_nulls(tables))
        for number in range(3, count + 1):
            if number == MADE:
                yield Instance(MADE_LABEL, self._copy(number), made_for=tables)
            else:
                yield self._filled(f"generated database {number}", number, *various(tables, number))

    def _filled(self, label: str, number: int, content: Content, spare: Content = ()) -> Instance:
        database = self._copy(number)
        database.fill(content)
        kept = tuple((table, tuple(database.fetch(table.select()))) for table, _ in content)
        return Instance(label, database, kept, spare)

    def _copy(self, number: int) -> Database:
        """A further database with the schema of the first, and no rows."""
        [(catalog, schema)] = self.original.fetch("SELECT current_database(), current_schema()")
        self.original.connection.execute(f"ATTACH ':memory:' AS generated_{number}")
        self.original.connection.execute(f"COPY FROM DATABASE {quoted(catalog)} TO generated_{number} (SCHEMA)")
        cursor = self.original.connection.cursor()
        cursor.execute(f"USE generated_{number}.{quoted(schema)}")
        return Database(cursor)


@cache
def kept_fixture(setup: str, query_seconds: float, instances: int) -> Fixture:
    """One fixture a setup script and process."""
    return Fixture(setup, query_seconds, instances)


# --- DuckDB's messages, in the words that a taxonomy looks for ---

_REWORDED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r'^Binder Error: Referenced column "(.*?)" not found', "unknown column: {}"),
        (r'^Binder Error: Table ".*?" does not have a column named "(.*?)"', "unknown column: {}"),
        (r'^Binder Error: Column "(.*?)" (?:in EXCLUDE list not found|does not exist)', "unknown column: {}"),
        (r'^Binder Error: Referenced table "(.*?)" not found', "unknown table: {}"),
        (r'^Catalog Error: Table with name "?(.*?)"? does not exist', "unknown table: {}"),
        (r"^Catalog Error: \w+ Function with name (.*?) does not exist", "unknown function: {}"),
        (r"^TransactionContext Error: .*read-only", "not a query: it writes"),
    )
)
_ERROR = re.compile(r"^([A-Z][\w ]*?) Error: (.*)")


def reason_of(message: str) -> str:
    """`Binder Error: Referenced column "x" not found in …` → `unknown column: x`."""
    for pattern, words in _REWORDED:
        if found := pattern.search(message):
            return words.format(one_line(found[1], 60) if found.groups() else "")
    found = _ERROR.search(message)
    return f"{found[1].lower()} error: {one_line(found[2], 160)}" if found else one_line(message, 160)


@contextmanager
def _telling() -> Iterator[None]:
    """duckdb's exceptions as QueryRefused or QueryUndecided."""
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise QueryUndecided("out of memory") from error
    except (duckdb.InterruptException, duckdb.InternalException, duckdb.FatalException) as error:
        raise QueryUndecided(reason_of(str(error))) from error
    except duckdb.Error as error:
        raise QueryRefused(reason_of(str(error))) from error
