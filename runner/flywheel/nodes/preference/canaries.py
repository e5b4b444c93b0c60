"""Rows on which a known cheat would pass: a student that takes it has learned to please the verifier."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.errors import NodeFailed
from flywheel.nodes.context import Context, Model
from flywheel.records import Generation
from flywheel.records.rows import read_row_file
from flywheel.spec.canaries import Canary, canary_of
from flywheel.student.work import AnswerJob
from flywheel.text import one_line, plural


def refuse_cheats(ctx: Context, model: Model, when: str) -> int:
    """Ask the model every canary, greedily; how many there are. Raises NodeFailed where an answer takes the cheat."""
    canaries = _canaries(ctx)
    taken: list[tuple[Canary, str]] = []
    for task in dict.fromkeys(canary.task for canary in canaries):
        rows = [canary for canary in canaries if canary.task == task]
        said = _answers(ctx, model, task, rows)
        taken += [(canary, answer.text) for canary, answer in zip(rows, said, strict=True) if canary.takes(answer.text)]
    if taken:
        raise NodeFailed(_found_out(ctx, taken, len(canaries), when))
    return len(canaries)


def _canaries(ctx: Context) -> list[Canary]:
    path = ctx.spec.train.canaries
    if path is None:
        return []
    file = read_row_file(ctx.root / path)
    return [canary_of(row, line, ctx.spec.tasks) for line, row in zip(file.lines, file.rows, strict=True)]


def _answers(ctx: Context, model: Model, task: str, rows: Sequence[Canary]) -> list[Generation]:
    prompts = tuple((str(canary.line), ctx.prompt(task, canary.row)) for canary in rows)
    stop = tuple(ctx.spec.tasks[task].stop)
    answers: list[Generation] = ctx.compute(
        "flywheel.student.work:answer",
        AnswerJob(model.arm, ctx.asking, prompts, stop=stop),
        lambda message: ctx.progress(**message, what="canaries"),
    )
    return answers


def _found_out(ctx: Context, taken: Sequence[tuple[Canary, str]], canaries: int, when: str) -> str:
    canary, answer = taken[0]
    return (
        f"the student cheats on {len(taken)} of {plural(canaries, 'canary row')} {when}: to "
        f'{ctx.spec.train.canaries}:{canary.line} it answers "{one_line(answer, 80)}", the cheat. Nothing of this '
        f"iteration is deployed. Mend the verifiers of {canary.task} so that the cheat fails, then run "
        "`flywheel apply`."
    )
