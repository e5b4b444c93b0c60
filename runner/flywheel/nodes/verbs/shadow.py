"""shadow: rows of production that no lesson was made from, answered by incumbent and candidate before a promotion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.harness import Item, SuiteJob
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model, NodeResult, verdict_rows
from flywheel.nodes.lessons.lesson import words_of
from flywheel.nodes.measuring.pairing import paired
from flywheel.nodes.measuring.production import PERSON, judged, production_of
from flywheel.nodes.measuring.suites import answers_of
from flywheel.records import Counts, Outcome, Row, Subject, Verdict, row_id
from flywheel.records.decision import PairedItem
from flywheel.store.similarity import contaminated
from flywheel.text import plural
from flywheel.traffic.matching import Matched
from flywheel.verifiers import outcome_of

_SCORES: Mapping[Outcome, float | None] = {"pass": 1.0, "fail": 0.0, "unknown": None}


@dataclass(frozen=True)
class _Replay:
    """What one model says to every row, in order, and what is said of that."""

    model_id: str
    subjects: tuple[Subject, ...]
    truncated: tuple[bool, ...]
    verdicts: tuple[list[Verdict], ...]

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome_of(said) for said in self.verdicts]


def shadow(ctx: Context) -> NodeResult:
    task, candidate = ctx.node.subject, ctx.candidate()
    kept = _kept(ctx, task)
    rows = _unlearned(ctx, task, kept) if candidate is not None else []
    if candidate is None or not rows:
        return NodeResult(Counts(len(kept), 0, len(kept)), {}, _nothing(kept, candidate))
    before, after = (_replayed(ctx, task, rows, model) for model in (ctx.incumbent(), candidate))
    found = _compared(ctx, rows, before, after)
    left_out = len(kept) - len(rows)
    return NodeResult(
        Counts(len(kept), found["judged"], left_out, len(rows) - found["judged"]),
        {
            "answers": [row for replay in (before, after) for row in _answers(ctx, task, rows, replay)],
            "verdicts": verdict_rows(ctx.node.fingerprint, [*before.verdicts, *after.verdicts]),
        },
        {**found, "left_out": left_out, "notes": _notes(left_out)},
    )


def _kept(ctx: Context, task: str) -> list[Matched]:
    """As they were when `mine` looked at the others."""
    looked = next(r for r in reversed(ctx.finished(ctx.fingerprints("mine"))) if r.subject == task)
    return list(production_of(ctx, task, looked.started_at).kept)


def _unlearned(ctx: Context, task: str, rows: Sequence[Matched]) -> list[Matched]:
    """Without what overlaps a training row, by the rule by which training rows overlap an item of a suite."""
    columns = ctx.columns(task)
    trained = ctx.query(
        'SELECT lesson_id, "row", target FROM dataset WHERE list_contains(?, node) AND task = ?',
        [ctx.fingerprints("curate"), task],
    )
    questions = [
        (row["lesson_id"], words_of({c: row["row"].get(c) for c in columns}), row["target"]) for row in trained
    ]
    texts = [("", name, question, f"{question}\n{target}") for name, question, target in questions]
    asked = [words_of(one.row) for one in rows]
    learned = contaminated(
        ((words, f"{words}\n{one.correction or one.answer}") for words, one in zip(asked, rows, strict=True)),
        texts,
        ctx.spec.curate.decontaminate.ngram,
        ctx.spec.curate.decontaminate.ratio,
    )
    return [one for index, one in enumerate(rows) if index not in learned]


def _nothing(kept: Collection[Matched], candidate: Model | None) -> dict[str, Any]:
    why = "nothing was trained" if candidate is None else "all overlap training rows" if kept else "none is there yet"
    return {"rows": 0, "left_out": len(kept), "why": why, "notes": []}


def _replayed(ctx: Context, task: str, rows: Sequence[Matched], model: Model) -> _Replay:
    """One question is asked once, however many asked it."""
    questions = {row_id(one.row): one.row for one in rows}
    items = tuple(Item(name, ctx.prompt(task, row), row, "") for name, row in questions.items())
    suite = SuiteJob("shadow", task, items, stop=tuple(ctx.spec.tasks[task].stop))
    measured = answers_of(ctx, f"shadow: {model.model_id}", model, [suite], ctx.asking.batch_size)
    said = {item.item_id: item.answers[0] for item in measured.suites["shadow"] if item.answers}
    answers = [said.get(row_id(one.row)) for one in rows]
    subjects = tuple(
        Subject(
            fingerprint([ctx.node.fingerprint, model.model_id, one.source_id])[:16], task, one.row,
            answer.text if answer is not None else "", one.correction, trusted=one.correction is not None,
        )
        for one, answer in zip(rows, answers, strict=True)
    )  # fmt: skip
    asked = [i for i, answer in enumerate(answers) if answer is not None]
    verdicts: list[list[Verdict]] = [[] for _ in rows]  # a prompt too long for the model is unknown
    for i, found in zip(asked, judged(ctx, task, [rows[i] for i in asked], [subjects[i] for i in asked]), strict=True):
        verdicts[i] = found
    truncated = tuple(answer is not None and bool(answer.truncated) for answer in answers)
    return _Replay(model.model_id, subjects, truncated, tuple(verdicts))


def _answers(ctx: Context, task: str, rows: Sequence[Matched], replay: _Replay) -> list[Row]:
    return [
        {
            "node": ctx.node.fingerprint, "answer_id": subject.subject_id, "task": task, "row_id": row_id(one.row),
            "model_id": replay.model_id, "row": one.row, "gold": one.correction, "prompt": ctx.prompt(task, one.row),
            "answer": subject.answer, "truncated": truncated, "outcome": outcome, "source_id": one.source_id,
        }
        for one, subject, truncated, outcome in zip(
            rows, replay.subjects, replay.truncated, replay.outcomes, strict=True
        )
    ]  # fmt: skip


def _compared(ctx: Context, rows: Sequence[Matched], before: _Replay, after: _Replay) -> dict[str, Any]:
    """By the gate's own paired tests; several who asked the same are one cluster."""
    texts = [(a.answer, b.answer) for a, b in zip(before.subjects, after.subjects, strict=True)]
    outcomes = list(zip(before.outcomes, after.outcomes, strict=True))
    items = [
        PairedItem(one.source_id, _SCORES[old], _SCORES[new], cluster=row_id(one.row))
        for one, (old, new) in zip(rows, outcomes, strict=True)
    ]
    pair = paired(items, ctx.seed())
    moved = Counter(outcomes)
    return {
        "rows": len(rows),
        "questions": len({row_id(one.row) for one in rows}),
        "models": {"incumbent": before.model_id, "candidate": after.model_id},
        "same": sum(old == new for old, new in texts),
        "as_logged": sum(old == one.answer for one, (old, _) in zip(rows, texts, strict=True)),
        "judged": 0 if pair is None else pair.items,
        "judged_by": _judged_by(rows, before, after),
        "right": {
            "incumbent": sum(moved["pass", new] for new in ("pass", "fail")),
            "candidate": sum(moved[old, "pass"] for old in ("pass", "fail")),
        },
        "fixed": moved["fail", "pass"],
        "broken": moved["pass", "fail"],
        "difference": None if pair is None else {"value": pair.difference, "low": pair.low, "high": pair.high},
    }


def _judged_by(rows: Sequence[Matched], before: _Replay, after: _Replay) -> dict[str, int]:
    """Rows that both answers to could be judged, by the strongest that spoke."""
    found: Counter[str] = Counter()
    for one, *said in zip(rows, before.verdicts, after.verdicts, strict=True):
        if "unknown" not in map(outcome_of, said):
            spoke = any(verdict.verifier == PERSON for verdicts in said for verdict in verdicts)
            found["correction" if one.correction is not None else "rating" if spoke else "verifiers"] += 1
    return dict(sorted(found.items()))


def _notes(left_out: int) -> list[str]:
    return [f"{plural(left_out, 'row')} left out: overlaps a training row"] if left_out else []
