"""SQLite for untrusted queries: a file opened read-only, or the database that a script makes in memory.

What a query may do, SQLite's authorizer says while it is compiled: read the declared tables and call functions, and
nothing else. Time is kept by the progress handler, memory by SQLite's own hard limit; what neither sees (one call of a
function that never returns) is for the pool, which kills the process, and for its limit on address space. As with
DuckDB none of this is a boundary against a flaw in SQLite: that is what the process is confined for.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from flywheel.text import one_line
from flywheel.verifiers.analysis import Analysed
from flywheel.verifiers.fixture import MADE, MADE_LABEL, Instance, QueryRefused, QueryUndecided
from flywheel.verifiers.instances import Content, needed, quoted, various, with_nulls
from flywheel.verifiers.rows import Table
from flywheel.verifiers.shapes import SqliteTable, read_sqlite_tables, texts
from flywheel.verifiers.tokens import first_word

#: Bytes that SQLite may allocate in this process, and those of one value.
HEAP_BYTES = 512 << 20
VALUE_BYTES = 64 << 20
_STEPS = 10_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 5_000,
}
#: Functions that only look harmless. (None that opens files is built in; extensions cannot be loaded.)
_FUNCTIONS_REFUSED = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_CATALOG = frozenset({"sqlite_master", "sqlite_schema", "sqlite_sequence"})
_READS = frozenset({"SELECT", "WITH", "VALUES"})
#: What full-text search asks of the database itself, by statements of its own. (An answer's statement is no PRAGMA.)
_PRAGMAS_ASKED = frozenset({"data_version", "page_size"})
_ACTIONS = {
    getattr(sqlite3, name): name.removeprefix("SQLITE_").replace("_", " ")
    for name in (
        "SQLITE_INSERT", "SQLITE_UPDATE", "SQLITE_DELETE", "SQLITE_PRAGMA", "SQLITE_ATTACH", "SQLITE_DETACH",
        "SQLITE_TRANSACTION", "SQLITE_SAVEPOINT", "SQLITE_CREATE_TABLE", "SQLITE_CREATE_TEMP_TABLE",
        "SQLITE_CREATE_VIEW", "SQLITE_CREATE_INDEX", "SQLITE_CREATE_TRIGGER", "SQLITE_DROP_TABLE", "SQLITE_DROP_VIEW",
        "SQLITE_ALTER_TABLE", "SQLITE_REINDEX", "SQLITE_ANALYZE",
    )
}  # fmt: skip


class _Guard:
    """What the query that is compiled now may do, and until when the one that runs may run."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.modules: frozenset[str] = frozenset()
        """Virtual tables that are there without being declared."""
        self.open = True
        self.refusal = ""
        self._deadline = float("inf")

    def authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if self.open:  # our own statements, and the project's script
            return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
        reason = self._reason(action, first or "", second or "")
        if reason is None:
            return sqlite3.SQLITE_OK
        self.refusal = self.refusal or reason
        return sqlite3.SQLITE_DENY

    def _reason(self, action: int, first: str, second: str) -> str | None:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return None
        if action == sqlite3.SQLITE_READ:  # of tables, and of names that the query itself gives (WITH)
            name = first.lower()
            refused = name in self.modules or (name.startswith(("pragma_", "sqlite_")) and name not in _CATALOG)
            return f"table function not allowed: {one_line(first, 60)}" if refused else None
        if action == sqlite3.SQLITE_FUNCTION:
            refused = second.lower() in _FUNCTIONS_REFUSED
            return f"function not allowed: {one_line(second, 60)}" if refused else None
        if action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS_ASKED and not second:
            return None
        return f"not a query: {_ACTIONS.get(action, 'it does more than read')}"

    def overdue(self) -> int:
        return int(time.monotonic() > self._deadline)

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Within, only reading; SQLite's errors as QueryRefused or QueryUndecided."""
        self.open, self.refusal, self._deadline = False, "", time.monotonic() + self.seconds
        try:
            yield
        except MemoryError as error:
            raise QueryUndecided("out of memory") from error
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise self._told(error) from error
        finally:
            self.open, self._deadline = True, float("inf")

    def _told(self, error: Exception) -> Exception:
        message = str(error)
        if self.refusal:
            return QueryRefused(self.refusal)
        if message == "interrupted":
            return QueryUndecided(f"timed out after {self.seconds:g} s")
        if isinstance(error, sqlite3.DataError) or "out of memory" in message or "too big" in message:
            return QueryUndecided("out of memory")
        return QueryRefused(reason_of(message))


