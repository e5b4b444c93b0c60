from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import tasks

from flywheel.records import Outcome, Subject, Verdict
from flywheel.spec.verifiers import (
    ExactVerifier,
    JudgeVerifier,
    LabelVerifier,
    MathVerifier,
    PythonVerifier,
    RegexVerifier,
    SqlVerifier,
    Verifier,
)
from flywheel.verifiers import Checker, VerifierInvalid, outcome_of, version_of

CHECKS = """
import os, signal, time

def check(subject):
    answer = subject["answer"]
    if answer == "hang":
        time.sleep(60)
    if answer == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if answer == "raise":
        raise ValueError("no such thing")
    if answer == "exit":
        raise SystemExit(0)
    if answer == "eat":
        bytearray(8 << 30)
    return answer == "good", f"was {answer}"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    (folder / "checks.py").write_text(CHECKS)
    return folder


VERIFIERS: dict[str, Verifier] = {
    "exact": ExactVerifier(kind="exact"),
    "word": RegexVerifier(kind="regex", pattern=r"[a-z]+"),
    "bomb": RegexVerifier(kind="regex", pattern=r"(a+)+b", timeout_seconds=0.5),
    "label": LabelVerifier(kind="label", labels=["good", "bad"]),
    "mine": PythonVerifier(kind="python", function="checks.py:check", timeout_seconds=1.0),
    "broken": SqlVerifier(kind="sql", check="parses", setup="missing.sql"),
}


@pytest.fixture(scope="module")
def judge(root: Path) -> Iterator[Checker]:
    with Checker(VERIFIERS, root) as made:
        yield made


def subjects(*answers: str, task: str = "t", reference: str | None = None) -> list[Subject]:
    return [Subject(f"s{n}", task, {"q": n}, answer, reference) for n, answer in enumerate(answers)]


def test_every_verifier_speaks_even_after_a_fail(judge: Checker, root: Path) -> None:
    [verdicts] = judge.judge(subjects("42", reference="good"), tasks(t=["word", "label", "exact"]))
    assert [(v.verifier, v.outcome) for v in verdicts] == [
        ("word", "fail"),
        ("label", "fail"),
        ("exact", "fail"),
    ]
    assert verdicts[0].version == version_of("word", VERIFIERS["word"], root)
    assert verdicts[0].subject_id == "s0"
    assert verdicts[0].seconds > 0


def test_a_comparison_without_reference_is_unknown(judge: Checker) -> None:
    [[verdict]] = judge.judge(subjects("good"), tasks(t=["exact"]))
    assert (verdict.outcome, verdict.reason) == ("unknown", "no reference to compare with")


def test_trouble_is_unknown_with_the_reason_and_stays_alone(judge: Checker) -> None:
    answers = ["good", "hang", "crash", "raise", "exit", "eat", "poor", "good"]
    lists = list(judge.judge(subjects(*answers), tasks(t=["mine", "word"])))
    assert [(v.outcome, v.reason) for v, _ in lists] == [
        ("pass", "was good"),
        ("unknown", "timed out after 1 s"),
        ("unknown", "crashed: killed by SIGKILL (out of memory?)"),
        ("unknown", "raised ValueError: no such thing"),
        ("unknown", "raised SystemExit: 0"),
        ("unknown", "raised MemoryError"),
        ("fail", "was poor"),
        ("pass", "was good"),
    ]
    assert all(word.outcome == "pass" for _, word in lists)


def test_a_catastrophic_pattern_is_stopped(judge: Checker) -> None:
    verdicts = [v for [v] in judge.judge(subjects("a" * 40, "aab"), tasks(t=["bomb"]))]
    assert [v.reason for v in verdicts] == ["timed out after 0.5 s", ""]
    assert verdicts[0].seconds == 0.5


def test_order_and_tasks_over_many_subjects(judge: Checker) -> None:
    mixed = [Subject(f"s{n}", f"t{n % 2}", {}, "good" if n % 3 else "7", "good") for n in range(1_000)]
    lists = list(judge.judge(mixed, tasks(t0=["word"], t1=["exact", "word"])))
    assert [v[0].subject_id for v in lists] == [s.subject_id for s in mixed]
    assert [len(v) for v in lists] == [1, 2] * 500
    assert [outcome_of(v) for v in lists] == ["pass" if n % 3 else "fail" for n in range(1_000)]


def test_no_subjects(judge: Checker) -> None:
    assert list(judge.judge([], tasks(t=["word"]))) == []


def test_a_verifier_that_cannot_be_built_is_named(judge: Checker, root: Path) -> None:
    with pytest.raises(VerifierInvalid, match=r"verifiers\.broken: cannot read missing\.sql"):
        list(judge.judge(subjects("x"), tasks(t=["broken"])))
    unsound = {"mine": PythonVerifier(kind="python", function="checks.py:chek")}
    with (
        Checker(unsound, root) as other,
        pytest.raises(
            VerifierInvalid, match=r'verifiers\.mine: .*no function or class "chek"\. Did you mean "check"\?'
        ),
    ):
        list(other.judge(subjects("x"), tasks(t=["mine"])))


QUICK_BOMBS = ["10**10**10", "(" * 900, "9" * 900 + "^" + "9" * 90, "$__import__('os').abort()$"]
BOMBS = [
    *("$2^{2^{2^{2^{2^{2^2}}}}}$", r"$\binom{10^9}{10^8}$", "$1000000000!$", "$((((((9!)!)!)!)!)!$"),
    *(r"$\sum_{i=1}^{10^{12}} i^i$", r"$\int_0^1 x^{x^{x^x}} dx$", r"$\frac{1}{0}$", "1/0", r"\boxed{" * 200),
    *("__import__('os').system('true')", "exec('x=1')", "().__class__.__bases__[0]", "x" * 900),
    "$" + "+".join(f"x_{n}" for n in range(150)) + "$",
]


@pytest.mark.parametrize("bombs", [QUICK_BOMBS, pytest.param(BOMBS, marks=pytest.mark.slow)])
def test_math_that_explodes_ends_in_time(bombs: list[str]) -> None:
    with Checker({"math": MathVerifier(kind="math", timeout_seconds=1.0)}, Path("nowhere")) as judge:
        verdicts = [v for [v] in judge.judge(subjects(*bombs, "5", reference="5"), tasks(t=["math"]))]
    assert all(v.outcome in ("fail", "unknown") for v in verdicts[:-1])
    assert all(v.seconds <= 20 for v in verdicts)
    assert verdicts[-1].outcome == "pass"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "unknown"], "unknown"),
        (["unknown", "fail"], "fail"),
        ([], "unknown"),
    ],
)
def test_outcome_of(outcomes: list[Outcome], expected: Outcome) -> None:
    assert outcome_of(Verdict("s", "v", "1", outcome) for outcome in outcomes) == expected


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, flywheel.verifiers;"
        "print(sorted({'duckdb', 'mpmath', 'sympy', 'jsonschema_rs', 'torch'} & set(sys.modules)))"
    )
    path = os.pathsep.join(sys.path)
    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True
    )
    assert out.stdout.strip() == b"[]"


COUNTING = """
def check(subject):
    with open("asked.txt", "a") as file:
        file.write(subject["answer"])
    return True
