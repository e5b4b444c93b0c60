"""Sentences and numbers that people read."""

from __future__ import annotations

import pytest

from flywheel.records.decision import RuleResult
from flywheel.report import Report, words
from flywheel.report.model import Change, Rate
from flywheel.text import usd


@pytest.mark.parametrize(
    ("value", "text"), [(0.341, "+34.1"), (-0.02, "\u22122.0"), (0.0, "±0.0"), (-0.0001, "±0.0"), (None, "–")]
)
def test_points_carry_a_sign(value: float | None, text: str) -> None:
    assert words.points(value) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.3606, "$0.36"),
        (0.00258, "$0.0026"),
        (2e-7, "$0.00000020"),
        (None, "–"),
    ],
)
def test_small_money_keeps_two_digits(amount: float | None, text: str) -> None:
    assert usd(amount) == text


def test_direction_needs_the_whole_interval_on_one_side() -> None:
    assert Change(value=0.1, low=0.01, high=0.2).direction == "up"
    assert Change(value=-0.1, low=-0.2, high=-0.01).direction == "down"
    assert Change(value=0.1, low=-0.01, high=0.2).direction == "unclear"


def test_intervals_in_words() -> None:
    assert words.interval(Rate(value=0.5, low=0.4, high=0.6)) == "40.0 to 60.0%"
    assert words.interval(Change(value=0.0, low=-0.1, high=0.1)) == "\u221210.0 to +10.0"
    assert words.interval(None) == ""


def test_hostile_text_is_made_visible_and_cut() -> None:
    assert words.shown("a\u202eb\x00") == "a\\u202eb\\x00"
    assert words.shown("\ud800\uffff") == "\ufffd\ufffd"
    cut = words.shown("x" * 1_000_000, 100)
    assert len(cut) < 130
    assert "1,000,000 characters" in cut


def test_the_headline_says_what_was_measured_and_decided(promoted: Report, rejected: Report) -> None:
    score = promoted.scores.suites[0]
    assert f"fixed {score.fixed} items and broke {score.broken}" in promoted.verdict.headline
    assert "takes over once" in promoted.verdict.headline
    assert "guard loses less than 20.0 points" in rejected.verdict.headline
    assert "holdout gains at least 5.0 points" in rejected.verdict.headline
    assert rejected.verdict.headline.endswith("The incumbent stays.")


def test_modes_in_words_names_those_that_rose(promoted: Report) -> None:
    first = promoted.modes.rows[0]
    worse = first.model_copy(update={"change": Change(value=0.1, low=0.05, high=0.2)})
    modes = promoted.modes.model_copy(update={"rows": (worse, *promoted.modes.rows[1:])})
    assert f"Got worse beyond chance: {first.name}." in words.modes_in_words(modes)
    assert "None got worse" in words.modes_in_words(promoted.modes)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((0, 0, 0, 0, 0, 0, 0), "no teacher proposed"),
        ((9, 8, 0, 0, 0, 0, 0), "9 candidates none was within the generators' rules"),
        ((9, 8, 8, 0, 0, 0, 0), "9 candidates none passed"),
        ((9, 8, 8, 5, 0, 0, 0), "5 verified lessons all were too easy"),
        ((9, 8, 8, 5, 5, 0, 0), "5 verified lessons none survived"),
        ((9, 8, 8, 5, 5, 4, 0), "training set was empty"),
    ],
)
def test_why_nothing_was_trained(promoted: Report, rows: tuple[int, ...], reason: str) -> None:
    stages = tuple(s.model_copy(update={"rows": n}) for s, n in zip(promoted.funnel.stages, rows, strict=True))
    funnel = promoted.funnel.model_copy(update={"stages": stages})
    assert reason in words.why_untrained(promoted.modes, funnel)


@pytest.mark.parametrize(
    ("generated", "reason"),
    [(0, "the student failed none of its 7 probes, so no lessons were bought"), (9, "9 candidates none was within")],
)
def test_who_failed_nothing_may_have_bought_lessons_all_the_same(promoted: Report, generated: int, reason: str) -> None:
    """From seeds, say."""
    modes = promoted.modes.model_copy(update={"probes": 7, "probe_failures": 0})
    first, *others = (stage.model_copy(update={"rows": 0}) for stage in promoted.funnel.stages)
    stages = (first.model_copy(update={"rows": generated}), *others)
    assert reason in words.why_untrained(modes, promoted.funnel.model_copy(update={"stages": stages}))


