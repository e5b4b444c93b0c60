"""What the code check says: of right and wrong programs, of programs that end otherwise, of tests that say nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coding import ADD, TASKS, check_of, code_subject, descendants, is_alive

from flywheel.records import Subject
from flywheel.sandbox import Limits, Session, SessionEnded
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers import Checker, code
from flywheel.verifiers.code import MAX_REASON, REASONS, open_code
from flywheel.verifiers.finding import Finding

LOOP = "def check(candidate):\n    for a, b in [(1, 2), (5, 5), (-1, 1)]:\n        assert candidate(a, b) == a + b\n"
FORMS = {
    "json": json.dumps([{"args": [1, 2], "expected": 3}, {"args": [5], "kwargs": {"b": 5}, "expected": 10}]),
    "asserts": "assert add(1, 2) == 3\nassert add(5, b=5) == 10\n",
    "check": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(5, b=5) == 10\n",
    "script": LOOP,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_right_answer_passes(form: str) -> None:
    assert check_of()(code_subject(ADD, FORMS[form])) == Finding("pass")


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_answer_fails_with_the_call_and_what_it_gave(form: str) -> None:
    finding = check_of()(code_subject(ADD.replace("+", "-"), FORMS[form]))
    assert finding.outcome == "fail"
    assert "add(1, 2) gave -1" in finding.reason
    assert "3" not in finding.reason.replace("add(1, 2) gave -1", "")


@pytest.mark.parametrize(
    ("answer", "tests"),
    [
        (
            "from collections import Counter\ndef add(a, b):\n    return Counter(a + b)",
            "assert add('a', 'a') == {'a': 2}",
        ),
        (
            "from collections import Counter\ndef add(a, b):\n    return Counter(a + b)",
            "from collections import Counter\nfor x in 'ab':\n    assert add(x, x) == Counter([x, x])",
        ),
        ("def add(a, b):\n    return [x for x in a if type(x) != b]", "assert add((1, 'a'), int) == ['a']"),
        ("import sys\ndef add(a, b):\n    return sys.getsizeof(a)", "assert add((1, 2), 0) == sys.getsizeof((1, 2))"),
        ("import math\ndef add(a, b):\n    return math.pi * a", "assert abs(add(1, 0) - math.pi) < 1e-9"),
        (f"```python\n{ADD}```\nUsage:\n```python\nprint(add(1, 2))\n```\nOutput:\n```\n3\n```", FORMS["json"]),
        (f"So I add.\n</think>\n{ADD}", FORMS["asserts"]),
        (f"Here:\n\n    {ADD.replace(chr(10), chr(10) + '    ')}\nDone.", FORMS["check"]),
    ],
)
def test_what_is_right_in_python_is_right_here(answer: str, tests: str) -> None:
    assert check_of()(code_subject(answer, tests)) == Finding("pass")


def test_numbers_may_be_equal_as_python_has_it() -> None:
    answer, tests = "def add(a, b):\n    return (a + b) / 1", FORMS["asserts"]
    assert check_of()(code_subject(answer, tests)).outcome == "fail"
    assert check_of(numbers="equal")(code_subject(answer, tests)) == Finding("pass")
    assert check_of(numbers="equal")(code_subject(answer, LOOP)) == Finding("pass")


def test_the_function_that_the_tests_call_is_tested_where_none_is_named() -> None:
    check = open_code(CodeVerifier(kind="code"), Path())
    answer = f"{ADD}\ndef shown(a):\n    return str(a)\n"
    assert check(Subject("s", "t", {"tests": FORMS["asserts"]}, answer)) == Finding("pass")


def test_only_the_author_of_the_tests_is_told_what_they_expect() -> None:
    tests = [{"args": [1, 2], "expected": 777}]
    assert "777" not in check_of()(code_subject(ADD, tests)).reason
    finding = check_of()(code_subject(ADD, tests, trusted=False))
    assert finding == Finding("fail", "wrong value: add(1, 2) gave 3 instead of 777")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return a - b", "wrong value: add(1, 2) gave -1"),
        ("raise KeyError('x')", "raised: add(1, 2) raised KeyError: 'x'"),
        ("return undefined", "raised: add(1, 2) raised NameError: name 'undefined' is not defined"),
        ("return (i for i in [3])", "not a plain value: add(1, 2)"),
        ("return add", "not a plain value: add(1, 2)"),
        ("while True: pass", "timed out: add(1, 2), after 0.5 s"),
        ("import time; time.sleep(60)", "timed out: add(1, 2), after 0.5 s"),
        ("return bytearray(8 << 30)", "raised: add(1, 2) raised MemoryError"),
        ("import sys; sys.exit(0)", "raised: add(1, 2) raised SystemExit"),
        ("import os; os._exit(0)", "ended early: add(1, 2)"),
        ("import os; os.abort()", "crashed: add(1, 2)"),
        ("return 'x' * (8 << 20)", "too much output: add(1, 2)"),
    ],
)
def test_each_way_to_fail_has_its_type(body: str, reason: str) -> None:
    spec = {"timeout_seconds": 0.5}
    finding = check_of(**spec)(code_subject(f"def add(a, b):\n    {body}\n", FORMS["json"]))
    assert finding.outcome == "fail"
    assert finding.reason.startswith(reason)
    assert finding.reason.startswith(REASONS)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no answer"),
        ("Sorry.", "syntax error: "),
        ("def sub(a, b):\n    return 3", "no function: the answer does not define add"),
        ("import nowhere\n" + ADD, "raised: loading the program raised ModuleNotFoundError"),
        ("while True: pass\n" + ADD, "timed out: loading the program"),
        ("import os\nos._exit(0)\n" + ADD, "ended early: loading the program"),
        ("add = 3", "raised: add(1, 2) raised TypeError"),
    ],
)
def test_programs_that_do_not_even_load(answer: str, reason: str) -> None:
    finding = check_of(timeout_seconds=0.5)(code_subject(answer, FORMS["json"]))
    assert (finding.outcome, finding.reason[: len(reason)]) == ("fail", reason)


def test_the_limit_is_for_the_whole_program() -> None:
    answer = "import time\ndef add(a, b):\n    time.sleep(0.2)\n    return a + b\n"
    tests = [{"args": [i, 1], "expected": i + 1} for i in range(20)]
    finding = check_of(timeout_seconds=0.9)(code_subject(answer, tests))
    assert finding.outcome == "fail"
    assert finding.reason.startswith("timed out: add(")
    assert "add(0, 1)" not in finding.reason


@pytest.mark.parametrize("tests", [None, "", "[]", "import math\n"])
def test_without_tests_nothing_is_known(tests: Any) -> None:
    for trusted in (True, False):
        assert check_of()(code_subject(ADD, tests, trusted=trusted)) == Finding("unknown", "no tests")


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("assert add(1, 2 ==", "the tests do not run: no Python"),
        ('[{"args": [1, 2]}]', "the tests do not run: case 1"),
        ("import nowhere\nfor i in [1]: assert add(i, 1) == 2", "the tests do not run: ModuleNotFoundError"),
        ("for i in [1]: pass", "the tests do not run: they never call the function"),
        ("for i in [1]: add(print, i)", "the tests do not run: they pass what is not plain"),
        ("add(1, 2)\nwhile True: pass", "the tests do not run: timed out"),
        ("add(1, 2)\nimport os\nos._exit(0)", "the tests do not run: ended early"),
    ],
)
def test_tests_that_do_not_run_say_nothing_of_an_answer_but_spoil_a_lesson(tests: str, reason: str) -> None:
    finding = check_of(timeout_seconds=0.5)(code_subject(ADD, tests))
    assert (finding.outcome, finding.reason[: len(reason)]) == ("unknown", reason)
    finding = check_of(timeout_seconds=0.5)(code_subject(ADD, tests, trusted=False))
    assert (finding.outcome, finding.reason[: len(reason)]) == ("fail", reason)


def test_a_referee_uses_the_prefix_s_helpers_and_not_the_answer_s() -> None:
    prefix = "def double(x):\n    return 2 * x\n\ndef add(a, b):\n    '''Sum.'''\n"
    tests = "for a in range(3):\n    assert add(a, a) == double(a)\n"
    check = check_of(prefix="prefix")
    assert check(code_subject("    return a + b\n", tests, prefix=prefix)) == Finding("pass")
    cheat = "def double(x):\n    return 0\n\ndef add(a, b):\n    return 0\n"
    assert check(code_subject(cheat, tests, prefix=prefix)).outcome == "fail"


def test_a_referee_s_exceptions_are_those_that_the_answer_raised() -> None:
    tests = "for bad in (0, -1):\n    try:\n        add(bad, 0)\n    except ZeroDivisionError:\n        pass\n"
    tests += "    else:\n        assert False, 'no error'\n"
    assert check_of()(code_subject("def add(a, b):\n    return a / b", tests)) == Finding("pass")
    finding = check_of()(code_subject(ADD, tests))
    assert finding == Finding("fail", "failed assertion: AssertionError: no error, after add(0, 0) gave 0")


@pytest.mark.parametrize(("value", "passes"), [("3", True), ("3.0", False), ("True + 2", True), ("True", False)])
@pytest.mark.parametrize("tests", [[{"args": [1, 2], "expected": 3}], "for i in [1]: assert add(i, 2) == 3"])
def test_types_count_in_cases_and_before_a_referee(tests: Any, value: str, passes: bool) -> None:
    finding = check_of()(code_subject(f"def add(a, b):\n    return {value}", tests))
    assert finding.outcome == ("pass" if passes else "fail")


def test_close_numbers_are_equal_where_the_spec_says_so() -> None:
    for tests in ([{"args": [1, 2], "expected": 3}], "for i in [1]: assert add(i, 2) == 3"):
        subject = code_subject("def add(a, b):\n    return a + b + 1e-9", tests)
        assert check_of()(subject).outcome == "fail"
        assert check_of(numbers="close")(subject).outcome == "pass"


def test_expected_exceptions() -> None:
    tests = [{"args": [1, 0], "raises": "ZeroDivisionError"}]
    assert check_of()(code_subject("def add(a, b):\n    return a / b", tests)) == Finding("pass")
    assert check_of()(code_subject(ADD, tests)).reason == "did not raise: add(1, 0) gave 1"
    other = check_of()(code_subject("def add(a, b):\n    raise ValueError('no')", tests))
    assert other.reason == "raised: add(1, 0) raised ValueError: no"


def test_a_value_that_cannot_cross_is_not_an_expected_type_error() -> None:
    subject = code_subject("def add(a, b):\n    return object()", [{"args": [1, 2], "raises": "TypeError"}])
    assert check_of()(subject).reason.startswith("not a plain value")


# --- tests that a teacher wrote ---


@pytest.mark.parametrize(
    "tests",
    [
        "assert add(0, 0) == 0",
        "assert add(1, 2) is not None",
        "for i in [1]: add(i, 2)",
        "assert add(1, 0) in (0, 1, -1)",
    ],
)
def test_tests_that_no_mutant_fails_are_worth_nothing(tests: str) -> None:
    answer = "def add(a, b):\n    return a + b"
    assert check_of(mutants=1)(code_subject(answer, tests)) == Finding("pass")
    finding = check_of(mutants=1)(code_subject(answer, tests, trusted=False))
    assert finding == Finding("fail", "the tests accept a wrong answer: none of 1 mutant fails them")


@pytest.mark.parametrize("form", FORMS)
def test_tests_that_a_mutant_fails_count(form: str) -> None:
    assert check_of()(code_subject(ADD, FORMS[form], trusted=False)) == Finding("pass")


def test_a_mutant_that_loops_has_failed() -> None:
    answer = "def add(a, b):\n    while b > 0:\n        a, b = a + 1, b - 1\n    return a\n"
    assert check_of(mutants=50)(
        code_subject(answer, "assert add(0, 0) == 0\nassert add(0, 3) == 3", trusted=False)
    ) == (Finding("pass"))


def test_no_mutants_wanted_none_made() -> None:
    assert check_of(mutants=0)(code_subject(ADD, "assert add(0, 0) == 0", trusted=False)) == Finding("pass")


def test_reasons_are_cut() -> None:
    tests = [{"args": ["x" * 1_000, str(i)], "expected": "y" * 1_000} for i in range(50)]
    subject = code_subject("def add(a, b):\n    raise ValueError(a * 100)", tests, trusted=False)
    assert len(check_of()(subject).reason) <= MAX_REASON


def test_a_number_too_long_to_write_is_shown_all_the_same() -> None:
    finding = check_of()(code_subject("def add(a, b):\n    return 10 ** 6_000", FORMS["json"]))
    assert finding == Finding("fail", "wrong value: add(1, 2) gave a int with a very large number")


def test_hostile_text_is_escaped_in_reasons() -> None:
    answer = "def add(a, b):\n    raise ValueError('\\udc80 \\x1b[2J \\u202e \\0')"
    reason = check_of()(code_subject(answer, FORMS["json"])).reason
    assert reason == r"raised: add(1, 2) raised ValueError: \udc80 \x1b[2J \u202e \x00"


@pytest.mark.parametrize("tests", ["assert add(..., 1) == 2", f"assert add({'[' * 150}{']' * 150}, 1) == 2"])
def test_inputs_that_cannot_cross_are_the_tests_fault(tests: str) -> None:
    finding = check_of()(code_subject(ADD, tests))
    assert finding.outcome == "unknown"
    assert finding.reason.startswith("the tests do not run: they pass what is not plain")


@pytest.mark.parametrize("depth", [90, 99, 100, 101, 102, 200])
@pytest.mark.parametrize("form", ["json", "script"])
def test_nested_values_are_wrong_and_never_unknown(form: str, depth: int) -> None:
    answer = f"def add(a, b):\n    x = 3\n    for i in range({depth}):\n        x = [x]\n    return x"
    assert check_of()(code_subject(answer, FORMS[form])).outcome == "fail"


# --- when the sandbox breaks ---


class _Breaking:
    """A sandbox whose first sessions end as if the machine had no room for them."""

    def __init__(self, times: int) -> None:
        self._left = times
        self._sandbox = code._shared_sandbox(False)

    def serve(self, limits: Limits) -> Session:
        self._left -= 1
        if self._left >= 0:
            raise SessionEnded("infrastructure", "no more processes")
        return self._sandbox.serve(limits)


@pytest.fixture
def broken_sandbox(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def breaks(times: int) -> None:
        sandbox = _Breaking(times)
        monkeypatch.setattr(code, "_shared_sandbox", lambda unsafe: sandbox)

    return breaks


def test_a_sandbox_that_breaks_once_is_asked_again(broken_sandbox: Callable[[int], None]) -> None:
    broken_sandbox(1)
    assert check_of()(code_subject(ADD, FORMS["json"])) == Finding("pass")


def test_a_sandbox_that_breaks_twice_leaves_it_unknown_and_never_wrong(broken_sandbox: Callable[[int], None]) -> None:
    broken_sandbox(2)
    finding = check_of()(code_subject("def add(a, b):\n    return 0", FORMS["json"]))
    assert finding == Finding("unknown", "the sandbox failed twice: no more processes")


# --- through the judge ---


def test_a_judge_runs_code_in_its_children_and_leaves_none_behind(tmp_path: Path) -> None:
    before, slow = descendants(), f"import time\ntime.sleep(0.2)\n{ADD}"  # worth a second child
    subjects = [
        Subject(f"s{i}", "t", {"tests": FORMS["json"]}, slow if i % 2 else slow.replace("+", "*")) for i in range(20)
    ]
    with Checker({"code": CodeVerifier(kind="code")}, tmp_path) as judge:
        verdicts = [said[0] for said in judge.judge(subjects, TASKS)]
        started = descendants() - before
    assert [v.outcome for v in verdicts] == ["fail", "pass"] * 10
    assert len(started) >= 4  # two children, each with its fork server
    assert _all_end(started)


def _all_end(pids: set[int]) -> bool:
    deadline = time.monotonic() + 5
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


_JUDGING = """
from coding import *
from flywheel.verifiers import Checker
judge = Checker({"code": CodeVerifier(kind="code")}, Path())
subjects = [Subject("s", "t", {"tests": "assert add(1, 2) == 3"}, ADD)]
print([said[0].outcome for said in judge.judge(subjects, TASKS)] == ["pass"] and descendants(), flush=True)
input()
"""


def test_a_killed_judge_takes_its_children_and_their_sandboxes_along() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = [sys.executable, "-c", _JUDGING]
    with subprocess.Popen(
        run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        assert process.stdout is not None
        started = ast.literal_eval(process.stdout.readline())
        process.kill()
    assert len(started) >= 2
    assert _all_end(started)
