"""probe: the incumbent answers a task's probe rows; verifiers judge."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.answers import ran_on
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult, TaskRow, judge_all, verdict_rows
from flywheel.prompting.artefacts import WrongAnswer, claims, noted, task_reading
from flywheel.records import Counts, Generation, Subject
from flywheel.student.work import AnswerJob
from flywheel.text import plural


def probe(ctx: Context) -> NodeResult:
    task = ctx.node.subject
    spec = ctx.spec.tasks[task]
    assert spec.probes is not None
    rows = _sample(ctx.task_rows(task, spec.probes), spec.probe_limit, ctx.spec.seed)
    model = ctx.incumbent()
    prompts = tuple((row.row_id, ctx.prompt(task, row.inputs)) for row in rows)
    answers: list[Generation] = ctx.compute(
        "flywheel.student.work:answer",
        AnswerJob(model.arm, ctx.asking, prompts, stop=tuple(spec.stop)),
        lambda message: ctx.progress(**message, what="answers"),
    )
    ids = [fingerprint([ctx.node.fingerprint, row.row_id])[:16] for row in rows]
    subjects = [
        Subject(answer_id, task, row.inputs, answer.text, row.gold)
        for answer_id, row, answer in zip(ids, rows, answers, strict=True)
    ]
    verdicts, outcomes = judge_all(ctx, subjects)
    stored = [
        {
            "node": ctx.node.fingerprint, "answer_id": answer_id, "task": task, "row_id": row.row_id,
            "model_id": model.model_id, "row": row.columns, "gold": row.gold, "prompt": prompt[1],
            "answer": answer.text, "tokens": answer.tokens, "truncated": answer.truncated, "outcome": outcome,
        }
        for answer_id, row, prompt, answer, outcome in zip(ids, rows, prompts, answers, outcomes, strict=True)
    ]  # fmt: skip
    run_on = sum(ran_on(answer.text, spec.final) for answer in answers)
    right, wrong = outcomes.count("pass"), outcomes.count("fail")
    return NodeResult(
        Counts(len(rows), right, wrong, outcomes.count("unknown")),
        {"answers": stored, "verdicts": verdict_rows(ctx.node.fingerprint, verdicts)},
        {
            "model_id": model.model_id, "right": right, "wrong": wrong, "rows": len(rows), "ran_on": run_on,
            "notes": _artefacts(ctx, stored),
        },
    )  # fmt: skip


def _artefacts(ctx: Context, answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What made many answers wrong beside what the model does not know, and what to do about it."""
    wrong = [WrongAnswer(row["answer"], row["gold"], row["truncated"]) for row in answers if row["outcome"] == "fail"]
    reading = task_reading(ctx.spec, ctx.root, ctx.node.subject)
    return [
        noted(reading, cause, f"{hits:,} of {plural(len(wrong), 'wrong answer')}")
        for cause, hits in claims(reading, wrong).items()
    ]


def _sample(rows: list[TaskRow], limit: int | None, seed: int) -> list[TaskRow]:
    if limit is None or limit >= len(rows):
        return rows
    return random.Random(seed).sample(rows, limit)
