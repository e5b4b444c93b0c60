"""All that a decision is derived from, as one value: what the gate read, and what a certificate carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flywheel.gate.decision import decide, settled
from flywheel.records.decision import Decision, PairedItem, Precondition, Staging
from flywheel.spec.models import GateRule, Measure


@dataclass(frozen=True)
class Grounds:
    """The arguments of `decide` and `settled`."""

    rules: Sequence[GateRule]
    suites: Mapping[str, Sequence[PairedItem]]
    preconditions: Sequence[Precondition] = ()
    look: int = 1
    seed: int = 0
    measures: Mapping[tuple[str, Measure], Sequence[PairedItem]] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Staging] = field(default_factory=dict)

    def decide(self) -> Decision:
        return decide(**vars(self))

    def settled(self) -> set[str]:
        return settled(**vars(self))
