"""Further databases of one schema, generated from fixed seeds, on which right answers agree and lucky ones do not.

All values are text here; DuckDB casts them. Declared constraints are kept: a row that violates one is left out. What
the schema does not declare is not known here: a column without NOT NULL gets NULLs, one without a key gets repeats.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, count, islice, repeat
from typing import Any, Literal, TypeVar

from flywheel.verifiers.syntax import Literals

Cells = tuple[str | None, ...]
Content = tuple[tuple["TableShape", tuple[Cells, ...]], ...]
"""Rows of each table, parents before children."""
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement with its parameters."""
Family = Literal["number", "text", "time", "truth", "other"]

#: Rows of a table in a generated database, and the further ones for a query's literals.
ROWS = 24
LITERAL_ROWS = 16
POOL = 40
_FEW = 4
_NULL_SHARE = 0.1
_LITERAL_SHARE = 0.75
_LITERAL_LENGTH = 200
#: Not a type's largest values: sums and products of honest queries should not overflow on them.
BOUNDARIES: Mapping[Family, tuple[str, ...]] = {
    "number": ("1", "1000000", "0", "-1"),
    "text": ("A", " b", "a", ""),
    "time": ("1999-12-31", "2024-01-01", "1970-01-01", "2000-02-29"),
    "truth": ("true", "false"),
    "other": (),
}
#: Values that a column holds where nothing forbids it: where a CHECK refuses one, others are not tried either.
COMMON: Mapping[Family, tuple[str, ...]] = {
    "number": ("2", "3", "5", "7", "11", "50", "90"),
    "text": ("nm1", "a"),
    "time": (),
    "truth": (),
    "other": (),
}
_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_CONSTANT = re.compile(r"'((?:[^']|'')*)'|(?<!\w)(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    family: Family
    nullable: bool
    key: bool
    """Part of a primary or unique key."""
    pool: tuple[str, ...]
    """Values of the original database, then boundaries."""
    closed: bool = False
    """Whether a CHECK refuses common values: those of the pool are all that is known to fit."""

    @property
    def distinct(self) -> bool:
        """Whether every row gets a value of its own: for the keys, and so that most orders are strict."""
        return self.key or self.family in ("number", "time")


@dataclass(frozen=True)
class ForeignKey:
    columns: tuple[int, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True)
class TableShape:
    """A table that can be filled. `name` is quoted, with its schema; `insert` takes one list of texts a column."""

    name: str
    bare_name: str
    """Without quotes and schema, in lower case: as far as queries that name it agree."""
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...]
    insert: str = field(repr=False)

    def inserts(self, rows: Sequence[Cells]) -> Iterator[tuple[str, list[list[str | None]]]]:
        """Statements with their parameters; rows that refer to this very table come after those they may mean."""
        own = [column for key in self.foreign_keys if key.parent == self.name for column in key.columns]
        roots = [row for row in rows if all(row[column] is None for column in own)]
        others = [row for row in rows if any(row[column] is not None for column in own)]
        for batch in filter(None, (roots, others)):
            yield self.insert, [list(column) for column in zip(*batch, strict=True)]

    def select(self) -> str:
        columns = ", ".join(f"CAST({quoted(column.name)} AS VARCHAR)" for column in self.columns)
        return f"SELECT {columns} FROM {self.name}"


AnyTable = TypeVar("AnyTable", bound=TableShape)

# --- reading the schema ---


def read_tables(fetch: Fetch) -> tuple[TableShape, ...]:
    """The tables of the current database that have columns to fill, parents before children."""
    names = fetch(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()"
        " AND NOT internal AND NOT temporary ORDER BY ALL",
        [],
    )
    tables = [_read_table(fetch, schema, table) for schema, table in names]
    return tuple(parents_first([table for table in tables if table.columns]))