def test_guards_come_worst_first(promoted: Report, rejected: Report) -> None:
    guard = promoted.scores.suites[1]
    worse = guard.model_copy(update={"suite": "zz", "change": Change(value=-0.2, low=-0.3, high=-0.1)})
    scores = promoted.scores.model_copy(update={"suites": (*promoted.scores.suites, worse)})
    assert [s.suite for s in words.worst_first(scores)] == ["zz", "guard", "tags"]
    assert [s.suite for s in words.worst_first(rejected.scores)] == ["guard", "tags"]


def _at_most(measure: str, **more: object) -> RuleResult:
    fields = {
        "label": f"holdout {measure} at_most 40", "suite": "holdout", "comparison": "at_most", "mode": None,
        "threshold": 40.0, "items": 300, "incumbent": 31.0, "candidate": 36.5, "observed": 36.5, "low": 35.0,
        "high": 38.0, "p_value": 0.001, "alpha": 0.05, "fixed": 0, "broken": 0, "outcome": "holds",
        "items_needed": None, "explanation": "",
    }  # fmt: skip
    return RuleResult(**{**fields, **more})  # type: ignore[arg-type]


def test_a_limit_on_length_is_told_in_tokens() -> None:
    rule = _at_most("tokens")
    assert words.demand(rule) == "holdout tokens at most 40"
    assert (words.observed(rule), words.observed_interval(rule)) == ("36.5", "35 to 38")
    assert words.arm_value(rule, rule.incumbent) == "31"


def test_a_limit_on_refusals_is_told_as_a_share() -> None:
    rule = _at_most("refusals", threshold=0.05, observed=0.012, low=0.0, high=0.03)
    assert words.demand(rule) == "holdout refusals at most 5.0%"
    assert (words.observed(rule), words.observed_interval(rule)) == ("1.2%", "0.0% to 3.0%")


def test_the_headline_names_what_blocks(promoted: Report) -> None:
    text = words.headline("reject", promoted.scores.suites[0], promoted.verdict.rules, ("no overlap", "in a box"), "")
    assert "Blocked, because this does not hold: no overlap; in a box. The incumbent stays." in text


def test_the_headline_of_a_promotion_that_waits_for_a_person_says_so(promoted: Report) -> None:
    told = (promoted.scores.suites[0], promoted.verdict.rules, (), "")
    assert words.headline("promote", *told, waits=True).endswith("takes over once a person approves it.")
    assert words.headline("promote", *told).endswith("the new model may take over.")


def test_the_same_objection_of_two_verifiers_is_said_once() -> None:
    verdicts = [
        {"verifier": "a", "outcome": "fail", "reason": "no"},
        {"verifier": "b", "outcome": "fail", "reason": "no"},
        {"verifier": "c", "outcome": "pass", "reason": "yes"},
        {"verifier": "d", "outcome": "unknown", "reason": ""},
    ]
    assert words.objections(verdicts) == "a, b: no; d: unknown"


def test_differences_are_told_word_by_word_and_lose_nothing() -> None:
    pieces = words.differing("SELECT a FROM t", "SELECT b FROM t")
    assert pieces == [("SELECT ", False), ("a", True), (" FROM t", False)]
    assert words.differing("", "x") == []


def test_less_than_half_right_is_said_in_the_headline_of_a_promotion(promoted: Report) -> None:
    target = promoted.scores.suites[0]
    poor = target.model_copy(update={"candidate": Rate(value=0.09, low=0.05, high=0.15)})
    assert words.headline("promote", poor, (), (), "").endswith("It still gets most of holdout wrong.")
    assert "wrong" not in words.headline("promote", target, (), (), "")


def test_lessons_beside_people() -> None:
    assert words.beside_people(240, 2.95, 2.0) == (
        "240 accepted lessons for $2.95, $0.012 each; people at $2.00 each: $480.00."
    )
    assert words.beside_people(0, 2.95, 2.0) == words.beside_people(240, 0.0, 2.0) == ""


def test_hours_are_saved_where_the_spec_says_how_long_people_work_paid_or_not() -> None:
    hours = "at 4 min of work each: 16.0 hours of people saved."
    assert words.beside_people(240, 2.95, 2.0, 4.0) == (
        f"240 accepted lessons for $2.95, $0.012 each; people at $2.00 each: $480.00; {hours}"
    )
    assert words.beside_people(240, 0.0, 2.0, 4.0) == f"240 accepted lessons; {hours}"
    assert words.beside_people(0, 0.0, 2.0, 4.0) == ""
