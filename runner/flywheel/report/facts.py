"""What the engine knows and the store does not: handed to the report as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TeacherFact:
    name: str
    kind: str
    simulated: bool = False
    style: str = ""


@dataclass(frozen=True)
class SuiteFact:
    name: str
    role: str
    target: str = ""
    """Column of its rows that holds the right answer: not shown as part of the question."""


@dataclass(frozen=True)
class ModeFact:
    name: str
    severity: str
    description: str = ""


@dataclass(frozen=True)
class Facts:
    """`generated_at` is shown as it is; `changed` says in words what differs from the iteration before."""

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
    changed: tuple[str, ...] = ()
