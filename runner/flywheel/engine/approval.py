"""A person says yes or no to what the gate promoted: what it rests on is looked at again, then the word is kept."""

from __future__ import annotations

from typing import Any

from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.nodes.trust.approvals import Word, approval_row, approvals, seen_now
from flywheel.nodes.trust.evidence import (
    Lineage,
    Query,
    verify_adapter,
    verify_holdout,
    verify_report,
    verify_store,
)
from flywheel.plan import Plan
from flywheel.records.nodes import finished
from flywheel.store import Store


def speak(project: Workspace, iteration: int, word: Word, person: str, note: str = "") -> dict[str, Any]:
    """Approve or reject what the gate promoted in `iteration`; the last word before deployment counts.

    Gives what was spoken of: `decision`, `scores` by suite, `report` (path) and the `approval` row. Raises UsageError
    where there is nothing to speak of (no such iteration, not promoted, gone on already), Tampered where something was
    changed since the gate decided. Nothing is kept then.
    """
    if not person.strip():
        raise UsageError("--by: a name is needed; it is kept with the approval.")
    with Store(project.store_path) as store:
        plan = make_plan(project, iteration, store.query)
        lineage = _lineage(plan, iteration)
        _refuse_early(store.query, lineage, iteration)
        _refuse_unless_promoted(store.query, lineage, iteration)
        decision = verify_store(store.query, lineage)
        verify_adapter(store.query, project.root, lineage.train)
        verify_holdout(store.query, project.root, lineage.evaluate)
        verify_report(store.query, project.root, lineage.report)
        _refuse_late(store.query, plan, iteration)
        row = approval_row(
            approvals(store.query), gate=lineage.gate, iteration=iteration, word=word, person=person.strip(),
            note=note.strip(), seen=seen_now(store.query, project.root, lineage),
        )  # fmt: skip
        store.write("approvals", [row])
        store.snapshot(project.state / "snapshot.duckdb")
        return {
            "approval": row, "decision": decision, "scores": _scores(store.query, lineage.evaluate),
            "report": _summary(store.query, lineage.report)["path"],
        }  # fmt: skip


def _lineage(plan: Plan, iteration: int) -> Lineage:
    return Lineage.of(plan.chain()[iteration])


def _refuse_early(query: Query, lineage: Lineage, iteration: int) -> None:
    if not _summary(query, lineage.report):
        raise UsageError(
            f"iteration {iteration} of this spec has no report yet: there is nothing to approve. Run `flywheel apply`."
        )


def _refuse_unless_promoted(query: Query, lineage: Lineage, iteration: int) -> None:
    gate = _summary(query, lineage.gate)
    if gate["outcome"] != "promote":
        raise UsageError(
            f"iteration {iteration} was not promoted, so there is nothing to approve or reject: {gate['explanation']}"
        )


def _refuse_late(query: Query, plan: Plan, iteration: int) -> None:
    """What was deployed, or gone on from, is not unsaid: later iterations were built on it."""
    deploy = plan.chain()[iteration]["deploy"][-1]
    summary = _summary(query, deploy)
    if not summary:
        return
    if summary["deployed"]:
        raise UsageError(f"iteration {iteration} is deployed already. `flywheel rollback` points at the one before.")
    raise UsageError(
        f"iteration {iteration} is settled: it was not deployed ({summary['why']}), and the wheel went on from there. "
        "A change in the spec makes a new iteration to approve."
    )


def _summary(query: Query, node: str) -> dict[str, Any]:
    """What a finished node says; empty where it is not finished."""
    records = finished(query, [node])
    return records[-1].summary if records else {}


def _scores(query: Query, evaluate: str) -> list[dict[str, Any]]:
    return query(
        """SELECT suite, avg(score) FILTER (arm = 'incumbent') AS incumbent,
               avg(score) FILTER (arm = 'candidate') AS candidate, count(DISTINCT item_id) AS items
           FROM scores WHERE node = ? AND arm IN ('incumbent', 'candidate') GROUP BY suite ORDER BY suite""",
        [evaluate],
    )