def _read_table(fetch: Fetch, schema: str, table: str) -> TableShape:
    where = "WHERE database_name = current_database() AND schema_name = ? AND table_name = ?"
    constraints = fetch(
        "SELECT constraint_type, expression, constraint_column_names, referenced_table, referenced_column_names"
        f" FROM duckdb_constraints() {where} ORDER BY constraint_index",
        [schema, table],
    )
    unique = fetch(f"SELECT expressions FROM duckdb_indexes() {where} AND is_unique", [schema, table])
    keys = {column for kind, _, columns, *_ in constraints if kind in ("PRIMARY KEY", "UNIQUE") for column in columns}
    described = fetch(
        "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns WHERE"
        " table_catalog = current_database() AND table_schema = ? AND table_name = ? AND is_generated = 'NEVER'"
        " ORDER BY ordinal_position",
        [schema, table],
    )
    name = f"{quoted(schema)}.{quoted(table)}"
    checks = [(expression, columns) for kind, expression, columns, *_ in constraints if kind == "CHECK"]
    columns = tuple(
        _read_column(
            fetch, name, column, type_, nullable, column in keys, [e for e, named in checks if column in named]
        )
        for column, type_, nullable in described
    )
    places = {column.name: place for place, column in enumerate(columns)}
    foreign_keys = tuple(
        ForeignKey(tuple(places[column] for column in own), f"{quoted(schema)}.{quoted(parent)}", tuple(theirs))
        for kind, _, own, parent, theirs in constraints
        if kind == "FOREIGN KEY"
    )
    insert = _insert(name, columns, [e for e, _ in checks], foreign_keys, unique=bool(keys or unique))
    return TableShape(name, table.lower(), columns, foreign_keys, insert)


def _read_column(
    fetch: Fetch, table: str, name: str, type_: str, nullable: bool, key: bool, checks: Sequence[str]
) -> Column:
    import duckdb

    # By hash: of columns that share their values, such as a key and what refers to it, the same ones are taken.
    originals = fetch(
        f"SELECT DISTINCT CAST({quoted(name)} AS VARCHAR) AS v FROM {table} WHERE v IS NOT NULL"
        f" ORDER BY md5(v), v LIMIT {POOL}",
        [],
    )
    values = [value for (value,) in originals]
    family = _family(type_, values)
    if type_.startswith("ENUM") and not type_.endswith("]"):
        values += [value for (value,) in fetch(f"SELECT unnest(enum_range(NULL::{type_}))::VARCHAR", [])]

    def fits(tried: Sequence[str]) -> list[str]:
        conditions = " AND ".join(f"coalesce(TRY({check}), true)" for check in ["true", *checks])
        casts = f"SELECT TRY_CAST(v AS {type_}) AS {quoted(name)} FROM (SELECT unnest(?::VARCHAR[]) AS v)"
        try:
            found = fetch(f"SELECT CAST({quoted(name)} AS VARCHAR) FROM ({casts}) WHERE {conditions}", [list(tried)])
        except duckdb.Error:  # a CHECK of several columns
            found = fetch(f"SELECT CAST({quoted(name)} AS VARCHAR) FROM ({casts})", [list(tried)])
        return [value for (value,) in found if value is not None]

    return Column(name, type_, family, nullable, key, *pool_of(family, values, checks, fits))


def pool_of(
    family: Family, values: Sequence[str], checks: Sequence[str], fits: Callable[[Sequence[str]], Sequence[str]]
) -> tuple[tuple[str, ...], bool]:
    """The values of the original database with the boundaries that fit; and whether common values do not."""
    common = COMMON[family] if checks else ()
    fitting = fits([*_boundaries(family, checks), *common])
    return tuple(dict.fromkeys([*values, *fitting])), any(value not in fitting for value in common)


def _boundaries(family: Family, checks: Sequence[str]) -> list[str]:
    """Those of the family; for a column with CHECKs those that the CHECKs name, or the rows would be refused."""
    return constants_around(family, checks) if checks else list(BOUNDARIES[family])


def constants_around(family: Family, checks: Sequence[str]) -> list[str]:
    named = [text or number for check in checks for text, number in _CONSTANT.findall(check)]
    return [value for literal in named for value in around(family, literal)]


def _family(type_: str, values: Sequence[str]) -> Family:
    """What the values are, even where they are kept as text."""
    if _NUMBERS.fullmatch(type_):
        return "number"
    if type_ == "DATE" or (type_.startswith("TIMESTAMP") and not type_.endswith("]")):
        return "time"
    if type_ == "VARCHAR":
        return family_of_values(values) or "text"
    return "truth" if type_ == "BOOLEAN" else "other"


def family_of_values(values: Sequence[str]) -> Family | None:
    """What they all are, where they are kept as text; None where they are nothing in particular."""
    if values and all(number_of(v) is not None for v in values):
        return "number"
    return "time" if values and all(moment_of(v) is not None for v in values) else None


