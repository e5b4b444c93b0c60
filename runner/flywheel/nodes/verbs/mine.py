"""mine: what production answered to a task's rows is judged by whoever can judge it without a known answer: verifiers
that need none, people who said so, and with a person's correction all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult, Unknowns, verdict_rows
from flywheel.nodes.measuring.production import judged, production_of
from flywheel.records import Counts, Outcome, Row, Subject, Verdict, row_id
from flywheel.text import plural
from flywheel.traffic.matching import Matched
from flywheel.verifiers import outcome_of


def mine(ctx: Context) -> NodeResult:
    task = ctx.node.subject
    found = production_of(ctx, task)
    asked = found.mined
    subjects = [_subject(ctx, task, one) for one in asked]
    verdicts = judged(ctx, task, asked, subjects)
    _refuse_unknowns(ctx, subjects, verdicts)
    outcomes: list[Outcome] = [outcome_of(said) for said in verdicts]
    right, wrong = outcomes.count("pass"), outcomes.count("fail")
    left_out = found.left_out | ({"shadow": len(found.kept)} if ctx.spec.traffic.shadow is not None else {})
    stored = [
        _answer(ctx, task, one, subject, outcome)
        for one, subject, outcome in zip(asked, subjects, outcomes, strict=True)
    ]
    return NodeResult(
        Counts(found.rows, right, wrong + sum(left_out.values()), outcomes.count("unknown")),
        {"answers": stored, "verdicts": verdict_rows(ctx.node.fingerprint, verdicts)},
        {
            "rows": len(asked), "right": right, "wrong": wrong, "left_out": left_out,
            "corrected": sum(one.correction is not None for one in asked), "notes": _notes(left_out),
        },
    )  # fmt: skip


def _refuse_unknowns(ctx: Context, subjects: Sequence[Subject], verdicts: Sequence[Sequence[Verdict]]) -> None:
    """Of answers with a known right one, and of the others."""
    for is_known in (True, False):
        chosen = [i for i, subject in enumerate(subjects) if (subject.reference is not None) is is_known]
        said = [[v for v in verdicts[i] if v.verifier in ctx.spec.verifiers] for i in chosen]
        Unknowns(ctx, len(chosen)).add([subjects[i] for i in chosen], said)


def _subject(ctx: Context, task: str, one: Matched) -> Subject:
    answer_id = fingerprint([ctx.node.fingerprint, one.source_id])[:16]
    return Subject(answer_id, task, one.row, one.answer, one.correction, trusted=one.correction is not None)


def _answer(ctx: Context, task: str, one: Matched, subject: Subject, outcome: Outcome) -> Row:
    target = {} if one.correction is None else {ctx.spec.tasks[task].target: one.correction}
    return {
        "node": ctx.node.fingerprint, "answer_id": subject.subject_id, "task": task, "row_id": row_id(one.row),
        "model_id": one.model, "row": {**one.row, **target}, "gold": one.correction,
        "prompt": ctx.prompt(task, one.row), "answer": one.answer, "truncated": False, "outcome": outcome,
        "source_id": one.source_id,
    }  # fmt: skip


def _notes(left_out: Mapping[str, int]) -> list[str]:
    words = {
        "overlap": "overlaps an item of a suite",
        "columns": "lacks a column of the task",
        "shadow": "kept for the shadow replay",
    }
    return [f"{plural(count, 'row')} left out: {words[why]}" for why, count in left_out.items() if count]