class SqliteDatabase:
    """One connection whose queries are guarded."""

    def __init__(self, connection: sqlite3.Connection, guard: _Guard) -> None:
        self.connection = connection
        self._guard = guard

    def bind(self, query: Analysed) -> None:
        """Raises QueryRefused unless it compiles: names and functions fit. Nothing is executed."""
        with self._guard.guarding():
            self.connection.execute(f"EXPLAIN {query.text}").close()

    def rows(self, query: Analysed, max_rows: int, further: Content = ()) -> Table:
        """The query's rows; with `further`, those it gives when these rows are in the tables too. Raises QueryRefused,
        QueryUndecided."""
        if not further:
            return self._rows(query, max_rows)
        self.connection.execute("SAVEPOINT further")
        try:
            self.insert(further)
            return self._rows(query, max_rows)
        finally:
            self.connection.execute("ROLLBACK TO further")
            self.connection.execute("RELEASE further")

    def _rows(self, query: Analysed, max_rows: int) -> Table:
        with self._guard.guarding():
            cursor = self.connection.execute(query.text)
            try:
                rows = cursor.fetchmany(max_rows + 1)
                return Table(len(cursor.description or ()), rows[:max_rows], cut=len(rows) > max_rows)
            finally:
                cursor.close()

    def insert(self, content: Content) -> None:
        """What a constraint refuses is left out."""
        for table, rows in content:
            assert isinstance(table, SqliteTable)
            for row in rows:
                with suppress(sqlite3.IntegrityError):  # no number in an INTEGER PRIMARY KEY: IGNORE ignores all others
                    self.connection.execute(table.insert, table.values(row))
        for table, _ in content:
            if table.foreign_keys:
                self._drop_orphans(table.name)

    def _drop_orphans(self, table: str) -> None:
        try:
            found = self.connection.execute(f"PRAGMA foreign_key_check({table})").fetchall()
            orphans = [(rowid,) for _, rowid, *_ in found if rowid is not None]
            self.connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", orphans)
        except sqlite3.Error:
            return  # keys that SQLite itself cannot check: they are not enforced either

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self.connection.execute(sql, list(parameters)).fetchall()


