"""The statistics against published values, independent implementations and what must be true of any data."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from flywheel.stats import (
    alpha_at,
    binomial_p,
    bootstrap_interval,
    bootstrap_p,
    design_effect,
    holm,
    items_needed,
    krippendorff_alpha,
    lessons_needed,
    mcnemar_p,
    noninferiority_p,
    paired_difference_interval,
    power,
    predicted_power,
    seeds_needed,
    sign_flip_p,
    spent_by,
    stage_level,
    stream_evidence,
    stream_interval,
    tango_z,
    two_way,
    wilson,
    z_score,
)

tables = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200)).map(
    lambda t: (t[0], t[1], max(1, sum(t)))
)


# --- one rate ----------------------------------------------------------------------------------------------


def test_wilson_gives_the_published_interval():
    """Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.8, 0.95, 0.999]))
def test_wilson_agrees_with_scipy(successes, n, confidence):
    successes = min(successes, n)
    there = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx((there.low, there.high), abs=1e-12)


def test_wilson_of_nothing_excludes_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 80), st.integers(1, 80), st.floats(0.01, 0.99))
def test_binomial_p_agrees_with_scipy(successes, n, rate):
    there = scipy.stats.binomtest(min(successes, n), n, rate, alternative="greater").pvalue
    assert binomial_p(min(successes, n), n, rate) == pytest.approx(there, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5])
def test_a_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        z_score(confidence)


# --- paired 0/1 results ------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(fixed, broken):
    if fixed + broken:
        there = scipy.stats.binomtest(fixed, fixed + broken, alternative="greater").pvalue
        assert mcnemar_p(fixed, broken) == pytest.approx(there, rel=1e-9)


def test_mcnemar_without_change_shows_nothing():
    assert mcnemar_p(0, 0) == 1.0


def test_mcnemar_takes_thousands_of_changes():
    assert mcnemar_p(5_000, 5_000) == pytest.approx(0.5, abs=0.01)


def numeric_tango_z(fixed, broken, n, difference):
    """Tango's statistic with the nuisance rate found by search instead of by its closed form."""
    least = max(0.0, -difference)
    rates = np.linspace(least, (1 - difference) / 2, 400_001)[1:-1]
    same = 1 - 2 * rates - difference
    likelihood = fixed * np.log(rates + difference) + broken * np.log(rates) + (n - fixed - broken) * np.log(same)
    rate = rates[np.argmax(likelihood)]
    return (fixed - broken - n * difference) / math.sqrt(n * (2 * rate + difference * (1 - difference)))


@pytest.mark.parametrize("table", [(61, 12, 400), (1, 2, 300), (3, 9, 44), (5, 0, 20)])
@pytest.mark.parametrize("difference", [-0.2, -0.03, 0.01, 0.15])
def test_tango_agrees_with_a_numeric_search(table, difference):
    assert tango_z(*table, difference) == pytest.approx(numeric_tango_z(*table, difference), rel=1e-3)


@given(tables)
def test_tango_at_zero_is_mcnemar(table):
    fixed, broken, n = table
    if fixed + broken:
        assert tango_z(fixed, broken, n, 0.0) == pytest.approx((fixed - broken) / math.sqrt(fixed + broken))


@given(tables)
def test_interval_holds_the_observed_difference_and_mirrors(table):
    fixed, broken, n = table
    low, high = paired_difference_interval(fixed, broken, n)
    assert -1 <= low <= (fixed - broken) / n <= high <= 1
    assert paired_difference_interval(broken, fixed, n) == pytest.approx((-high, -low), abs=1e-9)


@given(tables, st.floats(0.005, 0.5))
def test_interval_and_noninferiority_are_one_test(table, margin):
    low, _ = paired_difference_interval(*table, 0.9)
    if abs(low + margin) > 1e-6:
        assert (noninferiority_p(*table, margin) <= 0.05) == (low > -margin)


