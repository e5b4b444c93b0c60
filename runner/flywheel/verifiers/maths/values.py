"""The value of a formula at a point: exact while it is rational, else to 150 digits.

Every step is bounded (size of numbers, of matrices), so no formula takes long, whatever stands in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, comb, factorial, floor, gcd, lcm
from typing import Any, TypeAlias

import mpmath

from flywheel.verifiers.maths.nodes import Node, Number, Symbol, Term

DIGITS = 150
_MOST_BITS = 40_000
_MOST_EXPONENT = 20_000
_BARELY = 1e-100
_CONTEXT = mpmath.mp.clone()
_CONTEXT.dps = DIGITS

Inexact: TypeAlias = Any
"""mpmath's complex number; mpmath has no types."""
Scalar: TypeAlias = Fraction | Inexact
Matrix: TypeAlias = tuple[tuple[Scalar, ...], ...]
Value: TypeAlias = Scalar | Matrix


class NoValue(Exception):
    """The formula has no value here: it divides by zero, is too large, or is no formula of numbers at all."""


class TooLarge(NoValue):
    """A number too large to be worked out."""


def value(node: Node, point: Mapping[str, Value], base: int | None = None) -> Value:
    """`base`: of \\log without one; None: e. Raises NoValue."""
    return _Evaluation(point, base).value(node)


class _Evaluation:
    def __init__(self, point: Mapping[str, Value], base: int | None) -> None:
        self.point, self.base = point, base

    def value(self, node: Node) -> Value:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Symbol):
            return self._symbol(node.name)
        if node.head == "matrix":
            return self._matrix(node)
        arguments = [self.value(argument) for argument in node.args]
        match node:
            case Term("app", (Symbol(name), _)) if name.rstrip("'") in _FUNCTION_NAMES:
                return _unknown_function(name, arguments[1])
        operator = _OPERATORS.get(node.head)
        if operator is not None:
            return operator(*arguments)
        if node.head in ("log", "lg"):
            return self._log(node.head, arguments)
        if node.head in _FUNCTIONS:
            return _applied(_FUNCTIONS[node.head], arguments)
        raise NoValue(node.head)

    def _symbol(self, name: str) -> Value:
        if name in self.point:
            return self.point[name]
        constant = _CONSTANTS.get(name)
        if constant is None:
            raise NoValue(name)
        return constant

    def _matrix(self, node: Term) -> Value:
        rows = tuple(tuple(map(_scalar, map(self.value, row.args))) for row in node.args if isinstance(row, Term))
        if len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > 400:
            raise NoValue("a matrix with rows of different length")
        return rows

    def _log(self, head: str, arguments: list[Value]) -> Value:
        if len(arguments) > 1:
            return _divided(_applied(_CONTEXT.log, arguments[:1]), _applied(_CONTEXT.log, arguments[1:]))
        found = _applied(_CONTEXT.log, arguments)
        base = 10 if head == "lg" else self.base
        return found if base is None else _divided(found, _CONTEXT.log(base))


_CONSTANTS: dict[str, Value] = {
    "π": _CONTEXT.mpc(_CONTEXT.pi),
    "e": _CONTEXT.mpc(_CONTEXT.e),
    "i": _CONTEXT.mpc(0, 1),
}
CONSTANTS = frozenset(_CONSTANTS)


def _bounded(found: Value) -> Value:
    if isinstance(found, Fraction):
        if max(found.numerator.bit_length(), found.denominator.bit_length()) > _MOST_BITS:
            raise TooLarge("a number too large to be worked out")
    elif not isinstance(found, tuple):
        if not (_CONTEXT.isfinite(found.real) and _CONTEXT.isfinite(found.imag)):
            raise NoValue("not finite")
        if max(abs(part._mpf_[2] + part._mpf_[3]) for part in (found.real, found.imag)) > 4 * _MOST_BITS:
            raise TooLarge("a number too large to be worked out")
    return found


def inexact(found: Scalar) -> Inexact:
    if isinstance(found, Fraction):
        return _CONTEXT.mpc(_CONTEXT.mpf(found.numerator) / found.denominator)
    return found


def _scalar(found: Value) -> Scalar:
    if isinstance(found, tuple):
        if len(found) == len(found[0]) == 1:
            return found[0][0]
        raise NoValue("a matrix where a number is meant")
    return found


