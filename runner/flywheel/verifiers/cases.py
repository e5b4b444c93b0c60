"""The tests of a row: cases with inputs and what is expected, or Python that needs a referee.

Cases are read, never run: what is expected stays on this side, and only inputs go to the program.
"""

from __future__ import annotations

import ast
import builtins
import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from flywheel.text import did_you_mean, one_line
from flywheel.verifiers.equality import Policy
from flywheel.verifiers.programs import MAX_CHARACTERS, bound_names, parsed

Relation = Literal["equals", "differs", "in", "not in", "true", "false", "within", "nearer", "raises"]


class TestsUnreadable(Exception):
    """The tests say nothing: they are neither JSON cases nor Python, or do not run."""

    __test__ = False


class NoTests(TestsUnreadable):
    """There are none."""

    __test__ = False


@dataclass(frozen=True)
class Case:
    """One call and what is expected of it.

    `tolerance`: absolute, reached by "within", not by "nearer". `expected` of "raises": the name of an exception.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    relation: Relation
    expected: Any = None
    tolerance: float = 0.0

    def holds(self, got: Any, policy: Policy) -> bool:
        """Whether the value that was returned is what is expected; not for "raises"."""
        match self.relation:
            case "equals" | "differs":
                return policy.same(got, self.expected) is (self.relation == "equals")
            case "in" | "not in":
                return any(policy.same(got, each) for each in self.expected) is (self.relation == "in")
            case "within" | "nearer":
                return self._is_near(got)
        return bool(got) is (self.relation == "true")

    def _is_near(self, got: Any) -> bool:
        if type(got) not in (int, float):
            return False
        try:
            distance = abs(got - self.expected)
        except OverflowError:  # an integer beyond every float
            return False
        return bool(distance <= self.tolerance if self.relation == "within" else distance < self.tolerance)

    def expects_error(self, name: str) -> bool:
        """Whether the exception called `name` is the expected one, or a kind of it."""
        if self.relation != "raises":
            return False
        kind, wanted = getattr(builtins, name, None), getattr(builtins, self.expected, None)
        if isinstance(kind, type) and isinstance(wanted, type):
            return issubclass(kind, wanted)
        return name == self.expected or wanted is Exception


@dataclass(frozen=True)
class Script:
    """Python tests that are more than cases: to be run by a referee, in a process of their own."""

    source: str


def read_tests(tests: Any, entry_point: str) -> tuple[Case, ...] | Script:
    """The tests in a row's column: JSON cases (as text or as a list), or Python. Raises TestsUnreadable."""
    if isinstance(tests, str) and tests.lstrip()[:1] == "[":
        tests = _json(tests)
    if isinstance(tests, list):
        return _some(tuple(_json_case(case, number) for number, case in enumerate(tests, 1)))
    if tests is not None and not isinstance(tests, str):
        raise TestsUnreadable(f"tests are a {type(tests).__name__}, not text and not a list of cases")
    if not tests or not tests.strip():
        raise NoTests("no tests")
    if len(tests) > MAX_CHARACTERS:
        raise TestsUnreadable(f"{len(tests):,} characters of tests")
    try:
        tree = parsed(tests)
    except SyntaxError as error:
        raise TestsUnreadable(f"no Python: {one_line(error.msg, 120)}, line {error.lineno or 1}") from None
    try:
        cases = tuple(_Reading(entry_point).module(tree))
    except (_MoreThanCases, RecursionError):
        return Script(tests)
    return _some(cases)


def called_by(tests: Any) -> frozenset[str]:
    """Names that tests in Python call and do not give a value to themselves: what an answer to them defines."""
    try:
        tree = parsed(tests) if isinstance(tests, str) and len(tests) <= MAX_CHARACTERS else None
    except SyntaxError:
        return frozenset()
    nodes = list(ast.walk(tree)) if tree is not None else []
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    given = {node.arg for node in nodes if isinstance(node, ast.arg)} | set(dir(builtins))
    return frozenset(called - given - (bound_names(tree) if tree is not None else set()))


