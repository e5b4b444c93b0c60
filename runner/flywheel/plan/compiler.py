"""Spec → DAG with content fingerprints, and for each node whether it is done already, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint
from flywheel.plan.changes import changes, in_words
from flywheel.plan.estimates import History, calibrations, priced, seconds_before
from flywheel.plan.model import Estimate, Plan, PlanNode
from flywheel.plan.parts import Iteration, ProjectFacts
from flywheel.plan.verbs import VERBS
from flywheel.spec.models import Spec


@dataclass(frozen=True)
class Done:
    """A finished node as the store remembers it."""

    fingerprint: str
    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class _Draft:
    """A node before its fingerprint."""

    name: str
    kind: str
    iteration: int
    parents: tuple[str, ...]
    inputs: dict[str, Any]
    subject: str = ""
    round: int = 0


def compile_plan(
    spec: Spec, spec_hash: str, facts: ProjectFacts, done: Mapping[str, Done], history: History, iterations: int
) -> Plan:
    """The DAG of `iterations` iterations. `done` maps fingerprints to finished nodes, oldest first.

    Raises FlywheelError where the graph has a cycle or a node without its parent.
    """
    drafts = {draft.name: draft for n in range(1, iterations + 1) for draft in _drafts(Iteration(spec, facts, n))}
    last = {node.name: node for node in done.values()}
    nodes: dict[str, PlanNode] = {}
    for name in _ordered(drafts):
        draft = drafts[name]
        node = _fingerprinted(draft, [nodes[p] for p in draft.parents])
        node = _with_status(node, [nodes[p] for p in draft.parents], done, last.get(name), facts)
        if node.status != "reused":
            node = replace(node, estimate=_estimate(node, spec, history))
        nodes[name] = node
    return Plan(spec.name, spec_hash, iterations, tuple(nodes.values()))


def _drafts(it: Iteration) -> Iterator[_Draft]:
    for name, verb in VERBS.items():
        for place in verb.places(it):
            parents = tuple(dict.fromkeys(verb.parents(it, place)))
            yield _Draft(it.name(name, *place), name, it.n, parents, verb.inputs(it, place), *place)


def _estimate(node: PlanNode, spec: Spec, history: History) -> Estimate:
    """Expected calls, tokens, dollars and seconds."""
    asked = list(VERBS[node.kind].asked(spec, (node.subject, node.round), history, node.iteration))
    if node.iteration == 1 and node.round <= 1:
        asked += calibrations(node.kind, node.subject, spec, history)
    place = node.subject, node.round
    seconds = seconds_before(node.kind, node.subject, history)
    seconds = seconds or VERBS[node.kind].seconds(spec, place, history, node.iteration)
    estimate = priced(asked, spec, history, seconds)
    return replace(estimate, acceptance=VERBS[node.kind].acceptance(spec, place, history))


def _ordered(drafts: Mapping[str, _Draft]) -> list[str]:
    for draft in drafts.values():
        if missing := [parent for parent in draft.parents if parent not in drafts]:
            raise FlywheelError(f"node {draft.name} needs {missing[0]}, which is not in the plan.")
    try:
        return list(TopologicalSorter({d.name: d.parents for d in drafts.values()}).static_order())
    except CycleError as error:
        raise FlywheelError(f"the plan has a cycle: {' → '.join(error.args[1])}") from error


def _fingerprinted(draft: _Draft, parents: list[PlanNode]) -> PlanNode:
    digest = fingerprint(
        {
            "kind": draft.kind,
            "implementation": VERBS[draft.kind].implementation,
            "iteration": draft.iteration,
            "round": draft.round,
            "subject": draft.subject,
            "inputs": draft.inputs,
            "parents": [parent.fingerprint for parent in parents],
        }
    )
    return PlanNode(
        draft.name, draft.kind, draft.iteration, draft.subject, draft.round, draft.parents, draft.inputs, digest
    )


def _with_status(
    node: PlanNode, parents: list[PlanNode], done: Mapping[str, Done], last: Done | None, facts: ProjectFacts
) -> PlanNode:
    if node.fingerprint in done:
        return replace(node, status="reused")
    if node.subject in facts.blocked and VERBS[node.kind].may_be_blocked:
        return replace(node, status="blocked", why=(facts.blocked[node.subject],))
    if stuck := [parent.name for parent in parents if parent.status == "blocked"]:
        return replace(node, status="blocked", why=(f"waits for {stuck[0]}",))
    if last is None:
        return replace(node, status="new")
    return replace(node, status="changed", why=tuple(_differences(last.inputs, node.inputs, parents)))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], parents: list[PlanNode]) -> Iterator[str]:
    """`train.rank 16 → 32`, or which parents are new where nothing of its own changed."""
    found = list(changes(old, new))
    yield from (in_words(*change) for change in found)
    if not found:
        yield "after " + (", ".join(p.name for p in parents if p.status != "reused") or "an earlier history")