def _pair(left: Scalar, right: Scalar) -> tuple[Scalar, Scalar]:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left, right
    return inexact(left), inexact(right)


def _plus(left: Scalar, right: Scalar) -> Scalar:
    a, b = _pair(left, right)
    return _scalar(_bounded(a + b))


def _times(left: Scalar, right: Scalar) -> Scalar:
    a, b = _pair(left, right)
    return _scalar(_bounded(a * b))


def _added(*parts: Value) -> Value:
    found = parts[0]
    for part in parts[1:]:
        found = _sum_of_two(found, part)
    return found


def _sum_of_two(left: Value, right: Value) -> Value:
    if isinstance(left, tuple) and isinstance(right, tuple):
        if (len(left), len(left[0])) != (len(right), len(right[0])):
            raise NoValue("matrices of different shape")
        return tuple(tuple(map(_plus, a, b)) for a, b in zip(left, right, strict=True))
    return _plus(_scalar(left), _scalar(right))


def _multiplied(left: Value, right: Value) -> Value:
    if isinstance(left, tuple) and isinstance(right, tuple):
        if len(left[0]) != len(right):
            raise NoValue("matrices of different shape")
        columns = tuple(zip(*right, strict=True))
        return tuple(tuple(_scalar(_added(*map(_times, row, column))) for column in columns) for row in left)
    if isinstance(left, tuple):
        return tuple(tuple(_times(cell, _scalar(right)) for cell in row) for row in left)
    if isinstance(right, tuple):
        return _multiplied(right, left)
    return _times(left, right)


_FUNCTION_NAMES = frozenset("fgFG")


def _unknown_function(name: str, argument: Value) -> Value:
    """f(2x) is no 2f(x): some number, the same for the same argument."""
    cells = [cell for row in argument for cell in row] if isinstance(argument, tuple) else [argument]
    said = [str(c) if isinstance(c, Fraction) else _CONTEXT.nstr(c, DIGITS - 30) for c in cells]
    return Fraction(random.Random(f"{name}{said}").randrange(300, 2_900), 997)


def _applied_or_multiplied(function: Value, *arguments: Value) -> Value:
    """f(2), which may be f · 2."""
    if len(arguments) != 1:
        raise NoValue("a function of several arguments")
    return _multiplied(function, arguments[0])


def _negated(found: Value) -> Value:
    return _multiplied(Fraction(-1), found)


def _divided(left: Value, right: Value) -> Value:
    below = _scalar(right)
    if below == 0:
        raise NoValue("division by zero")
    return _multiplied(left, 1 / below)


def _raised(base: Value, exponent: Value) -> Value:
    power = _scalar(exponent)
    if isinstance(base, tuple):
        raise NoValue("a power of a matrix")
    if isinstance(power, Fraction) and power.denominator == 1:
        return _whole_power(base, int(power))
    below = inexact(base)
    if below == 0:
        return Fraction(0)
    return _bounded(_exponential(_CONTEXT.log(below) * inexact(power)))


