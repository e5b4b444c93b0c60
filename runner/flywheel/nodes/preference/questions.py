"""Questions that the student may learn from, and which of them a round samples."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model
from flywheel.records import Reference, Row

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
    is_probe: bool = False

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
    """The same in every round, so that what is earned can be compared. Probe rows come first: what the lessons taught
    is mostly known by now."""
    found = questions(ctx)
    random.Random(ctx.spec.seed).shuffle(found)
    return sorted(found, key=lambda question: not question.is_probe)[: ctx.spec.train.preference.questions]


def questions(ctx: Context) -> list[PolicyQuestion]:
    """Probe rows and the iteration's training rows, each prompt once. None is an item of a suite: `validate` sees to
    that for probes, curation for lessons."""
    found: dict[str, PolicyQuestion] = {}
    for question in (*_of_probes(ctx), *_of_lessons(ctx)):
        found.setdefault(question.question_id, question)
    return list(found.values())


def _of_probes(ctx: Context) -> list[PolicyQuestion]:
    rows = ctx.query(
        'SELECT task, "row", gold, prompt FROM answers WHERE list_contains(?, node) ORDER BY task, row_id',
        [ctx.fingerprints("probe")],
    )
    return [_of_probe(ctx, row) for row in rows]


def _of_probe(ctx: Context, row: dict[str, Any]) -> PolicyQuestion:
    task = ctx.spec.tasks[row["task"]]
    inputs = {column: value for column, value in row["row"].items() if column != task.target}
    # Where the answer stands at the end of some working, the gold alone is not how the student should answer.
    right = row["gold"] if task.final is None else None
    return PolicyQuestion(row["task"], inputs, row["prompt"], row["gold"], True, right, is_probe=True)


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
    return PolicyQuestion(row["task"], row["row"], row["prompt"], known.text if known else None, trusted, row["target"])