class SqliteFixture:
    """A database for queries and `instances` generated ones of its schema. `path`: a file; else `setup`, a script.

    Raises sqlite3.Error where the file cannot be read or the script fails.
    """

    def __init__(self, query_seconds: float, path: Path | None = None, setup: str = "", instances: int = 0) -> None:
        self._guard = _Guard(query_seconds)
        connection = self._connect(path)
        if path is None:
            connection.executescript(setup)
            connection.execute("PRAGMA writable_schema = RESET")  # a .dump writes virtual tables into the catalogue
        _meet_virtual_tables(connection)
        self.original = SqliteDatabase(connection, self._guard)
        modules = self.original.fetch("SELECT lower(name) FROM pragma_module_list")
        self._guard.modules = frozenset(str(name) for (name,) in modules) - _TABLE_FUNCTIONS
        self._reads_unnamed = bool(self.original.fetch("SELECT 1 FROM sqlite_master WHERE type = 'view'"))
        self.tables = read_sqlite_tables(self.original.fetch) if instances else ()
        self.instances: tuple[Instance, ...] = tuple(self._generated(instances)) if instances else ()

    def query(self, sql: str) -> Analysed:
        """The one query in `sql`. Raises QueryRefused."""
        word = first_word(sql)
        if not word:
            raise QueryRefused("0 statements instead of one" if not sql.strip(" \n\t;") else "not a query")
        if word not in _READS and sqlite3.complete_statement(sql.rstrip("; \n") + ";"):
            known = re.fullmatch(r"[A-Z]+", word) and word in _STATEMENTS
            raise QueryRefused(f"not a query: {word}" if known else reason_of(f'near "{word}": syntax error'))
        return Analysed(sql.rstrip("; \t\r\n"), "sqlite")  # two semicolons at its end are no second statement

    def read_by(self, query: Analysed, content: Content) -> Content:
        """Of these rows the ones that the query could read."""
        return content if self._reads_unnamed or query.tables is None else needed(content, query.tables)

    @property
    def empty(self) -> SqliteDatabase:
        database: SqliteDatabase = self.instances[0].database
        return database

    def close(self) -> None:
        for instance in self.instances:
            instance.database.connection.close()
        self.original.connection.close()

    def _connect(self, path: Path | None = None) -> sqlite3.Connection:
        # Nobody writes to the file while it is judged, and a confined process could not lock it: immutable.
        address = ":memory:" if path is None else f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
        connection = sqlite3.connect(
            address, uri=path is not None, isolation_level=None, cached_statements=0, check_same_thread=False
        )
        connection.text_factory = lambda raw: raw.decode(errors="ignore")
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        for pragma in (f"hard_heap_limit = {HEAP_BYTES}", "temp_store = MEMORY", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        if path is not None:
            connection.execute("PRAGMA query_only = ON")
            connection.execute(
                "SELECT count(*) FROM sqlite_master"
            ).fetchall()  # a file that is no database says so now
        for name in _TABLE_FUNCTIONS:  # what makes itself at its first use would then seem to write
            connection.execute(f"SELECT 1 FROM {name}('[]')").fetchall()
        connection.set_authorizer(self._guard.authorize)
        connection.set_progress_handler(self._guard.overdue, _STEPS)
        return connection

    def _generated(self, count: int) -> Iterator[Instance]:
        yield Instance("empty database", self._copy())
        if count > 1:
            yield self._filled("database with NULLs", with_nulls(self.tables))
        for number in range(3, count + 1):
            if number == MADE:
                yield Instance(MADE_LABEL, self._copy(), made_for=self.tables)
            else:
                yield self._filled(f"generated database {number}", *various(self.tables, number))

    def _filled(self, label: str, content: Content, spare: Content = ()) -> Instance:
        database = self._copy()
        database.insert(content)
        kept = tuple((table, tuple(texts(database.fetch(table.select())))) for table, _ in content)
        return Instance(label, database, kept, spare)

    def _copy(self) -> SqliteDatabase:
        """A further database with the schema of the first, and no rows."""
        connection = self._connect()
        made = self.original.fetch(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND type IN ('table', 'view', 'index') ORDER BY type = 'view', type = 'index', rowid"
        )
        for (statement,) in made:
            try:
                connection.execute(str(statement))
            except sqlite3.Error as error:
                if "already exists" not in str(error):  # what a virtual table made for itself
                    raise sqlite3.DatabaseError(f"its schema cannot be copied: {error}") from error
        return SqliteDatabase(connection, self._guard)


def _meet_virtual_tables(connection: sqlite3.Connection) -> None:
    """A virtual table declares itself at its first use, which to the guard would look like writing."""
    virtual = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'").fetchall()
    for (name,) in virtual:
        with suppress(sqlite3.Error):  # a module that is not here: queries of the table say so
            connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 0").fetchall()


@lru_cache(32)
def kept_sqlite(path: Path | None, setup: str, query_seconds: float, instances: int) -> SqliteFixture:
    """One fixture a database and process; those of a benchmark's many files come and go."""
    return SqliteFixture(query_seconds, path, setup, instances)


# --- SQLite's messages, in the words that a taxonomy looks for ---

_STATEMENTS = frozenset(
    {"ALTER", "ANALYZE", "ATTACH", "BEGIN", "COMMIT", "CREATE", "DELETE", "DETACH", "DROP", "END", "EXPLAIN", "INSERT"}
    | {"PRAGMA", "REINDEX", "RELEASE", "REPLACE", "ROLLBACK", "SAVEPOINT", "UPDATE", "VACUUM"}
)
_REWORDED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^no such column: (.*)", "unknown column: {}"),
        (r"^no such table: (.*)", "unknown table: {}"),
        (r"^no such function: (.*)", "unknown function: {}"),
        (r"^You can only execute one statement at a time", "2 statements or more instead of one"),
        (r"^(near .*: syntax error|incomplete input|unrecognized token.*)", "parser error: {}"),
    )
)


def reason_of(message: str) -> str:
    for pattern, words in _REWORDED:
        if found := pattern.search(message):
            return words.format(one_line(found[1], 80) if found.groups() else "")
    return f"error: {one_line(message, 160)}"
