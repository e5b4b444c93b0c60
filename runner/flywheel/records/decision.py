"""What the gate saw and said. The report, `report.json`, the exit code and the pointer all come from one `Decision`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DecisionOutcome = Literal["promote", "reject", "inconclusive"]


@dataclass(frozen=True)
class PairedItem:
    """One eval item, answered by both arms. Scores are in [0, 1]; None where it is unknown."""

    item_id: str
    incumbent: float | None
    candidate: float | None
    incumbent_mode: str | None = None
    candidate_mode: str | None = None
    cluster: str | None = None
    too_long: bool = False
    """Whether its prompt does not fit the model, which is why no score is known."""


@dataclass(frozen=True)
class RuleResult:
    """One rule of the gate on the data: what was observed, how sure, against what."""

    label: str
    """The rule in words, as in the spec: "holdout better_by 0.02"."""
    suite: str
    comparison: Literal["better_by", "not_worse_than", "at_least", "at_most", "falls_by"]
    mode: str | None
    threshold: float
    items: int
    incumbent: float | None
    candidate: float | None
    observed: float | None
    low: float | None
    high: float | None
    """Interval of `observed` at the rule's confidence after spending."""
    p_value: float | None
    alpha: float
    fixed: int
    """Items wrong before and right after."""
    broken: int
    outcome: Literal["holds", "fails", "undecided"]
    items_needed: int | None
    """For "undecided": about how many further items would settle it; None where that cannot be said."""
    explanation: str


@dataclass(frozen=True)
class Staging:
    """How far a suite was evaluated before its rules were decided."""

    ends: tuple[int, ...]
    """Items at the end of each planned stage; the last is all of them."""
    stage: int
    """The stage after which it ended, from 1."""

    @property
    def used(self) -> int:
        return self.ends[self.stage - 1]

    @property
    def planned(self) -> int:
        return self.ends[-1]

    @property
    def shares(self) -> tuple[float, ...]:
        """Of all items, at the end of each planned stage."""
        return tuple(end / self.planned for end in self.ends)


@dataclass(frozen=True)
class Precondition:
    name: str
    holds: bool
    detail: str
    warning: str = ""
    """What is worth knowing although it does not block; empty where nothing is."""


@dataclass(frozen=True)
class Decision:
    outcome: DecisionOutcome
    rules: tuple[RuleResult, ...]
    preconditions: tuple[Precondition, ...]
    look: int
    """How many times this holdout has been looked at, this time included."""
    explanation: str
