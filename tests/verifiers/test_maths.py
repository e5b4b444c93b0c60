from __future__ import annotations

import json
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest
from answer_pairs import KINDS
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import subject

from flywheel.spec.verifiers import MathVerifier
from flywheel.verifiers.finding import Check, Finding
from flywheel.verifiers.maths import open_math
from flywheel.verifiers.maths.nodes import Items, ListItem, Number, Symbol, Term
from flywheel.verifiers.maths.place import marked, whole
from flywheel.verifiers.maths.values import NoValue, value


def opened(**settings: object) -> Check:
    return open_math(MathVerifier.model_validate({"kind": "math", **settings}), Path("nowhere"))


@pytest.fixture(scope="module")
def check() -> Check:
    return opened()


PAIRS = [pytest.param(*pair, id=f"{kind}-{n}") for kind, pairs in KINDS.items() for n, pair in enumerate(pairs)]


@pytest.mark.parametrize(("gold", "answer", "outcome"), PAIRS)
def test_equal_means_equal(check: Check, gold: str, answer: str, outcome: str) -> None:
    assert check(subject(answer, gold)).outcome == outcome


@pytest.mark.parametrize("gold", sorted({gold for pairs in KINDS.values() for gold, _, _ in pairs}))
def test_a_gold_is_equal_to_itself(check: Check, gold: str) -> None:
    assert check(subject(gold, gold)) == Finding("pass")
    assert check(subject(f" {gold}\n", gold)) == Finding("pass")


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_whatever_it_is_a_gold_is_equal_to_itself(text: str) -> None:
    assert opened()(subject(text, text)).outcome == "pass"


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="0123456789.,-+*/^_(){}[]|\\$% \n=<>!&':xeinfracsqtbodpmulgw½٣π≤∪", max_size=60),
    st.sampled_from(["5", "3 and 5", r"\frac{1}{2}", "x^2", "[0, 1)", "10 cm", "Yes", r"$x=0, x=\pm 2$"]),
)
def test_no_answer_ends_in_an_exception(answer: str, gold: str) -> None:
    assert opened()(subject(answer, gold)).outcome in ("pass", "fail", "unknown")
    assert opened()(subject(gold, answer)).outcome in ("pass", "fail", "unknown")


@settings(max_examples=200, deadline=None)
@given(st.fractions(max_denominator=10**12), st.fractions(max_denominator=10**12))
def test_two_fractions_are_equal_when_they_are(one: Fraction, other: Fraction) -> None:
    written = rf"\frac{{{one.numerator}}}{{{one.denominator}}}"
    assert (opened()(subject(written, f"{other.numerator}/{other.denominator}")).outcome == "pass") == (one == other)
    assert opened()(subject(written, f"{one.numerator}/{one.denominator}")).outcome == "pass"


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("6 * 12 = 72\n#### 72", "72"),
        ("first #### 1 then\n#### 2", "2"),
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{3} no, \boxed{4}", "4"),
        (r"\boxed{3} and \boxed{4}", "3, 4"),
        (r"First \boxed{3}. Then we see that \boxed{4}", "4"),
        (r"so $x = -\boxed{4}$", "- 4"),
        (r"it is \boxed{4}\%", r"4 \%"),
        ("2 + 3 = 5\nA: 5", "5"),
    ],
)
def test_a_mark_says_where_the_final_answer_is(text: str, final: str) -> None:
    assert marked(text) == (final, False)


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("73", "72", "73 instead of 72"),
        ("0.3333", "1/3", "0.3333 instead of 1/3"),
        ("x + 3", "3", "x + 3 instead of 3"),
        ("(3, 2)", "(1, 2)", "(3, 2) instead of (1, 2)"),
        ("x = 4, y = 3", "x = 5, y = 3", "x = 4, y = 3 instead of x = 5, y = 3"),
        (r"\sqrt{7}", r"2\sqrt{2}", r"\sqrt{7} instead of 2\sqrt{2}"),
        ("1/0", "2", "1/0 instead of 2"),
        ("", "5", "no answer"),
        ("I do not know", "5", "no final answer that can be read: I do not know"),
        ("9" * 5_000, "5", "too long for a final answer (5,000 characters)"),
        (r"It is not \boxed{5}", "5", r"says what the answer is not: It is not \boxed{5}"),
    ],
)
def test_the_reason_says_what_is_wrong(check: Check, answer: str, gold: str, reason: str) -> None:
    assert check(subject(answer, gold)) == Finding("fail", reason)


