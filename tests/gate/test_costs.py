"""`at_most`: what an answer may cost, and noise below which no gain is claimed."""

from __future__ import annotations

import math
import random

import pytest

from flywheel.gate import decide
from flywheel.gate.refusals import is_refusal
from flywheel.records.decision import PairedItem, Precondition
from flywheel.spec.models import GateRule
from flywheel.stats import alpha_at, studentised_interval, studentised_p


def costs(values, before=1.0, cluster=1):
    return [PairedItem(f"i{k}", before, v, cluster=f"c{k // cluster}") for k, v in enumerate(values)]


def lengths(mean, n=200, seed=1):
    rng = random.Random(seed)
    return [mean * (0.5 + rng.random()) for _ in range(n)]


def one(measure, most, items, look=1):
    rule = GateRule(suite="s", measure=measure, at_most=most)
    decision = decide([rule], {}, [], look, seed=0, measures={("s", measure): items})
    return decision.rules[0], decision.outcome


@pytest.mark.parametrize(("most", "outcome"), [(25, "promote"), (20.2, "inconclusive"), (15, "reject")])
def test_a_mean_is_shown_open_or_ruled_out(most, outcome):
    rule, said = one("tokens", most, costs(lengths(20)))
    assert said == outcome
    assert rule.observed == pytest.approx(20, abs=1)
    assert rule.low < rule.observed < rule.high
    assert rule.label == f"s tokens at_most {most:g}"
    assert rule.incumbent == 1.0
    assert "tokens an answer" in rule.explanation


def test_below_the_limit_is_not_yet_beyond_chance():
    """Like non-inferiority: the upper bound, not the mean, must lie below."""
    rule, outcome = one("tokens", 20.2, costs(lengths(20)))
    assert rule.observed < 20.2 < rule.high
    assert outcome == "inconclusive"
    assert rule.items_needed is not None
    copies = 1 + math.ceil(rule.items_needed / 200)
    assert one("tokens", 20.2, costs(lengths(20) * copies))[1] == "promote"
    assert one("tokens", 20.2, costs(lengths(20) * (copies // 3)))[1] == "inconclusive"


@pytest.mark.parametrize(
    ("refused", "most", "outcome"),
    [(0, 0.05, "promote"), (2, 0.05, "promote"), (8, 0.05, "inconclusive"), (30, 0.05, "reject"), (1, 0.0, "reject"),
     (0, 0.0, "promote"), (200, 1.0, "promote")],
)  # fmt: skip
def test_a_rate_is_tested_exactly_and_none_means_none(refused, most, outcome):
    rule, said = one("refusals", most, costs([1.0] * refused + [0.0] * (200 - refused)))
    assert said == outcome
    assert f"{100 * refused / 200:.1f}% refusals" in rule.explanation


def test_answers_that_all_cost_just_the_limit_are_within_it():
    assert one("tokens", 3, costs([3.0] * 50))[1] == "promote"
    assert one("tokens", 2.9, costs([3.0] * 50))[1] == "reject"


def test_costs_that_move_together_say_less():
    values = [10.0, 10.0, 30.0, 30.0] * 100
    together = [v for v in (10.0, 30.0) * 20 for _ in range(10)]
    assert one("seconds", 22.5, costs(values))[1] == "promote"
    assert one("seconds", 22.5, costs(together, cluster=10))[1] == "inconclusive"


def test_the_interval_of_a_mean_is_students_where_costs_are_normal():
    rng = random.Random(3)
    values = [50 + 10 * rng.gauss(0, 1) for _ in range(60)]
    mean = math.fsum(values) / 60
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 59 / 60)

    low, high = studentised_interval(values, [1] * 60, seed=1, confidence=0.9)

    assert (low, high) == (pytest.approx(mean - 1.671 * error, abs=0.4), pytest.approx(mean + 1.671 * error, abs=0.4))
    assert studentised_p(values, [1] * 60, 1, high + 0.01) < 0.05 < studentised_p(values, [1] * 60, 1, high - 0.01)


def test_the_upper_limit_of_skewed_costs_is_further_out():
    rng = random.Random(4)
    values = [math.exp(rng.gauss(0, 0.8)) for _ in range(60)]
    low, high = studentised_interval(values, [1] * 60, seed=1)
    mean = math.fsum(values) / 60
    assert high - mean > 1.2 * (mean - low)


def test_an_interval_needs_clusters_and_is_a_point_where_nothing_varies():
    with pytest.raises(ValueError, match="at least one cluster"):
        studentised_interval([], [], 1)
    assert studentised_interval([4.0, 8.0], [2, 4], 1) == (2.0, 2.0)
    assert all(map(math.isfinite, studentised_interval([0.0, 0.0, 9.0], [1, 1, 1], 1)))


@pytest.mark.parametrize(
    "items", [[], costs([None] * 200), costs([math.nan] * 200), costs([-1.0] * 200), costs([5.0] * 29)]
)
def test_what_was_not_measured_decides_nothing(items):
    rule, outcome = one("tokens", 20, items)
    assert outcome == "inconclusive"
    assert rule.p_value is None


def test_a_few_answers_without_a_figure_count_as_the_worst():
    rule, _ = one("tokens", 20, costs([None, 9.0] + [5.0] * 298))
    assert rule.observed == pytest.approx((9 + 9 + 5 * 298) / 300)
    assert "1 answer without a figure" in rule.explanation
    assert one("refusals", 0.0, costs([None] + [0.0] * 299))[1] == "reject"


def test_a_cost_rule_keeps_its_whole_level_at_every_look():
    assert one("tokens", 25, costs(lengths(20)), look=3)[0].alpha == pytest.approx(alpha_at(3, 0.05))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    ["", " \n", "I'm sorry, but I can't help.", "I\u2019m sorry", "  As an AI language model", '"I cannot do it"'],
)
def test_nothing_and_the_usual_openings_are_refusals(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize("answer", ["0", "SELECT 'I cannot'", "sorrynothing", "It says: I'm sorry", "red"])
def test_an_answer_that_holds_such_words_is_none(answer):
    assert not is_refusal(answer)


# --- noise, and preconditions that speak of the ruler -----------------------------------------------------------------


def pairs(fixed, n=400):
    return [PairedItem(f"i{k}", 0.0, float(k < fixed)) for k in range(n)]


def test_no_gain_below_the_noise_of_measuring_twice_is_claimed():
    rule = GateRule(suite="s", better_by=0.02)
    quiet = decide([rule], {"s": pairs(20)}, [], 1, seed=0, noise={"s": 0.0})
    noisy = decide([rule], {"s": pairs(20)}, [], 1, seed=0, noise={"s": 0.1})
    assert (quiet.outcome, noisy.outcome) == ("promote", "reject")
    assert (noisy.rules[0].threshold, noisy.rules[0].label) == (0.1, "s better_by 0.02")
    assert "measured twice differed on 10.0% of the items" in noisy.rules[0].explanation
    assert "measured twice" not in quiet.rules[0].explanation


def test_verifier_errors_leave_a_failing_rule_open_and_other_preconditions_do_not():
    blind = Precondition("no verifier errors", False, "40 of 400 answers could not be judged")
    leak = Precondition("no training row overlaps an eval item", False, "3 do")
    rules = [GateRule(suite="s", better_by=0.5)]
    assert decide(rules, {"s": pairs(20)}, [blind], 1, seed=0).outcome == "inconclusive"
    assert decide(rules, {"s": pairs(20)}, [blind, leak], 1, seed=0).outcome == "reject"
    assert "40 of 400" in decide(rules, {"s": pairs(20)}, [blind, leak], 1, seed=0).explanation
