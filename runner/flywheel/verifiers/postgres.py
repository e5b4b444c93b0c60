"""PostgreSQL on a server that the user names: the queries run there, read-only and with a time limit.

The child that asks is not confined, since it needs the network: what an answer may do, the server says. Every query
runs in a read-only transaction that is rolled back; but a role may be allowed more than reading (functions that read
the server's files, other connections), so name one that can only read: `CREATE ROLE judge LOGIN` and `GRANT
pg_read_all_data TO judge`. A superuser is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flywheel.errors import SpecInvalid
from flywheel.spec.secrets import resolve_env
from flywheel.text import one_line
from flywheel.verifiers.analysis import Analysed
from flywheel.verifiers.finding import VerifierInvalid
from flywheel.verifiers.fixture import Instance, QueryRefused, QueryUndecided
from flywheel.verifiers.instances import Content
from flywheel.verifiers.rows import Table, cell
from flywheel.verifiers.tokens import first_word

if TYPE_CHECKING:
    import psycopg

_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "("})
_CONNECT_SECONDS = 5
#: SQLSTATE → words that a taxonomy looks for.
_STATES = {"42703": "unknown column", "42P01": "unknown table", "42883": "unknown function", "42601": "parser error"}
_MEMORY, _STOPPED = ("53200", "53400", "54000"), "57014"


class PostgresDatabase:
    """One connection. `rows` and `bind` as those of the other engines; there are no generated rows."""

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self.connection = connection
        self._seconds = seconds

    def bind(self, query: Analysed) -> None:
        """Raises QueryRefused unless it can be planned. Nothing is executed."""
        with self._reading() as cursor:
            _one(cursor, f"EXPLAIN {query.text}")

    def rows(self, query: Analysed, max_rows: int, further: Content = ()) -> Table:
        """Raises QueryRefused, QueryUndecided."""
        with self._reading() as cursor:
            # A cursor of the server's: its rows come as they are asked for, and a statement that gives none is refused.
            _one(cursor, f"DECLARE judged NO SCROLL CURSOR FOR {query.text}")
            cursor.execute(f"FETCH FORWARD {max_rows + 1} FROM judged".encode())
            rows = [tuple(map(cell, row)) for row in cursor.fetchall()]
            return Table(len(cursor.description or ()), rows[:max_rows], cut=len(rows) > max_rows)

    @contextmanager
    def _reading(self) -> Iterator[psycopg.Cursor[Any]]:
        """A read-only transaction that is rolled back; the server's errors as QueryRefused or QueryUndecided."""
        import psycopg

        try:
            with self.connection.cursor() as cursor:
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                cursor.execute(f"SET LOCAL statement_timeout = {max(1, int(self._seconds * 1000))}".encode())
                yield cursor
        except psycopg.OperationalError as error:
            raise QueryUndecided(self._stop(error)) from error
        except psycopg.Error as error:
            raise QueryRefused(_reason(error)) from error
        finally:
            if not self.connection.closed:
                self.connection.execute("ROLLBACK")

    def _stop(self, error: psycopg.Error) -> str:
        if error.sqlstate == _STOPPED:
            return f"timed out after {self._seconds:g} s"
        return "out of memory" if error.sqlstate in _MEMORY else one_line(str(error), 160)


class PostgresServer:
    """The server's database, for queries. Raises VerifierInvalid where it cannot be reached or the role may do all."""

    instances: tuple[Instance, ...] = ()

    def __init__(self, dsn: str, query_seconds: float) -> None:
        try:
            import psycopg
        except ImportError:
            raise VerifierInvalid("engine: postgres needs psycopg: pip install 'flywheel[postgres]'") from None
        try:
            connection = psycopg.connect(resolve_env(dsn), autocommit=True, connect_timeout=_CONNECT_SECONDS)
        except SpecInvalid as unset:
            raise VerifierInvalid(unset.faults[0].message) from None
        except psycopg.Error as error:
            raise VerifierInvalid(f"the server that dsn names does not answer: {_without_address(error)}") from None
        [(is_superuser,)] = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchall()
        if is_superuser:
            connection.close()
            raise VerifierInvalid("the role that dsn names is a superuser: name one that can only read")
        self.original = PostgresDatabase(connection, query_seconds)

    def query(self, sql: str) -> Analysed:
        """The query in `sql`, without the semicolon at its end. Raises QueryRefused."""
        word = first_word(sql)
        if word not in _READS:
            raise QueryRefused(f"not a query: {one_line(word, 30)}" if word else "0 statements instead of one")
        return Analysed(sql.strip().rstrip(";"), "postgres")

    def read_by(self, query: Analysed, content: Content) -> Content:
        return content

    @property
    def empty(self) -> PostgresDatabase:
        return self.original


def _one(cursor: psycopg.Cursor[Any], statement: str) -> None:
    """By the protocol that takes one statement: by the other `SELECT 1; COMMIT; DELETE …` leaves the transaction."""
    cursor.execute(statement.encode(), binary=True)


@lru_cache(4)
def kept_postgres(dsn: str, query_seconds: float) -> PostgresServer:
    """One connection a process."""
    return PostgresServer(dsn, query_seconds)


def _reason(error: psycopg.Error) -> str:
    message = one_line(error.diag.message_primary or str(error), 160)
    if error.sqlstate == "25006":
        return "not a query: it writes"
    if error.sqlstate in _STATES:
        return f"{_STATES[error.sqlstate]}: {message}"
    return f"error: {message}"


def _without_address(error: Exception) -> str:
    """What the client says, without the address and the role, which are the user's secret."""
    return one_line(str(error).rpartition(": ")[2], 120)