def _whole_power(base: Scalar, power: int) -> Value:
    if base == 0 and power < 0:
        raise NoValue("division by zero")
    if isinstance(base, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits > 1 and abs(power) * bits > _MOST_BITS:
            raise TooLarge("a power too large to be worked out")
        return base if abs(base) == 1 and power % 2 else base**power if abs(base) != 1 else Fraction(1)
    if abs(power) > _MOST_EXPONENT:
        raise TooLarge("a power too large to be worked out")
    return _bounded(base**power)


def _exponential(power: Inexact) -> Value:
    if abs(power) > 4 * _MOST_BITS:
        raise TooLarge("a power too large to be worked out")
    return _bounded(_CONTEXT.mpc(_CONTEXT.exp(power)))


def _root(found: Value, degree: Value) -> Value:
    """The real root of a real number where there is one, else the principal one."""
    inner, n = _scalar(found), _scalar(degree)
    if n == 0:
        raise NoValue("division by zero")
    real = inexact(inner)
    if isinstance(n, Fraction) and n.denominator == 1 and n % 2 == 1 and real.imag == 0 and real.real < 0:
        return _negated(_raised(_negated(inner), 1 / n))
    if n == 2:
        return _bounded(_CONTEXT.mpc(_CONTEXT.sqrt(real)))
    return _raised(inner, 1 / n)


def _factorial(found: Value) -> Value:
    n = _scalar(found)
    if not isinstance(n, Fraction) or n.denominator != 1 or n < 0:
        raise NoValue("the factorial of no whole number")
    if n > 3_000:
        raise TooLarge("a factorial too large to be worked out")
    return Fraction(factorial(int(n)))


def _binomial(n: Value, k: Value) -> Value:
    above, below = _scalar(n), _scalar(k)
    if not (
        isinstance(above, Fraction) and isinstance(below, Fraction) and above.denominator == below.denominator == 1
    ):
        raise NoValue("a binomial coefficient of no whole numbers")
    if not 0 <= below <= above:
        return Fraction(0)
    if above > 10_000:
        raise TooLarge("a binomial coefficient too large to be worked out")
    return Fraction(comb(int(above), int(below)))


def _absolute(found: Value) -> Value:
    if isinstance(found, tuple):
        raise NoValue("the determinant of a matrix")
    return abs(found) if isinstance(found, Fraction) else _CONTEXT.mpc(abs(found))


def _rounded(up: bool) -> Callable[..., Value]:
    def rounded(found: Value) -> Value:
        number = _scalar(found)
        if not isinstance(number, Fraction):
            if abs(number.imag) > _BARELY:
                raise NoValue("the floor of a complex number")
            near = int(_CONTEXT.nint(number.real))
            off = number.real - near  # a whole number but for the last digits is one
            number = Fraction(near) if abs(off) < _BARELY else near + Fraction(1 if off > 0 else -1, 2)
        return Fraction(ceil(number) if up else floor(number))

    return rounded


def _percent(found: Value) -> Value:
    return _multiplied(found, Fraction(1, 100))


def _degrees(found: Value) -> Value:
    return _multiplied(found, _CONTEXT.mpc(_CONTEXT.pi / 180))


def _whole_numbers(combine: Callable[..., int]) -> Callable[..., Value]:
    def combined(*parts: Value) -> Value:
        numbers = [_scalar(part) for part in parts]
        if not all(isinstance(n, Fraction) and n.denominator == 1 for n in numbers):
            raise NoValue("no whole numbers")
        return Fraction(combine(*(int(n) for n in numbers)))

    return combined


def _chosen(choose: Callable[..., Fraction]) -> Callable[..., Value]:
    def chosen(*parts: Value) -> Value:
        if not all(isinstance(part, Fraction) for part in parts):
            raise NoValue("numbers that are not exact")
        return choose(parts)

    return chosen


def _applied(function: Callable[..., Inexact], arguments: list[Value]) -> Value:
    numbers = [inexact(_scalar(argument)) for argument in arguments]
    if any(abs(number) > _MOST_BITS for number in numbers) and function is not _CONTEXT.log:
        raise TooLarge("an argument too large to be worked out")
    try:
        return _bounded(_CONTEXT.mpc(function(*numbers)))
    except (ValueError, ZeroDivisionError, ArithmeticError, TypeError) as error:
        raise NoValue(str(error)) from error


_OPERATORS: Mapping[str, Callable[..., Value]] = {
    "+": _added,
    "neg": _negated,
    "*": _multiplied,
    "app": _applied_or_multiplied,
    "/": _divided,
    "^": _raised,
    "root": _root,
    "fact": _factorial,
    "binom": _binomial,
    "abs": _absolute,
    "lfloor": _rounded(up=False),
    "lceil": _rounded(up=True),
    "pct": _percent,
    "deg": _degrees,
    "gcd": _whole_numbers(gcd),
    "lcm": _whole_numbers(lcm),
    "max": _chosen(max),
    "min": _chosen(min),
}

_TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
_FUNCTIONS: Mapping[str, Callable[..., Inexact]] = {
    "ln": _CONTEXT.log,
    "exp": _CONTEXT.exp,
    "sqrt": _CONTEXT.sqrt,
    "asin": _CONTEXT.asin,
    "acos": _CONTEXT.acos,
    "atan": _CONTEXT.atan,
    **{name: getattr(_CONTEXT, name) for name in _TRIGONOMETRIC},
    **{f"arc{name}": getattr(_CONTEXT, f"a{name}") for name in _TRIGONOMETRIC},
}  # fmt: skip
