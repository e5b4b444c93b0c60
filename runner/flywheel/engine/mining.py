"""Which traffic a plan is about: a digest of the rows of each task, found anew only where something came in; and an
iteration that was turned on earlier traffic stays done.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import FlywheelError
from flywheel.files import write_text
from flywheel.hashing import fingerprint
from flywheel.records.nodes import NodeRecord, Query, finished
from flywheel.spec.traffic import Traffic

if TYPE_CHECKING:
    from flywheel.plan import Plan, PlanNode, ProjectFacts


def traffic_digests(spec: Traffic, state: Path, query: Query | None) -> dict[str, str]:
    """Task → digest of the rows that `traffic.match` finds for it; nothing where the spec matches none."""
    if not spec.match:
        return {}
    from flywheel.traffic.matching import digest_of, matched  # here: most specs match none

    if query is None:
        return {task: digest_of([]) for task in spec.match}
    last = query("SELECT coalesce(max(sequence), 0) AS last FROM ingests")[0]["last"]
    key = fingerprint([last, {task: match.model_dump() for task, match in spec.match.items()}])
    file = state / "traffic.json"
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads(file.read_text())
        if kept["key"] == key:
            return dict(kept["digests"])
    found = {task: digest_of(matched(query, task, match)) for task, match in spec.match.items()}
    with suppress(FlywheelError):  # where nothing can be kept, it is found again
        write_text(file, json.dumps({"key": key, "digests": found}))
    return found


def with_traffic_then(facts: ProjectFacts, compiled: Callable[[ProjectFacts], Plan], query: Query) -> Plan:
    """The plan in which what came in since an iteration was turned is left to the next one. Where the iteration is to
    be turned again for another reason, or a row that it saw was forgotten, it sees what there is now."""
    plan = compiled(facts)
    if not facts.traffic:
        return plan
    from flywheel.plan.verbs import traffic_part  # here: `validate` makes no plan

    records = finished(query, verb="mine")
    for name in [node.name for node in plan.of("mine")]:
        node = next(node for node in plan.of("mine") if node.name == name)
        for record in reversed(records) if node.status != "reused" else ():
            if record.name != name or not _is_whole(query, record):
                continue
            then = {(node.iteration, node.subject): record.inputs[traffic_part(node.subject)]}
            earlier = replace(facts, traffic_then={**facts.traffic_then, **then})
            if _is_reused(again := compiled(earlier), node):
                facts, plan = earlier, again
                break
    return plan


def _is_reused(plan: Plan, node: PlanNode) -> bool:
    return any(other.name == node.name and other.status == "reused" for other in plan.nodes)


def _is_whole(query: Query, record: NodeRecord) -> bool:
    """Whether none of its rows was forgotten since. What only grew older than `traffic.keep_days` is not
    unlearned."""
    asked = "SELECT count(*) AS n FROM ingests WHERE action = 'forget' AND done_at > ?"
    if not query(asked, [record.started_at])[0]["n"]:
        return True
    left = query("SELECT count(*) AS n FROM answers WHERE node = ?", [record.node])[0]["n"]
    return bool(left == record.summary["rows"])
