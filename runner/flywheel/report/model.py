"""Everything a report page shows, as one frozen, versioned value: `report.json`.

Rates and scores are shares in [0, 1]; differences are candidate minus incumbent; money is in US dollars and
time in seconds. Every figure carries the SQL that gave it. `None` always means "not measured", never zero.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from flywheel.records.decision import Precondition, RuleResult

Outcome = Literal["promote", "reject", "inconclusive", "untrained"]
"""What the gate said; "untrained" where the iteration made no candidate model."""

Movement = Literal["fixed", "broken", "still_wrong", "still_right"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Rate(Model):
    """A share with its 95% Wilson interval."""

    value: float
    low: float
    high: float


class Change(Model):
    """A paired difference, candidate minus incumbent, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> Literal["up", "down", "unclear"]:
        """Up or down only where the whole interval is on that side of zero."""
        if self.low > 0:
            return "up"
        return "down" if self.high < 0 else "unclear"


class Verdict(Model):
    outcome: Outcome
    headline: str
    """One sentence for a reader who reads nothing else."""
    explanation: str
    """The gate's own words."""
    rules: tuple[RuleResult, ...]
    preconditions: tuple[Precondition, ...]
    incumbent_id: str
    candidate_id: str
    query: str


class Score(Model):
    """One suite, or one slice of it, on the items that both arms could be judged on."""

    suite: str
    role: str
    column: str
    """Slice column; empty for the whole suite."""
    slice: str
    items: int
    unknown: int
    """Items left out because a verifier could not say, for either arm."""
    incumbent: Rate | None
    candidate: Rate | None
    change: Change | None
    fixed: int
    broken: int
    still_right: int
    still_wrong: int


class Scores(Model):
    suites: tuple[Score, ...]
    slices: tuple[Score, ...]
    slices_left_out: int
    """Slices with the fewest items, for which a page has no room; the query gives them."""
    query: str
    slices_query: str


class Mode(Model):
    """One error mode, from its rate before to its rate after (on the target suites' items)."""

    name: str
    severity: str
    description: str
    before: Rate | None
    probe_failures: int
    budget: int
    """Lessons that its failures bought."""
    candidates: int
    accepted: int
    trained: int
    after: Rate | None
    change: Change | None


class Modes(Model):
    rows: tuple[Mode, ...]
    items: int
    """Items of the target suites that the rates are over."""
    suites: tuple[str, ...]
    probes: int
    probe_failures: int
    rates_query: str
    failures_query: str
    budget_query: str
    lessons_query: str


class Example(Model):
    """One item as both arms answered it; texts are cut and made safe to show."""

    suite: str
    item_id: str
    movement: Movement
    question: str
    gold: str
    incumbent_answer: str
    candidate_answer: str
    incumbent_mode: str
    candidate_mode: str


class Examples(Model):
    rows: tuple[Example, ...]
    query: str


class Loss(Model):
    """Why rows were lost on the way to a stage."""

    cause: str
    rows: int
    reasons: tuple[tuple[str, int], ...]
    """The commonest reasons with their counts; together at most `rows`."""


class Stage(Model):
    name: Literal["generated", "parsed", "verified", "curated", "trained"]
    rows: int
    losses: tuple[Loss, ...]
    """What was lost between the stage before and this one."""


class Funnel(Model):
    stages: tuple[Stage, ...]
    query: str
    losses_query: str

    @property
    def unexplained(self) -> int:
        """Rows that no recorded reason accounts for; anything but 0 is a fault in the store."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return sum(abs(a.rows - b.rows - sum(loss.rows for loss in b.losses)) for a, b in pairs)


class Teacher(Model):
    name: str
    kind: str
    simulated: bool
    style: str
    calls: int
    failed_calls: int
    candidates: int
    accepted: int
    acceptance: Rate | None
    trained: int
    dataset_share: float | None
    """Share of the rows trained on, replayed ones included."""
    tokens: int
    usd: float
    usd_per_accepted: float | None


class Teachers(Model):
    rows: tuple[Teacher, ...]
    lessons_query: str
    calls_query: str
    dataset_query: str


class VerifierUse(Model):
    name: str
    version: str
    judged: int
    passed: int
    failed: int
    unknown: int
    seconds: float


class Verifiers(Model):
    rows: tuple[VerifierUse, ...]
    query: str


class LossPoint(Model):
    step: int
    loss: float


class MixRow(Model):
    mode: str
    new: int
    replay: int
    seed: int


class Training(Model):
    """What was trained on, and how the loss went; empty where nothing was trained."""

    trained: bool
    rows: int
    left_out: int
    """Rows longer than the student's limit: left out whole, never cut."""
    steps: int
    tokens: int
    losses: tuple[LossPoint, ...]
    mix: tuple[MixRow, ...]
    losses_query: str
    mix_query: str


class TrendScore(Model):
    iteration: int
    suite: str
    role: str
    incumbent: Rate | None
    candidate: Rate | None


class TrendTurn(Model):
    iteration: int
    outcome: Outcome
    trained_rows: int
    seconds: float


class Trend(Model):
    turns: tuple[TrendTurn, ...]
    scores: tuple[TrendScore, ...]
    query: str
    turns_query: str


class NodeCost(Model):
    name: str
    kind: str
    seconds: float
    rows_in: int
    kept: int
    rejected: int
    failed: int
    tokens: int
    usd: float


class Costs(Model):
    nodes: tuple[NodeCost, ...]
    seconds: float
    seconds_before: float | None
    """The iteration before took this long."""
    usd: float
    tokens: int
    query: str
    calls_query: str


class NodeIdentity(Model):
    kind: str
    fingerprint: str


class Provenance(Model):
    command: str
    seed: int
    spec_hash: str
    spec_text: str
    versions: tuple[tuple[str, str], ...]
    nodes: tuple[NodeIdentity, ...]
    hashes: tuple[tuple[str, str], ...]
    """Base, weights, dataset, decision: name and digest."""
    training: tuple[tuple[str, str], ...]
    """The training settings as recorded with the adapter."""
    query: str


class Deployed(Model):
    """What the pointer named when the report was written."""

    model_id: str
    iteration: int
    action: str
    weights_hash: str
    at: str
    query: str


class Report(Model):
    """One iteration of one domain."""

    report_version: Literal[1] = 1
    name: str
    description: str
    iteration: int
    generated_at: str
    changed: tuple[str, ...]
    """What is different from the iteration before: spec, data, teachers."""
    verdict: Verdict
    scores: Scores
    modes: Modes
    examples: Examples
    guard_examples: Examples
    funnel: Funnel
    teachers: Teachers
    verifiers: Verifiers
    training: Training
    trend: Trend
    costs: Costs
    provenance: Provenance
    deployed: Deployed | None