def _some(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    if not cases:
        raise NoTests("no tests")
    return cases


# --- JSON ---


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TestsUnreadable(f"no JSON: {one_line(str(error), 120)}") from None


def _json_case(case: Any, number: int) -> Case:
    def refuse(why: str) -> NoReturn:
        raise TestsUnreadable(f"case {number}: {why}")

    if not isinstance(case, dict):
        refuse('not an object such as {"args": [1], "expected": 2}')
    known = ("args", "kwargs", "expected", "raises")
    for key in case.keys() - set(known):
        refuse(f'unknown key "{one_line(key, 40)}". {did_you_mean(key, known)}'.rstrip())
    args, kwargs = case.get("args", []), case.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        refuse("args must be a list, kwargs an object")
    if ("expected" in case) is ("raises" in case):
        refuse('either "expected" or "raises" must be there')
    if "raises" in case and not isinstance(case["raises"], str):
        refuse('"raises" must be the name of an exception')
    if "raises" in case:
        return Case(tuple(args), kwargs, "raises", case["raises"])
    return Case(tuple(args), kwargs, "equals", case["expected"])


# --- Python ---


class _MoreThanCases(Exception):
    """A statement is not a plain assertion about one call with literal arguments."""


_RELATIONS: dict[type[ast.cmpop], Relation] = {
    ast.Eq: "equals",
    ast.NotEq: "differs",
    ast.Is: "equals",
    ast.IsNot: "differs",
    ast.In: "in",
    ast.NotIn: "not in",
}
_SINGLETONS = (None, True, False)


@dataclass
class _Reading:
    """Reads `assert f(…) == …` in modules, in `def check(candidate)` and in `def test_…()`."""

    entry_point: str
    literals: dict[str, ast.expr] = field(default_factory=dict)
    """Names that stand for literals."""
    scopes: set[str] = field(default_factory=set)
    called: str = ""
    """What the tested function is called in this scope."""

    def module(self, tree: ast.Module) -> Iterator[Case]:
        self.called = self.entry_point
        yield from self._block(tree.body)

    def _block(self, statements: list[ast.stmt]) -> Iterator[Case]:
        for statement in statements:
            yield from self._statement(statement)

    def _statement(self, statement: ast.stmt) -> Iterator[Case]:
        match statement:
            case ast.Pass() | ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant() | ast.Name()):
                return
            case ast.Assert(test=test):
                yield from self._assertion(test)
            case ast.Assign([ast.Name(name)], value) if name not in (self.entry_point, "candidate", self.called):
                self.literals[name] = self._folded(value)
                self._value(value)
            case ast.FunctionDef(decorator_list=[]):
                yield from self._function(statement)
            case ast.Expr(ast.Call(func=ast.Name(name))) if name in self.scopes:
                return
            case ast.With([ast.withitem(ast.Call(func=func, args=[ast.Name(error)], keywords=[]))], [ast.Expr(call)]):
                if ast.unparse(func) != "pytest.raises":
                    raise _MoreThanCases
                yield self._case(call, "raises", error)
            case ast.If(test=test) if ast.unparse(test) == "__name__ == '__main__'":
                return
            case _:
                raise _MoreThanCases

    def _function(self, function: ast.FunctionDef) -> Iterator[Case]:
        """`check(candidate)` or `test_…()`, read once, whether or not the tests call it."""
        names = [argument.arg for argument in function.args.args]
        tests_candidate = function.name == "check" and len(names) == 1
        if not tests_candidate and not (function.name.startswith("test") and not names):
            raise _MoreThanCases
        self.scopes.add(function.name)
        outer, self.called = (self.called, dict(self.literals)), names[0] if names else self.called
        yield from self._block(function.body)
        self.called, self.literals = outer

    def _assertion(self, test: ast.expr) -> Iterator[Case]:
        match test:
            case ast.Constant(value) if value:
                return
            case ast.BoolOp(ast.And(), parts):
                for part in parts:
                    yield from self._assertion(part)
            case ast.UnaryOp(ast.Not(), ast.Call() as call):
                yield self._case(call, "false")
            case ast.Call():
                yield self._case(test, "true")
            case ast.Compare(left, [op], [right]):
                yield self._comparison(left, op, right)
            case _:
                raise _MoreThanCases

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Case:
        match left, op:
            case ast.Call(ast.Name("abs"), [ast.BinOp(call, ast.Sub(), want)], []), ast.Lt() | ast.LtE():
                near: Relation = "nearer" if isinstance(op, ast.Lt) else "within"
                return self._case(call, near, self._number(want), self._number(right))
        relation = _RELATIONS.get(type(op))
        if relation is None:
            raise _MoreThanCases
        if not self._is_call(left) and relation in ("equals", "differs"):
            left, right = right, left
        expected = self._value(right)
        if isinstance(op, ast.Is | ast.IsNot) and not any(expected is each for each in _SINGLETONS):
            raise _MoreThanCases
        if relation in ("in", "not in") and not isinstance(expected, list | tuple | set):
            raise _MoreThanCases
        return self._case(left, relation, expected)

    def _case(self, call: ast.expr, relation: Relation, expected: Any = None, tolerance: float = 0.0) -> Case:
        if not isinstance(call, ast.Call) or not self._is_call(call):
            raise _MoreThanCases
        if any(keyword.arg is None for keyword in call.keywords):
            raise _MoreThanCases
        args = tuple(self._value(argument) for argument in call.args)
        kwargs = {str(keyword.arg): self._value(keyword.value) for keyword in call.keywords}
        return Case(args, kwargs, relation, expected, tolerance)

    def _is_call(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == self.called

    def _number(self, node: ast.expr) -> float:
        value = self._value(node)
        if type(value) not in (int, float):
            raise _MoreThanCases
        number: float = value
        return number

    def _value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(self._folded(node))
        except (ValueError, TypeError, MemoryError):
            raise _MoreThanCases from None

    def _folded(self, node: ast.expr) -> ast.expr:
        """Names of literals replaced, small sums and products worked out."""
        folded: ast.expr = _Folding(self.literals).visit(node)
        return folded


_SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass
class _Folding(ast.NodeTransformer):
    literals: dict[str, ast.expr]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.literals.get(node.id, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        match node.left, node.op, node.right:
            case ast.Constant(int() | float() as left), op, ast.Constant(int() | float() as right):
                if type(op) in _SUMS and max(abs(left), abs(right)) < 1e9 and (right or not isinstance(op, ast.Div)):
                    return ast.Constant(_SUMS[type(op)](left, right))
            case ast.Constant(str(left)), ast.Add(), ast.Constant(str(right)):
                return ast.Constant(left + right)
        return node
