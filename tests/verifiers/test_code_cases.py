from __future__ import annotations

from typing import Any

import pytest

from flywheel.verifiers.cases import Case, NoTests, Script, TestsUnreadable, read_tests
from flywheel.verifiers.equality import Policy

NAN = float("nan")


def only(tests: Any) -> Case:
    cases = read_tests(tests, "f")
    assert isinstance(cases, tuple)
    assert len(cases) == 1
    return cases[0]


@pytest.mark.parametrize(
    ("tests", "case"),
    [
        ("assert f(1, k='x') == [2]", Case((1,), {"k": "x"}, "equals", [2])),
        ("assert 2 == f(1)", Case((1,), {}, "equals", 2)),
        ("assert f(1) != 2, 'message'", Case((1,), {}, "differs", 2)),
        ("assert f() is None", Case((), {}, "equals", None)),
        ("assert f([]) is not True", Case(([],), {}, "differs", True)),
        ("assert f(-1) in (1, 2)", Case((-1,), {}, "in", (1, 2))),
        ("assert f({1}) not in [set()]", Case(({1},), {}, "not in", [set()])),
        ("assert f(1)", Case((1,), {}, "true")),
        ("assert not f(1)", Case((1,), {}, "false")),
        ("assert abs(f(1) - 0.5) < 1e-6", Case((1,), {}, "nearer", 0.5, 1e-6)),
        ("assert abs(f(1) - 2 / 4) <= 1", Case((1,), {}, "within", 0.5, 1)),
        ("assert f(3 * 19, 'a' + 'b') == -(2 - 5)", Case((57, "ab"), {}, "equals", 3)),
        ("x = [1, 2]\nassert f(x) == (x, x)", Case(([1, 2],), {}, "equals", ([1, 2], [1, 2]))),
        ("import math\nfrom s import f\nassert f(1) == 2", Case((1,), {}, "equals", 2)),
        ("def check(c):\n    assert c(1) == 2\n    assert True, 'done'\n", Case((1,), {}, "equals", 2)),
        ("def check(candidate):\n    assert candidate(1) == 2\ncheck(f)\n", Case((1,), {}, "equals", 2)),
        ("def test_it():\n    '''One.'''\n    assert f(1) == 2\n", Case((1,), {}, "equals", 2)),
        ("with pytest.raises(ValueError):\n    f(-1)", Case((-1,), {}, "raises", "ValueError")),
        ("if __name__ == '__main__':\n    go()\nassert f(1) == 2", Case((1,), {}, "equals", 2)),
        ('[{"args": [1], "kwargs": {"k": 2}, "expected": null}]', Case((1,), {"k": 2}, "equals", None)),
        ([{"args": [1], "raises": "KeyError"}], Case((1,), {}, "raises", "KeyError")),
    ],
)
def test_plain_tests_are_read_as_cases(tests: Any, case: Case) -> None:
    assert only(tests) == case


def test_one_assertion_may_hold_several_cases() -> None:
    assert read_tests("assert f(1) == 2 and not f(2)", "f") == (
        Case((1,), {}, "equals", 2),
        Case((2,), {}, "false"),
    )


@pytest.mark.parametrize(
    "tests",
    [
        "for i in range(3):\n    assert f(i) == i",
        "assert f(g(1)) == 2",
        "assert f(1) == f(1)",
        "assert f(1) > 0",
        "assert f(1) == 10 ** 10 ** 10",
        "assert f(1) == [0] * 10",
        "assert f(1) is 2",
        "assert f(1) in 'abc'",
        "assert f(*[1]) == 2",
        "assert f(**{'a': 1}) == 2",
        "assert 0 < f(1) < 2",
        "assert False",
        "f = print\nassert f(1) == None",
        "def check(candidate):\n    assert f(1) == candidate(1)",
        "def helper(x): return x\nassert f(1) == 2",
        "import os\nos._exit(0)",
        "with open('x') as h:\n    f(1)",
        "class T: pass",
    ],
)
def test_everything_else_needs_a_referee(tests: str) -> None:
    assert read_tests(tests, "f") == Script(tests)


@pytest.mark.parametrize("tests", [None, "", "  \n", [], "[]", "pass", "# nothing\n", "assert True", "import f"])
def test_no_tests_are_said_to_be_none(tests: Any) -> None:
    with pytest.raises(NoTests):
        read_tests(tests, "f")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("assert f(1) ==", "no Python: invalid syntax, line 1"),
        ('[{"args": [1]', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('[{"args": [1]}]', 'case 1: either "expected" or "raises" must be there'),
        ('[{"args": [1], "expect": 2}]', 'case 1: unknown key "expect". Did you mean "expected"?'),
        ('[{"args": 1, "expected": 2}]', "case 1: args must be a list"),
        ("[1]", "case 1: not an object"),
        ([{"args": [], "raises": 3}], 'case 1: "raises" must be the name'),
        ("x" * 300_000, "300,000 characters of tests"),
        ("-" * 50_000 + "1", "no Python"),
        ("(" * 50_000, "no Python"),
        ({"a": 1}, "tests are a dict"),
    ],
)
def test_tests_that_cannot_be_read_say_why(tests: Any, message: str) -> None:
    with pytest.raises(TestsUnreadable) as caught:
        read_tests(tests, "f")
    assert message in str(caught.value)
    assert not isinstance(caught.value, NoTests)


@pytest.mark.parametrize(
    ("test", "got", "holds"),
    [
        ("assert f() == 1", 1, True),
        ("assert f() == 1", True, False),
        ("assert f() == 1", 1.0, False),
        ("assert f() != 1", True, True),
        ("assert f() is True", 1, False),
        ("assert f() in [1, 2]", True, False),
        ("assert f() not in [1, 2]", 3, True),
        ("assert f()", [0], True),
        ("assert f()", [], False),
        ("assert not f()", "", True),
        ("assert abs(f() - 5) < 1", 6, False),
        ("assert abs(f() - 5) <= 1", 6, True),
        ("assert abs(f() - 1) < 1", True, False),
        ("assert abs(f() - 1) < 1", NAN, False),
        ("assert abs(f() - 0.5) < 1", 10**400, False),
        ("assert abs(f() - 1) < 1", "1", False),
    ],
)
def test_what_a_case_accepts(test: str, got: Any, holds: bool) -> None:
    assert only(test).holds(got, Policy()) is holds


def test_an_exception_is_matched_by_its_kind() -> None:
    case = Case((), {}, "raises", "LookupError")
    assert case.expects_error("KeyError")
    assert not case.expects_error("ValueError")
    assert not case.expects_error("MyError")
    assert Case((), {}, "raises", "Exception").expects_error("MyError")
    assert Case((), {}, "raises", "MyError").expects_error("MyError")
    assert not Case((), {}, "equals", "KeyError").expects_error("KeyError")
