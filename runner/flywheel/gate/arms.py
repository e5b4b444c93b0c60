"""Both arms on one suite, reduced to what the tests read. Conservative where a verdict is missing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flywheel.records.decision import PairedItem
from flywheel.spec.models import Measure
from flywheel.stats import design_effect

#: Fewer differing clusters than this, and a bootstrap of graded scores cannot see how rare a change is.
FEW = 10
#: Fewer clusters than this say too little of how skewed a cost is.
FEW_COSTS = 30


@dataclass(frozen=True)
class Arms:
    """Values per item, in an order that does not depend on how rows arrived.

    Without `measure` they lie in [0, 1] and higher is better; with it they are costs in the measure's unit, and lower
    is better. `incumbent[i]` and `candidate[i]` belong to one item; `unknown` items are counted against the candidate.
    """

    incumbent: tuple[float, ...]
    candidate: tuple[float, ...]
    clusters: tuple[tuple[int, ...], ...]
    """Positions of the items of each cluster."""
    unknown: int
    too_long: int = 0
    """So many of them because the prompt does not fit the model."""
    measure: Measure | None = None

    @property
    def rate(self) -> bool:
        """Whether the measure is a yes or no of each answer."""
        return self.measure in ("refusals", "truncated")

    @property
    def n(self) -> int:
        return len(self.candidate)

    @cached_property
    def differences(self) -> tuple[float, ...]:
        return tuple(c - i for i, c in zip(self.incumbent, self.candidate, strict=True))

    @cached_property
    def gain(self) -> float:
        """Mean difference, candidate minus incumbent."""
        return math.fsum(self.differences) / self.n

    @cached_property
    def gained(self) -> float:
        """Sum of the rises; for 0/1 values the number of fixed items."""
        return math.fsum(d for d in self.differences if d > 0)

    @cached_property
    def lost(self) -> float:
        return math.fsum(-d for d in self.differences if d < 0)

    @property
    def fixed(self) -> int:
        return sum(d > 0 for d in self.differences)

    @property
    def broken(self) -> int:
        return sum(d < 0 for d in self.differences)

    @cached_property
    def graded(self) -> bool:
        return any(value not in (0.0, 1.0) for value in (*self.incumbent, *self.candidate))

    @property
    def clustered(self) -> bool:
        return len(self.clusters) < self.n

    @cached_property
    def sums(self) -> tuple[float, ...]:
        """Summed difference of each cluster."""
        return self.summed(self.differences)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(cluster) for cluster in self.clusters)

    @cached_property
    def unchanged(self) -> bool:
        return not any(self.differences)

    @property
    def bootstrappable(self) -> bool:
        return self.graded and sum(bool(s) for s in self.sums) >= FEW

    @cached_property
    def design_effect(self) -> float:
        if not self.clustered:
            return 1.0
        return design_effect(self.sums, self.sizes, self.gained + self.lost)

    def summed(self, values: Sequence[float]) -> tuple[float, ...]:
        return tuple(math.fsum(values[i] for i in cluster) for cluster in self.clusters)


def arms_of(items: Iterable[PairedItem], mode: str | None) -> Arms:
    """Scores, or with `mode` whether an item is free of that error mode (1) or shows it (0).

    Items of one cluster, and rows of one item, belong together.
    """
    ordered = sorted(items, key=lambda i: (i.cluster or "", i.item_id, repr((i.incumbent, i.candidate))))
    return Arms(
        incumbent=tuple(_value(i.incumbent, i.incumbent_mode, mode, unknown=1.0) for i in ordered),
        candidate=tuple(_value(i.candidate, i.candidate_mode, mode, unknown=0.0) for i in ordered),
        clusters=_clusters(ordered),
        unknown=sum(not (_known(i.incumbent) and _known(i.candidate)) for i in ordered),
        too_long=sum(i.too_long for i in ordered),
    )


def measured_arms(items: Iterable[PairedItem], measure: Measure) -> Arms:
    """What each answer cost: tokens, seconds, or 1 where it is a refusal or was cut off, else 0.

    A missing figure of the candidate is the worst that there was (a rate's 1); one of the incumbent, which is only
    shown, is the candidate's.
    """
    ordered = sorted(items, key=lambda i: (i.cluster or "", i.item_id, repr((i.incumbent, i.candidate))))
    most = 1.0 if measure in ("refusals", "truncated") else math.inf
    found = [_cost(i.candidate, most) for i in ordered]
    known = [value for value in found if value is not None]
    worst = most if most < math.inf else max(known, default=0.0)
    after = [worst if value is None else value for value in found]
    before = [_cost(i.incumbent, most) for i in ordered]
    return Arms(
        incumbent=tuple(value if cost is None else cost for cost, value in zip(before, after, strict=True)),
        candidate=tuple(after),
        clusters=_clusters(ordered),
        unknown=len(found) - len(known),
        measure=measure,
    )


def _cost(value: float | None, most: float) -> float | None:
    """A cost is finite, not negative, and of a rate at most 1; anything else says nothing."""
    return float(value) if value is not None and math.isfinite(value) and 0 <= value <= most else None


def _known(score: float | None) -> bool:
    """A score in [0, 1]; None, NaN and anything else say nothing."""
    return score is not None and 0 <= score <= 1


def _value(score: float | None, shown: str | None, mode: str | None, unknown: float) -> float:
    if score is None or not _known(score):
        return unknown
    return float(score) if mode is None else float(shown != mode)


def _clusters(items: Sequence[PairedItem]) -> tuple[tuple[int, ...], ...]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        groups[("item", item.item_id) if item.cluster is None else ("cluster", item.cluster)].append(position)
    return tuple(tuple(group) for group in groups.values())
