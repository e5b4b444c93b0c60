"""What the engine knows and the store does not: handed to the report as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.prompting.artefacts import TaskReading
from flywheel.records.live import LiveTest
from flywheel.report.model import Area


@dataclass(frozen=True)
class TeacherFact:
    name: str
    kind: str
    simulated: bool = False
    style: str = ""


@dataclass(frozen=True)
class GeneratorFact:
    """`weights`: teacher → share of the calls that the spec gives it; `bandit`: the share that its lessons of this
    iteration would earn it by Thompson sampling, where anything was tried."""

    name: str
    strategy: str
    weights: Mapping[str, float] = field(default_factory=dict)
    bandit: Mapping[str, float] = field(default_factory=dict)
    allocate: str = "weights"


@dataclass(frozen=True)
class TaskFact:
    """`verify`: its verifiers in the order in which they look at a candidate, each with its version; `together`: the
    version of them all."""

    name: str
    verify: tuple[tuple[str, str], ...]
    together: str = ""
    reading: TaskReading | None = None
    seeds: bool = False
    """There are solved rows that can be shown as shots."""


@dataclass(frozen=True)
class JudgeFact:
    """A verifier that is an LLM, and the agreement with people from which on its word counts."""

    name: str
    teacher: str
    min_kappa: float


@dataclass(frozen=True)
class SuiteFact:
    name: str
    role: str
    target: str = ""
    """Column of its rows that holds the right answer: not shown as part of the question."""
    task: str = ""
    """Empty for one of lm-eval's own."""
    asks: str = ""
    """What is asked, shots and limit aside, as YAML: task, data, and the keys that are not at their default."""
    limit: int | None = None
    shots: int = 0


@dataclass(frozen=True)
class ModeFact:
    name: str
    severity: str
    description: str = ""
    task: str = ""
    """The only one whose failures it names; empty where it names those of all."""


@dataclass(frozen=True)
class ReportFacts:
    """`generated_at` is shown as it is; `changed` says, by area and in words, what differs from before."""

    name: str
    seed: int
    generated_at: str
    command: str
    spec_text: str
    spec_hash: str
    suites: tuple[SuiteFact, ...]
    teachers: tuple[TeacherFact, ...]
    taxonomy: tuple[ModeFact, ...]
    description: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[tuple[Area, str], ...] = ()
    live: tuple[LiveTest, ...] = ()
    generators: tuple[GeneratorFact, ...] = ()
    tasks: tuple[TaskFact, ...] = ()
    judges: tuple[JudgeFact, ...] = ()
    base_id: str = ""
    """The model that nothing has been taught."""
    approve: str = "gate"
    """Who lets a promoted model pass: `gate`, or `human`."""
    iterations: int = 0
    """How many the plan has."""
    human_usd_per_example: float = 2.0
    """What a person would be paid for an accepted example."""
    human_minutes_per_example: float | None = None
    """How long a person would work on it, where the spec says."""
    method: str = "sft"
    """How the student learns; beyond `sft` also from its own judged answers, so many `rounds` of them."""
    rounds: int = 0
