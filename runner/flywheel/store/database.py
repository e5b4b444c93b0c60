"""The store's one connection, its lock, its migrations and its transactions."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb

from flywheel.errors import StoreError, StoreLocked
from flywheel.records import Reply
from flywheel.records.nodes import finished
from flywheel.store.migrations import MIGRATIONS, NODE_TABLES
from flywheel.store.rows import decoded, insert_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from filelock import FileLock


#: Of one store: what does not fit is read again from the file, or spilled beside it.
MEMORY_LIMIT = "512MB"
#: Rows that are on their way into the store in one transaction.
ROWS_AT_A_TIME = 10_000
#: For who reads the store just now (a page, a server, `status`) to be done with it, in seconds.
READER_SECONDS = 10.0
#: What DuckDB, and on Windows the system, says of a file that another process has open. The path stands there, too.
HELD = ("Could not set lock on file", "used by another process")


class Store:
    """Owner of the file: `Store(path)` takes the lock, opens, migrates. Thread-safe, a statement at a time.

    Raises StoreLocked where another process holds it, StoreError where the file is newer than this program or
    cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._mutex = threading.RLock()
        self._lock = _take_lock(path.with_suffix(".lock"))
        self.quarantined: Path | None = None
        """Where an unreadable write-ahead log was put; what it held is to be done again."""
        try:
            self._connection = self._opened()
            self._migrate()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._mutex:
            self._connection.close()
            self._lock.release()

    # -- reading

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts, JSON columns decoded."""
        with self._mutex:
            return rows_of(self._connection, sql, parameters)

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The same, a block at a time; what is written meanwhile is not seen."""
        with self._mutex:
            reader = self._connection.cursor()
        with closing(reader):
            reader.execute(sql, parameters)
            names = [column[0] for column in reader.description or ()]
            while block := reader.fetchmany(ROWS_AT_A_TIME):
                yield from (decoded(dict(zip(names, values, strict=True))) for values in block)

    def columns(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The same, as Arrow: for files of many rows, of which none becomes a Python value."""
        with self._mutex, closing(self._connection.cursor()) as reader:
            return reader.sql(sql, params=list(parameters)).to_arrow_table()

    # -- writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing. A disk that is full raises StoreError with the way out."""
        with self._mutex:
            self._connection.execute("BEGIN")
            try:
                yield Transaction(self._connection)
                self._connection.execute("COMMIT")
            except duckdb.FatalException as error:
                self._reopen()
                raise _disk_error(self.path, error) from error
            except duckdb.Error as error:
                self._rollback()
                raise _disk_error(self.path, error) from error
            except BaseException:
                self._rollback()
                raise

    def _rollback(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:  # the failed COMMIT has ended the transaction itself
            return

    def _reopen(self) -> None:
        """After a fatal error the instance is dead; what was committed is found again by opening the file."""
        self._connection.close()
        self._connection = _open(self.path)

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        with self.transaction() as transaction:
            transaction.insert(table, rows)

    def write_all(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """More rows than memory holds, in transactions of a block each."""
        waiting = iter(rows)
        while block := list(islice(waiting, ROWS_AT_A_TIME)):
            self.write(table, block)

    def copy(self, table: str, sql: str, parameters: Sequence[Any]) -> None:
        """The rows of a query into a table, by the names of their columns, without a look at them."""
        with self.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} BY NAME {sql}", parameters)

    def forget_unfinished(self) -> None:
        """Remove what nodes wrote that were killed before they were done, where the last run did not end."""
        last = self.query(
            "SELECT count(ended_at) AS ended FROM runs GROUP BY run_id ORDER BY max(started_at) DESC LIMIT 1"
        )
        if not last or last[0]["ended"]:
            return
        done = [record.node for record in finished(self.query)]
        with self.transaction() as transaction:
            for table in NODE_TABLES:
                transaction.execute(f"DELETE FROM {table} WHERE NOT list_contains(?, node)", [done])

    def save_calls(self, run_id: str, calls: Sequence[tuple[Mapping[str, Any], Reply]]) -> None:
        """Take calls from the journal. Safe to repeat: what is here already is left alone."""
        keys = [reply.key for _, reply in calls]
        here = self.query("SELECT * FROM calls WHERE key IN (SELECT unnest(?))", [keys])
        seen = {_call_identity(_reply(row)) for row in here}
        fresh = {_call_identity(reply): (request, reply) for request, reply in calls}
        self.write("calls", [_call_row(run_id, *call) for identity, call in fresh.items() if identity not in seen])

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file: what is in it now survives the loss of the log."""
        with self._mutex:
            self._connection.execute("CHECKPOINT")

    def known_calls(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The last reply to each key; an answer counts before any failure."""
        rows = self.query(
            "SELECT * FROM calls WHERE key IN (SELECT unnest(?)) ORDER BY status = 'ok', called_at", [list(keys)]
        )
        return {row["key"]: _reply(row) for row in rows}

    def snapshot(self, path: Path) -> None:
        """A copy that other processes may open, put in place atomically."""
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        with self._mutex:
            name = self.query("SELECT current_database() AS name")[0]["name"]
            try:
                self._connection.execute(f"ATTACH '{_quoted(temporary)}' AS copied")
                try:
                    self._connection.execute(f'COPY FROM DATABASE "{name}" TO copied')
                finally:
                    self._connection.execute("DETACH copied")
            except duckdb.Error as error:
                raise _disk_error(path, error) from error
        os.replace(temporary, path)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        """The database; without its write-ahead log where that cannot be read. Nothing is deleted."""
        log = self.path.with_name(f"{self.path.name}.wal")
        try:
            return _open_after_readers(self.path)
        except StoreLocked:
            raise
        except StoreError:
            if not log.exists():
                raise
        self.quarantined = log.with_name(f"{log.name}.corrupt-{datetime.now(UTC):%Y%m%d%H%M%S}")
        os.replace(log, self.quarantined)
        return _open(self.path)

    # -- schema

    def _migrate(self) -> None:
        self._connection.execute("CREATE TABLE IF NOT EXISTS migrations (name VARCHAR, migrated_at TIMESTAMPTZ)")
        done = _migrated(self._connection)
        known = [name for name, _ in MIGRATIONS]
        if newer := sorted(done - set(known)):
            raise StoreError(
                f"{self.path}: the store was written by a newer flywheel (it has {newer[0]}, this one knows up to "
                f"{known[-1]}). Upgrade flywheel, or move the file away to start anew."
            )
        pending = [(name, sql) for name, sql in MIGRATIONS if name not in done]
        if not pending:
            return
        with self.transaction() as transaction:
            for name, sql in pending:
                transaction.execute(sql)
                transaction.insert("migrations", [{"name": name, "migrated_at": datetime.now(UTC)}])
        # DDL in the write-ahead log is where replay bugs live: fold it into the file at once.
        self._connection.execute("CHECKPOINT")


class Transaction:
    """What may be done inside `Store.transaction()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._connection.execute(sql, parameters or None)

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        insert_rows(self._connection, table, rows)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return rows_of(self._connection, sql, parameters)

    def clear_node(self, node: str) -> None:
        """Remove what an unfinished attempt of a node left."""
        for table in NODE_TABLES:
            self.execute(f"DELETE FROM {table} WHERE node = ?", [node])


def rows_of(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
) -> list[dict[str, Any]]:
    cursor = connection.execute(sql, parameters or None)
    if cursor is None:  # nothing but blanks or comments
        raise duckdb.InvalidInputException("the query is empty")
    names = [column[0] for column in cursor.description or ()]
    return [decoded(dict(zip(names, values, strict=True))) for values in cursor.fetchall()]


@contextmanager
def read_only(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for reading only, without access to other files. A store of an earlier version is brought up to
    date first. Raises StoreLocked, StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: no store yet. Run `flywheel apply` first.")
    connection = _open(path, read_only=True)
    if not {name for name, _ in MIGRATIONS} <= _migrated(connection):
        connection.close()
        Store(path).close()
        connection = _open(path, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


def _migrated(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row["name"] for row in rows_of(connection, "SELECT name FROM migrations")}


def _open(path: Path, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    # Readers in several threads share one database of DuckDB's: what is set later would be set for all, and twice.
    closed = {"enable_external_access": "false", "lock_configuration": "true"} if read_only else {}
    try:
        return duckdb.connect(str(path), read_only=read_only, config={"memory_limit": MEMORY_LIMIT, **closed})
    except duckdb.Error as error:
        raise _open_error(path, error) from error


def _open_after_readers(path: Path) -> duckdb.DuckDBPyConnection:
    """For who has the lock: nobody else writes, so whoever holds the file reads it, and is done in a moment."""
    end = time.monotonic() + READER_SECONDS
    while True:
        try:
            return _open(path)
        except StoreLocked:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def _open_error(path: Path, error: duckdb.Error) -> StoreError:
    text = str(error)
    if "different configuration" in text:
        return StoreLocked(f"{path}: another thread of this process holds the store.")
    if any(words in text for words in HELD):
        return StoreLocked(f"{path}: another process holds the store. {text.splitlines()[0]}")
    if "newer version" in text or "version number" in text:
        return StoreError(f"{path}: written by another version of DuckDB: {text.splitlines()[0]}")
    return StoreError(
        f"{path}: the store cannot be opened: {text.splitlines()[0]} "
        f"Nothing was deleted. Put the copy of the last apply in its place (snapshot.duckdb), or move {path.name} away "
        "to start anew."
    )


def _disk_error(path: Path, error: duckdb.Error) -> Exception:
    text = str(error)
    if "No space left" in text or "disk" in text.lower():
        free = shutil.disk_usage(path.parent).free
        return StoreError(
            f"{path}: the disk is full ({free / 1e6:,.0f} MB left): {text.splitlines()[0]} Free some space and run "
            "`flywheel apply` again; it goes on where it was."
        )
    return error


def _take_lock(path: Path) -> FileLock:
    """A lock of the operating system, which ends with its process: a stale one needs no clearing.

    Who holds it stands beside it: some systems let nobody read a file that is locked.
    """
    from filelock import FileLock, Timeout  # it imports asyncio, a seventh of what `validate` takes

    lock = FileLock(path, blocking=False, thread_local=False)  # the store may be closed by another thread
    beside = path.with_suffix(".pid")
    try:
        lock.acquire()
    except Timeout:
        raise StoreLocked(
            f"the store is held by process {_owner(beside)} (another `flywheel apply`?). Wait for it, or look at "
            "`flywheel status`."
        ) from None
    beside.write_text(str(os.getpid()))
    return lock


def _owner(path: Path) -> str:
    try:
        return path.read_text().strip() or "unknown"
    except OSError:  # it holds the lock since a moment, and has not said yet
        return "unknown"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _call_row(run_id: str, request: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
    return {
        "key": reply.key, "run_id": run_id, "teacher": reply.teacher, "kind": request.get("kind"),
        "purpose": request.get("purpose"), "mode": request.get("mode"), "model": reply.model,
        "request": dict(request), "status": reply.status, "text": reply.text, "fault": reply.fault,
        "detail": reply.detail, "input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens,
        "usd": reply.usd, "seconds": reply.seconds, "attempts": reply.attempts, "called_at": datetime.now(UTC),
    }  # fmt: skip


def _call_identity(reply: Reply) -> tuple[str, str, str, int, float, float]:
    """Tells two askings of one key apart (by how long they took), and knows one that is taken in again."""
    return reply.key, reply.status, reply.fault, reply.attempts, reply.usd, reply.seconds


def _reply(row: Mapping[str, Any]) -> Reply:
    return Reply(
        key=row["key"], teacher=row["teacher"], status=row["status"], text=row["text"] or "",
        fault=row["fault"] or "", detail=row["detail"] or "", input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"], usd=row["usd"], seconds=row["seconds"], attempts=row["attempts"],
        model=row["model"] or "", cached=True,
    )  # fmt: skip
