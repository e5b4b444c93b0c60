"""The five comparisons of a rule: what is observed, its p-value, its interval, and when it holds or fails.

What lets a candidate through is a test at the rule's level: exact where an exact one exists. Intervals are
score or bootstrap intervals; each edge is a one-sided bound at that same level (confidence 1 - 2 alpha).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from flywheel.gate.arms import Arms
from flywheel.spec.models import GateRule
from flywheel.stats import (
    binomial_p,
    bootstrap_interval,
    bootstrap_p,
    design_effect,
    mcnemar_p,
    noninferiority_p,
    paired_difference_interval,
    sign_flip_p,
    studentised_interval,
    studentised_p,
    wilson,
)

Name = Literal["better_by", "not_worse_than", "at_least", "at_most", "falls_by"]
Outcome = Literal["holds", "fails", "undecided"]
Interval = tuple[float, float]

#: The chance with which `further_items` aims to settle a rule, if what was observed is the truth.
POWER = 0.8
#: Items that are worth advising, as multiples of those at hand. At ten times as many, what was observed is less than
#: 0.8 standard errors from what must be ruled out: its sign may be chance, and so would be the advice.
MOST_TIMES = 10


@dataclass(frozen=True)
class Evidence:
    """A rule's figures. `observed` is in the rule's unit: a difference, a score, a cost, or a share of a rate."""

    observed: float
    low: float
    high: float
    p_value: float
    alpha: float
    unchanged: bool
    """No item differs between the arms."""
    worse_p: float = 1.0
    """One-sided p-value of the opposite, "the candidate is worse"."""


@dataclass(frozen=True)
class Comparison:
    """How one kind of rule reads the arms; every function takes the rule's threshold."""

    observed: Callable[[Arms, float], float]
    p_value: Callable[[Arms, float, int], float]
    interval: Callable[[Arms, float, int], Interval]
    outcome: Callable[[Evidence, float], Outcome]
    gap: Callable[[Arms, float], float]
    """Distance from what is observed to the nearest value that must be excluded, in the values' unit."""
    superiority: bool = False
    """Whether the rule claims a gain; such claims share their level (Holm)."""

    def z_score(self, arms: Arms, threshold: float, seed: int) -> float:
        """How many standard errors the arms speak for the rule. A gain's exact p-value would count too few changes
        against it: 1 where nothing changed yet."""
        if self.superiority:
            squares = math.fsum(s * s for s in arms.sums)
            return math.fsum(arms.sums) / math.sqrt(squares) if squares else 0.0
        p_value = min(max(self.p_value(arms, threshold, seed), 1e-12), 1 - 1e-12)
        return NormalDist().inv_cdf(1 - p_value)

    def speaks_of_all(self, arms: Arms, threshold: float) -> bool:
        """Whether it is a statement about these very items: all of them, then."""
        everyone = COMPARISONS["at_least"], 1.0
        nobody = COMPARISONS["at_most"], 0.0
        return (self, threshold) in (everyone, nobody)


def threshold_of(rule: GateRule) -> tuple[Name, float]:
    """The rule's comparison and its threshold. Raises ValueError unless exactly one is given."""
    given = [(name, value) for name in COMPARISONS if (value := getattr(rule, name)) is not None]
    if len(given) != 1:
        raise ValueError(
            f"the gate rule on {rule.suite} needs exactly one of {', '.join(COMPARISONS)}, and has "
            f"{len(given)}; correct it in the spec and run `flywheel validate`"
        )
    return given[0]


# --- gains and losses --------------------------------------------------------------------------------------


def gain_p(arms: Arms, seed: int) -> float:
    """Chance of a gain like this, or a greater one, if the arms were interchangeable."""
    if arms.graded or arms.clustered:
        return sign_flip_p(arms.sums, seed)
    return mcnemar_p(arms.fixed, arms.broken)


def loss_p(arms: Arms, seed: int) -> float:
    if arms.graded or arms.clustered:
        return sign_flip_p([-s for s in arms.sums], seed)
    return mcnemar_p(arms.broken, arms.fixed)


