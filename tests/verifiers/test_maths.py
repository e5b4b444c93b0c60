from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import MathVerifier
from flywheel.verifiers.finding import Check, Finding
from flywheel.verifiers.maths import final_answer, open_math


@pytest.fixture(scope="module")
def check() -> Check:
    return open_math(MathVerifier(kind="math"), Path("nowhere"))


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("6 * 12 = 72\n#### 72", "72"),
        ("first #### 1 then\n#### 2", "2"),
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{3} no, \boxed{4}", "4"),
        ("She has 5 apples and 3 pears left.", "3"),
        ("It costs $1,234.50.", "$1,234.50"),
        ("The answer is -7", "-7"),
        ("About 3/4 of them", "3/4"),
        ("That makes (5)", "5"),
        ("ratio 3:4", "ratio 3:4"),
        ("x + 1", "x + 1"),
        ("the sum is 2 + 3", "the sum is 2 + 3"),
        ("take 12 -5", "take 12 -5"),
        ("minus: -5 %", "-5 %"),
        ("the point (1, 2)", "the point (1, 2)"),
        ("", ""),
    ],
)
def test_final_answer(text: str, final: str) -> None:
    assert final_answer(text) == final


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("72", "#### 72"),
        ("#### 72 apples", "72"),
        ("1,234", "1234.00"),
        ("$5", "5 dollars"),
        ("0.75", "3/4"),
        ("-3", "−3"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("5.", "5"),
        (r"\boxed{1{,}000}", "1000"),
        (r"\frac{10}{2}", "5"),
        ("2 + 3", "5"),
        ("x = 5", "5"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("1 + x^2", "$x^2+1$"),
        ("(1,2)", "(1, 2)"),
    ],
)
def test_equal(check: Check, answer: str, gold: str) -> None:
    assert check(subject(answer, gold)) == Finding("pass")


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("73", "72", "73 instead of 72"),
        ("0.3333", "1/3", "0.3333 instead of 1/3"),
        ("-5", "5", "-5 instead of 5"),
        ("x + 3", "3", "x + 3 instead of 3"),
        ("(3, 2)", "(1, 2)", "(3, 2) instead of (1, 2)"),
        ("x = 4, y = 3", "x = 5, y = 3", "x = 4, y = 3 instead of x = 5, y = 3"),
        (r"\sqrt{7}", r"2\sqrt{2}", r"\sqrt{7} instead of 2\sqrt{2}"),
        ("1/0", "2", "1/0 instead of 2"),
        ("1e999999999", "5", "1e999999999 instead of 5"),
        ("", "5", "no answer"),
        ("I do not know", "5", "no final answer that can be read: I do not know"),
        ("9" * 5_000, "5", "too long for a final answer (5,000 characters)"),
    ],
)
def test_other(check: Check, answer: str, gold: str, reason: str) -> None:
    assert check(subject(answer, gold)) == Finding("fail", reason)


def test_gold_without_an_answer_is_unknown(check: Check) -> None:
    assert check(subject("5", "hello")).outcome == "unknown"


@pytest.mark.parametrize(
    ("tolerance", "answer", "outcome"),
    [(0.01, "101", "pass"), (0.01, "101.1", "fail"), (0.01, "99", "pass"), (0.0, "100.0001", "fail")],
)
def test_tolerance_is_relative(tolerance: float, answer: str, outcome: str) -> None:
    check = open_math(MathVerifier(kind="math", tolerance=tolerance), Path("nowhere"))
    assert check(subject(answer, "100")).outcome == outcome


def test_injection_runs_nothing(check: Check, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for attack in (f"__import__('os').system('touch {touched}')", f"open('{touched}','w')"):
        for answer in (attack, f"${attack}$", f"#### {attack}", rf"\boxed{{{attack}}}"):
            assert check(subject(answer, "5")).outcome == "fail"
    assert not touched.exists()


def test_gsm8k_golds_pass_and_perturbed_ones_fail(check: Check, gsm8k: Path) -> None:
    golds = [json.loads(line)["answer"] for line in gsm8k.read_text(encoding="utf-8").splitlines()]
    assert len(golds) == 7_473
    for gold in golds:
        number = gold.rpartition("####")[2].strip()
        assert check(subject(gold, gold)).outcome == "pass", number
        assert check(subject(f"So there are {number}.", gold)).outcome == "pass", number
        other = Fraction(number.replace(",", "")) + 1
        assert check(subject(f"So there are {other}.", gold)).outcome == "fail", number
        assert check(subject(gold.replace(f"#### {number}", f"#### {other}"), gold)).outcome == "fail", number