def test_interval_covers_the_truth_as_often_as_it_says():
    """Exact coverage over all tables of 60 items with fixed 10%, broken 5%."""
    n, rates = 60, (0.10, 0.05)
    covered = total = 0.0
    for fixed in range(31):
        for broken in range(31 - fixed):
            chance = scipy.stats.multinomial.pmf((fixed, broken, n - fixed - broken), n, (*rates, 0.85))
            low, high = paired_difference_interval(fixed, broken, n)
            total += chance
            covered += chance if low <= 0.05 <= high else 0
    assert total > 0.9999
    assert covered == pytest.approx(0.95, abs=0.012)


def test_no_discordant_pair_is_no_proof():
    assert noninferiority_p(0, 0, 20, 0.02) > 0.2
    assert noninferiority_p(0, 0, 300, 0.03) < 0.002
    assert noninferiority_p(0, 0, 0, 0.02) == 1.0
    assert paired_difference_interval(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize("broken_both_ways", [0.0, 0.01, 0.1])
def test_noninferiority_keeps_its_level_at_the_margin(broken_both_ways):
    """Exact size over all tables of 100 items whose true loss is just the margin of 5 points."""
    n, margin, alpha = 100, 0.05, 0.05
    changed = 2 * broken_both_ways + margin
    size = 0.0
    for pairs in range(n + 1):
        broken = scipy.stats.binom.pmf(range(pairs + 1), pairs, (broken_both_ways + margin) / changed)
        passes = [noninferiority_p(pairs - b, b, n, margin) <= alpha for b in range(pairs + 1)]
        size += scipy.stats.binom.pmf(pairs, n, changed) * float(np.dot(broken, passes))
    assert size <= alpha * 1.05


# --- graded scores and clusters ----------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_flip_of_single_items_is_mcnemar(fixed, broken):
    assert sign_flip_p([1] * fixed + [-1] * broken + [0]) == pytest.approx(mcnemar_p(fixed, broken), rel=1e-9)


def test_sign_flip_of_clusters_counts_every_assignment():
    sums = [2, 1, 3, -1, -2, 1]
    signs = [[1 if mask >> i & 1 else -1 for i in range(6)] for mask in range(64)]
    totals = [sum(s * abs(v) for s, v in zip(row, sums, strict=True)) for row in signs]
    assert sign_flip_p(sums) == pytest.approx(sum(t >= sum(sums) for t in totals) / 64)


def test_drawn_sign_flip_is_near_the_exact_one_and_seeded():
    halves = [0.5] * 20 + [-0.5] * 8
    assert sign_flip_p(halves, seed=3) == pytest.approx(mcnemar_p(20, 8), abs=0.003)
    assert sign_flip_p(halves, seed=3) == sign_flip_p(halves, seed=3)


def test_sign_flip_without_change_shows_nothing():
    assert sign_flip_p([]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(5).beta(2, 6, 120) - 0.2
    there = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(1))
    here = bootstrap_interval(values.tolist(), [1] * 120, seed=2)
    assert here == pytest.approx(tuple(there.confidence_interval), abs=0.002)


def test_bootstrap_p_turns_where_the_interval_ends():
    values = np.random.default_rng(5).beta(2, 6, 120).tolist()
    low, _ = bootstrap_interval(values, [1] * 120, seed=2, confidence=0.9)
    assert bootstrap_p(values, [1] * 120, seed=2, least=low) == pytest.approx(0.05, abs=0.005)
    assert bootstrap_p(values, [1] * 120, seed=2, least=low - 0.02) < 0.02


def test_bootstrap_is_seeded_and_refuses_nothing():
    values = [0.1, 0.4, -0.2, 0.3]
    assert bootstrap_interval(values, [1] * 4, seed=1) == bootstrap_interval(values, [1] * 4, seed=1)
    with pytest.raises(ValueError, match="at least one cluster"):
        bootstrap_interval([], [], seed=1)


def test_bootstrap_of_clusters_is_wider_than_of_items():
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 0.2, 30)
    items = (shared[:, None] + rng.normal(0, 0.05, (30, 10))).ravel()
    alone = bootstrap_interval(items.tolist(), [1] * 300, seed=1)
    together = bootstrap_interval(items.reshape(30, 10).sum(axis=1).tolist(), [10] * 30, seed=1)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_design_effect():
    assert design_effect([1, -1, 0, 0], [1] * 4, 2) == 1.0  # items on their own
    assert design_effect([0, 0], [10, 10], 0) == 10.0  # nothing moved: a cluster counts once
    assert design_effect([5, -5] * 200, [10] * 400, 2000) == pytest.approx(5.0, rel=0.02)  # halves move as one
    assert design_effect([5, -5] * 5, [10] * 10, 50) > 7  # so few clusters say little of their variance
    assert design_effect([0, 0, 1, -1], [10] * 4, 20) == 1.0  # never fewer than the items


