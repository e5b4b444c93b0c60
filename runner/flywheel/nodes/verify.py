"""verify: every candidate, every verifier of its task; only what passes all goes on."""

from __future__ import annotations

from typing import Any

from flywheel.nodes.context import Context, Result, judge_all, verdict_rows
from flywheel.records import Counts, Outcome, Subject, Verdict


def verify(ctx: Context) -> Result:
    generated = ctx.fingerprints("generate")
    rows = ctx.query(
        "SELECT * FROM candidates WHERE list_contains(?, node) AND generator = ? AND round = ? AND status = 'parsed' "
        "ORDER BY candidate_id",
        [generated, ctx.node.subject, ctx.node.round],
    )
    subjects = [
        Subject(r["candidate_id"], r["task"], r["row"], r["target"], r["reference"], _trusted(r["reference_from"]))
        for r in rows
    ]
    verdicts, outcomes = judge_all(ctx, subjects)
    judged = [
        {"node": ctx.node.fingerprint, "candidate_id": s.subject_id, "outcome": outcome, **_first_against(found)}
        for s, outcome, found in zip(subjects, outcomes, verdicts, strict=True)
    ]
    passed, failed = outcomes.count("pass"), outcomes.count("fail")
    return Result(
        Counts(len(rows), passed, failed, outcomes.count("unknown")),
        {"verdicts": verdict_rows(ctx.node.fingerprint, verdicts), "judged": judged},
        {"passed": passed, "failed": failed, "unknown": outcomes.count("unknown")},
    )


def _trusted(reference_from: str) -> bool:
    return reference_from != "" and not reference_from.startswith("teacher:")


def _first_against(verdicts: list[Verdict]) -> dict[str, Any]:
    """The verifier that decided, with its reason; nothing for a pass."""
    for outcome in _DECIDING:
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return {"verifier": verdict.verifier, "reason": verdict.reason[:2_000]}
    return {"verifier": None, "reason": None}


_DECIDING: tuple[Outcome, ...] = ("fail", "unknown")
