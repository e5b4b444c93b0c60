"""verify: every candidate, cheap verifiers first; only what passes all goes on, and one sample of a question.

Of several samples of one question the best that passed is chosen; a question that none, or (nearly) all, get right
teaches nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flywheel.nodes.context import Context, NodeResult, Unknowns, verdict_rows, watched
from flywheel.nodes.lessons.acceptance import grade, select, subject_of_row
from flywheel.records import Counts, Outcome, Subject, Verdict
from flywheel.records.fates import FATES
from flywheel.verifiers import outcome_of

#: Candidates that are judged, and whose verdicts are written, together.
AT_A_TIME = 10_000


def verify(ctx: Context) -> NodeResult:
    generator = next(g for g in ctx.spec.generate if g.name == ctx.node.subject)
    total = _total(ctx)
    unknowns, fates = Unknowns(ctx, total), Counter[str]()
    for rows in _blocks(ctx):
        subjects = [subject_of_row(row) for row in rows]
        so_far = fates.total(), fates["pass"] + fates["spare"]
        verdicts = watched(ctx, ctx.judge(subjects, cascade=True), total, *so_far)
        verdicts = [_with_problem(row, found) for row, found in zip(rows, verdicts, strict=True)]
        unknowns.add(subjects, verdicts)
        judged = [_judged(ctx, subject, found) for subject, found in zip(subjects, verdicts, strict=True)]
        select(generator, rows, judged, ctx.spec.curate.dedup.answers_per_question)
        fates.update(row["outcome"] for row in judged)
        ctx.write("verdicts", verdict_rows(ctx.node.fingerprint, verdicts))
        ctx.write("judged", judged)
    return NodeResult(
        Counts(total, fates["pass"], fates["fail"] + fates["spare"], fates["unknown"]),
        summary={"fates": {fate: fates[fate] for fate in FATES}},
    )


_CANDIDATES = "FROM candidates WHERE list_contains(?, node) AND generator = ? AND round = ? AND status = 'parsed'"
#: The samples of one question are judged in one block, for the best of them is looked for.
_QUESTION = "coalesce(nullif(group_id, ''), candidate_id)"


def _chosen(ctx: Context) -> list[Any]:
    return [ctx.fingerprints("generate"), ctx.node.subject, ctx.node.round]


def _total(ctx: Context) -> int:
    return int(ctx.query(f"SELECT count(*) AS n {_CANDIDATES}", _chosen(ctx))[0]["n"])


def _blocks(ctx: Context) -> Iterator[list[dict[str, Any]]]:
    """The candidates, whole questions at a time."""
    ends = ctx.query(
        f"""SELECT question FROM (
                SELECT {_QUESTION} AS question, row_number() OVER (ORDER BY {_QUESTION}) AS place {_CANDIDATES})
            WHERE place % ? = 0 GROUP BY question ORDER BY question""",
        [*_chosen(ctx), AT_A_TIME],
    )
    after = ""
    for end in [*(row["question"] for row in ends), None]:
        yield ctx.query(
            f"""SELECT * {_CANDIDATES} AND {_QUESTION} > ? AND (? IS NULL OR {_QUESTION} <= ?)
                ORDER BY candidate_id""",
            [*_chosen(ctx), after, end, end],
        )
        after = end or ""


def _with_problem(row: dict[str, Any], found: list[Verdict]) -> list[Verdict]:
    """What is unknown of a candidate whose second opinion did not come says so, too: a verifier cannot know."""
    if not row["problem"]:
        return found
    return [replace(v, reason=f"{v.reason}: {row['problem']}") if v.outcome == "unknown" else v for v in found]


def _judged(ctx: Context, subject: Subject, found: list[Verdict]) -> dict[str, Any]:
    """A row of `judged`, before samples of one question are compared."""
    return {
        "node": ctx.node.fingerprint, "candidate_id": subject.subject_id, "outcome": outcome_of(found),
        "score": grade(found), **_first_against(found),
    }  # fmt: skip


def _first_against(verdicts: list[Verdict]) -> dict[str, Any]:
    """The verifier that decided, with its reason; nothing for a pass."""
    for outcome in _DECIDING:
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return {"verifier": verdict.verifier, "reason": verdict.reason[:2_000]}
    return {"verifier": None, "reason": None}


_DECIDING: tuple[Outcome, ...] = ("fail", "unknown")