def test_what_cannot_be_told_is_unknown(check: Check) -> None:
    assert check(subject("5", " ")) == Finding("unknown", "the gold is empty")
    unreadable = r"x \underbrace{1}_{2} y"
    assert check(subject("5", unreadable)).reason == f"the gold has a formula that cannot be read: {unreadable}"
    assert check(subject(r"7^{7^{7^7}}+1", r"7^{7^{7^7}}")).reason == "numbers too large to be worked out"


@pytest.mark.parametrize(
    ("gold", "wrong"),
    [
        (r"\text{H}_2\text{O}", r"\text{H}_2\text{S}"),
        (r"\text{H}_2\text{O}", r"\text{H}_2"),
        (r"\mathrm{H}_{2} \mathrm{O}", r"\mathrm{H}_{2} \mathrm{S}"),
        (r"CH_3\text{OH}", "CH_3"),
        (r"\text{C}_{12}\text{H}_{24}", r"\text{C}_{12}\text{H}_{22}"),
    ],
)
def test_the_rest_of_a_compound_is_no_unit(check: Check, gold: str, wrong: str) -> None:
    assert check(subject(f"${gold}$", f"${gold}$")).outcome == "pass"
    assert check(subject(re.sub(r"\\(?:text|mathrm)\{(\w+)\}", r"\1", f"${gold}$"), f"${gold}$")).outcome == "pass"
    assert check(subject(f"${wrong}$", f"${gold}$")).outcome != "pass"
    assert check(subject(f"${gold}$", f"${wrong}$")).outcome != "pass"


@pytest.mark.parametrize(
    ("tolerance", "answer", "outcome"),
    [(0.01, "101", "pass"), (0.01, "101.1", "fail"), (0.01, "99", "pass"), (0.0, "100.0001", "fail")],
)
def test_tolerance_is_relative(tolerance: float, answer: str, outcome: str) -> None:
    assert opened(tolerance=tolerance)(subject(answer, "100")).outcome == outcome
    assert opened(tolerance=tolerance)(subject(f"${answer}$ cm", "$100$")).outcome == outcome


def test_tolerance_also_holds_in_lists_and_for_irrational_numbers() -> None:
    loose = opened(tolerance=0.001)
    assert loose(subject("3.1416 and 1.41", r"$\pi$ and $\sqrt{2}$")).outcome == "fail"
    assert loose(subject("3.1416 and 1.414", r"$\pi$ and $\sqrt{2}$")).outcome == "pass"
    assert loose(subject("(0.333, 2)", r"(\frac{1}{3}, 2)")).outcome == "pass"


@pytest.mark.parametrize(
    ("policy", "answer", "gold", "outcome"),
    [
        ("lenient", "50", "50%", "pass"),
        ("strict", "50", "50%", "fail"),
        ("strict", "0.5", "50%", "pass"),
        ("strict", r"$50\%$", "1/2", "pass"),
        ("strict", r"$50$", r"$50\%$", "fail"),
        ("strict", "50 percent", r"$50\%$", "pass"),
    ],
)
def test_percent_is_a_policy(policy: str, answer: str, gold: str, outcome: str) -> None:
    assert opened(percent=policy)(subject(answer, gold)).outcome == outcome


@pytest.mark.parametrize(
    ("policy", "answer", "gold", "outcome"),
    [
        ("lenient", "10", "10 cm", "pass"),
        ("required", "10", "10 cm", "fail"),
        ("required", "10 cm", "10", "pass"),
        ("required", "0.1 m", "10 cm", "pass"),
        ("required", "10", "10 apples", "pass"),
        ("ignored", "10 m", "10 cm", "pass"),
        ("ignored", "11 m", "10 cm", "fail"),
    ],
)
def test_units_are_a_policy(policy: str, answer: str, gold: str, outcome: str) -> None:
    assert opened(units=policy)(subject(answer, gold)).outcome == outcome


