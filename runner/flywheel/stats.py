"""Paired statistics: pure functions of counts and numbers; where chance is needed the seed is an argument.

`fixed` are items that were wrong before and are right after, `broken` the other way round, `n` all items, the
unchanged ones included. Numpy is imported where it is needed, so that counting alone stays cheap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = int | NDArray[np.int64]

RESAMPLES = 20_000
#: Resampled numbers held in memory at a time.
_BLOCK = 4_000_000
_NORMAL = NormalDist()


def z_score(confidence: float) -> float:
    """Two-sided normal quantile: 0.95 → 1.96. Raises ValueError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not {confidence}")
    return _NORMAL.inv_cdf((1 + confidence) / 2)


# --- one rate -----------------------------------------------------------------------------------------------


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of one rate (Wilson 1927); (0, 1) for n = 0.

    `successes` may be a sum of scores in [0, 1]: none varies more than a 0/1 score of the same mean, so the
    interval is then wider than it need be, never narrower.
    """
    if n <= 0:
        return 0.0, 1.0
    z2 = z_score(confidence) ** 2
    rate = successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def binomial_p(successes: int, n: int, rate: float) -> float:
    """Exact one-sided p-value: P(X >= successes) where each of `n` items succeeds with chance `rate`."""
    if successes <= 0:
        return 1.0
    if rate <= 0 or rate >= 1:
        return 0.0 if rate <= 0 else 1.0
    log_rate, log_rest, log_all = math.log(rate), math.log1p(-rate), math.lgamma(n + 1)
    terms = (
        log_all - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_rate + (n - k) * log_rest
        for k in range(successes, n + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def cohen_kappa(table: Sequence[Sequence[int]], confidence: float = 0.95) -> tuple[float, float, float] | None:
    """Agreement of two raters beyond chance (Cohen 1960, Educ. Psychol. Meas. 20:37), and its interval.

    `table[i][j]`: cases that the first rater puts into category i and the second into j. The interval takes chance
    agreement as known, as Cohen does, which errs on the wide side (Fleiss, Cohen & Everitt 1969), and Wilson's limits
    of the observed agreement, so that perfect agreement on few cases is not certainty. None where chance alone would
    agree always: no cases, or one category.
    """
    n = sum(map(sum, table))
    chance = sum(sum(row) * sum(column) for row, column in zip(table, zip(*table, strict=True), strict=True))
    if chance == n * n:
        return None
    expected, agreed = chance / (n * n), sum(row[i] for i, row in enumerate(table))
    low, high = wilson(agreed, n, confidence)
    kappa, least, most = ((rate - expected) / (1 - expected) for rate in (agreed / n, low, high))
    return kappa, least, most


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Agreement of any number of raters beyond chance, nominal (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability", University of Pennsylvania).

    `units`: of each thing that was rated, the categories that raters put it into; raters may miss any. One who is alone
    says nothing. 1 is perfect, 0 is chance. None where nothing was rated twice, or every rating is the same.
    """
    pairable = [Counter(values) for values in units if len(values) > 1]
    totals = sum(pairable, Counter())
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if not expected:
        return None
    observed = math.fsum(
        (values.total() ** 2 - sum(count * count for count in values.values())) / (values.total() - 1)
        for values in pairable
    )
    return 1 - (n - 1) * observed / expected


# --- paired 0/1 results -------------------------------------------------------------------------------------


def mcnemar_p(fixed: int, broken: int) -> float:
    """Exact one-sided McNemar test of "better": P(X >= fixed), X ~ Binomial(fixed + broken, 1/2)."""
    pairs = fixed + broken
    term = math.comb(pairs, fixed)
    tail = term
    for k in range(fixed, pairs):
        term = term * (pairs - k) // (k + 1)
        tail += term
    return float(tail / (1 << pairs))


