"""Two models on the same items, with and without something: the paired difference, for ablations and comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flywheel.gate.arms import arms_of
from flywheel.gate.comparisons import difference_interval, gain_p, loss_p
from flywheel.records.decision import PairedItem
from flywheel.stats import TwoWay, two_way

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Paired:
    """Means in [0, 1] of the items that both were judged on. `difference` is with minus without, [low, high] its 95%
    interval, `p_value` two-sided."""

    items: int
    with_part: float
    without_part: float
    difference: float
    low: float
    high: float
    p_value: float


def paired(items: Iterable[PairedItem], seed: int, mode: str | None = None) -> Paired | None:
    """By the gate's own tests (exact McNemar or sign flips; Tango's or a bootstrap interval). `incumbent` is the model
    without, `candidate` the one with; `mode`: instead of the score, the share of items that are free of that error
    mode. None where no item has a verdict for both."""
    known = [item for item in items if item.incumbent is not None and item.candidate is not None]
    if not known:
        return None
    arms = arms_of(known, mode)
    low, high = difference_interval(arms, CONFIDENCE, seed)
    return Paired(
        items=arms.n,
        with_part=math.fsum(arms.candidate) / arms.n,
        without_part=math.fsum(arms.incumbent) / arms.n,
        difference=arms.gain,
        low=low,
        high=high,
        p_value=min(1.0, 2 * gain_p(arms, seed), 2 * loss_p(arms, seed)),
    )


def paired_over_seeds(seeds: Sequence[Sequence[PairedItem]], mode: str | None = None) -> tuple[Paired, TwoWay] | None:
    """The same over several trainings of both models, on the items that all were judged on: the interval covers other
    items and other seeds (`stats.two_way`). None where these are fewer than two clusters."""
    known = [[i for i in items if i.incumbent is not None and i.candidate is not None] for items in seeds]
    shared = set.intersection(*({item.item_id for item in items} for items in known))
    arms = [arms_of((item for item in items if item.item_id in shared), mode) for items in known]
    if len(arms[0].clusters) < 2:
        return None
    found = two_way([each.sums for each in arms], arms[0].sizes, CONFIDENCE)
    total = len(arms) * arms[0].n
    pair = Paired(
        items=arms[0].n,
        with_part=math.fsum(value for each in arms for value in each.candidate) / total,
        without_part=math.fsum(value for each in arms for value in each.incumbent) / total,
        difference=found.mean,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
    )
    return pair, found
