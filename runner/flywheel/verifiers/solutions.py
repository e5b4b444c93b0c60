"""Where a condition on something computed changes: `x * 2 > 50` at 25, `length(x) > 5` at five letters.

Of what cannot be solved for a column nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlglot import exp

from flywheel.verifiers.instances import number_of

_LETTERS = "aBcdE"
#: Longer texts are not made to meet a length.
_LONGEST = 200


class Solution(NamedTuple):
    """A value for the column, at which (or near which) the condition changes."""

    column: exp.Column
    value: str
    numeric: bool


class Apart(NamedTuple):
    """Two columns that the condition compares: it changes where `one` is `other` and `by` (days, of times)."""

    one: exp.Column
    other: exp.Column
    by: float


def solutions(condition: exp.Expr) -> Iterator[Solution]:
    if isinstance(condition, exp.Between):
        ends = [condition.args["low"], condition.args["high"]]
    elif isinstance(condition, exp.In):
        ends = condition.expressions
    elif isinstance(condition, exp.Binary):
        ends = [condition.expression]
        if (value := _number(condition.this)) is not None:  # 50 < x * 2
            yield from _solved(condition.expression, value)
    else:
        return
    for end in ends:
        if (value := _number(end)) is not None and not isinstance(condition.this, exp.Column):
            yield from _solved(condition.this, value)
    for trimmed in condition.find_all(exp.Trim):
        for column in trimmed.find_all(exp.Column):
            yield from (Solution(column, text, False) for text in (" a", "a ", " a ", "a"))


def measured(column: exp.Column) -> bool:
    """Whether only the column's length is compared: the numbers beside it are none of its values."""
    return isinstance(column.parent, exp.Length)


def apart(condition: exp.Expr) -> Apart | None:
    if not isinstance(condition, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
        return None
    left, right = condition.this.unnest(), condition.expression.unnest()
    if isinstance(left, exp.Column) and isinstance(right, exp.Column):
        return Apart(left, right, 0.0)
    by = _number(right.this if isinstance(right, exp.Interval) else right)
    if by is None or not isinstance(left, exp.Sub | exp.DateDiff):
        return None
    sides = [list(side.find_all(exp.Column)) for side in (left.this, left.expression)]
    return Apart(sides[0][0], sides[1][0], by) if [len(side) for side in sides] == [1, 1] else None


def _number(node: exp.Expr | None) -> float | None:
    """What a literal says, signs and parentheses included."""
    node = node.unnest() if node is not None else None
    if isinstance(node, exp.Neg):
        value = _number(node.this)
        return None if value is None else -value
    return number_of(node.this) if isinstance(node, exp.Literal) else None


def _solved(node: exp.Expr, value: float) -> Iterator[Solution]:
    """Values for the columns below the node, with which it gives about `value`."""
    match node:
        case exp.Column():
            yield Solution(node, f"{value:.15g}", True)
        case exp.Length():
            if isinstance(node.this, exp.Column) and 0 <= value <= _LONGEST:
                sizes = range(max(0, int(value) - 1), int(value) + 2)
                yield from (Solution(node.this, (_LETTERS * size)[:size], False) for size in sizes)
        case exp.Abs():
            yield from _solved(node.this, value)
            yield from _solved(node.this, -value)
        case exp.Round() | exp.Floor() | exp.Ceil():
            for near in (value, value + 0.4, value + 0.6, value - 0.4):
                yield from _solved(node.this, near)
        case exp.Cast():
            for near in (value, value + 0.4, value + 0.6) if node.to.is_type(*exp.DataType.INTEGER_TYPES) else (value,):
                yield from _solved(node.this, near)
        case exp.Paren() | exp.Coalesce():
            yield from _solved(node.this, value)
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            yield from _turned(node, value)


def _turned(node: exp.Binary, value: float) -> Iterator[Solution]:
    """The equation for the side that is no literal."""
    left, right = _number(node.this), _number(node.expression)
    if isinstance(node, exp.Div) and right is not None:  # the quotient of whole numbers may be a whole number
        yield from _solved(node.this, (value + 1) * right)
    match node:
        case exp.Add():
            turned = value - right if right is not None else value - (left or 0)
        case exp.Sub():
            turned = value + right if right is not None else (left or 0) - value
        case exp.Mul():
            factor = right if right is not None else left
            turned = value / factor if factor else 0.0
        case _:
            turned = value * right if right is not None else (left or 0) / value if value else 0.0
    if (left is None) != (right is None):
        yield from _solved(node.expression if right is None else node.this, turned)
