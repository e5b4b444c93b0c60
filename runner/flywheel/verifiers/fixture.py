"""A throw-away DuckDB for untrusted queries: locked down, kept between checks, never changed by one.

DuckDB's settings keep queries from files, the network and Python's variables, and stop most that run too
long. They do not stop resource bombs (`lpad` of gigabytes ignores the memory limit and interrupts): those are
for the address-space limit of the process and for the pool, which kills it. None of this is a boundary
against a flaw in DuckDB itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from flywheel.text import one_line, plural
from flywheel.verifiers.rows import Table, cell

if TYPE_CHECKING:
    pass

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

# Quotes inside literals stand escaped in the tree's JSON, so text in a query cannot pose as one of these.
_NODES = re.compile(
    r'(?<!\\)"type":"(?:(?P<change>[A-Z]+)\w*_QUERY_NODE|(?P<show>SHOW)_REF'
    r'|TABLE_FUNCTION".*?"function_name":"(?P<function>(?:[^"\\]|\\.)*)")'
)
_SIMPLE_TYPES = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
    | {"UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP", "UUID"}
)


class QueryRefused(Exception):
    """The text is not one query that reads and binds here, or it fails when run; the message says how."""


class QueryUndecided(Exception):
    """The query was stopped (time, memory) or the database broke: nothing is known about the query."""


class Fixture:
    """The database that a setup script makes. Raises duckdb.Error where the script fails."""

    def __init__(self, setup: str, query_seconds: float) -> None:
        import duckdb

        limit = {"max_execution_time": str(max(1, int(query_seconds * 1000)))}
        self._connection = duckdb.connect(":memory:", config=_SETTINGS | limit)
        self._connection.execute(setup)
        macros = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"
        self._functions = _TABLE_FUNCTIONS | {name for (name,) in self._connection.execute(macros).fetchall()}
        self._connection.execute("SET lock_configuration = true")

    def query(self, sql: str) -> str:
        """The text of the one query in `sql`. Raises QueryRefused."""
        with _telling():
            statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryRefused(f"{plural(len(statements), 'statement')} instead of one")
        kind = statements[0].type.name
        if kind != "SELECT":
            raise QueryRefused(f"not a query: {kind}")
        text: str = statements[0].query
        self._refuse_effects(self._tree(text))
        return text

    def bind(self, query: str) -> None:
        """Raises QueryRefused unless names and types fit the schema. Nothing is executed or folded."""
        with self._reading():
            self._connection.execute(f"DESCRIBE {query}").fetchall()

    def rows(self, query: str, max_rows: int) -> Table:
        with self._reading():
            cursor = self._connection.execute(query)
            types = [str(column[1]).partition("(")[0] for column in cursor.description or []]
            rows = cursor.fetchmany(max_rows + 1)
        if not _SIMPLE_TYPES.issuperset(types):
            rows = [tuple(map(cell, row)) for row in rows]
        return Table(len(types), rows[:max_rows], cut=len(rows) > max_rows)

    def is_ordered(self, query: str) -> bool:
        """Whether the query has an ORDER BY of its own (not only in a sub-query)."""
        node = json.loads(self._tree(query))["statements"][0]["node"]
        return any(modifier["type"] == "ORDER_MODIFIER" for modifier in node["modifiers"])

    def close(self) -> None:
        self._connection.close()

    def _tree(self, query: str) -> str:
        """DuckDB's own syntax tree, as JSON."""
        with _telling():
            [(tree,)] = self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
        text: str = tree
        if text.startswith('{"error":true'):
            raise QueryRefused("not a query that can be analysed")
        return text

    def _refuse_effects(self, tree: str) -> None:
        for node in _NODES.finditer(tree):
            if node["change"]:
                raise QueryRefused(f"not a query: {node['change']} in WITH")
            if node["show"]:
                raise QueryRefused("not a query: SHOW")
            if node["function"].lower() not in self._functions:
                raise QueryRefused(f"table function not allowed: {one_line(node['function'], 60)}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            with _telling():
                yield
        finally:
            self._connection.execute("ROLLBACK")


@cache
def kept_fixture(setup: str, query_seconds: float) -> Fixture:
    """One fixture a setup script and process."""
    return Fixture(setup, query_seconds)


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
