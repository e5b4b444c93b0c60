"""Queries made from a query, each with one thing changed: what a test for right answers should tell from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

Change = Callable[[Any, random.Random], Iterator[exp.Expression]]


def mutants(sql: str, dialect: str, seed: int = 0) -> list[tuple[str, str]]:
    """(kind, query), at most one of each kind: as sqlglot writes it, so compare with `written(sql)`."""
    rng = random.Random(f"{seed} {sql}")
    try:
        tree = parse_one(sql, dialect=dialect)
    except (SqlglotError, RecursionError):
        return []
    own, found = tree.sql(dialect=dialect), {}
    for kind, change in CHANGES.items():
        made = [changed.sql(dialect=dialect) for changed in change(tree, rng)]
        made = [text for text in made if text != own]
        if made:
            found[kind] = rng.choice(made)
    return list(found.items())


def _each(tree: exp.Expression, kinds: Any, change: Callable[[Any], exp.Expression | None]) -> Iterator[exp.Expression]:
    """The tree with one node of these kinds replaced by what `change` makes of it; removed where that is None."""
    for place in range(len(list(tree.find_all(kinds)))):
        copy = tree.copy()
        node = list(copy.find_all(kinds))[place]
        other = change(node)
        if other is node:
            continue
        if other is None:
            node.pop()
        else:
            node.replace(other)
        yield copy


def _in_condition(node: exp.Expression) -> bool:
    return node.find_ancestor(exp.Predicate) is not None and node.find_ancestor(exp.Limit) is None


def _other_literal(node: Any) -> exp.Expression:
    if not _in_condition(node):
        return node
    if node.is_string:
        return exp.Literal.string(node.this[:-1] if len(node.this) > 3 and "%" not in node.this else node.this + "x")
    return exp.Literal.number(str(float(node.this) + 1).removesuffix(".0"))


_OTHER = {
    exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT, exp.EQ: exp.NEQ, exp.NEQ: exp.EQ,
    exp.And: exp.Or, exp.Or: exp.And, exp.Max: exp.Min, exp.Min: exp.Max, exp.Sum: exp.Avg, exp.Avg: exp.Sum,
    exp.Union: exp.Intersect, exp.Intersect: exp.Union, exp.Except: exp.Union,
}  # fmt: skip


def _swapped(node: Any) -> exp.Expression:
    return _OTHER[type(node)](**node.args)


def _opposite(node: Any) -> exp.Expression:
    return {exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.LTE, exp.LTE: exp.GTE}[type(node)](**node.args)


def _without(key: str) -> Change:
    def change(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
        for place, select in enumerate(tree.find_all(exp.Select)):
            if select.args.get(key):
                copy = tree.copy()
                list(copy.find_all(exp.Select))[place].set(key, None)
                yield copy

    return change


def _one_condition_less(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    yield from _each(tree, exp.And, lambda node: node.this)
    yield from _each(tree, exp.And, lambda node: node.expression)


def _other_column(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    names = {column.name.lower(): column.name for column in tree.find_all(exp.Column)}
    for name in names.values():

        def change(node: Any, name: str = name) -> exp.Expression:
            return node if node.name.lower() == name.lower() else exp.column(name, table=node.table or None)

        yield from _each(tree, exp.Column, change)


def _other_limit(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    yield from _each(tree, exp.Limit, lambda n: exp.Limit(expression=exp.Literal.number(int(n.expression.this) + 1)))


def _turned(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    yield from _each(tree, exp.Ordered, lambda n: exp.Ordered(this=n.this, desc=not n.args.get("desc")))


def _counted_once(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    def change(node: Any) -> exp.Expression:
        if isinstance(node.this, exp.Star):
            return node
        inner = node.this
        if isinstance(inner, exp.Distinct):
            return exp.Count(this=inner.expressions[0])
        return exp.Count(this=exp.Distinct(expressions=[inner]))

    yield from _each(tree, exp.Count, change)


def _left_join(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    """Only where no other condition asks for a value of the joined table: it would undo the change."""

    def change(node: Any) -> exp.Expression:
        alias = node.this.alias_or_name.lower()
        select = node.find_ancestor(exp.Select)
        asked = [select.args.get("where"), select.args.get("having"), *select.args.get("joins", [])]
        others = [c for part in asked if part is not None and part is not node for c in part.find_all(exp.Column)]
        if node.side or not node.args.get("on") or any(c.table.lower() in ("", alias) for c in others):
            return node
        return exp.Join(**{**node.args, "side": "LEFT"})

    yield from _each(tree, exp.Join, change)


def _not_in(tree: Any, rng: random.Random) -> Iterator[exp.Expression]:
    yield from _each(tree, exp.Not, lambda node: node.this if isinstance(node.this, exp.In) else node)
    yield from _each(tree, exp.In, lambda n: n if isinstance(n.parent, exp.Not) else exp.Not(this=n.copy()))


CHANGES: dict[str, Change] = {
    "literal": lambda tree, rng: _each(tree, exp.Literal, _other_literal),
    "boundary": lambda tree, rng: _each(tree, (exp.GT, exp.GTE, exp.LT, exp.LTE), _swapped),
    "opposite": lambda tree, rng: _each(tree, (exp.GT, exp.GTE, exp.LT, exp.LTE), _opposite),
    "equal": lambda tree, rng: (
        t for t in _each(tree, (exp.EQ, exp.NEQ), lambda n: n if n.find_ancestor(exp.Join) else _swapped(n))
    ),
    "and or": lambda tree, rng: _each(tree, (exp.And, exp.Or), _swapped),
    "aggregate": lambda tree, rng: _each(tree, (exp.Max, exp.Min, exp.Sum, exp.Avg), _swapped),
    "set operation": lambda tree, rng: _each(tree, (exp.Union, exp.Intersect, exp.Except), _swapped),
    "condition": _one_condition_less,
    "where": _without("where"),
    "having": _without("having"),
    "order": _without("order"),
    "limit": _without("limit"),
    "distinct": _without("distinct"),
    "other limit": _other_limit,
    "direction": _turned,
    "count": _counted_once,
    "column": _other_column,
    "left join": _left_join,
    "not in": _not_in,
}
