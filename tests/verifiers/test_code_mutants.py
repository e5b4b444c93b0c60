from __future__ import annotations

import ast

import pytest

from flywheel.verifiers.mutants import mutants
from flywheel.verifiers.programs import Program, assemble


def of(source: str, count: int = 50) -> list[str]:
    return list(mutants(Program(source, "f"), count))


def body(expression: str) -> set[str]:
    """What becomes of the returned expression."""
    found = of(f"def f(x, y):\n    return {expression}")
    return {ast.unparse(ast.parse(text).body[0].body[0].value) for text in found}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("expression", "mutated"),
    [
        ("x < y", "x <= y"),
        ("x == y", "x != y"),
        ("x in y", "x not in y"),
        ("x + y", "x - y"),
        ("x // y", "x * y"),
        ("x and y", "x or y"),
        ("not x", "x"),
        ("-x", "x"),
        ("x[1]", "x[2]"),
        ("True", "False"),
        ("'a'", "''"),
        ("x if y else 0", "x if not y else 0"),
        ("[i for i in x if i]", "[i for i in x if not i]"),
        ("x", "None"),
        ("None", "0"),
    ],
)
def test_each_operator_makes_its_mutant(expression: str, mutated: str) -> None:
    found = body(expression)
    assert mutated in found
    assert expression not in found


@pytest.mark.parametrize(
    ("statement", "mutated"),
    [
        ("x += 1", "pass"),
        ("x += 1", "x -= 1"),
        ("x = 1", "x = 2"),
        ("x.append(1)", "pass"),
        ("while x: break", "while x:\n        pass"),
        ("if x: pass", "if not x:\n        pass"),
    ],
)
def test_statements_are_changed_or_dropped(statement: str, mutated: str) -> None:
    assert f"def f(x):\n    {mutated}\n    return x" in of(f"def f(x):\n    {statement}\n    return x")


def test_mutants_are_programs_and_differ() -> None:
    source = "def f(x: int = 1) -> str:\n    '''Text.'''\n    y = [x * 2, 3 < x]\n    return f'{y[0]:5} a'\n"
    found = of(source)
    assert len(found) == len(set(found)) >= 6
    for text in found:
        compile(text, "mutant", "exec")
        assert "'''Text.'''" in text or '"""Text."""' in text


def test_replaced_returns_come_last() -> None:
    found = of("def f(x):\n    if x > 1:\n        return x + 1\n    return x * 2\n")
    assert ["None" in text for text in found] == sorted("None" in text for text in found)
    assert "None" in found[-1]


def test_only_the_answer_is_changed() -> None:
    program = assemble("    return helper(x) + 1\n", "def helper(x):\n    return x * 2\n\ndef f(x):\n", "f")
    found = list(mutants(program, 50))
    assert found
    assert all("return x * 2" in text for text in found)


def test_the_order_is_the_program_s_own_and_the_count_is_kept() -> None:
    source = "def f(x):\n    return [x + 1, x - 2, x * 3, x / 4, x < 5, x > 6]\n"
    assert of(source) == of(source)
    assert of(source, 3) == of(source)[:3]
    assert len(of(source, 3)) == 3
    assert of(source, 0) == []
