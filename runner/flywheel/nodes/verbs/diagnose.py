"""diagnose: each failure gets the first error mode whose predicate holds, with its severity."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult
from flywheel.records import Counts, Verdict
from flywheel.store.taxonomy import Failed, Named, name_failures


def diagnose(ctx: Context) -> NodeResult:
    probes = ctx.fingerprints("probe", "mine")
    answers = ctx.query(
        "SELECT * FROM answers WHERE list_contains(?, node) AND outcome = 'fail' ORDER BY task, row_id, answer_id",
        [probes],
    )
    verdicts = _verdicts(ctx, probes)
    rows: list[dict[str, Any]] = []
    undecided: dict[str, dict[str, Any]] = {}
    # Each by itself: columns get their types from the rows that are looked at together.
    for task, of_traffic in [(task, of_traffic) for task in ctx.spec.tasks for of_traffic in (False, True)]:
        of_task = [a for a in answers if a["task"] == task and (a["source_id"] is not None) == of_traffic]
        named = _named(ctx, task, of_task, verdicts)
        rows += _failures(ctx, task, of_task, named.modes)
        where = f"{task} in traffic" if of_traffic else task
        undecided |= {f"{where}: {mode}": found for mode, found in named.summary().items()}
    counted = Counter(row["mode"] for row in rows)
    return NodeResult(
        Counts(len(answers), kept=len(rows)),
        {"failures": rows},
        {"failures": len(rows), "modes": dict(counted.most_common()), "undecided": undecided},
    )


def _verdicts(ctx: Context, probes: list[str]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for row in ctx.query("SELECT * FROM verdicts WHERE list_contains(?, node)", [probes]):
        verdict = Verdict(row["subject_id"], row["verifier"], row["version"], row["outcome"], row["reason"])
        found.setdefault(row["subject_id"], []).append(verdict)
    return found


def _named(ctx: Context, task: str, answers: list[dict[str, Any]], verdicts: dict[str, list[Verdict]]) -> Named:
    failed = [Failed(a["row"], a["answer"], a["gold"], verdicts.get(a["answer_id"], [])) for a in answers]
    probes = ctx.spec.tasks[task].probes
    like = ctx.seen(task, probes) if failed and probes is not None else []
    return name_failures(failed, ctx.spec.modes_of(task), ctx.spec.tasks[task].verify, like)


def _failures(ctx: Context, task: str, answers: list[dict[str, Any]], modes: list[str]) -> list[dict[str, Any]]:
    severity = {mode.name: mode.severity for mode in ctx.spec.modes_of(task)}
    return [
        {
            "node": ctx.node.fingerprint,
            "failure_id": fingerprint(["failure", answer["answer_id"]])[:16],
            "answer_id": answer["answer_id"],
            "task": task,
            "mode": name,
            "severity": severity[name],
        }
        for answer, name in zip(answers, modes, strict=True)
    ]