def _insert(
    table: str, columns: Sequence[Column], checks: Sequence[str], foreign_keys: Sequence[ForeignKey], unique: bool
) -> str:
    """Rows that a constraint would refuse are filtered: one of them would have the whole statement refused."""
    names = [quoted(column.name) for column in columns]
    casts = ", ".join(f"TRY_CAST(c{i} AS {c.type}) AS {names[i]}" for i, c in enumerate(columns))
    lists = ", ".join(f"unnest(?::VARCHAR[]) AS c{i}" for i in range(len(columns)))
    conditions = [f"{name} IS NOT NULL" for name, column in zip(names, columns, strict=True) if not column.nullable]
    conditions += [f"TRY(coalesce({check}, true))" for check in checks]
    conditions += [_refers(key, names) for key in foreign_keys]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    into = f"INSERT {'OR IGNORE ' if unique else ''}INTO {table} ({', '.join(names)})"
    return f"{into} SELECT * FROM (SELECT {casts} FROM (SELECT {lists})){where}"


def _refers(key: ForeignKey, names: Sequence[str]) -> str:
    own = [names[column] for column in key.columns]
    theirs = ", ".join(map(quoted, key.parent_columns))
    free = " OR ".join(f"{column} IS NULL" for column in own)
    return f"({free} OR ({', '.join(own)}) IN (SELECT ({theirs}) FROM {key.parent}))"


def parents_first(tables: Sequence[AnyTable]) -> Iterator[AnyTable]:
    """DuckDB has no cycles of foreign keys: a parent must be there when its child is made. SQLite has."""
    waiting = list(tables)
    while waiting:
        names = {table.name for table in waiting}
        ready = [t for t in waiting if not any(k.parent in names - {t.name} for k in t.foreign_keys)] or waiting[:1]
        yield from ready
        waiting = [table for table in waiting if table not in ready]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- making rows ---


