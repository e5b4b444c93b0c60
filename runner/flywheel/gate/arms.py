"""Both arms on one suite, reduced to what the tests read. Conservative where a verdict is missing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flywheel.records.decision import PairedItem
from flywheel.stats import design_effect

#: Fewer differing clusters than this, and a bootstrap of graded scores cannot see how rare a change is.
FEW = 10


@dataclass(frozen=True)
class Arms:
    """Values in [0, 1] per item, higher is better, in an order that does not depend on how rows arrived.

    `incumbent[i]` and `candidate[i]` belong to one item; `unknown` items are counted against the candidate.
    """

    incumbent: tuple[float, ...]
    candidate: tuple[float, ...]
    clusters: tuple[tuple[int, ...], ...]
    """Positions of the items of each cluster."""
    unknown: int

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
    )


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
