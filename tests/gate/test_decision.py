"""What the gate answers: rules, missing verdicts, preconditions, looks, and data that say nothing."""

import math
import random

import pytest

from flywheel.gate import decide
from flywheel.gate.grounds import Grounds
from flywheel.records.decision import PairedItem, Precondition, Staging
from flywheel.spec.models import GateRule
from flywheel.stats import alpha_at

BETTER = GateRule(suite="holdout", better_by=0.02)
GUARD = GateRule(suite="guard", not_worse_than=0.05)


def paired(fixed=0, broken=0, both=0, neither=0):
    """0/1 items; a wrong answer shows the error mode `slip`."""
    pairs = [(0, 1)] * fixed + [(1, 0)] * broken + [(1, 1)] * both + [(0, 0)] * neither
    return [
        PairedItem(f"i{k}", float(a), float(b), None if a else "slip", None if b else "slip")
        for k, (a, b) in enumerate(pairs)
    ]


def holdout(fixed, broken, n=400):
    rest = n - fixed - broken
    return paired(fixed, broken, both=rest // 2, neither=rest - rest // 2)


def guard(fixed=0, broken=0, n=300):
    return paired(fixed, broken, both=n - fixed - broken)


def one(rule, items, look=1):
    """The single rule's result, and the decision's outcome."""
    decision = decide([rule], {rule.suite: items}, [], look, seed=0)
    return decision.rules[0], decision.outcome


# --- a share of games won ---


@pytest.mark.parametrize(("won", "outcome"), [(220, "promote"), (219, "inconclusive"), (180, "reject")])
def test_above_55_percent_of_400_games_is_a_gain_of_a_tenth(won, outcome):
    assert one(GateRule(suite="match", better_by=0.10), paired(fixed=won, broken=400 - won))[1] == outcome


def test_a_draw_is_half_a_game():
    """60 won, 20 lost, 320 drawn: 220 points of 400."""
    rule, outcome = one(GateRule(suite="match", better_by=0.10), holdout(60, 20))

    assert (1 + rule.observed) / 2 == pytest.approx(220 / 400)
    assert outcome == "promote"


# --- the bar the default domain must clear -----------------------------------------------------------------


@pytest.mark.parametrize("look", [1, 2, 3])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_gain_of_ten_points_with_a_quiet_guard_is_promoted(look, broken):
    suites = {"holdout": holdout(60, 20), "guard": guard(1, broken)}
    decision = decide([BETTER, GUARD], suites, [Precondition("adapter_effect", True, "")], look, seed=0)
    assert decision.outcome == "promote"
    assert [r.outcome for r in decision.rules] == ["holds", "holds"]
    assert decision.look == look


def test_a_guard_that_drops_stops_a_gain():
    suites = {"holdout": holdout(60, 20), "guard": guard(0, 18)}
    decision = decide([BETTER, GUARD], suites, [], 1, seed=0)
    assert decision.outcome == "reject"
    assert decision.rules[0].outcome == "holds"
    assert "guard not_worse_than 0.05" in decision.explanation


def test_a_guard_drop_of_three_points_is_not_promoted():
    suites = {"holdout": holdout(60, 20), "guard": guard(0, 9)}
    rules = [BETTER, GateRule(suite="guard", not_worse_than=0.02)]
    assert decide(rules, suites, [], 1, seed=0).outcome == "reject"


# --- better_by ---------------------------------------------------------------------------------------------


def test_better_by_tells_figures():
    rule, _ = one(BETTER, holdout(61, 12))
    assert (rule.fixed, rule.broken, rule.items) == (61, 12, 400)
    assert rule.observed == pytest.approx(49 / 400)
    assert rule.low is not None
    assert rule.high is not None
    assert 0.02 < rule.low < 0.1225 < rule.high
    assert rule.alpha == pytest.approx(alpha_at(1, 0.05))
    assert "+12.2 points (93.9% interval +8.5 to +16.3) over 400 items: 61 fixed, 12 broken" in rule.explanation
    assert rule.label == "holdout better_by 0.02"


def test_too_few_items_are_inconclusive_and_say_how_many_more():
    rule, outcome = one(BETTER, holdout(5, 2, n=30))
    assert outcome == "inconclusive"
    assert rule.items_needed is not None
    assert 40 < rule.items_needed < 400
    assert "further items" in rule.explanation


@pytest.mark.parametrize("rule", [BETTER, GateRule(suite="holdout", not_worse_than=0.001)])
def test_a_difference_that_no_suite_would_settle_is_said_so_and_no_number_is_named(rule):
    result, outcome = one(rule, holdout(20, 13) if rule is BETTER else holdout(20, 20))
    assert outcome == "inconclusive"
    assert result.items_needed is None
    assert "cannot be settled here" in result.explanation
    assert "further item" not in result.explanation


def test_a_guard_of_few_items_is_told_how_many_it_needs():
    rule, _ = one(GateRule(suite="guard", not_worse_than=0.02), guard(n=8))
    assert rule.items_needed > 80


def test_as_many_items_as_were_asked_for_settle_it():
    rule, _ = one(BETTER, holdout(20, 10, n=200))
    scale = (200 + rule.items_needed) / 200
    more, _ = one(BETTER, holdout(round(20 * scale), round(10 * scale), n=round(200 * scale)))
    assert rule.outcome == "undecided"
    assert more.outcome == "holds"


def test_a_gain_beyond_chance_but_below_the_least_gain_does_not_hold():
    rule, outcome = one(GateRule(suite="holdout", better_by=0.04), holdout(40, 10, n=1000))
    assert rule.p_value is not None
    assert rule.p_value < rule.alpha
    assert outcome == "inconclusive"


def test_a_gain_ruled_out_and_an_observed_loss_fail():
    assert one(GateRule(suite="holdout", better_by=0.1), holdout(12, 10))[1] == "reject"
    rule, outcome = one(BETTER, holdout(10, 12))
    assert outcome == "reject"
    assert "wrong way" in rule.explanation


# --- not_worse_than, at_least, falls_by --------------------------------------------------------------------


def test_a_small_guard_is_inconclusive_even_if_nothing_broke():
    rule, outcome = one(GateRule(suite="guard", not_worse_than=0.02), guard(n=50))
    assert outcome == "inconclusive"
    assert rule.items_needed is not None
    settled, _ = one(GateRule(suite="guard", not_worse_than=0.02), guard(n=50 + rule.items_needed))
    assert settled.outcome == "holds"


@pytest.mark.parametrize(
    ("threshold", "outcome"),
    [(0.5, "holds"), (0.6, "undecided"), (0.75, "fails"), (1.0, "fails"), (0.0, "holds")],
)
def test_at_least_is_shown_ruled_out_or_open(threshold, outcome):
    items = paired(both=63, neither=37)
    assert one(GateRule(suite="holdout", at_least=threshold), items)[0].outcome == outcome


def test_at_least_one_means_every_item():
    assert one(GateRule(suite="holdout", at_least=1.0), paired(fixed=2, both=8))[0].outcome == "holds"


def test_a_mode_falls_as_a_share_of_what_it_was():
    items = paired(fixed=40, broken=5, both=295, neither=60)
    rule, _ = one(GateRule(suite="holdout", falls_by=0.3, mode="slip"), items)
    assert rule.outcome == "holds"
    assert (rule.incumbent, rule.candidate) == (pytest.approx(0.25), pytest.approx(0.1625))
    assert rule.observed == pytest.approx(0.35)
    assert one(GateRule(suite="holdout", falls_by=0.3, mode="slip"), paired(8, 5, 295, 92))[0].outcome == "fails"
    assert one(GateRule(suite="holdout", falls_by=0.3, mode="slip"), paired(2, 0, 295, 3))[0].outcome == "undecided"


def test_only_the_named_mode_counts():
    items = [PairedItem(f"i{k}", 0.0, 0.0, "slip", "typo") for k in range(40)] + paired(both=60)
    assert one(GateRule(suite="holdout", falls_by=0.3, mode="slip"), items)[0].outcome == "holds"
    assert one(GateRule(suite="holdout", falls_by=0.3, mode="typo"), items)[0].outcome == "undecided"


def test_a_mode_that_never_was_cannot_fall():
    rule, outcome = one(GateRule(suite="holdout", falls_by=0.3, mode="slip"), paired(both=100))
    assert outcome == "inconclusive"
    assert "nothing is left to fall" in rule.explanation


# --- nothing to go on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("comparison", [{"better_by": 0.0}, {"better_by": 0.02}, {"falls_by": 0.3}])
def test_no_change_at_all_is_inconclusive(comparison):
    rule, outcome = one(GateRule(suite="holdout", **comparison), holdout(0, 0))
    assert outcome == "inconclusive"
    assert rule.items_needed is None


@pytest.mark.parametrize(
    "comparison", [{"better_by": 0.02}, {"not_worse_than": 0.02}, {"at_least": 0.9}, {"falls_by": 0.3}]
)
@pytest.mark.parametrize(
    "items",
    [
        [],
        [PairedItem("a", math.nan, 1.0)] * 3,
        [PairedItem("a", None, None)],
        [PairedItem("a", 1.0, math.inf)],
        [PairedItem("a", 0.0, 1.0)],
        [PairedItem("a", 0.7, 0.7), PairedItem("b", 0.8, 0.8)],
    ],
)
def test_data_that_say_nothing_are_inconclusive(comparison, items):
    assert one(GateRule(suite="holdout", **comparison), items)[1] == "inconclusive"


def test_a_missing_suite_and_a_gate_without_rules_are_inconclusive():
    missing = decide([BETTER], {}, [], 1, seed=0)
    assert missing.outcome == "inconclusive"
    assert "holdout" in missing.explanation
    assert decide([], {}, [], 1, seed=0).outcome == "inconclusive"


# --- missing verdicts --------------------------------------------------------------------------------------


def without_verdict(items, count, arm):
    gone = [PairedItem(i.item_id, **{"incumbent": i.incumbent, "candidate": i.candidate, arm: None}) for i in items]
    return gone[:count] + items[count:]


@pytest.mark.parametrize("arm", ["incumbent", "candidate"])
def test_more_than_one_percent_without_a_verdict_decides_nothing(arm):
    rule, outcome = one(BETTER, without_verdict(holdout(80, 0), 5, arm))
    assert outcome == "inconclusive"
    assert "5 of 400 items are unknown" in rule.explanation


@pytest.mark.parametrize("arm", ["incumbent", "candidate"])
def test_a_few_missing_verdicts_count_against_the_candidate(arm):
    """Four fixed items lose their verdict in one arm: unknown counts as right before and as wrong after."""
    rule, _ = one(BETTER, without_verdict(holdout(80, 0), 4, arm))
    assert (rule.fixed, rule.broken) == (76, 0)
    assert "4 items unknown, counted against the candidate" in rule.explanation


def test_an_item_unknown_in_both_arms_is_a_broken_one():
    items = [PairedItem("u", None, None), *holdout(80, 0, n=399)]
    assert one(BETTER, items)[0].broken == 1


# --- preconditions, looks, multiplicity --------------------------------------------------------------------


def test_a_broken_precondition_rejects_whatever_the_rules_say():
    broken = Precondition("contamination", False, "3 training rows overlap the holdout.")
    decision = decide([BETTER], {"holdout": holdout(80, 0)}, [broken], 1, seed=0)
    assert decision.outcome == "reject"
    assert decision.rules[0].outcome == "holds"
    assert "3 training rows overlap" in decision.explanation


def test_each_look_at_the_holdout_asks_for_more():
    outcomes = [one(BETTER, holdout(28, 14), look)[1] for look in (1, 2, 3)]
    assert outcomes == ["promote", "inconclusive", "inconclusive"]
    with pytest.raises(ValueError, match="counted from 1"):
        one(BETTER, holdout(28, 14), look=0)


def test_claims_of_gain_share_their_level_and_guards_do_not():
    rules = [BETTER, GateRule(suite="holdout", falls_by=0.1, mode="slip"), GUARD]
    suites = {"holdout": holdout(28, 14), "guard": guard()}
    alphas = [r.alpha for r in decide(rules, suites, [], 1, seed=0).rules]
    assert alphas == pytest.approx([alpha_at(1, 0.05) / 2, alpha_at(1, 0.05) / 2, alpha_at(1, 0.05)])


def test_a_rule_with_two_comparisons_is_refused():
    with pytest.raises(ValueError, match="exactly one"):
        one(GateRule(suite="holdout", better_by=0.1, at_least=0.5), holdout(1, 1))


# --- graded scores and clusters ----------------------------------------------------------------------------


def graded(gain, n=200, seed=1, cluster=1):
    rng = random.Random(seed)
    return [
        PairedItem(f"i{k}", 0.3 + 0.2 * rng.random(), 0.3 + gain + 0.2 * rng.random(), cluster=f"c{k // cluster}")
        for k in range(n)
    ]


def test_graded_scores_hold_fail_and_stay_open():
    assert one(BETTER, graded(0.05))[1] == "promote"
    assert one(GateRule(suite="holdout", better_by=0.3), graded(0.05))[1] == "reject"
    assert one(BETTER, graded(0.03, n=20))[1] == "inconclusive"
    assert one(GateRule(suite="holdout", not_worse_than=0.05), graded(0.0))[1] == "promote"


def test_graded_scores_that_hardly_ever_change_do_not_pass_a_guard_by_lack_of_data():
    items = [PairedItem(f"i{k}", 0.5, 0.5) for k in range(30)]
    assert one(GateRule(suite="holdout", not_worse_than=0.02), items)[1] == "inconclusive"


def test_items_that_move_together_count_for_less():
    """The same 0/1 table, once as 400 items and once in 20 clusters that move as one."""
    items = holdout(60, 40)
    together = [PairedItem(i.item_id, i.incumbent, i.candidate, cluster=f"c{k // 20}") for k, i in enumerate(items)]
    alone, _ = one(GateRule(suite="holdout", better_by=0.0), items)
    clustered, _ = one(GateRule(suite="holdout", better_by=0.0), together)
    assert alone.outcome == "holds"
    assert clustered.outcome == "undecided"
    assert clustered.p_value == pytest.approx(0.5)  # three clusters rose, two fell: 16 of the 32 sign patterns
    assert "in 20 clusters" in clustered.explanation


def test_rows_of_one_item_are_one_cluster():
    repeated = [item for item in holdout(12, 2, n=50) for _ in range(10)]
    rule, outcome = one(BETTER, repeated)
    assert "in 50 clusters" in rule.explanation
    assert rule.p_value == pytest.approx(one(BETTER, holdout(12, 2, n=50))[0].p_value)
    assert outcome == "promote"


# --- asked again -------------------------------------------------------------------------------------------


def test_the_same_question_has_the_same_answer_in_any_order():
    rules = [BETTER, GateRule(suite="holdout", not_worse_than=0.05)]
    items = graded(0.03, cluster=5)
    shuffled = random.Random(7).sample(items, len(items))
    first = decide(rules, {"holdout": items}, [], 2, seed=11)
    assert decide(rules, {"holdout": items}, [], 2, seed=11) == first
    assert decide(rules, {"holdout": shuffled}, [], 2, seed=11) == first


# --- stages --------------------------------------------------------------------------------------------------

ENDS = (80, 120, 160, 200, 240, 280, 320, 360, 400)


def staged(rules, suites, stage, look=1):
    return Grounds(rules, suites, look=look, stages={name: Staging(ENDS, stage) for name in suites})


def test_a_whole_suite_is_judged_as_ever_but_for_what_its_stages_cost():
    items = holdout(60, 20)
    one_stage = Grounds([BETTER], {"holdout": items}, stages={"holdout": Staging((400,), 1)})
    assert one_stage.decide() == decide([BETTER], {"holdout": items}, [], 1, seed=0)
    last = staged([BETTER], {"holdout": items}, len(ENDS)).decide().rules[0]
    assert 0.7 * alpha_at(1, 0.05) < last.alpha < alpha_at(1, 0.05)
    assert "Evaluation ended here" not in last.explanation


def test_a_large_gain_settles_early_and_a_middling_one_does_not():
    large, middling = holdout(30, 4, n=120), holdout(12, 5, n=120)
    assert staged([BETTER], {"holdout": large}, 2).settled() == {"holdout"}
    assert staged([BETTER], {"holdout": large}, 2).decide().outcome == "promote"
    assert staged([BETTER], {"holdout": middling}, 2).settled() == set()


def test_a_limit_early_is_stricter_and_its_interval_wider():
    early = staged([BETTER], {"holdout": holdout(30, 4, n=120)}, 2).decide().rules[0]
    whole = one(BETTER, holdout(30, 4, n=120))[0]
    assert early.alpha < whole.alpha / 10
    assert early.low < whole.low
    assert early.high > whole.high


def test_a_score_that_fell_a_little_on_a_part_does_not_settle_a_rule():
    assert staged([BETTER], {"holdout": holdout(5, 6, n=80)}, 1).settled() == set()
    assert staged([BETTER], {"holdout": holdout(2, 30, n=120)}, 2).settled() == {"holdout"}


def test_what_would_hardly_come_to_hold_settles_a_rule_without_a_claim():
    found = staged([BETTER], {"holdout": holdout(8, 8, n=320)}, 7)
    assert found.settled() == {"holdout"}
    assert found.decide().rules[0].outcome == "undecided"


@pytest.mark.parametrize(
    ("rule", "items"),
    [
        (GateRule(suite="s", at_least=1.0), paired(both=120)),
        (GateRule(suite="s", at_most=0.0, measure="refusals"), paired(neither=120)),
    ],
)
def test_a_rule_on_these_very_items_holds_when_all_were_looked_at(rule, items):
    measures = {("s", "refusals"): items}
    early = Grounds([rule], {"s": items}, measures=measures, stages={"s": Staging(ENDS, 2)})
    assert early.settled() == set()
    assert Grounds([rule], {"s": items}, measures=measures, stages={"s": Staging((120,), 1)}).settled() == {"s"}


def test_one_open_rule_keeps_its_suite_going_and_no_other():
    rules = [BETTER, GateRule(suite="holdout", at_least=0.9), GateRule(suite="guard", not_worse_than=0.2)]
    suites = {"holdout": paired(30, 4, both=80, neither=6), "guard": guard(1, 1, n=120)}
    assert staged(rules, suites, 2).settled() == {"guard"}


def test_verdicts_that_are_missing_never_end_an_evaluation():
    blind = [*paired(30, 4, both=81), *(PairedItem(f"u{k}", 1.0, None) for k in range(5))]
    assert staged([BETTER], {"holdout": blind}, 2).settled() == set()


def test_claims_share_their_level_at_every_stage():
    rules = [BETTER, GateRule(suite="other", better_by=0.0)]
    suites = {"holdout": holdout(14, 2, n=120), "other": holdout(0, 0, n=120)}
    alone = staged([BETTER], {"holdout": suites["holdout"]}, 2).decide().rules[0].alpha
    assert staged(rules, suites, 2).decide().rules[0].alpha < alone
