"""A decision that travels: what the gate read and said as one document, from which anybody derives it again.

No text of a row is in it: an item is its id and its outcomes, a cluster a number in the order of the clusters' names.
The hash over the whole shows that something was edited; it is no signature.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from flywheel.gate.grounds import Grounds
from flywheel.hashing import Unhashable, fingerprint
from flywheel.nodes.trust.evidence import Lineage, decision_hash
from flywheel.records.decision import Decision, PairedItem, Precondition, Staging
from flywheel.spec.models import GateRule, Measure

FORMAT = 1


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MeasuredSuite(_Stated):
    """What each answer to a suite cost, in the measure's unit."""

    suite: str
    measure: Measure
    items: tuple[PairedItem, ...]


class Stages(_Stated):
    """Items at the end of each planned stage, the stage after which it ended, and the ids of the items left."""

    ends: tuple[int, ...]
    stage: int
    left: tuple[str, ...]


class ReadByGate(_Stated):
    """What the gate read; `noise` is the share of a suite's items that one model scored otherwise the second time."""

    rules: tuple[GateRule, ...]
    suites: dict[str, tuple[PairedItem, ...]]
    measures: tuple[MeasuredSuite, ...]
    noise: dict[str, float]
    seed: int
    stages: dict[str, Stages] = {}
    """Suites whose evaluation ends when their rules are decided."""

    def grounds(self, preconditions: Sequence[Precondition], look: int) -> Grounds:
        measures = {(found.suite, found.measure): found.items for found in self.measures}
        stages = {suite: Staging(found.ends, found.stage) for suite, found in self.stages.items()}
        return Grounds(self.rules, self.suites, preconditions, look, self.seed, measures, self.noise, stages)


class Hashes(_Stated):
    """Of what the decision rests on, sha256: the spec's text, the store's scores and training rows, adapter and report
    of the iteration, each holdout file by its path in the project."""

    spec: str
    scores: str
    dataset: str
    adapter: str
    report: str
    files: dict[str, str]

    @property
    def evidence(self) -> dict[str, str]:
        """As the decision's hash takes them in."""
        return {
            "scores": self.scores, "training rows": self.dataset, "adapter": self.adapter,
            "holdout": fingerprint(self.files),
        }  # fmt: skip


class Certificate(_Stated):
    """The whole document. `decision` is the row of the store's table, without its hash; `lineage` and `adapter_path`
    say where a project has what the hashes are of."""

    certificate: Literal[1]
    project: str
    flywheel: str
    """The version that decided."""
    gate: int
    """The gate's implementation number."""
    decided_at: str
    decision: dict[str, Any]
    decision_hash: str
    read: ReadByGate
    hashes: Hashes
    lineage: Lineage
    adapter_path: str
    hash: str
    """Over all of the above."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was found."""

    what: str
    holds: bool
    detail: str


# --- writing ----------------------------------------------------------------------------------------------------------


def read_part(grounds: Grounds, stages: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What the gate read, as JSON; a score that is no number says nothing, to the gate as here. `stages`: of the
    decision."""
    named = {item.cluster for items in grounds.suites.values() for item in items if item.cluster}
    numbers = {name: f"c{number:06d}" for number, name in enumerate(sorted(named), 1)}
    return {
        "rules": [rule.model_dump(mode="json", exclude_none=True) for rule in grounds.rules],
        "suites": {suite: _plain(items, numbers) for suite, items in grounds.suites.items()},
        "measures": [
            {"suite": suite, "measure": measure, "items": _plain(items, numbers)}
            for (suite, measure), items in grounds.measures.items()
        ],
        "noise": dict(grounds.noise),
        "seed": grounds.seed,
        **({"stages": dict(stages)} if stages else {}),
    }


def _plain(items: Iterable[PairedItem], numbers: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        asdict(
            replace(
                item,
                incumbent=_finite(item.incumbent),
                candidate=_finite(item.candidate),
                cluster=numbers.get(item.cluster or "", item.cluster),
            )
        )
        for item in items
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the hash over the rest of it."""
    body = {key: value for key, value in document.items() if key != "hash"}
    return {**body, "hash": fingerprint(body)}


# --- deriving it again ------------------------------------------------------------------------------------------------


def checked(document: Mapping[str, Any], certificate: Certificate) -> list[Check]:
    """Everything that the document says of itself, looked at again: its hash, the decision's hash, which items were
    judged, each rule's figures and the outcome, by the code that decided. `certificate` is `document`, validated."""
    decision = certificate.decision
    derived = _derived(certificate)
    rules = [_rule_check(i, found, decision["rules"]) for i, found in enumerate(asdict(derived)["rules"])]
    return [
        _hash_check(document),
        _decision_check(certificate),
        _items_check(certificate),
        *rules,
        _outcome_check(derived, decision),
    ]


def _derived(certificate: Certificate) -> Decision:
    decision = certificate.decision
    preconditions = [Precondition(**found) for found in decision["preconditions"]]
    return certificate.read.grounds(preconditions, decision["look"]).decide()


def _hash_check(document: Mapping[str, Any]) -> Check:
    try:
        holds = sealed(document)["hash"] == document["hash"]
    except Unhashable:
        holds = False
    return Check("certificate", holds, "as it was written" if holds else "edited after it was written")


def _decision_check(certificate: Certificate) -> Check:
    holds = decision_hash(certificate.decision, certificate.hashes.evidence) == certificate.decision_hash
    what = "the decision and the recorded hashes of scores, training rows, adapter and holdout"
    return Check("decision hash", holds, f"{what} {'are' if holds else 'are not all'} those that it was taken over")


def _items_check(certificate: Certificate) -> Check:
    items = [(suite, item.item_id) for suite, found in certificate.read.suites.items() for item in found]
    items += [(suite, item) for suite, found in certificate.read.stages.items() for item in found.left]
    holds = fingerprint([list(pair) for pair in sorted(set(items))]) == certificate.decision["holdout"]
    return Check("items", holds, f"{len(items):,} items, {'those' if holds else 'not those'} that were judged")


def _rule_check(number: int, derived: Mapping[str, Any], recorded: Sequence[Mapping[str, Any]]) -> Check:
    known = recorded[number] if number < len(recorded) else {}
    changed = [part for part in derived if part not in known or not _alike(derived[part], known[part])]
    if not changed:
        return Check(derived["label"], True, f"{derived['outcome']}. {derived['explanation']}")
    words = "; ".join(f"{part} is {derived[part]}, recorded {known.get(part, 'nothing')}" for part in changed)
    return Check(derived["label"], False, words)


def _alike(derived: Any, recorded: Any) -> bool:
    """The last digits of a figure are the processor's."""
    if isinstance(derived, float) and isinstance(recorded, int | float):
        return math.isclose(derived, recorded, rel_tol=1e-9, abs_tol=1e-12)
    return bool(derived == recorded)


def _outcome_check(derived: Decision, recorded: Mapping[str, Any]) -> Check:
    same = derived.outcome == recorded["outcome"] and derived.explanation == recorded["explanation"]
    holds = same and len(derived.rules) == len(recorded["rules"])
    return Check("outcome", holds, derived.outcome + ("" if holds else f", recorded {recorded['outcome']}"))
