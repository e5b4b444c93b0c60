"""probe: the incumbent answers a task's probe rows; verifiers judge."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.answers import ran_on
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult, TaskRow, judge_all, verdict_rows
from flywheel.prompting.artefacts import WrongAnswer, claims, noted, task_reading
from flywheel.records import TOO_LONG, Counts, Generation, Outcome, Subject, Verdict
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
        AnswerJob(model.arm, ctx.asking_many, prompts, stop=tuple(spec.stop)),
        lambda message: ctx.progress(**message, what="answers"),
    )
    ids = [fingerprint([ctx.node.fingerprint, row.row_id])[:16] for row in rows]
    subjects = [
        Subject(answer_id, task, row.inputs, answer.text, row.gold)
        for answer_id, row, answer in zip(ids, rows, answers, strict=True)
    ]
    verdicts, outcomes = _judged(ctx, subjects, answers)
    stored = [
        {
            "node": ctx.node.fingerprint, "answer_id": answer_id, "task": task, "row_id": row.row_id,
            "model_id": model.model_id, "row": row.columns, "gold": row.gold, "prompt": prompt[1],
            "answer": answer.text, "tokens": answer.tokens, "truncated": answer.truncated, "outcome": outcome,
        }
        for answer_id, row, prompt, answer, outcome in zip(ids, rows, prompts, answers, outcomes, strict=True)
    ]  # fmt: skip
    too_long = [answer.problem for answer in answers if answer.problem]
    run_on = sum(ran_on(answer.text, spec.final) for answer in answers)
    right, wrong = outcomes.count("pass"), outcomes.count("fail")
    return NodeResult(
        Counts(len(rows), right, wrong, outcomes.count("unknown")),
        {"answers": stored, "verdicts": verdict_rows(ctx.node.fingerprint, verdicts)},
        {
            "model_id": model.model_id, "right": right, "wrong": wrong, "rows": len(rows), "ran_on": run_on,
            "too_long": len(too_long), "notes": [*_not_asked(too_long), *_artefacts(ctx, stored)],
        },
    )  # fmt: skip


def _judged(
    ctx: Context, subjects: Sequence[Subject], answers: Sequence[Generation]
) -> tuple[list[list[Verdict]], list[Outcome]]:
    """A row that was not asked is unknown, and no failure to buy lessons for."""
    asked = [i for i, answer in enumerate(answers) if not answer.problem]
    pairs = zip(subjects, answers, strict=True)
    verdicts = [[Verdict(subject.subject_id, TOO_LONG, "1", "unknown", answer.problem)] for subject, answer in pairs]
    outcomes: list[Outcome] = ["unknown"] * len(subjects)
    for i, said, outcome in zip(asked, *judge_all(ctx, [subjects[i] for i in asked]), strict=True):
        verdicts[i], outcomes[i] = said, outcome
    return verdicts, outcomes


def _not_asked(problems: Sequence[str]) -> list[str]:
    return [f"{plural(len(problems), 'row')} not asked: {problems[0]}"] if problems else []


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