# --- a stream split at random --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("mine", "theirs"), [(0.3, 0.3), (0.4, 0.1), (0.0, 0.6), (1.0, 0.0)])
def test_a_bet_against_what_is_just_true_is_fair(share, mine, theirs):
    """Over all outcomes of six units, weighed by their chances, the wealth is what it was: 1."""
    chances = [share * mine, (1 - share) * theirs]
    chances.append(1 - sum(chances))
    tables = [(a, b) for a in range(7) for b in range(7 - a)]
    weights = [scipy.stats.multinomial.pmf([a, b, 6 - a - b], 6, chances) for a, b in tables]
    wealth = [math.exp(stream_evidence(a, b, 6, share, mine - theirs)) for a, b in tables]
    assert math.fsum(w * v for w, v in zip(weights, wealth, strict=True)) == pytest.approx(1)


@given(tables, st.sampled_from([0.05, 0.1, 0.5, 0.9]))
def test_limits_of_a_stream_are_where_the_evidence_reaches_its_level(table, share):
    mine, theirs, n = table
    low, high = stream_interval(mine, theirs, n, share, 0.05)
    assert -1 <= low <= high <= 1
    if abs(low) < 1 - 1e-6:  # where nearly all units came to the arm against its share, no difference explains it
        assert float(stream_evidence(mine, theirs, n, share, low)) == pytest.approx(math.log(20), abs=1e-6)
    if abs(high) < 1 - 1e-6:
        assert float(stream_evidence(theirs, mine, n, 1 - share, -high)) == pytest.approx(math.log(20), abs=1e-6)


@given(tables, st.sampled_from([0.05, 0.1, 0.5, 0.9]))
def test_the_other_arm_sees_a_stream_the_other_way_round(table, share):
    mine, theirs, n = table
    low, high = stream_interval(mine, theirs, n, share)
    assert stream_interval(theirs, mine, n, 1 - share) == pytest.approx((-high, -low), abs=1e-9)


def test_a_stream_of_nothing_excludes_nothing():
    assert stream_interval(0, 0, 0, 0.1) == (-1.0, 1.0)


def test_a_long_stream_tells_the_difference():
    """40,000 units, a tenth in the arm: 0.20 of them lost there and 0.15 in the other."""
    low, high = stream_interval(800, 5400, 40_000, 0.1)
    assert 0.0 < low < 0.05 < high < 0.1


def test_a_stream_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="share"):
        stream_evidence(1, 1, 4, 1.0, 0.0)
    with pytest.raises(ValueError, match="difference"):
        stream_evidence(1, 1, 4, 0.5, 1.1)
    with pytest.raises(ValueError, match="at least as many"):
        stream_evidence(3, 2, 4, 0.5, 0.0)


# --- many tests, and how many items ------------------------------------------------------------------------


def test_alpha_spending_sums_to_alpha():
    assert alpha_at(1, 0.05) == pytest.approx(0.030396, abs=1e-6)
    assert sum(alpha_at(k, 0.05) for k in range(1, 100_001)) == pytest.approx(0.05, abs=1e-6)
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_at(0, 0.05)