@pytest.mark.parametrize(
    ("policy", "answer", "gold", "outcome"),
    [
        (None, "1,5", "1.5", "pass"),
        (None, "1,5", "1 and 5", "pass"),
        (None, "16,32", "32 and 16", "pass"),
        (None, "(1,5)", "1.5", "fail"),
        (True, "1,5", "1.5", "pass"),
        (True, "1,5", "1 and 5", "fail"),
        (True, "1,5; 2,5", "1.5 and 2.5", "pass"),
        (True, "(1,5; 2,5)", "(1.5, 2.5)", "pass"),
        (False, "1,5", "1.5", "fail"),
        (False, "1.234,5", "1234.5", "pass"),
    ],
)
def test_the_decimal_comma_is_a_policy(policy: bool | None, answer: str, gold: str, outcome: str) -> None:
    assert opened(decimal_comma=policy)(subject(answer, gold)).outcome == outcome


def test_injection_runs_nothing(check: Check, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for attack in (f"__import__('os').system('touch {touched}')", f"open('{touched}','w')"):
        for answer in (attack, f"${attack}$", f"#### {attack}", rf"\boxed{{{attack}}}"):
            assert check(subject(answer, "5")).outcome == "fail"
    assert not touched.exists()


@pytest.mark.parametrize(
    "answer",
    [
        "(" * 2_000 + "5" + ")" * 2_000,
        "|" * 1_000 + "5",
        "-" * 2_000 + "6",
        r"\sqrt" * 800 + "6",
        "2^" * 1_000 + "2",
        r"\frac" * 500 + "6",
        "9^{9^{9^{9^9}}}",
        "(10^9)!",
        r"\binom{10^9}{5}",
        r"\sin(10^{10^{10}})",
        "1e999999999",
        "0." + "3" * 4_000,
        "x" * 4_000,
        "1," * 2_000 + "2",
        r"\boxed{" * 500 + "6",
        "$6$ " * 1_000,
        "not " * 1_000 + "6",
        "**" * 2_000,
        "#" * 4_000,
        "The answer is 6. Wait. " * 1_000,
        r"not \boxed{6} " * 1_500,
        "six hundred and " * 500,
    ],
)
def test_hostile_answers_are_judged_within_bounds(check: Check, answer: str) -> None:
    """Steps, depth and the size of numbers are bounded, so none of these takes long; the suite's time-out watches."""
    assert check(subject(answer, "5")).outcome == "fail"
    assert check(subject(answer, r"\frac{5}{x}")).outcome in ("fail", "unknown")


def test_a_formula_is_read_to_its_last_character() -> None:
    double = Term("*", (Number(Fraction(2)), Symbol("x")))
    third = Term("/", (Number(Fraction(1)), Number(Fraction(3))))
    assert whole("2x + 1/3") == Items((ListItem(Term("+", (double, third))),))
    for part in ("2x + ", "2x + 1/", "(2x + 1", "2x + 1)", r"\frac{2x}", "2 3x"):
        assert not isinstance(whole(part), Items), part


def test_values_are_exact_while_they_are_rational() -> None:
    reading = whole(r"\frac{2^{99}+1}{2^{99}} - 1")
    assert isinstance(reading, Items)
    assert value(reading.items[0].node, {}) == Fraction(1, 2**99)
    with pytest.raises(NoValue):
        value(Term("/", (Number(Fraction(1)), Number(Fraction(0)))), {})


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


def test_gsm8k_numbers_in_sentences_are_found(check: Check, gsm8k: Path) -> None:
    """Every way to end an answer, for a sample of the golds."""
    lines = gsm8k.read_text(encoding="utf-8").splitlines()
    for line in random.Random(1).sample(lines, 200):
        number = json.loads(line)["answer"].rpartition("####")[2].strip()
        for said in (
            "The answer is **{}**.",
            "**Answer:** {}",
            r"Thus \(\boxed{{{}}}\).",
            "It is {}, I hope this helps!",
        ):
            assert check(subject(said.format(number), number)).outcome == "pass", (said, number)
        assert check(subject(f"The answer is not {number}.", number)).outcome == "fail"