def difference_interval(arms: Arms, confidence: float, seed: int) -> Interval:
    """BCa over clusters where graded scores differ often enough, Tango's score interval otherwise.

    Clustered items are divided by their design effect first. On partial scores Tango's variance is an upper
    bound, because |d| >= d² on [-1, 1].
    """
    if arms.bootstrappable:
        return bootstrap_interval(arms.sums, arms.sizes, seed, confidence)
    effect = arms.design_effect
    return paired_difference_interval(arms.gained / effect, arms.lost / effect, arms.n / effect, confidence)


def loss_within_p(arms: Arms, margin: float, seed: int) -> float:
    """Chance of no greater loss than seen, if the true loss were `margin`."""
    if arms.bootstrappable:
        return bootstrap_p(arms.sums, arms.sizes, seed, -margin)
    effect = arms.design_effect
    return noninferiority_p(arms.gained / effect, arms.lost / effect, arms.n / effect, margin)


def _better(evidence: Evidence, least: float) -> Outcome:
    if evidence.observed >= least and evidence.observed > 0 and evidence.p_value <= evidence.alpha:
        return "holds"
    if evidence.unchanged:
        return "undecided"
    return "fails" if evidence.observed < 0 or evidence.high < least else "undecided"


def _not_worse(evidence: Evidence, margin: float) -> Outcome:
    if evidence.p_value <= evidence.alpha:
        return "holds"
    shown = evidence.observed <= -margin and evidence.worse_p <= evidence.alpha
    return "fails" if shown else "undecided"


def _gap_to_better(arms: Arms, least: float) -> float:
    return arms.gain if arms.gain >= least else least - arms.gain


# --- falls -------------------------------------------------------------------------------------------------


def rate_before(arms: Arms) -> float:
    """The incumbent's rate of what should fall."""
    return 1 - math.fsum(arms.incumbent) / arms.n


def _fall(arms: Arms, _: float) -> float:
    return arms.gain / rate_before(arms)


def _fall_interval(arms: Arms, confidence: float, seed: int) -> Interval:
    """The interval of the difference as a share of the incumbent's rate on these items; no fall exceeds 1."""
    before = rate_before(arms)
    low, high = difference_interval(arms, confidence, seed)
    return low / before, min(1.0, high / before)


def _gap_to_fall(arms: Arms, share: float) -> float:
    return _gap_to_better(arms, share * rate_before(arms))


# --- one score ---------------------------------------------------------------------------------------------


def _score(arms: Arms, _: float = 0.0) -> float:
    return math.fsum(arms.candidate) / arms.n


def _score_effect(arms: Arms) -> float:
    return design_effect(arms.summed(arms.candidate), arms.sizes, math.fsum(arms.candidate))


def _score_p(arms: Arms, least: float, _: int) -> float:
    """Exact binomial p-value of "the true score is below `least`"; partial scores are rounded down.

    0 and 1 are statements about these very items, not about a population: no sample can show a share of
    exactly 1, and "every case here passes" is what such a rule is for.
    """
    if least in (0.0, 1.0):
        return 0.0 if _score(arms) >= least else 1.0
    effect = _score_effect(arms)
    successes = math.floor(math.fsum(arms.candidate) / effect + 1e-9)
    return binomial_p(successes, math.ceil(arms.n / effect), least)


def score_interval(arms: Arms, confidence: float, _: int) -> Interval:
    """Wilson's, of the candidate's mean score; items of a cluster count by their design effect."""
    effect = _score_effect(arms)
    return wilson(math.fsum(arms.candidate) / effect, arms.n / effect, confidence)


def _reaches(evidence: Evidence, least: float) -> Outcome:
    if evidence.p_value <= evidence.alpha:
        return "holds"
    return "fails" if evidence.high < least or least == 1.0 else "undecided"


# --- one cost ----------------------------------------------------------------------------------------------


