"""Whether two answers say the same: every item of the one has its like in the other.

Formulas are equal when their values agree at several points, exactly where they are rational and to 110 digits
elsewhere (a formula that is zero at random points is zero: Schwartz 1980, Zippel 1979). Relations are equal when one is
a multiple of the other, or when they leave the same intervals.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, TypeVar

from flywheel.verifiers.maths import units
from flywheel.verifiers.maths.nodes import (
    Items,
    ListItem,
    Node,
    Number,
    Reading,
    Symbol,
    Term,
    named,
    operators,
    relation,
    symbols,
)  # fmt: skip
from flywheel.verifiers.maths.values import CONSTANTS, NoValue, Scalar, TooLarge, Value, inexact, value

T = TypeVar("T")
_CLOSE = Fraction(1, 10**110)
_TINY = Fraction(1, 10**130)
_FAINT = 1e-60
_MOST_ITEMS = 200
_POINTS = 5
_INFINITE = (Symbol("∞"), Term("neg", (Symbol("∞"),)))
_REALS = Symbol("R")


class NotComparable(Exception):
    """Neither equal nor different within the bounds of this package."""


@dataclass(frozen=True, slots=True)
class MathPolicy:
    """See `MathVerifier`."""

    tolerance: Fraction = Fraction(0)
    percent: Literal["lenient", "strict"] = "lenient"
    units: Literal["lenient", "required", "ignored"] = "lenient"


class AnswerComparison:
    def __init__(self, policy: MathPolicy) -> None:
        self.policy = policy

    def readings(self, gold: Reading, answer: Reading) -> bool:
        if isinstance(gold, Items):
            return isinstance(answer, Items) and self.lists(gold.items, answer.items)
        if isinstance(answer, Items):
            said = [item for part in gold.parts if isinstance(part, Items) for item in part.items]
            if not said or _words_that_count(gold.parts):
                return False
            return self.lists(tuple(said), answer.items, whole=False)
        return len(gold.parts) == len(answer.parts) and all(map(self._parts, gold.parts, answer.parts))

    def _parts(self, gold: str | Items, answer: str | Items) -> bool:
        if isinstance(gold, str) or isinstance(answer, str):
            return gold == answer
        return self.lists(gold.items, answer.items)

    # --- lists ---------------------------------------------------------------------------------------------------

    def lists(self, gold: Sequence[ListItem], answer: Sequence[ListItem], whole: bool = True) -> bool:
        """Lists without brackets have no order, unless what tells their items apart is said on one side only."""
        gold, answer = _spread(gold), _spread(answer)
        if len(gold) > _MOST_ITEMS:
            raise NotComparable(f"a gold of {len(gold):,} items")
        if len(answer) > _MOST_ITEMS:
            return False
        if len(gold) == len(answer) == 1:
            return self.items(gold[0], answer[0])
        if len(gold) > len(answer) or len(gold) == 1:
            pass
        elif self._in_some_order(gold, answer if len(gold) == len(answer) else self._once(answer)):
            return True
        if self._totals(gold, answer):
            return True
        return self._bracketed(gold, answer) or self._as_tuples(gold, answer) or self._same_ranges(gold, answer)

    def _in_some_order(self, gold: Sequence[ListItem], answer: Sequence[ListItem]) -> bool:
        if len(gold) == len(answer) and all(self.items(g, a, alone=False) for g, a in zip(gold, answer, strict=True)):
            return True
        if bool(_nouns(gold)) != bool(_nouns(answer)):
            return False
        names = sorted(len(_names(items)) for items in (gold, answer))
        if names[0] == 0 and names[1] > 1:
            return False  # x = 2, y = 3 and 3, 2
        return len(gold) == len(answer) and _matched(gold, answer, lambda g, a: self.items(g, a, alone=False))

    def _totals(self, gold: Sequence[ListItem], answer: Sequence[ListItem]) -> bool:
        """3 hours and 20 minutes, 200 minutes"""
        one, other = _total(gold), _total(answer)
        if not (one and other) or len(gold) == len(answer):
            return False
        return one[1] == other[1] and one[0] == other[0]

    def _once(self, items: Sequence[ListItem]) -> list[ListItem]:
        """2, 2, 3 as 2, 3: the same set of solutions."""
        kept: list[ListItem] = []
        for item in items:
            if not any(self.items(other, item, alone=False) for other in kept):
                kept.append(item)
        return kept

    def _bracketed(self, gold: Sequence[ListItem], answer: Sequence[ListItem]) -> bool:
        """1, 2 and (1, 2): the same in this order; {1, 2}: in any."""
        for one, other in ((gold, answer), (answer, gold)):
            if len(one) == 1 and isinstance(one[0].node, Term) and one[0].node.head in ("()", "[]", "range"):
                inside = one[0].node.args
                if len(inside) == len(other) > 1:
                    return all(self.items(ListItem(i), o) for i, o in zip(inside, other, strict=True))
        return False

    def _as_tuples(self, gold: Sequence[ListItem], answer: Sequence[ListItem]) -> bool:
        """p=5, q=2; p=7, q=2 and (5, 2), (7, 2)"""
        for one, other in ((gold, answer), (answer, gold)):
            tuples = _tuples(one)
            if tuples and len(tuples) == len(other):
                return _matched(tuples, other, self.items)
        return False

    def _same_ranges(self, gold: Sequence[ListItem], answer: Sequence[ListItem]) -> bool:
        one, other = (_ranges_of_all(items) for items in (gold, answer))
        return one is not None and other is not None and self._ranges(one, other)

    # --- items ---------------------------------------------------------------------------------------------------

    def items(self, gold: ListItem, answer: ListItem, alone: bool = True) -> bool:
        """`alone`: the only thing that is asked for, so that its noun may be in other words."""
        gold, answer = _in_full(gold, answer), _in_full(answer, gold)
        if gold.unit == answer.unit:
            return self.nodes(gold.node, answer.node) or self._but_for_a_letter(gold, answer)
        if "%" in (gold.unit, answer.unit):
            return self._percentages(gold, answer)
        if gold.unit in units.SINGLE and not answer.unit and Symbol(gold.unit) in _leaves(answer.node):
            return self.nodes(Term("*", (gold.node, Symbol(gold.unit))), answer.node)
        if gold.unit and not answer.unit and (other := _with_letter_as_unit(answer)) is not answer:
            return self._measured(gold, other, alone)
        if answer.unit in units.SINGLE and not gold.unit and Symbol(answer.unit) in _leaves(gold.node):
            return self.nodes(gold.node, Term("*", (answer.node, Symbol(answer.unit))))
        return self._measured(gold, answer, alone)

    def _but_for_a_letter(self, gold: ListItem, answer: ListItem) -> bool:
        """5m as 5 metres, where a number is asked for."""
        other = _with_letter_as_unit(answer)
        if other is answer or self.policy.units == "required" or symbols(gold.node):
            return False
        return self.nodes(gold.node, other.node)

    def _percentages(self, gold: ListItem, answer: ListItem) -> bool:
        """50% is 0.5; where that is let pass, also 50."""
        if any(units.measure(item.unit) and item.unit != "%" for item in (gold, answer)):
            return False
        worked_out = [Term("pct", (item.node,)) if item.unit == "%" else item.node for item in (gold, answer)]
        if relation(gold.node) or relation(answer.node):
            return self.nodes(gold.node, answer.node)
        if self.nodes(worked_out[0], worked_out[1]):
            return True
        return self.policy.percent == "lenient" and self.nodes(gold.node, answer.node)

    def _measured(self, gold: ListItem, answer: ListItem, alone: bool) -> bool:
        right, given = units.measure(gold.unit), units.measure(answer.unit)
        if self.policy.units == "ignored":
            return self.nodes(gold.node, answer.node)
        if self.policy.units == "required" and right and not given:
            return False
        if {"am", "pm"} & {dimension for found in (right, given) if found for dimension, _ in found[1]}:
            return self._times_of_day(gold, answer)
        if right and given:
            return self._converted(gold, answer, right, given)
        if not alone and gold.unit and answer.unit and not units.like(gold.unit, answer.unit):
            return False
        return self.nodes(gold.node, answer.node)

    def _times_of_day(self, gold: ListItem, answer: ListItem) -> bool:
        """am or pm may be left out, and 15:30 is 3:30 pm."""
        (half, time), (other_half, other) = _of_day(gold), _of_day(answer)
        as_said = _of_day(ListItem(gold.node))[1] == _of_day(ListItem(answer.node))[1]
        return time == other or (not (half and other_half) and as_said)

    def _converted(self, gold: ListItem, answer: ListItem, right: units.Measure, given: units.Measure) -> bool:
        if right[1] != given[1]:
            alike = {gold.unit, answer.unit} in _ALIKE or _degrees(right, given)
            return alike and self.nodes(gold.node, answer.node)
        if right[0] == given[0]:
            return self.nodes(gold.node, answer.node)
        if relation(gold.node) or relation(answer.node):
            return False
        scaled = [Term("*", (Number(m[0]), item.node)) for m, item in ((right, gold), (given, answer))]
        return self.nodes(scaled[0], scaled[1])

    # --- nodes ---------------------------------------------------------------------------------------------------

    def nodes(self, gold: Node, answer: Node) -> bool:
        if gold == answer:
            return True
        if relation(gold) and relation(answer):
            return self._relations(gold, answer) or self._both_ranges(gold, answer)
        if relation(gold) or relation(answer):
            return self._value_of_relation(gold, answer)
        if "matrix" in _heads_of_both(gold, answer):
            gold, answer = _as_matrix(gold), _as_matrix(answer)
        if _brackets(gold) or _brackets(answer):
            return self._in_brackets(gold, answer) or self._both_ranges(gold, answer)
        return self._formulas(gold, answer)

    def _in_brackets(self, gold: Node, answer: Node) -> bool:
        if not (isinstance(gold, Term) and isinstance(answer, Term)):
            return False
        if gold.head == answer.head == "{}":
            one, other = _spread([ListItem(a) for a in gold.args]), _spread([ListItem(a) for a in answer.args])
            return len(one) == len(other) <= _MOST_ITEMS and _matched(one, other, self.items)
        if {gold.head, answer.head} == {"{}", "()"} and len(gold.args) == len(answer.args):
            return all(map(self.nodes, gold.args, answer.args))
        if len(gold.args) != len(answer.args):
            return False
        if gold.head == answer.head == ":" and not _may_be_time(gold):
            return self._in_proportion(gold.args, answer.args)
        if gold.head != answer.head and ({gold.head, answer.head} != {":", "range"} or _may_be_time(gold)):
            return False
        return all(map(self.nodes, gold.args, answer.args))

    def _in_proportion(self, gold: Sequence[Node], answer: Sequence[Node]) -> bool:
        """3:2 and 6:4"""
        crossed = [(Term("*", (g, answer[0])), Term("*", (a, gold[0]))) for g, a in zip(gold, answer, strict=True)]
        return all(self.nodes(one, other) for one, other in crossed)

    def _formulas(self, gold: Node, answer: Node) -> bool:
        try:
            return any(self._agree(gold, answer, base) for base in _bases(gold, answer))
        except NoValue:
            return self._in_form(gold, answer)

    def _in_form(self, gold: Node, answer: Node) -> bool:
        """Without values: the same operator on the same parts."""
        if not (isinstance(gold, Term) and isinstance(answer, Term)) or gold.head != answer.head:
            return False
        return len(gold.args) == len(answer.args) and all(map(self.nodes, gold.args, answer.args))

    def _agree(self, gold: Node, answer: Node, base: int | None) -> bool:
        variables = sorted((symbols(gold) | symbols(answer)) - CONSTANTS)
        met = 0
        for n in range(_POINTS if variables else 1):
            point = _point(variables, n)
            try:
                right = value(gold, point, base)
            except TooLarge:
                _same_or_undecided(gold, answer, point, base)
                return False
            except NoValue:
                if not variables:
                    raise
                continue
            try:
                given = value(answer, point, base)
            except TooLarge:
                return False
            except NoValue:
                if not variables:
                    raise
                continue
            verdict = self._values(right, given, exact=bool(variables), doubtful=n >= 3)
            if verdict is False:
                return False
            met += verdict is True
        if not met:
            raise NoValue("no value at any point")
        return True

    def _values(self, right: Value, given: Value, exact: bool, doubtful: bool) -> bool | None:
        """None: the formulas take different branches of a root or a logarithm here, which says nothing."""
        if isinstance(right, tuple) or isinstance(given, tuple):
            if doubtful and not all(map(_is_real, (*_cells(right), *_cells(given)))):
                return None
            return self._matrices(right, given, exact)
        if doubtful and not (_is_real(right) and _is_real(given)):
            return None
        tolerance = Fraction(0) if exact else self.policy.tolerance
        return _close(right, given, tolerance)

    def _matrices(self, right: Value, given: Value, exact: bool) -> bool:
        if not (isinstance(right, tuple) and isinstance(given, tuple)):
            return False
        if (len(right), len(right[0])) != (len(given), len(given[0])):
            return False
        tolerance = Fraction(0) if exact else self.policy.tolerance
        return all(_close(r, g, tolerance) for r, g in zip(_cells(right), _cells(given), strict=True))

    # --- relations -----------------------------------------------------------------------------------------------

    def _relations(self, gold: Node, answer: Node) -> bool:
        assert isinstance(gold, Term)
        assert isinstance(answer, Term)
        if not _approximate(gold):
            gold, answer = _without_working(gold), _without_working(_exact(answer))
        answer = _with_the_name_of(gold, answer)
        for turned in (answer, _turned(answer)):
            alike = operators(gold) == operators(turned) and len(gold.args) == len(turned.args)
            if alike and all(map(self.nodes, gold.args, turned.args)):
                return True
            if alike and len(gold.args) == 2 and self._multiples(gold, turned):
                return True
        return _approximate(gold) and self._approximately(gold, answer)

    def _approximately(self, gold: Term, answer: Term) -> bool:
        """r = 5/(2π)^(1/3) ≈ 2.7: the exact value, or the rounded one, under the same name."""
        if not (named(gold.args[0]) and self.nodes(gold.args[0], answer.args[0])) or len(answer.args) != 2:
            return False
        return any(self.nodes(member, answer.args[1]) for member in gold.args[1:])

    def _multiples(self, gold: Term, answer: Term) -> bool:
        """x - y = 1 and 2x - 2y = 2; for < the factor is positive."""
        ours, theirs = (Term("+", (r.args[0], Term("neg", (r.args[1],)))) for r in (gold, answer))
        variables = sorted((symbols(ours) & symbols(theirs)) - CONSTANTS)
        if not variables or (symbols(ours) ^ symbols(theirs)) - CONSTANTS:
            return False
        try:
            return any(
                self._constant_ratio(ours, theirs, variables, base, operators(gold)[0]) for base in _bases(ours, theirs)
            )
        except NoValue:
            return False

    def _constant_ratio(self, ours: Node, theirs: Node, variables: list[str], base: int | None, operator: str) -> bool:
        ratios: list[Scalar] = []
        for n in range(_POINTS):
            point = _point(variables, n)
            try:
                ratio = value(Term("/", (ours, theirs)), point, base)
            except NoValue:
                continue
            if isinstance(ratio, tuple) or not _FAINT < abs(ratio) < 1 / _FAINT:
                return False  # one of them holds everywhere
            if n >= 3 and not _is_real(ratio):
                continue
            ratios.append(ratio)
        if len(ratios) < 2 or not all(_close(ratios[0], ratio, Fraction(0)) for ratio in ratios[1:]):
            return False
        return operator in ("=", "!=", "~") or (_is_real(ratios[0]) and inexact(ratios[0]).real > 0)

    def _value_of_relation(self, gold: Node, answer: Node) -> bool:
        """x = 5 and 5; x ∈ [1, 2], 1 ≤ x ≤ 2 and [1, 2]."""
        if relation(gold):
            allowed = _said_values(gold)
            if any(self.nodes(one, answer) for one in allowed):
                return True
        else:
            given = _said_values(answer)
            if given and self.nodes(gold, given[0]):
                return True
        return self._both_ranges(gold, answer)

    # --- ranges of numbers ---------------------------------------------------------------------------------------

    def _both_ranges(self, gold: Node, answer: Node) -> bool:
        one, other = _ranges(gold), _ranges(answer)
        return one is not None and other is not None and self._ranges(one, other)

    def _ranges(self, one: _Ranges, other: _Ranges) -> bool:
        if one.variable and other.variable and not self.nodes(one.variable, other.variable):
            return False
        return len(one.parts) == len(other.parts) <= _MOST_ITEMS and _matched(one.parts, other.parts, self._same_range)

    def _same_range(self, one: _Range, other: _Range) -> bool:
        return (one.left, one.right) == (other.left, other.right) and all(
            self.nodes(a, b) for a, b in ((one.low, other.low), (one.high, other.high))
        )


# --- values ---------------------------------------------------------------------------------------------------------


def _point(variables: Sequence[str], n: int) -> dict[str, Value]:
    """The first three points are positive; some coordinates of the others are not."""
    chance = random.Random(n)
    point: dict[str, Value] = {}
    for variable in variables:
        size = Fraction(chance.randrange(300, 2_900), 997)
        point[variable] = -size if n >= 3 and (n == 4 or chance.random() < 0.5) else size
    return point


def _cells(found: Value) -> list[Scalar]:
    return [cell for row in found for cell in row] if isinstance(found, tuple) else [found]


def _is_real(number: Scalar) -> bool:
    return isinstance(number, Fraction) or abs(number.imag) <= abs(number.real) * _as_float(_CLOSE)


def _as_float(number: Fraction) -> Scalar:
    return inexact(number).real


def _close(right: Scalar, given: Scalar, tolerance: Fraction) -> bool:
    if isinstance(right, Fraction) and isinstance(given, Fraction):
        return abs(right - given) <= abs(right) * tolerance
    one, other = inexact(right), inexact(given)
    difference, size = abs(one - other), max(abs(one), abs(other))
    if difference <= size * _as_float(max(_CLOSE, tolerance)):
        return True
    return bool(size <= _as_float(_TINY))


def _same_or_undecided(gold: Node, answer: Node, point: dict[str, Value], base: int | None) -> None:
    """A gold too large to be worked out: an answer that can be is another."""
    try:
        value(answer, point, base)
    except TooLarge:
        raise NotComparable("numbers too large to be worked out") from None
    except NoValue:
        return


def _bases(gold: Node, answer: Node) -> tuple[int | None, ...]:
    """\\log is to the base e for some and 10 for others: formulas that agree in either are equal."""
    return (None, 10) if "log" in _heads(gold) | _heads(answer) else (None,)


def _heads(node: Node) -> set[str]:
    return {node.head}.union(*map(_heads, node.args)) if isinstance(node, Term) else set()


def _heads_of_both(gold: Node, answer: Node) -> set[str]:
    return {node.head for node in (gold, answer) if isinstance(node, Term)}


def _as_matrix(node: Node) -> Node:
    """[[1, 2], [3, 4]]"""
    if not (isinstance(node, Term) and node.head == "[]"):
        return node
    if not all(isinstance(row, Term) and row.head == "[]" for row in node.args):
        return node
    return Term("matrix", tuple(Term("row", row.args) for row in node.args if isinstance(row, Term)))


def _leaves(node: Node) -> set[Node]:
    return set().union(*map(_leaves, node.args)) if isinstance(node, Term) else {node}


# --- lists ----------------------------------------------------------------------------------------------------------


def _spread(items: Sequence[ListItem]) -> list[ListItem]:
    """Groups of one list, and ± as two items; a set that is all there is as its elements."""
    flat: list[ListItem] = []
    for item in items:
        if isinstance(item.node, Term) and (item.node.head == "list" or (item.node.head == "{}" and len(items) == 1)):
            flat += [ListItem(part, item.unit) for part in item.node.args]
        else:
            flat.append(item)
    return [ListItem(node, item.unit) for item in flat for node in _both_signs(item.node)]


def _with_letter_as_unit(item: ListItem) -> ListItem:
    match item.node:
        case Term("*", (Number() as number, Symbol(name))) if name in units.SINGLE and not item.unit:
            return ListItem(number, name)
        case Term("*", (Number() as number, Term("^", (Symbol(name), Number(power))))) if name in units.SINGLE:
            return ListItem(number, f"{name}^{power}")
    return item


def _both_signs(node: Node) -> list[Node]:
    if not _heads(node) & {"pm", "mp"}:
        return [node]
    return [_signed(node, plus) for plus in (True, False)]


def _signed(node: Node, plus: bool) -> Node:
    if not isinstance(node, Term):
        return node
    arguments = tuple(_signed(argument, plus) for argument in node.args)
    if node.head not in ("pm", "mp"):
        return Term(node.head, arguments)
    last = arguments[-1] if plus == (node.head == "pm") else Term("neg", (arguments[-1],))
    return Term("+", (arguments[0], last)) if len(arguments) == 2 else last


_SCALES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}


#: £5 as 5 pounds, which are a weight by themselves.
_ALIKE = ({"£", "pounds"}, {"£", "pound"})


def _degrees(*measures: units.Measure) -> bool:
    """25 °C as 25 degrees."""
    said = {dimension for _, dimensions in measures for dimension, _ in dimensions}
    return said in ({"degree", "celsius"}, {"degree", "fahrenheit"})


def _in_full(item: ListItem, other: ListItem) -> ListItem:
    """$1.5M as $1,500,000, where the other is a number."""
    match item.node:
        case Term("*", (Number(value), Symbol(name))) if name in _SCALES and not symbols(other.node):
            return ListItem(Number(value * _SCALES[name]), item.unit)
    return item


def _names(items: Sequence[ListItem]) -> set[str]:
    """Of x_1 = 2, x_2 = 3, y = 4: x and y."""
    named_ = [item.node.args[0] for item in items if isinstance(item.node, Term) and item.node.head == "rel:="]
    return {node.name.partition("_")[0] for node in named_ if isinstance(node, Symbol)}


#: Words of a gold that its number alone does not say.
_COUNT = frozenset(["least", "most", "than", "except", "excluding", "not", "over", "under", "above", "below", "beyond"])
_COUNT_AFTER_OR = frozenset(["more", "less", "fewer", "greater", "above", "below", "over", "under"])


def _words_that_count(parts: Sequence[str | Items]) -> bool:
    """at least 5, 5 or more, May 5"""
    words = [part if isinstance(part, str) else "" for part in parts]
    after_or = any(a == "or" and b in _COUNT_AFTER_OR for a, b in pairwise(words))
    return after_or or any(word in _COUNT or word.startswith("--") for word in words)


def _matched(gold: Sequence[T], answer: Sequence[T], same: Callable[[T, T], bool]) -> bool:
    """Whether each has its like. Being the same is transitive, so the first like is as good as any."""
    left = list(answer)
    for one in gold:
        like = next((n for n, other in enumerate(left) if same(one, other)), None)
        if like is None:
            return False
        del left[like]
    return not left


def _total(items: Sequence[ListItem]) -> units.Measure | None:
    """Of numbers in units of one kind, each smaller than the one before."""
    measures = [units.measure(item.unit) for item in items]
    first = measures[0] if measures else None
    if first is None or not all(m and m[1] == first[1] for m in measures):
        return None
    factors = [m[0] for m in measures if m]
    numbers = [item.node.value for item in items if isinstance(item.node, Number)]
    if len(numbers) != len(items) or any(a <= b for a, b in pairwise(factors)):
        return None
    return Fraction(sum(n * f for n, f in zip(numbers, factors, strict=True))), first[1]


def _nouns(items: Sequence[ListItem]) -> list[str]:
    return [item.unit for item in items if item.unit and units.measure(item.unit) is None]


def _tuples(items: Sequence[ListItem]) -> list[ListItem] | None:
    """p=5, q=2, p=7, q=2 as (5, 2), (7, 2)."""
    relations = [item.node for item in items if isinstance(item.node, Term) and item.node.head == "rel:="]
    names = [r.args[0] for r in relations]
    if len(relations) != len(items) or len(items) < 2:
        return None
    period = next((n for n in range(1, len(names) + 1) if names[n : n + 1] in ([names[0]], [])), len(names))
    if period < 2 or len(names) % period or names != names[:period] * (len(names) // period):
        return None
    rows = [relations[n : n + period] for n in range(0, len(relations), period)]
    return [ListItem(Term("()", tuple(r.args[1] for r in row))) for row in rows]


def _of_day(item: ListItem) -> tuple[str, tuple[Node, ...]]:
    """(am, pm or "", hours and minutes): 3:30 pm is 15:30."""
    half = (units.measure(item.unit) or (0, [("", 0)]))[1][0][0]
    hour, *rest = item.node.args if isinstance(item.node, Term) else (item.node, Number(Fraction(0)))
    if half in ("am", "pm") and isinstance(hour, Number):
        hour = Number(hour.value % 12 + (12 if half == "pm" else 0))
    return half, (hour, *rest)


def _may_be_time(node: Term) -> bool:
    """2:15, which is no 4:30, as 3:2 is 6:4."""
    hour, *rest = [a.value if isinstance(a, Number) else Fraction(-1) for a in node.args]
    return 0 <= hour <= 24 and all(part == 0 or 10 <= part < 60 for part in rest)


def _brackets(node: Node) -> bool:
    return isinstance(node, Term) and node.head in (
        "()", "[]", "[)", "(]", "{}", "list", "range", ":", "such", "cup", "cap", "setminus",
    )  # fmt: skip


# --- relations ------------------------------------------------------------------------------------------------------

_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "~": "~"}


def _turned(node: Term) -> Term:
    """a < b as b > a."""
    if not all(operator in _TURNED for operator in operators(node)):
        return node
    turned = " ".join(_TURNED[operator] for operator in reversed(operators(node)))
    return Term(f"rel:{turned}", tuple(reversed(node.args)))


def _approximate(node: Term) -> bool:
    return "~" in operators(node)


def _exact(node: Term) -> Term:
    """x = 1/3 ≈ 0.33 without what is rounded."""
    said = operators(node)
    at = said.index("~") if "~" in said else len(said)
    return Term("rel:" + " ".join(said[:at]), node.args[: at + 1]) if at else node


def _with_the_name_of(gold: Term, answer: Term) -> Term:
    """f(t) = 2t is f(x) = 2x."""
    names = [_variable(r.args[0]) for r in (gold, answer)]
    if None in names or names[0][0] != names[1][0] or Symbol(names[0][1]) in _leaves(answer):  # type: ignore[index]
        return answer
    renamed = _renamed(answer, names[1][1], names[0][1])  # type: ignore[index]
    return renamed if isinstance(renamed, Term) else answer


_VARIABLES = frozenset("kmnrstuvxyz")


def _variable(node: Node) -> tuple[str, str] | None:
    """("f", "x") of f(x)"""
    match node:
        case Term("app", (Symbol(name), Symbol(variable))) if variable in _VARIABLES:
            return name, variable
    return None


def _renamed(node: Node, old: str, new: str) -> Node:
    if isinstance(node, Term):
        return Term(node.head, tuple(_renamed(argument, old, new) for argument in node.args))
    return Symbol(new) if node == Symbol(old) else node


def _without_working(node: Term) -> Term:
    """z = 1 + 1 = 2: sums between a name and its value are working, not answer."""
    if len(node.args) < 3 or set(operators(node)) != {"="} or not named(node.args[0]) or symbols(node.args[-1]):
        return node
    if not all(_arithmetic(member) for member in node.args[1:]):
        return node
    return Term("rel:=", (node.args[0], node.args[-1]))


def _arithmetic(node: Node) -> bool:
    if isinstance(node, Term):
        return node.head in ("+", "*", "/", "neg") and all(map(_arithmetic, node.args))
    return isinstance(node, Number)


def _said_values(node: Node) -> list[Node]:
    """What a relation says that something is: the last exact value, then the rounded ones. Nothing for an equation."""
    assert isinstance(node, Term)
    said = operators(node)
    first, last = node.args[0], node.args[-1]
    if said == ["in"]:
        return [last] if named(first) else []
    if set(said) - {"=", "~"} or not (
        named(first) or (not symbols(first) - CONSTANTS and not symbols(last) - CONSTANTS)
    ):
        return []
    exact = said.index("~") if "~" in said else len(said)
    return [*node.args[exact : exact + 1 if exact else 0], *node.args[exact + 1 :]]


# --- ranges of numbers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Range:
    low: Node
    high: Node
    left: bool
    """Open to the left."""
    right: bool


@dataclass(frozen=True, slots=True)
class _Ranges:
    variable: Node | None
    parts: tuple[_Range, ...]


def _ranges_of_all(items: Sequence[ListItem]) -> _Ranges | None:
    """x < -1 or x > 1"""
    found = [_ranges(item.node) for item in items]
    if not all(found):
        return None
    ranges = [r for r in found if r]
    variables = [r.variable for r in ranges if r.variable]
    if any(v != variables[0] for v in variables):
        return None
    return _Ranges(variables[0] if variables else None, tuple(part for r in ranges for part in r.parts))


def _ranges(node: Node) -> _Ranges | None:
    """The intervals that a relation, an interval or a union stands for."""
    if node == _REALS:
        return _Ranges(None, (_Range(_INFINITE[1], _INFINITE[0], True, True),))
    if not isinstance(node, Term):
        return None
    if node.head == "setminus" and node.args[0] == _REALS and len(node.args) == 2:
        return _all_but(node.args[1])
    if node.head in ("()", "[]", "(]", "[)") and len(node.args) == 2:
        low, high = node.args
        return _Ranges(None, (_Range(low, high, node.head[0] == "(", node.head[1] == ")"),))
    if node.head == "{}":
        return _Ranges(None, tuple(_Range(point, point, False, False) for point in node.args))
    if node.head == "cup":
        return _ranges_of_all([ListItem(part) for part in node.args])
    if node.head == "such" and len(node.args) == 2:
        return _ranges(node.args[1])
    return _of_relation(node) if relation(node) else None


def _of_relation(node: Term) -> _Ranges | None:
    said = operators(node)
    if said == ["in"]:
        inner = _ranges(node.args[1])
        return inner and _Ranges(node.args[0], inner.parts)
    if len(said) == 1 and not symbols(node.args[0]) - CONSTANTS - {"∞"}:
        node, said = _turned(node), operators(_turned(node))
    if said == ["!="]:
        return _Ranges(node.args[0], _around_a_point(node.args[1]))
    if said in (["<"], ["<="]):
        return _around(node.args[0], _Range(_INFINITE[1], node.args[1], True, said == ["<"]))
    if said in ([">"], [">="]):
        return _around(node.args[0], _Range(node.args[1], _INFINITE[0], said == [">"], True))
    if len(said) == 2 and all(operator in (">", ">=") for operator in said):
        node, said = _turned(node), operators(_turned(node))
    if len(said) == 2 and all(operator in ("<", "<=") for operator in said):
        low, middle, high = node.args
        return _around(middle, _Range(low, high, said[0] == "<", said[1] == "<"))
    return None


def _around_a_point(point: Node) -> tuple[_Range, ...]:
    return (_Range(_INFINITE[1], point, True, True), _Range(point, _INFINITE[0], True, True))


def _all_but(left_out: Node) -> _Ranges | None:
    """The reals without one number."""
    if not (isinstance(left_out, Term) and left_out.head == "{}" and len(left_out.args) == 1):
        return None
    return _Ranges(None, _around_a_point(left_out.args[0]))


def _around(middle: Node, part: _Range) -> _Ranges | None:
    """1 ≤ |z| ≤ 2 is on both sides of zero."""
    if not (isinstance(middle, Term) and middle.head == "abs"):
        return _Ranges(middle, (part,))
    if part.low in _INFINITE:
        return _Ranges(middle.args[0], (_Range(_minus(part.high), part.high, part.right, part.right),))
    mirrored = _Range(_minus(part.high), _minus(part.low), part.right, part.left)
    return _Ranges(middle.args[0], (mirrored, part))


def _minus(node: Node) -> Node:
    return node.args[0] if isinstance(node, Term) and node.head == "neg" else Term("neg", (node,))


__all__ = ["AnswerComparison", "MathPolicy", "NotComparable"]
