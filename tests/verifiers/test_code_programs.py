from __future__ import annotations

import pytest

from flywheel.verifiers.programs import ProgramUnreadable, assemble, whole

SIGNATURE = "from typing import List\n\ndef helper(x):\n    return x\n\ndef f(x: List[int]) -> int:\n"
DOCUMENTED = SIGNATURE + '    """Says x."""\n'


def value(source: str, entry_point: str = "f") -> object:
    names: dict[str, object] = {}
    exec(source, names)
    return names[entry_point](3)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("answer", "prefix"),
    [
        ("def f(x):\n    return x", ""),
        ("    return x\n", SIGNATURE),
        ("    return x", SIGNATURE.rstrip("\n")),
        ("return x", SIGNATURE),
        ("return x", DOCUMENTED),
        ("y = x\nreturn y", DOCUMENTED),
        ("y = x\n    return y", DOCUMENTED),
        ("    y = x\n    return helper(y)", DOCUMENTED),
        ("def f(x: List[int]):\n    return helper(x)", DOCUMENTED),
        ("def f(x: List[int]):\n    return helper(x)", SIGNATURE),
        ("Here it is:\n```python\ndef f(x):\n    return x\n```\nGood luck!", ""),
        ("```\n    return x\n```", DOCUMENTED),
        ("```python\ndef f(x):\n    return x\n```\nand\n```python\nprint(1)\n```", ""),
        ("```python\ndef f(x):\n    return x", ""),
        ("f = lambda x: x", ""),
    ],
)
def test_answers_become_programs(answer: str, prefix: str) -> None:
    program = assemble(answer, prefix, "f")
    assert program.entry_point == "f"
    assert value(program.source) == 3


def test_the_entry_point_is_the_last_function_where_none_is_named() -> None:
    program = assemble("def g(x):\n    return 1\n\ndef f(x):\n    return x\n\nx = 1\n")
    assert program.entry_point == "f"


def test_the_answer_begins_where_the_prefix_ends() -> None:
    program = assemble("    return x\n", SIGNATURE, "f")
    assert program.source.splitlines()[program.first_line - 1] == "    return x"


@pytest.mark.parametrize(
    ("answer", "prefix", "reason"),
    [
        ("", "", "no answer"),
        (" \n", SIGNATURE, "no answer"),
        ("def f(x:\n", "", "syntax error: '(' was never closed, line 1: def f(x:"),
        ("I cannot help with that.", "", "syntax error: "),
        ("def g(x):\n    return x", "", "no function: the answer does not define f"),
        ("x = 1", "", "no function: the answer does not define f"),
        ("return x", "", "syntax error: 'return' outside function"),
        ("x" * 300_000, "", "too long: 300,000 characters"),
        ("(" * 10_000, "", "syntax error: "),
        ("x = \0", "", "syntax error: "),
        ("def f(x):\n" + "    if x:\n" * 3, "", "syntax error: "),
        ("def f(x): return " + "-" * 100_000 + "1", "", "syntax error: "),
        ("def f(x): return " + "9" * 10_000, "", "syntax error: "),
    ],
)
def test_what_is_no_program_says_why(answer: str, prefix: str, reason: str) -> None:
    with pytest.raises(ProgramUnreadable) as caught:
        assemble(answer, prefix, "f")
    assert str(caught.value).startswith(reason)


def test_no_function_at_all_is_said() -> None:
    with pytest.raises(ProgramUnreadable, match="no function: the answer defines none"):
        assemble("x = 1")


def test_where_no_entry_point_is_named_it_is_the_function_that_the_tests_call() -> None:
    assert assemble("def f(x):\n    return x\n\ndef g(x):\n    return 1\n", called=["f"]).entry_point == "f"
    assert assemble("f = max", called=["f"]).entry_point == "f"


def test_a_prefix_becomes_a_module_of_its_own() -> None:
    assert whole(DOCUMENTED) == DOCUMENTED
    assert whole("def f(x):") == "def f(x):\n    pass\n"
    assert whole("def f(x") == ""


def _nested_finally(depth: int, ways_out: int = 0) -> str:
    lines = ["def f(x):"]
    for level in range(1, depth + 1):
        pad = "    " * level
        lines += [f"{pad}try:", *[f"{pad}    if x: return 1"] * ways_out, f"{pad}    pass", f"{pad}finally:"]
    return "\n".join([*lines, "    " * (depth + 1) + "x = 1", "    return x"])


@pytest.mark.parametrize(("depth", "ways_out"), [(19, 0), (8, 20), (5, 200)])
def test_finally_blocks_that_multiply_when_compiled_are_refused(depth: int, ways_out: int) -> None:
    with pytest.raises(ProgramUnreadable, match="syntax error: too many copies of nested finally blocks"):
        assemble(_nested_finally(depth, ways_out), entry_point="f")


def test_finally_blocks_as_people_write_them_are_fine() -> None:
    assert assemble(_nested_finally(3, 3), entry_point="f").entry_point == "f"
