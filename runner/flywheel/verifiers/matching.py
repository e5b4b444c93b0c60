"""When two results are the same: our rule with its options, and the rules of two benchmarks' own scripts.

ours    `rows.difference`: rows as a multiset, in the gold's order where the gold orders
spider  taoyds/test-suite-sql-eval: DISTINCT taken out of both queries, columns in any order, rows in order where the
        gold says ORDER BY anywhere, no tolerance; two empty results are the same whatever their columns
bird    bird-bench/mini_dev (execution accuracy): the same set of rows, so neither order nor repeats count
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.rows import Table, Tolerance, difference, unlike
from flywheel.verifiers.tokens import tokens

Match = Literal["ours", "spider", "bird"]
_THIS_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)
_APART = (("> =", ">="), ("< =", "<="), ("! =", "!="))


@dataclass(frozen=True)
class Rule:
    """`prepared(sql, is_gold)`: the text that runs. `differ(answer, gold, ordered)`: how they first differ, or None;
    `ordered`: whether the gold has an ORDER BY of its own."""

    prepared: Callable[[str, bool], str]
    differ: Callable[[Table, Table, bool], str | None]
    says_ordered: Callable[[str], bool] | None = None
    """Whether the gold's text says that order counts, where that is not for its tree to say."""


def rule_of(spec: SqlVerifier) -> Rule:
    if spec.match == "spider":
        return Rule(_as_spider_runs, _spider, lambda gold: "order by" in gold.lower())
    if spec.match == "bird":
        return Rule(lambda sql, is_gold: sql, _bird)
    return Rule(lambda sql, is_gold: sql, _ours(spec))


# --- ours ---


def _ours(spec: SqlVerifier) -> Callable[[Table, Table, bool], str | None]:
    tolerance = Tolerance(absolute=0.0 if spec.decimals is None else 0.5 * 10.0**-spec.decimals)

    def differ(answer: Table, gold: Table, ordered: bool) -> str | None:
        if spec.ignore_duplicates:
            answer, gold = _once(answer), _once(gold)
        found = difference(answer, gold, ordered, tolerance)
        if found is None or not spec.any_column_order or answer.columns != gold.columns:
            return found
        for turned in _orders(answer, gold, tolerance):
            if difference(turned, gold, ordered, tolerance) is None:
                return None
        return found

    return differ


def _once(table: Table) -> Table:
    return Table(table.columns, list(dict.fromkeys(table.rows)), table.cut)


#: Orders of columns tried before two results count as different. Columns of one content are the only ones to swap.
_ORDERS = 5_000


def _orders(answer: Table, gold: Table, tolerance: Tolerance) -> Sequence[Table]:
    """The answer with its columns where their contents are the gold's."""
    if answer.cut or len(answer.rows) != len(gold.rows):
        return []
    columns = [[(row[i],) for row in answer.rows] for i in range(answer.columns)]
    wanted = [[(row[i],) for row in gold.rows] for i in range(gold.columns)]
    fits = [
        [i for i, column in enumerate(columns) if not difference(Table(1, column), Table(1, want), False, tolerance)]
        for want in wanted
    ]
    orders = _assignments(fits)
    return [Table(answer.columns, [tuple(row[i] for i in order) for row in answer.rows]) for order in orders]


def _assignments(fits: Sequence[Sequence[int]], used: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Every way to give each place a column of its own, up to a bound."""
    if len(used) == len(fits):
        return [used]
    found: list[tuple[int, ...]] = []
    for column in fits[len(used)]:
        if column not in used and len(found) < _ORDERS:
            found += _assignments(fits, (*used, column))
    return found[:_ORDERS]


# --- spider ---


def _as_spider_runs(sql: str, is_gold: bool) -> str:
    """What the script runs: its first statement, signs that stand apart put together, DISTINCT taken out."""
    if not is_gold:
        sql = sql.replace("value", "1")  # its place for a value that a model leaves open
    for apart, together in _APART:
        sql = sql.replace(apart, together)
    kept: list[str] = []
    for token in tokens(sql):
        if token.text.lower() != "distinct":
            kept.append(token.text)
        if token.text == ";":
            break
    return _THIS_YEAR.sub("2020", "".join(kept))


def _spider(answer: Table, gold: Table, ordered: bool) -> str | None:
    if not answer.rows and not gold.rows:
        return None
    if len(answer.rows) != len(gold.rows) or answer.columns != gold.columns or answer.cut:
        return difference(answer, gold, ordered)
    if not _may_be_permuted(answer.rows, gold.rows, ordered) or not _permuted(answer, gold, ordered):
        return difference(answer, gold, ordered) or unlike(answer.rows, gold.rows, ordered)
    return None


def _may_be_permuted(rows: Sequence[tuple[Any, ...]], gold: Sequence[tuple[Any, ...]], ordered: bool) -> bool:
    """The script's first look: rows with their cells sorted as it sorts them, by text and type (1 and 1.0 are two)."""
    some, others = ([tuple(sorted(row, key=lambda x: f"{x}{type(x)}")) for row in table] for table in (rows, gold))
    return some == others if ordered else set(some) == set(others)


def _permuted(answer: Table, gold: Table, ordered: bool) -> bool:
    """Whether some order of the answer's columns gives the gold's rows; cells are equal as Python has it."""
    if ordered:
        columns = [tuple(row[i] for row in answer.rows) for i in range(answer.columns)]
        return Counter(columns) == Counter(tuple(row[i] for row in gold.rows) for i in range(gold.columns))
    wanted = [Counter(row[i] for row in gold.rows) for i in range(gold.columns)]
    found = [Counter(row[i] for row in answer.rows) for i in range(answer.columns)]
    fits = [[i for i, column in enumerate(found) if column == want] for want in wanted]
    return _placed(answer.rows, gold.rows, fits, ())


def _placed(
    rows: Sequence[tuple[Any, ...]], gold: Sequence[tuple[Any, ...]], fits: list[list[int]], used: tuple[int, ...]
) -> bool:
    """Columns are placed one by one; what is placed must already give the gold's beginnings of rows."""
    if len(used) > 1:
        mine = Counter(tuple(row[i] for i in used) for row in rows)
        if mine != Counter(row[: len(used)] for row in gold):
            return False
    if len(used) == len(fits):
        return True
    return any(_placed(rows, gold, fits, (*used, i)) for i in fits[len(used)] if i not in used)


# --- bird ---


def _bird(answer: Table, gold: Table, ordered: bool) -> str | None:
    if answer.cut:
        return difference(answer, gold, ordered)
    if set(answer.rows) == set(gold.rows):
        return None
    if answer.columns != gold.columns:
        return difference(answer, gold, ordered)
    some, others = (
        Table(answer.columns, list(dict.fromkeys(answer.rows))),
        Table(gold.columns, list(dict.fromkeys(gold.rows))),
    )
    return difference(some, others, ordered=False) or unlike(some.rows, others.rows, ordered=False)