def test_holm_steps_down():
    """Holm 1979: 0.005 and 0.01 are below 0.05/4 and 0.05/3; 0.03 is above 0.05/2, so 0.04 falls with it."""
    p_values = [0.01, 0.04, 0.03, 0.005]
    levels = holm(p_values, [0.05] * 4)
    assert [p <= level for p, level in zip(p_values, levels, strict=True)] == [True, False, False, True]
    assert levels == pytest.approx([0.05 / 3, 0.025, 0.025, 0.0125])
    assert holm([], []) == []


def exact_power(items, gain, discordance, alpha):
    """Over all numbers of changed items, the chance that the exact test finds the gain."""
    found = 0.0
    for pairs in range(items + 1):
        passes = np.array([mcnemar_p(fixed, pairs - fixed) <= alpha for fixed in range(pairs + 1)])
        fixed = scipy.stats.binom.pmf(range(pairs + 1), pairs, (discordance + gain) / 2 / discordance)
        found += scipy.stats.binom.pmf(pairs, items, discordance) * float(fixed @ passes)
    return found


@pytest.mark.parametrize(("gain", "discordance", "alpha"), [(0.1, 0.15, 0.05), (0.1, 0.3, 0.0304), (0.2, 0.3, 0.0034)])
def test_the_items_advised_give_the_power_promised(gain, discordance, alpha):
    items = items_needed(gain, discordance, alpha)
    found = exact_power(items, gain, discordance, alpha)
    assert 0.8 <= found < 0.87
    assert power(items, gain, discordance, alpha) == pytest.approx(found, abs=0.05)
    assert exact_power(round(items * 0.8), gain, discordance, alpha) < 0.8


def test_power_ends():
    assert power(0, 0.1, 0.2) == 0.0
    assert power(10_000, 0.1, 0.2) == pytest.approx(1.0)
    assert power(5, 1.0, 1.0) == 1.0  # every item is fixed


def test_no_number_of_items_shows_a_gain_of_zero():
    with pytest.raises(ValueError, match="gain of zero"):
        items_needed(0.0, 0.1)


def units(*raters: str) -> list[list[str]]:
    """One text a rater, a character a unit; "." where there is no rating."""
    return [[value for value in column if value != "."] for column in zip(*raters, strict=True)]


@pytest.mark.parametrize(
    ("raters", "alpha"),
    [
        (("0100000010", "1110010000"), 0.095),  # binary, two observers
        (("aabbdcccedda", "babbbcccedd" + "d"), 0.692),  # nominal, two observers
        (("123321412...", "12332241" + "25.3", ".333234225" + "1.", "12332441" + "251."), 0.743),  # four, some missing
    ],
)
def test_alpha_is_krippendorffs_own_in_his_examples(raters, alpha):
    assert krippendorff_alpha(units(*raters)) == pytest.approx(alpha, abs=5e-4)


def test_alpha_is_1_where_all_agree_and_nothing_where_chance_alone_would_agree():
    assert krippendorff_alpha([["a", "a"], ["b", "b", "b"]]) == 1.0
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a"], [], ["b"]]) is None


# --- items and trainings ------------------------------------------------------------------------------------


def trained(rng, seeds, items, of_seeds, of_items, gain):
    """0/1 scores of so many trainings of either arm on the same items, as differences."""
    base = 0.6 + rng.normal(0, of_items, items)
    shift = (gain + rng.normal(0, of_seeds, (seeds, 1))) / 2
    right = [rng.random((seeds, items)) < np.clip(base + sign * shift, 0, 1) for sign in (1, -1)]
    return right[0].astype(float) - right[1]


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.03])
def test_an_interval_over_items_and_seeds_covers_the_truth_as_often_as_it_says(seeds, of_seeds):
    rng = np.random.default_rng(7)
    found = [two_way(trained(rng, seeds, 200, of_seeds, 0.2, 0.02), [1] * 200) for _ in range(400)]
    covered = sum(each.low <= 0.02 <= each.high for each in found) / len(found)
    assert covered >= 0.93


