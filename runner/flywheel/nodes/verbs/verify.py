"""verify: every candidate, cheap verifiers first; only what passes all goes on, and one sample of a question.

Of several samples of one question the best that passed is chosen; a question that none, or (nearly) all, get right
teaches nothing.
"""

from __future__ import annotations

from typing import Any

from flywheel.nodes.context import Context, NodeResult, judge_all, verdict_rows
from flywheel.nodes.lessons.acceptance import grade, select, subject_of_row
from flywheel.records import Counts, Outcome, Verdict
from flywheel.records.fates import counted


def verify(ctx: Context) -> NodeResult:
    generated = ctx.fingerprints("generate")
    rows = ctx.query(
        "SELECT * FROM candidates WHERE list_contains(?, node) AND generator = ? AND round = ? AND status = 'parsed' "
        "ORDER BY candidate_id",
        [generated, ctx.node.subject, ctx.node.round],
    )
    subjects = [subject_of_row(row) for row in rows]
    verdicts, outcomes = judge_all(ctx, subjects, cascade=True)
    judged = [
        {
            "node": ctx.node.fingerprint, "candidate_id": s.subject_id, "outcome": outcome, "score": grade(found),
            **_first_against(found),
        }
        for s, outcome, found in zip(subjects, outcomes, verdicts, strict=True)
    ]  # fmt: skip
    generator = next(g for g in ctx.spec.generate if g.name == ctx.node.subject)
    select(generator, rows, judged, ctx.spec.curate.dedup.answers_per_question)
    fates = counted(row["outcome"] for row in judged)
    return NodeResult(
        Counts(len(rows), fates["pass"], fates["fail"] + fates["spare"], fates["unknown"]),
        {"verdicts": verdict_rows(ctx.node.fingerprint, verdicts), "judged": judged},
        {"fates": fates},
    )


def _first_against(verdicts: list[Verdict]) -> dict[str, Any]:
    """The verifier that decided, with its reason; nothing for a pass."""
    for outcome in _DECIDING:
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return {"verifier": verdict.verifier, "reason": verdict.reason[:2_000]}
    return {"verifier": None, "reason": None}


_DECIDING: tuple[Outcome, ...] = ("fail", "unknown")
