"""sample: the student answers questions several times each, and the task's verifiers judge: what an answer earns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flywheel.hashing import fingerprint, seed_from
from flywheel.nodes.context import Context, Model, NodeResult, judge_all, verdict_rows
from flywheel.nodes.preference.canaries import refuse_cheats
from flywheel.nodes.preference.questions import PolicyQuestion, chosen, is_learnable, policy
from flywheel.records import Counts, Generation, Outcome, Subject
from flywheel.student.work import AnswerJob


def sample(ctx: Context) -> NodeResult:
    model = policy(ctx)
    if ctx.node.round == 1:
        refuse_cheats(ctx, model, "before it learns from its own answers")
    asked = [question for question in chosen(ctx) for _ in range(ctx.spec.train.preference.samples)]
    answers = _answers(ctx, model, asked)
    ids = [fingerprint([ctx.node.fingerprint, number])[:16] for number in range(len(asked))]
    fitting = [i for i, answer in enumerate(answers) if not answer.problem]
    subjects = [_subject(ids[i], asked[i], answers[i]) for i in fitting]
    verdicts, outcomes = judge_all(ctx, subjects, cascade=True)
    rows = [_row(ctx, model, ids[i], asked[i], answers[i], said) for i, said in zip(fitting, outcomes, strict=True)]
    _rate(rows)
    unknown = outcomes.count("unknown")
    return NodeResult(
        Counts(len(asked), len(rows) - unknown, len(asked) - len(rows), unknown),
        {"samples": rows, "verdicts": verdict_rows(ctx.node.fingerprint, verdicts)},
        {"model_id": model.model_id, **_summary(rows)},
    )


def _answers(ctx: Context, model: Model, asked: Sequence[PolicyQuestion]) -> list[Generation]:
    """At temperature 1, where an answer is as likely as the student finds it; a task at a time, for they end
    differently."""
    found: dict[int, Generation] = {}
    for name in dict.fromkeys(question.task for question in asked):
        places = [i for i, question in enumerate(asked) if question.task == name]
        prompts = tuple((str(i), asked[i].prompt) for i in places)
        seeds = tuple(seed_from(ctx.seed(), i) for i in places)
        stop = tuple(ctx.spec.tasks[name].stop)
        job = AnswerJob(model.arm, ctx.asking_many, prompts, temperature=1.0, seeds=seeds, stop=stop)
        said = ctx.compute("flywheel.student.work:answer", job, lambda m: ctx.progress(**m, what="answers"))
        found.update(zip(places, said, strict=True))
    return [found[i] for i in range(len(asked))]


def _subject(sample_id: str, question: PolicyQuestion, answer: Generation) -> Subject:
    return Subject(sample_id, question.task, question.row, answer.text, question.reference, question.trusted)


def _row(
    ctx: Context, model: Model, sample_id: str, question: PolicyQuestion, answer: Generation, outcome: Outcome
) -> dict[str, Any]:
    return {
        "node": ctx.node.fingerprint, "sample_id": sample_id, "round": ctx.node.round, "model_id": model.model_id,
        "task": question.task, "question_id": question.question_id, "row": question.row, "gold": question.right,
        "prompt": question.prompt, "answer": answer.text, "tokens": answer.tokens, "truncated": answer.truncated,
        "outcome": outcome,
    }  # fmt: skip


def _rate(rows: Sequence[dict[str, Any]]) -> None:
    """Gives every answer its question's pass rate."""
    outcomes: dict[str, list[bool]] = {}
    for row in rows:
        if row["outcome"] != "unknown":
            outcomes.setdefault(row["question_id"], []).append(row["outcome"] == "pass")
    for row in rows:
        decided = outcomes.get(row["question_id"])
        row["pass_rate"] = sum(decided) / len(decided) if decided else None


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rates = {row["question_id"]: row["pass_rate"] for row in rows}
    decided = [row["outcome"] == "pass" for row in rows if row["outcome"] != "unknown"]
    return {
        "questions": len(rates),
        "answers": len(rows),
        "unknown": len(rows) - len(decided),
        "reward": sum(decided) / len(decided) if decided else None,
        "learnable": sum(map(is_learnable, rates.values())),
    }