def test_an_interval_over_items_alone_misses_what_seeds_do():
    """Why there is the other one: five trainings that differ by 5 points, and 400 items."""
    rng, truth = np.random.default_rng(8), 0.0
    both = alone = 0
    for _ in range(300):
        table = trained(rng, 5, 400, 0.05, 0.1, truth)
        found = two_way(table, [1] * 400)
        both += found.low <= truth <= found.high
        low, high = paired_difference_interval((table[0] > 0).sum(), (table[0] < 0).sum(), 400)
        alone += low <= truth <= high
    assert both / 300 >= 0.93
    assert alone / 300 < 0.85


def test_without_a_seeds_part_the_two_way_interval_is_students_over_items():
    rng = np.random.default_rng(9)
    once = rng.normal(0.1, 0.5, 80)
    found = two_way([once, once], [1] * 80)
    low, high = scipy.stats.t.interval(0.95, 79, once.mean(), once.std(ddof=1) / math.sqrt(80))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)
    assert found.of_seeds == pytest.approx(0)


def test_clusters_that_move_together_count_once():
    rng = np.random.default_rng(10)
    table = rng.normal(0, 1, (3, 30))
    whole = two_way(table * 4, [4] * 30)
    assert (whole.low, whole.high) == pytest.approx((two_way(table, [1] * 30).low, two_way(table, [1] * 30).high))


def test_where_nothing_varies_the_two_way_interval_is_a_point():
    assert two_way([[1.0, 1.0], [1.0, 1.0]], [2, 2]).high == 0.5
    assert two_way([[0.0, 0.0], [0.0, 0.0]], [1, 1]).p_value == 1.0
    with pytest.raises(ValueError, match="two seeds"):
        two_way([[1.0, 0.0]], [1, 1])


def test_as_many_seeds_as_are_needed_find_the_difference():
    """In a simulation of normal means, so that the formula is held against draws and not against itself."""
    needed = seeds_needed(0.02, 0.0004, 0.00001)
    rng = np.random.default_rng(11)
    found = rng.normal(0.02, math.sqrt(0.0004 / needed + 0.00001), 4_000)
    degrees = (needed - 1) * (1 + needed * 0.00001 / 0.0004) ** 2
    limit = scipy.stats.t.ppf(0.975, degrees) * math.sqrt(0.0004 / needed + 0.00001)
    assert 0.78 <= (found > limit).mean() <= 0.92


def test_no_number_of_seeds_replaces_items():
    assert seeds_needed(0.02, 0.0004, 0.0002) is None
    assert seeds_needed(0.02, 0.0, 0.00001) == 2
    assert seeds_needed(0.02, 0.0001, 0.0) < seeds_needed(0.02, 0.001, 0.0)


# --- before the end -----------------------------------------------------------------------------------------


def test_stage_levels_are_those_of_the_published_boundary():
    """Lan & DeMets with the O'Brien-Fleming-like function, five equal looks, two-sided 0.05 (Jennison & Turnbull 2000;
    `ldBounds` gives the same)."""
    shares = tuple(k / 5 for k in range(1, 6))
    bounds = [NormalDist().inv_cdf(1 - stage_level(0.025, shares[:k])) for k in range(1, 6)]
    assert bounds == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-3)


def test_one_stage_is_the_whole_level_and_nothing_is_spent_twice():
    assert stage_level(0.0304, (1.0,)) == 0.0304
    assert spent_by(1.0, 0.0304) == pytest.approx(0.0304)
    assert spent_by(0.2, 0.0304) < 1e-5
    levels = [stage_level(0.01, tuple(k / 9 for k in range(1, n + 1))) for n in range(1, 10)]
    assert levels == sorted(levels)
    assert levels[-1] < 0.01


