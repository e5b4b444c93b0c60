"""mine: what production answered to a task's rows is judged by whoever can judge it without a known answer: verifiers
that need none, people who said so, and with a person's correction all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult, Unknowns, verdict_rows, watched
from flywheel.nodes.lessons.lesson import Lesson, overlaps_with_evals
from flywheel.records import Counts, Outcome, Row, Subject, Verdict, row_id
from flywheel.text import normalised, one_line, plural
from flywheel.traffic.matching import Matched, matched
from flywheel.verifiers import outcome_of

PERSON = "person"
"""Who says that an answer was wrong, where a person did."""


def mine(ctx: Context) -> NodeResult:
    task = ctx.node.subject
    found = matched(ctx.query, task, ctx.spec.traffic.match[task])
    whole = _whole(ctx, task, found)
    asked = _clean(ctx, task, whole)
    subjects = [_subject(ctx, task, one) for one in asked]
    verdicts = _judged(ctx, task, asked, subjects)
    outcomes: list[Outcome] = [outcome_of(said) for said in verdicts]
    right, wrong = outcomes.count("pass"), outcomes.count("fail")
    left_out = {"overlap": len(whole) - len(asked), "columns": len(found) - len(whole)}
    stored = [
        _answer(ctx, task, one, subject, outcome)
        for one, subject, outcome in zip(asked, subjects, outcomes, strict=True)
    ]
    return NodeResult(
        Counts(len(found), right, wrong + sum(left_out.values()), outcomes.count("unknown")),
        {"answers": stored, "verdicts": verdict_rows(ctx.node.fingerprint, verdicts)},
        {
            "rows": len(asked), "right": right, "wrong": wrong, "left_out": left_out,
            "corrected": sum(one.correction is not None for one in asked), "notes": _notes(left_out),
        },
    )  # fmt: skip


def _whole(ctx: Context, task: str, found: Sequence[Matched]) -> list[Matched]:
    """Those that have every column of the task, each read as the probes have it."""
    columns = ctx.columns(task)
    probes = ctx.spec.tasks[task].probes
    like = ctx.seen(task, probes) if probes is not None and found else []
    numbers = {column for column in columns if like and all(_is_number(row.get(column)) for row in like)}
    return [
        replace(one, row={column: _typed(one.row[column], column in numbers) for column in columns})
        for one in found
        if all(column in one.row for column in columns)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _typed(value: Any, is_number: bool) -> Any:
    """A number that a regular expression read is text."""
    if not is_number or not isinstance(value, str):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return value


def _clean(ctx: Context, task: str, found: Sequence[Matched]) -> list[Matched]:
    """Without what overlaps an item of a suite: that must be measured, and never be learned from."""
    lessons = [Lesson("", None, task, None, None, "", one.row, one.correction or one.answer) for one in found]
    overlaps = overlaps_with_evals(ctx, lessons) if lessons else {}
    return [one for index, one in enumerate(found) if index not in overlaps]


def _subject(ctx: Context, task: str, one: Matched) -> Subject:
    answer_id = fingerprint([ctx.node.fingerprint, one.source_id])[:16]
    return Subject(answer_id, task, one.row, one.answer, one.correction, trusted=one.correction is not None)


def _judged(ctx: Context, task: str, asked: Sequence[Matched], subjects: Sequence[Subject]) -> list[list[Verdict]]:
    """All verifiers where there is a correction, else those that need no known answer; and the people."""
    known = [i for i, subject in enumerate(subjects) if subject.reference is not None]
    others = [i for i, subject in enumerate(subjects) if subject.reference is None]
    spec = ctx.spec.tasks[task]
    free = [name for name in spec.verify if not ctx.spec.verifiers[name].needs_reference]
    verdicts: list[list[Verdict]] = [[] for _ in subjects]
    for chosen, verify in ((known, spec.verify), (others, free)):
        if chosen and verify:
            picked = [subjects[i] for i in chosen]
            tasks = {task: spec.model_copy(update={"verify": verify})}
            found = watched(ctx, ctx.judge(picked, tasks=tasks), len(picked))
            Unknowns(ctx, len(picked)).add(picked, found)
            for i, said in zip(chosen, found, strict=True):
                verdicts[i] = said
    compared = len(free) < len(spec.verify)
    for one, subject, said in zip(asked, subjects, verdicts, strict=True):
        said += _of_people(one, subject.subject_id, compared)
    return verdicts


def _of_people(one: Matched, subject_id: str, compared: bool) -> list[Verdict]:
    """A correction that no verifier compares with says all the same that the answer was wrong."""
    comment = f": {one_line(one.comment, 200)}" if one.comment else ""
    corrected = one.correction is not None and normalised(one.correction) != normalised(one.answer)
    if one.rating == -1 or (corrected and not compared):
        return [Verdict(subject_id, PERSON, "1", "fail", f"a person said so{comment}")]
    return [Verdict(subject_id, PERSON, "1", "pass", f"a person said so{comment}")] if one.rating == 1 else []


def _answer(ctx: Context, task: str, one: Matched, subject: Subject, outcome: Outcome) -> Row:
    target = {} if one.correction is None else {ctx.spec.tasks[task].target: one.correction}
    return {
        "node": ctx.node.fingerprint, "answer_id": subject.subject_id, "task": task, "row_id": row_id(one.row),
        "model_id": one.model, "row": {**one.row, **target}, "gold": one.correction,
        "prompt": ctx.prompt(task, one.row), "answer": one.answer, "truncated": False, "outcome": outcome,
        "source_id": one.source_id,
    }  # fmt: skip


def _notes(left_out: Mapping[str, int]) -> list[str]:
    words = {"overlap": "overlaps an item of a suite", "columns": "lacks a column of the task"}
    return [f"{plural(count, 'row')} left out: {words[why]}" for why, count in left_out.items() if count]
