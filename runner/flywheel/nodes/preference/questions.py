"""Questions that the student may learn from, and which of them a round samples."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model
from flywheel.records import Reference, Row
from flywheel.records.rows import read_rows, target_text

#: A question teaches a group where some answers are right and some wrong: pass rates outside these teach next to
#: nothing, and one of 0 or 1 nothing at all.
LEARNABLE = (0.2, 0.8)


@dataclass(frozen=True)
class PolicyQuestion:
    """A row of a task. `right`: an answer that is known to pass; None where there is none."""

    task: str
    row: Row
    prompt: str
    reference: str | None
    trusted: bool
    right: str | None
    taught: bool = False
    """Whether the lessons had it."""

    @property
    def question_id(self) -> str:
        return fingerprint([self.task, self.prompt])[:16]


def policy(ctx: Context) -> Model:
    """The student as it is before this round: of the round before, or of training; the incumbent where none trained."""
    adapters = ctx.adapters(step_before(ctx))
    return ctx.adapted(adapters[0]) if adapters else ctx.incumbent()


def step_before(ctx: Context) -> list[str]:
    """The node that made the student of this round."""
    return ctx.fingerprints("prefer")[: ctx.node.round - 1][-1:] or ctx.fingerprints("train")


def is_learnable(pass_rate: float | None) -> bool:
    """Some right, some wrong, enough of both."""
    return pass_rate is not None and LEARNABLE[0] <= pass_rate <= LEARNABLE[1]


def chosen(ctx: Context) -> list[PolicyQuestion]:
    """The round's share of the questions that the lessons did not have: what they taught is mostly known by now. Rounds
    take one share after the other, so that what is earned is earned on questions not practised yet, as far as they go.
    Where all are too few for one round, training rows fill it up."""
    found, wanted = questions(ctx), ctx.spec.train.preference.questions
    random.Random(ctx.spec.seed).shuffle(found)
    new = [question for question in found if not question.taught]
    pool = new if len(new) >= wanted else (new + [question for question in found if question.taught])[:wanted]
    start = (ctx.node.round - 1) * wanted
    return [pool[(start + place) % len(pool)] for place in range(min(wanted, len(pool)))]


def questions(ctx: Context) -> list[PolicyQuestion]:
    """Probe rows, practice rows and the iteration's training rows, each prompt once. None is an item of a suite:
    `validate` sees to that for probes and practice, curation for lessons."""
    found: dict[str, PolicyQuestion] = {}
    for question in (*_of_probes(ctx), *_of_practice(ctx), *_of_lessons(ctx)):
        found.setdefault(question.question_id, question)
    return list(found.values())


def _of_probes(ctx: Context) -> list[PolicyQuestion]:
    rows = ctx.query(
        'SELECT task, "row", gold, prompt FROM answers WHERE list_contains(?, node) ORDER BY task, row_id',
        [ctx.fingerprints("probe")],
    )
    return [_of_probe(ctx, row) for row in rows]


def _of_practice(ctx: Context) -> list[PolicyQuestion]:
    files = ((name, task.practice) for name, task in ctx.spec.tasks.items() if task.practice is not None)
    return [_practised(ctx, name, row) for name, file in files for row in read_rows(ctx.root / file)]


def _practised(ctx: Context, name: str, row: Row) -> PolicyQuestion:
    target = ctx.spec.tasks[name].target
    inputs = {column: value for column, value in row.items() if column != target}
    gold = target_text(row[target]) if row.get(target) is not None else None
    return _known(ctx, name, inputs, ctx.prompt(name, inputs), gold)


def _of_probe(ctx: Context, row: dict[str, Any]) -> PolicyQuestion:
    target = ctx.spec.tasks[row["task"]].target
    inputs = {column: value for column, value in row["row"].items() if column != target}
    return _known(ctx, row["task"], inputs, row["prompt"], row["gold"])


def _known(ctx: Context, name: str, inputs: Row, prompt: str, gold: str | None) -> PolicyQuestion:
    """With the right answer that people gave, where they did."""
    # Where the answer stands at the end of some working, the gold alone is not how the student should answer.
    right = gold if ctx.spec.tasks[name].final is None else None
    return PolicyQuestion(name, inputs, prompt, gold, gold is not None, right)


def _of_lessons(ctx: Context) -> list[PolicyQuestion]:
    rows = ctx.query(
        """SELECT d.task, d."row", d.target, d.prompt, d.origin, any_value(c.reference) AS reference,
             any_value(c.reference_from) AS reference_from
           FROM dataset d LEFT JOIN candidates c ON c.candidate_id = d.candidate_id
           WHERE list_contains(?, d.node) GROUP BY ALL ORDER BY min(d.position)""",
        [ctx.fingerprints("curate")],
    )
    return [_of_lesson(row) for row in rows]


def _of_lesson(row: dict[str, Any]) -> PolicyQuestion:
    known = Reference.stored(row["reference"], row["reference_from"])
    if row["origin"] == "seed":
        known = Reference(row["target"], "person")
    trusted = known is not None and known.trusted
    reference = known.text if known else None
    return PolicyQuestion(row["task"], row["row"], row["prompt"], reference, trusted, row["target"], taught=True)
