"""Two models on the same items, with and without something: the paired difference, for ablations and comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from flywheel.gate.arms import arms_of
from flywheel.gate.comparisons import difference_interval, gain_p, loss_p
from flywheel.records.decision import PairedItem

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