def with_nulls(tables: Sequence[TableShape]) -> Content:
    """Few values in many combinations: every row twice, NULL wherever it may stand, boundary values."""
    content = _content(tables, "nulls", ROWS // 2, _few_values)
    return tuple((table, rows + rows) for table, rows in content)


def various(tables: Sequence[TableShape], seed: int) -> tuple[Content, Content]:
    """Other combinations; numbers and dates differ from row to row, so that most orders are strict.

    The rows of the database, and as many as `meeting` needs for it to write literals into.
    """
    content = _content(tables, f"{seed}", ROWS + LITERAL_ROWS, _own_values)
    # As many rows as no other table near it has, or COUNT(*) would be the same of each.
    own = tuple((table, rows[: ROWS - place % _FEW]) for place, (table, rows) in enumerate(content))
    return own, tuple((table, rows[ROWS:]) for table, rows in content)


def meeting(spare: Content, literals: Literals) -> Content:
    """Rows to add to a database, with values at and around the literals that a query compares columns with."""
    wanted: dict[str, list[str]] = {}
    for name, literal in sorted(literals):
        if len(literal) <= _LITERAL_LENGTH:
            wanted.setdefault(name, []).append(literal)
    return tuple(
        (table, _meeting_rows(table, rows, wanted))
        for table, rows in spare
        if any(column.name.lower() in wanted for column in table.columns)
    )


def needed(content: Content, names: Collection[str]) -> Content:
    """What tables of these names hold, and those that their foreign keys lead to."""
    reached = set(names)
    for table, _ in reversed(content):  # children before parents
        if table.bare_name in reached:
            reached |= {
                parent.bare_name for parent, _ in content if any(k.parent == parent.name for k in table.foreign_keys)
            }
    return tuple((table, rows) for table, rows in content if table.bare_name in reached)


def turned(*contents: Content) -> Content:
    """All the rows, in the opposite order: what then comes out differently hangs on the order of insertion."""
    rows: dict[str, tuple[TableShape, list[Cells]]] = {}
    for table, more in chain(*contents):
        rows.setdefault(table.name, (table, []))[1].extend(more)
    return tuple((table, tuple(reversed(more))) for table, more in rows.values())


def _content(
    tables: Sequence[TableShape],
    seed: str,
    size: int,
    values: Callable[[Column, random.Random], Iterator[str | None]],
) -> Content:
    made: Content = ()
    for table in tables:
        streams = [values(column, _chance(seed, table, column)) for column in table.columns]
        rows = list(islice(zip(*streams, strict=True), size))
        made += ((table, _related(table, rows, made, _chance(seed, table))),)
    return made


def _meeting_rows(table: TableShape, rows: Sequence[Cells], wanted: Mapping[str, Sequence[str]]) -> tuple[Cells, ...]:
    columns: list[Sequence[str | None]] = list(zip(*rows, strict=True))
    chance = random.Random(len(rows))
    for place, column in enumerate(table.columns):
        near = [v for literal in wanted.get(column.name.lower(), ()) for v in around(column.family, literal)]
        if near:
            columns[place] = _with_literals(columns[place], near, column.key, chance)
    return tuple(zip(*columns, strict=True))


def _with_literals(
    values: Sequence[str | None], near: Sequence[str], key: bool, chance: random.Random
) -> list[str | None]:
    if key:  # each once
        once = list(dict.fromkeys(near))[: len(values)]
        return [*once, *values[len(once) :]]
    return [chance.choice(near) if chance.random() < _LITERAL_SHARE else value for value in values]


def _chance(seed: str, table: TableShape, column: Column | None = None) -> random.Random:
    return random.Random(f"{seed} {table.name} {column.name if column else ''}")


def _related(table: TableShape, rows: Sequence[Cells], made: Content, chance: random.Random) -> tuple[Cells, ...]:
    """The rows with foreign keys that lead to rows of `made`, or to the first rows of the table itself."""
    roots = rows[: len(rows) // 4]
    related = [list(row) for row in rows]
    for key in table.foreign_keys:
        is_own = key.parent == table.name
        others = ((other, rows_of[:ROWS]) for other, rows_of in made if other.name == key.parent)
        parent, choice = (table, roots) if is_own else next(others, (table, ()))
        for place, cells in enumerate(related if choice else ()):  # else in a circle of keys: the parent comes later
            leads = _key_of(parent, chance.choice(choice), key)
            is_root = is_own and place < len(roots)
            for column, value in zip(key.columns, leads, strict=True):
                cells[column] = None if is_root else value
    return tuple(map(tuple, related))


def _key_of(parent: TableShape, row: Cells, key: ForeignKey) -> Cells:
    values = {column.name: value for column, value in zip(parent.columns, row, strict=True)}
    return tuple(values.get(name) for name in key.parent_columns)


# --- values ---


def _few_values(column: Column, chance: random.Random) -> Iterator[str | None]:
    """A few of the pool in turn, each as often as the others; NULL in every fifth row and now and then."""
    if column.key:
        yield from _own_values(column, chance)
    few = (*column.pool[:_FEW], *column.pool[-2:])
    turns = chain.from_iterable(chance.sample(few, len(few)) for _ in count()) if few else repeat(None)
    for place, value in enumerate(turns, start=chance.randrange(5)):
        is_null = column.nullable and (place % 5 == 0 or chance.random() < _NULL_SHARE)
        yield None if is_null else value


def _own_values(column: Column, chance: random.Random) -> Iterator[str | None]:
    """The pool, shuffled, and then values beyond it; or any of the pool, again and again."""
    if column.distinct and (column.key or not column.closed):
        yield from chance.sample(column.pool, len(column.pool))
        yield from _beyond(column)
    while True:
        yield chance.choice(column.pool) if column.pool else None


def _beyond(column: Column) -> Iterator[str]:
    last = column.pool[0] if column.pool else ""
    if column.family == "number":
        highest = max((number_of(value) or 0.0 for value in column.pool), default=0.0)
        yield from (str(int(highest) + step) for step in count(1))
    elif column.family == "time":
        latest = max(filter(None, map(moment_of, column.pool)))
        yield from ((latest + timedelta(days=step)).isoformat(" ")[: len(last)] for step in range(1, 1_000))
    elif column.family == "text":
        yield from (f"{last}{step}" for step in count(1))


def around(family: Family, literal: str) -> list[str]:
    """The literal and its neighbours, as far as they can be values of the family."""
    if family == "number":
        return _numbers_around(literal)
    if family == "time":
        return _days_around(literal)
    if family == "text":
        told = [literal.replace("%", filler).replace("_", filler or "_") for filler in ("", "x")]
        return list(dict.fromkeys([literal, *told, told[0].swapcase(), f"{told[0]}x"]))
    return [literal]


def _numbers_around(literal: str) -> list[str]:
    value = number_of(literal)
    if value is None:
        return []
    decimals = len(literal.partition(".")[2]) if literal.replace(".", "", 1).isdigit() else 0
    steps = (-1.0, 1.0, -0.5 * 10**-decimals, 0.5 * 10**-decimals) if decimals else (-1.0, 1.0)
    return [literal, *(f"{value + step:.15g}" for step in steps)]


def _days_around(literal: str) -> list[str]:
    if re.fullmatch(r"[12]\d{3}%?", literal):  # a year
        return [f"{int(literal[:4]) + step}-06-15" for step in (0, -1, 1)]
    moment = moment_of(literal)
    if moment is None:
        return []
    return [literal, *((moment + timedelta(days=step)).isoformat(" ")[: max(10, len(literal))] for step in (-1, 1))]


def number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def moment_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
