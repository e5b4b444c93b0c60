"""Nodes and plans as frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from flywheel.hashing import fingerprint

Status = Literal["new", "changed", "reused", "blocked"]


@dataclass(frozen=True)
class Estimate:
    """What a node would cost. None: nothing measured yet and nothing to go by."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    seconds: tuple[float, float] | None = None
    """At least, at most."""
    unpriced: tuple[str, ...] = ()
    """Teachers whose price nobody knows: their calls are not in `usd`."""
    acceptance: float | None = None
    """The share of candidates that is expected to be accepted; of the first round of a generator."""


@dataclass(frozen=True)
class PlanNode:
    """One verb of the wheel in one iteration.

    `inputs` is everything of its own that can change the result (part → value or content hash); the fingerprint covers
    it, the implementation version and the parents' fingerprints.
    """

    name: str
    kind: str
    iteration: int
    subject: str
    round: int
    parents: tuple[str, ...]
    inputs: dict[str, Any]
    fingerprint: str
    status: Status = "new"
    why: tuple[str, ...] = ()
    estimate: Estimate = field(default_factory=Estimate)


@dataclass(frozen=True)
class Plan:
    """Nodes in an order in which each comes after its parents."""

    name: str
    spec_hash: str
    iterations: int
    nodes: tuple[PlanNode, ...]

    @property
    def pending(self) -> tuple[PlanNode, ...]:
        return tuple(node for node in self.nodes if node.status != "reused")

    def of(self, verb: str) -> list[PlanNode]:
        """The nodes of a verb, by iteration."""
        return [node for node in self.nodes if node.kind == verb]

    @property
    def seconds(self) -> tuple[float, float]:
        """At least, at most, of the nodes of which something is known."""
        known = [node.estimate.seconds for node in self.pending if node.estimate.seconds is not None]
        return sum(low for low, _ in known), sum(high for _, high in known)

    @property
    def untimed(self) -> list[str]:
        """Verbs with their subjects of the nodes whose time nobody knows."""
        names = (f"{n.kind}.{n.subject}".rstrip(".") for n in self.pending if n.estimate.seconds is None)
        return list(dict.fromkeys(names))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Teachers whose price nobody knows."""
        return tuple(dict.fromkeys(name for node in self.pending for name in node.estimate.unpriced))

    @property
    def state(self) -> str:
        """Digest of what would run; a saved plan is only executed while it is unchanged."""
        return fingerprint([[node.fingerprint, node.status == "reused"] for node in self.nodes])

    def chain(self) -> dict[int, dict[str, list[str]]]:
        """Iteration → kind → fingerprints: how rows of this plan's history are found in the store."""
        found: dict[int, dict[str, list[str]]] = {}
        for node in self.nodes:
            found.setdefault(node.iteration, {}).setdefault(node.kind, []).append(node.fingerprint)
        return found

    def to_json(self) -> dict[str, Any]:
        total = Estimate(
            calls=sum(n.estimate.calls for n in self.pending),
            tokens=sum(n.estimate.tokens for n in self.pending),
            usd=sum(n.estimate.usd for n in self.pending),
            seconds=self.seconds,
            unpriced=self.unpriced,
        )
        return {
            "plan_version": 1,
            "name": self.name,
            "spec_hash": self.spec_hash,
            "iterations": self.iterations,
            "state": self.state,
            "total": {**asdict(total), "untimed": self.untimed},
            "nodes": [asdict(node) for node in self.nodes],
        }