@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.2, 0.21, 0.9, 1.0), tuple(k / 20 for k in range(1, 21))])
def test_normal_scores_cross_at_some_stage_with_the_chance_alpha(shares):
    rng = np.random.default_rng(5)
    steps = np.diff([0.0, *shares])
    scores = np.cumsum(rng.normal(size=(100_000, len(shares))) * np.sqrt(steps), axis=1) / np.sqrt(shares)
    bounds = [NormalDist().inv_cdf(1 - stage_level(0.05, shares[:k])) for k in range(1, len(shares) + 1)]
    assert (scores >= bounds).any(axis=1).mean() == pytest.approx(0.05, abs=0.003)


def test_holm_at_stages_is_holm_where_all_are_whole():
    p_values, alphas = [0.01, 0.02, 0.3], [0.05, 0.05, 0.05]
    assert holm(p_values, alphas, [(1.0,)] * 3) == holm(p_values, alphas)
    early = holm(p_values, alphas, [(0.5,), (1.0,), (1.0,)])
    assert early[0] == stage_level(0.05 / 3, (0.5,))
    assert early[0] < p_values[0]


def test_predicted_power_believes_early_results_less():
    level = 0.025
    assert predicted_power(1.96 * math.sqrt(0.5), 0.5, level) == pytest.approx(0.5, abs=0.01)
    assert predicted_power(0.0, 0.2, level) > predicted_power(0.0, 0.8, level)
    with pytest.raises(ValueError, match="before the end"):
        predicted_power(1.0, 1.0, level)


# --- how many lessons -------------------------------------------------------------------------------------------------


def right(*numbers: int, of: int = 100) -> list[list[float]]:
    return [[float(n < number) for n in range(of)] for number in numbers]


def test_lessons_for_a_score_are_read_off_between_two_sizes_by_their_logarithm() -> None:
    found = lessons_needed([right(20, 40, 60)], [100, 200, 400], [right(50)], [1] * 100, 0)

    assert found.score == 0.5
    assert found.lessons == pytest.approx(200 * 2**0.5)
    assert found.low < found.lessons < found.high


def test_a_curve_that_falls_by_chance_is_held_to_be_flat() -> None:
    found = lessons_needed([right(50, 40, 60)], [100, 200, 400], [right(45)], [1] * 100, 0)

    assert found.lessons == 100, "45% is the mean of the first two"


def test_a_score_that_is_not_reached_takes_more_than_all_lessons() -> None:
    found = lessons_needed([right(20, 40)], [100, 200], [right(90)], [1] * 100, 0)

    assert (found.lessons, found.low, found.high) == (math.inf, math.inf, math.inf)


def test_seeds_that_disagree_widen_the_interval() -> None:
    ours, control = right(20, 40, 60), right(20, 30, 50)
    agreeing = lessons_needed([ours] * 3, [100, 200, 400], [control] * 3, [1] * 100, 0)
    apart = lessons_needed([right(5, 10, 30), ours, right(35, 70, 90)], [100, 200, 400], [control] * 3, [1] * 100, 0)

    assert agreeing.lessons == pytest.approx(apart.lessons)
    assert apart.high / apart.low > agreeing.high / agreeing.low


def test_items_of_a_cluster_are_drawn_together() -> None:
    alone = lessons_needed([right(20, 40, 60)], [100, 200, 400], [right(50)], [1] * 100, 0)
    tens = [[sum(items[10 * c : 10 * c + 10]) for c in range(10)] for items in right(20, 40, 60, 50)]
    together = lessons_needed([tens[:3]], [100, 200, 400], [tens[3:]], [10] * 10, 0)

    assert together.lessons == pytest.approx(alone.lessons)
    assert together.high / together.low > alone.high / alone.low
    with pytest.raises(ValueError, match="cluster"):
        lessons_needed([[[]]], [1], [[[]]], [], 0)