def tango_z(fixed: float, broken: float, n: float, difference: float) -> float:
    """Score statistic of "the true paired difference is `difference`" (Tango 1998, Stat. Med. 17:891).

    The nuisance rate of broken items is its maximum-likelihood value under that difference, so the statistic
    is defined with no discordant pair at all. It falls as `difference` rises.
    """
    b = (2 * n - fixed + broken) * difference - fixed - broken
    c = -broken * difference * (1 - difference)
    broken_rate = max((math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n), -difference, 0.0)
    variance = n * (2 * broken_rate + difference * (1 - difference))
    distance = fixed - broken - n * difference
    if variance <= 0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def paired_difference_interval(fixed: float, broken: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the paired difference (fixed - broken) / n by Tango's score (1998); (-1, 1) for n = 0.

    Fractions are allowed: sums of partial scores, or counts divided by a design effect.
    """
    if n <= 0:
        return -1.0, 1.0
    z, observed = z_score(confidence), (fixed - broken) / n
    low = _bisect(lambda d: tango_z(fixed, broken, n, d) > z, -1.0, observed)
    high = _bisect(lambda d: tango_z(fixed, broken, n, d) > -z, observed, 1.0)
    return low, high


def _bisect(before: Callable[[float], bool], low: float, high: float) -> float:
    """Where `before` turns from true to false on [low, high]."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2


def noninferiority_p(fixed: float, broken: float, n: float, margin: float) -> float:
    """One-sided p-value of "the loss is `margin` or more" (Tango 1998); 1 for n = 0.

    No discordant pair is no proof: with n = 20 and a margin of 0.02 the answer is 0.26.
    """
    if n <= 0:
        return 1.0
    return _NORMAL.cdf(-tango_z(fixed, broken, n, -margin))


# --- graded scores and clusters -----------------------------------------------------------------------------


def sign_flip_p(sums: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> float:
    """One-sided permutation test of "better": each cluster's summed difference keeps or changes its sign.

    Whole numbers (0/1 scores) are tested exactly, and clusters of one item then give `mcnemar_p`; fractions
    by `resamples` seeded draws, the observed one counted (Phipson & Smyth 2010): p is above 1 / resamples.
    """
    moved = [s for s in sums if s]
    if not moved:
        return 1.0
    if all(float(s).is_integer() for s in moved):
        return _exact_sign_flip_p([int(s) for s in moved])
    return _drawn_sign_flip_p(moved, seed, resamples)


def _exact_sign_flip_p(sums: Sequence[int]) -> float:
    import numpy as np

    # The chance that the positive signs carry a total of t, one cluster after another.
    chance = np.zeros(sum(map(abs, sums)) + 1)
    chance[0] = 1.0
    for size in map(abs, sums):
        kept = chance / 2
        chance = kept.copy()
        chance[size:] += kept[:-size]
    return min(1.0, float(chance[sum(s for s in sums if s > 0) :].sum()))


def _drawn_sign_flip_p(sums: Sequence[float], seed: int, resamples: int) -> float:
    import numpy as np

    values = np.asarray(sums, dtype=float)
    rng = np.random.default_rng(seed)
    # A hair below the observed sum, so that rounding does not turn a tie into a win.
    bar = values.sum() - 1e-9 * np.abs(values).sum()
    hits = 0
    for rows in _blocks(resamples, len(values)):
        signs = rng.integers(0, 2, (rows, len(values)), dtype=np.int8) * 2.0 - 1.0
        hits += int((signs @ values >= bar).sum())
    return (hits + 1) / (resamples + 1)


def bootstrap_interval(
    sums: Sequence[float],
    sizes: Sequence[int],
    seed: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """BCa bootstrap interval (Efron 1987) of sum(sums) / sum(sizes), whole clusters drawn again.

    `sums[i]` and `sizes[i]` are the summed difference and the items of cluster i; single items are clusters
    of one. Raises ValueError without clusters. Where nothing varies both limits are the mean: a bootstrap
    cannot see what was never drawn, so a caller with few differing clusters needs another interval.
    """
    import numpy as np

    draws = _draw(sums, sizes, seed, resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws.means, [draws.corrected(tail), draws.corrected(1 - tail)])
    return float(low), float(high)


def bootstrap_p(
    sums: Sequence[float], sizes: Sequence[int], seed: int, least: float, resamples: int = RESAMPLES
) -> float:
    """One-sided p-value of "the true mean is `least` or less", from the same draws as `bootstrap_interval`.

    It is at most alpha where the lower limit at confidence 1 - 2 alpha lies above `least`, and at least
    1 / resamples.
    """
    draws = _draw(sums, sizes, seed, resamples)
    return max(draws.uncorrected(float((draws.means <= least).mean())), 1 / resamples)


@dataclass(frozen=True)
class _Draws:
    """Resampled means, with what BCa needs to read a quantile: median bias and skew."""

    means: Floats
    bias: float
    skew: float

    def corrected(self, share: float) -> float:
        z = self.bias + _NORMAL.inv_cdf(share)
        return _NORMAL.cdf(self.bias + z / max(1 - self.skew * z, 1e-6))

    def uncorrected(self, share: float) -> float:
        z = _inv_cdf(share) - self.bias
        return _NORMAL.cdf(z / max(1 + self.skew * z, 1e-6) - self.bias)


def _inv_cdf(share: float) -> float:
    return _NORMAL.inv_cdf(min(max(share, 1e-6), 1 - 1e-6))


def _draw(sums: Sequence[float], sizes: Sequence[int], seed: int, resamples: int) -> _Draws:
    import numpy as np

    totals, counts = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if not len(totals):
        raise ValueError("a bootstrap needs at least one cluster")
    means = _resampled_means(totals, counts, seed, resamples)
    observed = totals.sum() / counts.sum()
    below = float((means < observed).mean() + (means == observed).mean() / 2)
    return _Draws(means, _inv_cdf(below), _acceleration(totals, counts))


def _resampled_means(totals: Floats, counts: Floats, seed: int, resamples: int) -> Floats:
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = []
    for rows in _blocks(resamples, len(totals)):
        picks = rng.integers(0, len(totals), (rows, len(totals)))
        drawn.append(totals[picks].sum(axis=1) / counts[picks].sum(axis=1))
    return np.concatenate(drawn)


def _acceleration(totals: Floats, counts: Floats) -> float:
    """Skew of the leave-one-cluster-out means."""
    if len(totals) < 2:
        return 0.0
    left = (totals.sum() - totals) / (counts.sum() - counts)
    gaps: Any = left.mean() - left
    spread = float((gaps**2).sum())
    return float((gaps**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def _blocks(resamples: int, width: int) -> Iterator[int]:
    """Rows of each block of draws: together `resamples`, none above the memory bound."""
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, resamples, step):
        yield min(step, resamples - start)


def studentised_interval(
    sums: Sequence[float], sizes: Sequence[int], seed: int, confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bootstrap-t interval (Efron 1982; Hall 1988) of sum(sums) / sum(sizes), whole clusters drawn again.

    For means of skewed costs its upper limit keeps its level where a BCa one is too low. Raises ValueError without
    clusters; where nothing varies both limits are the mean.
    """
    import numpy as np

    mean, error, draws = _studentised(sums, sizes, seed, resamples)
    if error == 0:
        return mean, mean
    tail = (1 - confidence) / 2
    # Not interpolated: where a draw did not vary at all its t is infinite.
    low, high = np.quantile(draws, [1 - tail, tail], method="inverted_cdf")
    return mean - error * min(float(low), mean / error), mean - error * max(float(high), -_MOST_ERRORS)


def studentised_p(
    sums: Sequence[float], sizes: Sequence[int], seed: int, most: float, resamples: int = RESAMPLES
) -> float:
    """One-sided p-value of "the true mean is above `most`", from the draws of `studentised_interval`."""
    mean, error, draws = _studentised(sums, sizes, seed, resamples)
    if error == 0:
        return 1 / resamples if mean <= most * (1 + 1e-9) else 1.0
    return max(float((draws <= (mean - most) / error).mean()), 1 / resamples)


#: A limit that lies further from the mean, in standard errors, is no limit; it is cut there so that it stays finite.
_MOST_ERRORS = 1e6


def _studentised(sums: Sequence[float], sizes: Sequence[int], seed: int, resamples: int) -> tuple[float, float, Floats]:
    """Mean, its standard error, and the resampled means' distance from it in their own standard errors."""
    import numpy as np

    totals, counts = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if not len(totals):
        raise ValueError("a bootstrap needs at least one cluster")
    mean, error = _mean_and_error(totals, counts)
    rng = np.random.default_rng(seed)
    drawn = []
    for rows in _blocks(resamples, len(totals)):
        picks = rng.integers(0, len(totals), (rows, len(totals)))
        means, errors = _mean_and_error(totals[picks], counts[picks])
        # A draw without spread says nothing of the spread: it counts against whatever is to be shown.
        drawn.append(np.divide(means - mean, errors, out=np.full(rows, -np.inf), where=errors > 1e-9 * abs(mean)))
    return float(mean), float(error) if error > 1e-9 * abs(mean) else 0.0, np.concatenate(drawn)


def _mean_and_error(totals: Floats, counts: Floats) -> tuple[Any, Any]:
    """Of the ratio of sums along the last axis, with its linearised standard error over clusters."""
    n = counts.sum(axis=-1)
    means = totals.sum(axis=-1) / n
    rest = totals - means[..., None] * counts
    clusters = totals.shape[-1]
    few = clusters / max(1, clusters - 1)
    return means, (few * (rest**2).sum(axis=-1)) ** 0.5 / n


def design_effect(sums: Sequence[float], sizes: Sequence[int], gross: float) -> float:
    """How many times the items must be divided because items of a cluster move together; at least 1.

    `sums`, `sizes`: summed difference and items per cluster; `gross`: fixed + broken. The cluster-robust
    variance of the mean difference over that of independent items (Rao & Scott 1992), widened as Student's t
    is against the normal because few clusters say little of their own variance. With nothing moved it is the
    mean cluster size: all items of a cluster are taken for one.
    """
    clusters, n = len(sizes), sum(sizes)
    if clusters in (0, n):
        return 1.0
    mean = sum(sums) / n
    independent = gross - n * mean * mean
    if gross == 0 or independent <= 0 or clusters == 1:
        return n / clusters
    squares = math.fsum((s - k * mean) ** 2 for s, k in zip(sums, sizes, strict=True))
    # t / z is near 1 + (z² + 1) / (4 df); z = 2.6, about the third look at 0.95, makes that 1 + 2 / df.
    few = clusters / (clusters - 1) * (1 + 2 / (clusters - 1)) ** 2
    return max(1.0, few * squares / independent)


# --- a stream split at random --------------------------------------------------------------------------------

#: Stakes of the mixture, each half of the one before: the greatest for large differences, the least for small ones.
_STAKES = 6


def stream_evidence(hits: Counts, others: Counts, n: Counts, share: float, most: float) -> Floats:
    """Log of the evidence against "the arm's rate is at most `most` above the other's", after `n` units of a stream.

    Each unit goes to the arm with chance `share`, independently of all else; `hits` and `others`: units with the event
    in the arm and in the other. Numbers or arrays of one shape. If the claim is true the chance that this *ever*
    reaches log(1 / alpha) is at most alpha, however often it is looked at: it is the log wealth of a mixture of fixed
    bets (Waudby-Smith & Ramdas 2024, JRSS B 86:1) on inverse-propensity weighted outcomes (Waudby-Smith et al. 2024,
    "Anytime-valid off-policy inference for contextual bandits"). The rates may drift, as long as the claim stays true.
    Raises ValueError for a share outside (0, 1), a difference outside [-1, 1] or more events than units.
    """
    import numpy as np

    if not (0 < share < 1 and -1 <= most <= 1):
        raise ValueError(f"a share lies between 0 and 1 and a difference in [-1, 1], not {share} and {most}")
    mine, theirs, units = (np.asarray(counts, dtype=float) for counts in (hits, others, n))
    without = units - mine - theirs
    if (without < 0).any():
        raise ValueError("a stream has at least as many units as events")
    # At twice the first stake one event in the other arm could lose everything.
    stakes = [(1 - share) / (2 - share) / 2**k for k in range(1, _STAKES + 1)]
    wealth = [
        mine * math.log1p(stake * (1 / share - most))
        + theirs * math.log1p(-stake * (1 / (1 - share) + most))
        + without * math.log1p(-stake * most)
        for stake in stakes
    ]
    return np.asarray(np.logaddexp.reduce(wealth, axis=0) - math.log(_STAKES))


def stream_interval(hits: int, others: int, n: int, share: float, alpha: float = 0.05) -> tuple[float, float]:
    """Limits of the arm's rate less the other's, by `stream_evidence`; (-1, 1) for n = 0.

    Each limit is ever wrong with chance at most `alpha`, over all looks: a confidence sequence.
    """
    return _stream_limit(hits, others, n, share, alpha), -_stream_limit(others, hits, n, 1 - share, alpha)


def _stream_limit(hits: int, others: int, n: int, share: float, alpha: float) -> float:
    """The greatest difference that is ruled out; the evidence falls as the difference rises."""
    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        ruled_out = stream_evidence(hits, others, n, share, middle) >= -math.log(alpha)
        low, high = (middle, high) if ruled_out else (low, middle)
    return low


# --- many tests ---------------------------------------------------------------------------------------------


def alpha_at(look: int, alpha: float) -> float:
    """What of `alpha` is spent at the k-th look at one holdout: 6 alpha / (pi² k²).

    Over all looks, however many, it sums to `alpha`. Raises ValueError for a look before the first.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, not {look}")
    return 6 * alpha / (math.pi**2 * look**2)


def holm(
    p_values: Sequence[float], alphas: Sequence[float], stages: Sequence[tuple[float, ...]] | None = None
) -> list[float]:
    """Per-test levels of Holm's step-down (1979): test i is shown exactly when `p_values[i] <= levels[i]`.

    The chance of one or more false findings is at most the largest of `alphas`, the levels that each test
    would have alone (equal ones in Holm's paper). With `stages`, test i stands at the last of `stages[i]`, and its
    level is that of the stage (`stage_level`) for its part of alpha (Ye, Li, Liu & Yao 2013, Stat. Med. 32:1112).
    """
    shares = stages or [(1.0,)] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i] / stage_level(alphas[i], shares[i]))
    levels = list(alphas)
    left = len(order)
    for place, i in enumerate(order):
        levels[i] = stage_level(alphas[i] / left, shares[i])
        if p_values[i] <= levels[i]:
            left = len(order) - place - 1
    return levels


# --- before the end -----------------------------------------------------------------------------------------

#: Below this a level is as good as none, and a normal quantile still has digits.
_LEAST_LEVEL = 1e-12
_GRID = 801


def spent_by(share: float, alpha: float) -> float:
    """What of a one-sided `alpha` is spent when this share of the items is in: next to nothing early, all at 1.

    Lan & DeMets (1983, Biometrika 70:659), the function that follows O'Brien & Fleming's boundary.
    """
    return 2 - 2 * _NORMAL.cdf(_NORMAL.inv_cdf(1 - alpha / 2) / math.sqrt(share))


@cache
def stage_level(alpha: float, shares: tuple[float, ...]) -> float:
    """One-sided level of the test at the last of the stages `shares`, rising shares of the planned items.

    Rejecting at any stage whose p-value is at most its level errs with chance `alpha` in all (`spent_by`), whichever
    stage is the last. The levels are those of normal scores, whose increments are independent (Armitage, McPherson &
    Rowe 1969), and are applied to exact p-values, too (Jennison & Turnbull 2000, "Group Sequential Methods", ch. 12).
    (1.0,) gives alpha itself.
    """
    if shares == (1.0,):
        return alpha
    import numpy as np

    places, mass, before, level = np.zeros(1), np.ones(1), 0.0, 0.0
    for share in shares:
        error = math.sqrt(share - before)
        bound = _bound(places, mass, error, spent_by(share, alpha) - (spent_by(before, alpha) if before else 0.0))
        level = _NORMAL.cdf(-bound / math.sqrt(share))
        # Where the sum may stand without having crossed; trapezia.
        grid = np.linspace(-8 * math.sqrt(share), bound, _GRID)
        density = np.exp(-(((grid[:, None] - places) / error) ** 2) / 2) @ mass / (error * math.sqrt(2 * math.pi))
        density[[0, -1]] /= 2
        places, mass, before = grid, density * (grid[1] - grid[0]), share
    return max(level, _LEAST_LEVEL)


def _bound(places: Floats, mass: Floats, error: float, chance: float) -> float:
    """The least sum that is reached with this chance, from `places` with an increment of this standard error."""
    from scipy.special import ndtr

    most = float(places[-1]) + 8 * error
    return _bisect(lambda c: float(ndtr((places - c) / error) @ mass) > max(chance, _LEAST_LEVEL), -most, most)


def predicted_power(z: float, share: float, level: float) -> float:
    """Chance that a test which stands at `z` with this share of the items rejects at `level` with all of them.

    Predictive power with nothing known beforehand (Spiegelhalter, Freedman & Blackburn 1986, Control. Clin. Trials
    7:8): what was seen so far is believed only as far as its own error goes. Raises ValueError unless 0 < share < 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share before the end lies between 0 and 1, not {share}")
    return _NORMAL.cdf((z / math.sqrt(share) - _NORMAL.inv_cdf(1 - level)) / math.sqrt((1 - share) / share))


# --- how many items -----------------------------------------------------------------------------------------


def items_needed(gain: float, discordance: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Items with which an exact one-sided McNemar test finds a true gain with at least this power.

    `discordance`: the share of items that change at all, at least `gain`. Connor 1987 (Biometrics 43:207),
    with the continuity correction that the exact test costs. Raises ValueError for a gain of 0.
    """
    if gain <= 0:
        raise ValueError("no number of items shows a gain of zero")
    by_chance, of_truth = _spreads(gain, discordance)
    spread = _NORMAL.inv_cdf(1 - alpha) * by_chance + _NORMAL.inv_cdf(power) * of_truth
    # gain n - 1 = spread √n
    root = (spread + math.sqrt(spread * spread + 4 * gain)) / (2 * gain)
    return math.ceil(root * root)


def power(n: int, gain: float, discordance: float, alpha: float = 0.05) -> float:
    """Chance that `n` items show a true gain, one-sided, by the same approximation as `items_needed`."""
    by_chance, of_truth = _spreads(gain, discordance)
    room = gain * n - 1 - _NORMAL.inv_cdf(1 - alpha) * by_chance * math.sqrt(n)
    if of_truth * n == 0:
        return float(room >= 0)
    return _NORMAL.cdf(room / (of_truth * math.sqrt(n)))


def _spreads(gain: float, discordance: float) -> tuple[float, float]:
    """Standard deviation of one item's difference if only chance moved it, and under the true gain."""
    changed = max(discordance, gain)
    return math.sqrt(changed), math.sqrt(changed - gain * gain)


# --- items and trainings ------------------------------------------------------------------------------------

#: More trainings than this nobody makes for one figure.
MOST_SEEDS = 100


@dataclass(frozen=True)
class TwoWay:
    """A mean difference over items and over repetitions with other seeds, with what it varies by.

    `of_seeds`, `of_items`: variance of one repetition's mean that another seed would bring, and of the mean over all
    repetitions that other items would bring; `p_value`: two-sided, of no difference.
    """

    mean: float
    low: float
    high: float
    p_value: float
    of_seeds: float
    of_items: float


def two_way(sums: Sequence[Sequence[float]], sizes: Sequence[int], confidence: float = 0.95) -> TwoWay:
    """Interval of a mean over items *and* seeds, both taken for draws of many (crossed random effects).

    `sums[s][c]`: the summed difference of cluster c's `sizes[c]` items under seed s. The variance is the moment
    estimate items + seeds - rest of two crossed factors (Cameron, Gelbach & Miller 2011; for paired evaluations Miller
    2024, "Adding error bars to evals"), never less than either factor's own, and t has Satterthwaite's (1946) degrees
    of freedom: few seeds give a wide interval. Raises ValueError with fewer than two seeds or two clusters.
    """
    import numpy as np
    from scipy.stats import t

    table, counts = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    seeds, clusters = table.shape
    if seeds < 2 or clusters < 2:
        raise ValueError(f"two seeds and two clusters at least, not {seeds} and {clusters}")
    mean = float(table.sum() / (seeds * counts.sum()))
    parts = _crossed(table, counts, mean)
    variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    of_seeds = max(parts[0] - parts[2], 0.0) * seeds
    if variance <= 0:
        return TwoWay(mean, mean, mean, float(mean == 0), 0.0, 0.0)
    freedom = (seeds - 1, clusters - 1, (seeds - 1) * (clusters - 1))
    degrees = max(1.0, variance**2 / sum(part**2 / each for part, each in zip(parts, freedom, strict=True)))
    half = float(t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(variance)
    p = float(2 * t.sf(abs(mean) / math.sqrt(variance), degrees))
    return TwoWay(mean, max(-1.0, mean - half), min(1.0, mean + half), p, of_seeds, parts[1])


def _crossed(table: Floats, counts: Floats, mean: float) -> tuple[float, float, float]:
    """Variance of the mean by seeds alone, by clusters alone, and by what neither explains."""
    seeds, clusters = table.shape
    rest = (table - mean * counts) / counts.sum()
    by_seed, by_cluster = rest.sum(axis=1), rest.mean(axis=0)
    left = rest - by_cluster - by_seed[:, None] * counts / counts.sum()
    few = clusters / (clusters - 1)
    return (
        float((by_seed**2).sum() / (seeds * (seeds - 1))),
        float(few * (by_cluster**2).sum()),
        float(few * (left**2).sum() / (seeds * (seeds - 1))),
    )


def seeds_needed(difference: float, of_seeds: float, of_items: float, power: float = 0.8) -> int | None:
    """Trainings of either side with which a true `difference` is told from none (two-sided, 5%) with this power.

    `of_seeds`, `of_items` as in `TwoWay`. None where no number is enough: what other items would bring does not fall
    with seeds, so that more items are needed. Raises ValueError for no difference.
    """
    from scipy.stats import t

    if difference == 0:
        raise ValueError("no number of seeds shows a difference of zero")
    for seeds in range(2, MOST_SEEDS + 1):
        error = math.sqrt(of_seeds / seeds + of_items)
        # Seeds alone have their few degrees of freedom; where items decide, t is nearly normal.
        degrees = (seeds - 1) * max(1.0, (1 + seeds * of_items / of_seeds) ** 2) if of_seeds > 0 else math.inf
        needed = float(t.ppf(0.975, degrees)) + float(t.ppf(power, degrees))
        if needed * error <= abs(difference):
            return seeds
    return None


# --- how many lessons ---------------------------------------------------------------------------------------

_CURVE_RESAMPLES = 2_000


@dataclass(frozen=True)
class Needed:
    """Lessons that a learning curve needs for a `score` in [0, 1], with an interval. A value equal to the curve's
    smallest size means "so many or fewer", infinity "more than its largest"."""

    score: float
    lessons: float
    low: float
    high: float


def lessons_needed(
    curve: Sequence[Sequence[Sequence[float]]],
    lessons: Sequence[float],
    other: Sequence[Sequence[Sequence[float]]],
    sizes: Sequence[int],
    seed: int,
    confidence: float = 0.95,
) -> Needed:
    """How many lessons `curve` needs for the score that the `other` curve has with all of its own.

    `curve[s][k][c]`: summed scores of cluster c's `sizes[c]` items after `lessons[k]` lessons (rising) under seed s;
    `other` likewise, of the same items and seeds. More lessons are taken to do no harm: a curve is the isotonic
    regression of its means (Barlow et al. 1972, "Statistical Inference under Order Restrictions"), and between two
    sizes the score rises with the logarithm of lessons, as learning curves nearly do there (Figueroa et al. 2012, BMC
    Med. Inform. Decis. Mak. 12:8). The interval is the percentile one of a bootstrap that draws clusters and seeds
    again, each by itself (Owen 2007, Ann. Appl. Stat. 1:386); both curves and the score to be reached come from the
    same draws. From one seed it is over items alone. `bench/curve.py` counts how often it covers. Raises ValueError
    without clusters.
    """
    import numpy as np

    tables = [np.asarray(table, dtype=float) for table in (curve, other)]
    counts = np.asarray(sizes, dtype=float)
    if not len(counts):
        raise ValueError("a curve needs at least one cluster")
    rng = np.random.default_rng(seed)
    seeds, clusters = tables[0].shape[0], len(counts)
    by_cluster = rng.multinomial(clusters, np.full(clusters, 1 / clusters), _CURVE_RESAMPLES)
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), _CURVE_RESAMPLES)
    # The first draw is the data themselves.
    by_cluster, by_seed = np.vstack([np.ones(clusters), by_cluster]), np.vstack([np.ones(seeds), by_seed])
    total = by_cluster @ counts * seeds
    means, others = (np.einsum("skc,bc,bs->bk", t, by_cluster, by_seed, optimize=True) / total[:, None] for t in tables)
    needed = [_reached(own, lessons, _rising(end)[-1]) for own, end in zip(means, others, strict=True)]
    tail = (1 - confidence) / 2
    # Not interpolated: a draw in which the score is not reached is infinite.
    low, high = np.quantile(needed[1:], [tail, 1 - tail], method="inverted_cdf")
    return Needed(float(_rising(others[0])[-1]), needed[0], float(low), float(high))


def _rising(means: Floats) -> Floats:
    import numpy as np
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(means).x)


def _reached(means: Floats, lessons: Sequence[float], score: float) -> float:
    """The fewest lessons with which the rising curve has the score."""
    scores = [float(value) for value in _rising(means)]
    for k, value in enumerate(scores):
        if value >= score - 1e-12:
            if k == 0 or value <= scores[k - 1]:
                return float(lessons[k])
            part = (score - scores[k - 1]) / (value - scores[k - 1])
            return float(lessons[k - 1] * (lessons[k] / lessons[k - 1]) ** min(part, 1.0))
    return math.inf