def _cost_p(arms: Arms, most: float, seed: int) -> float:
    """p-value of "the true cost is above `most`": exact binomial for a rate, bootstrap-t over clusters for a mean.

    A rate of at most 0 is a statement about these very answers: none of them may be one.
    """
    if not arms.rate:
        return studentised_p(arms.summed(arms.candidate), arms.sizes, seed, most)
    if most in (0.0, 1.0):
        return 0.0 if _score(arms) <= most else 1.0
    effect = _score_effect(arms)
    shown, items = math.ceil(math.fsum(arms.candidate) / effect - 1e-9), math.floor(arms.n / effect)
    return binomial_p(items - shown, items, 1 - most)


def _cost_interval(arms: Arms, confidence: float, seed: int) -> Interval:
    if arms.rate:
        return score_interval(arms, confidence, seed)
    return studentised_interval(arms.summed(arms.candidate), arms.sizes, seed, confidence)


def _stays_under(evidence: Evidence, most: float) -> Outcome:
    if evidence.p_value <= evidence.alpha:
        return "holds"
    return "fails" if evidence.low > most or most == 0.0 else "undecided"


COMPARISONS: dict[Name, Comparison] = {
    "better_by": Comparison(
        observed=lambda arms, _: arms.gain,
        p_value=lambda arms, _, seed: gain_p(arms, seed),
        interval=difference_interval,
        outcome=_better,
        gap=_gap_to_better,
        superiority=True,
    ),
    "not_worse_than": Comparison(
        observed=lambda arms, _: arms.gain,
        p_value=loss_within_p,
        interval=difference_interval,
        outcome=_not_worse,
        gap=lambda arms, margin: abs(arms.gain + margin),
    ),
    "at_least": Comparison(
        observed=_score,
        p_value=_score_p,
        interval=score_interval,
        outcome=_reaches,
        gap=lambda arms, least: abs(_score(arms) - least),
    ),
    "at_most": Comparison(
        observed=_score,
        p_value=_cost_p,
        interval=_cost_interval,
        outcome=_stays_under,
        gap=lambda arms, most: abs(_score(arms) - most),
    ),
    "falls_by": Comparison(
        observed=_fall,
        p_value=lambda arms, _, seed: gain_p(arms, seed),
        interval=_fall_interval,
        outcome=_better,
        gap=_gap_to_fall,
        superiority=True,
    ),
}


def further_items(name: Name, arms: Arms, threshold: float, alpha: float) -> int | None:
    """About how many more items like these would settle the rule, if what is observed is the truth.

    None where no number would (nothing to be told apart, no item changed), or more than `MOST_TIMES` those at hand; a
    guard on which no item changed is told by its margin alone, however few its items.
    """
    gap = COMPARISONS[name].gap(arms, threshold)
    if gap < 1e-6 or (gap >= 1 and name != "at_most") or (arms.unchanged and COMPARISONS[name].superiority):
        return None
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(POWER)
    total = _variance(name, arms, threshold, gap) * (z / gap) ** 2
    further = max(1, math.ceil(total) - arms.n)
    return further if arms.unchanged or further <= MOST_TIMES * arms.n else None


def _variance(name: Name, arms: Arms, threshold: float, gap: float) -> float:
    """Of one item, design effect included; for 0/1 never less than an item that changes with chance `gap` has."""
    if name == "at_most" and not arms.rate:
        mean = _score(arms)
        spread = math.fsum((cost - mean) ** 2 for cost in arms.candidate)
        effect = design_effect(
            [s - mean * k for s, k in zip(arms.summed(arms.candidate), arms.sizes, strict=True)], arms.sizes, spread
        )
        return spread / arms.n * effect
    if name in ("at_least", "at_most"):
        return max(threshold * (1 - threshold), gap * (1 - gap)) * _score_effect(arms)
    squares = math.fsum(d * d for d in arms.differences) / arms.n - arms.gain**2
    return max(squares, gap * (1 - gap)) * arms.design_effect