"""


def test_in_a_cascade_nothing_is_asked_after_a_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    verifiers: dict[str, Verifier] = {
        "word": RegexVerifier(kind="regex", pattern="[a-z]+"),
        "mine": PythonVerifier(kind="python", function="counting.py:check"),
        "label": LabelVerifier(kind="label", labels=["good"]),
        "exact": ExactVerifier(kind="exact"),
    }
    order = tasks(t=["word", "exact", "mine", "label"], u=["label"])
    answers = [*subjects("good", "7", "bad"), *subjects("bad", task="u")]
    with Checker(verifiers, tmp_path) as judge:
        said = [[(v.verifier, v.outcome) for v in found] for found in judge.judge(answers, order, cascade=True)]
        assert said == [
            [("word", "pass"), ("exact", "unknown"), ("mine", "pass"), ("label", "unknown")],
            [("word", "fail")],
            [("word", "pass"), ("exact", "unknown"), ("mine", "pass"), ("label", "fail")],
            [("label", "fail")],
        ]
        assert sorted((tmp_path / "asked.txt").read_text()) == sorted("goodbad")
        assert [len(found) for found in judge.judge(answers, order)] == [4, 4, 4, 1]


def test_verifiers_that_ask_a_teacher_are_not_asked_here(root: Path) -> None:
    verifiers: dict[str, Verifier] = {
        "fine": JudgeVerifier(kind="judge", teacher="someone", rubric="r.md"),
        "word": RegexVerifier(kind="regex", pattern="[a-z]+"),
    }
    with Checker(verifiers, root) as judge:
        found = list(judge.judge([*subjects("good"), *subjects("7", task="u")], tasks(t=["fine", "word"], u=["fine"])))
    assert [[v.verifier for v in verdicts] for verdicts in found] == [["word"], []]


def test_subjects_are_read_no_further_than_needed(judge: Checker) -> None:
    read = 0

    def endless() -> Iterator[Subject]:
        nonlocal read
        while True:
            read += 1
            yield Subject(f"s{read}", "t", {}, "good")

    found = judge.judge(endless(), tasks(t=["word"]))
    for _ in range(5_000):
        next(found)
    found.close()
    assert read <= 5_000 + 4_096
