"""Lessons as curation and the gate see them, and whether they overlap what the model is measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, TaskRow
from flywheel.records import Row
from flywheel.records.rows import target_text
from flywheel.store.similarity import Overlap, contaminated


class Lesson(NamedTuple):
    lesson_id: str
    candidate_id: str | None
    task: str
    mode: str | None
    teacher: str | None
    generator: str
    row: Row
    target: str
    grade: float | None = None
    """What grading verifiers gave it, in [0, 1]."""

    @property
    def question(self) -> str:
        return words_of(self.row)

    @property
    def whole(self) -> str:
        return f"{self.question}\n{self.target}"


def words_of(row: Row) -> str:
    """A row's columns as one text, in column order."""
    return "\n".join(target_text(row[key]) for key in sorted(row) if row[key] is not None)


def lesson_id_of(task: str, row: Row, target: str) -> str:
    return fingerprint([task, row, target])[:16]


#: The same in SQL, of a row of `dataset`. Where DuckDB writes a number otherwise than Python it is another id, that of
#: no other row: who compares looks at such a row itself.
LESSON_ID = """left(sha256(concat('[', to_json(task), ',', json("row"), ',', to_json(target), ']')), 16)"""


def cleared(ctx: Context) -> tuple[str, list[Any]]:
    """A condition on rows of `dataset`, and its parameters: what the row says, to the letter, was held against the same
    eval items before, by curation in this iteration or an earlier one, and overlaps none."""
    nodes = [*ctx.earlier("curate"), *ctx.fingerprints("curate")]
    condition = f"{LESSON_ID} IN (SELECT lesson_id FROM cleared WHERE evals = ? AND list_contains(?, node))"
    return condition, [_evals_fingerprint(ctx), nodes]


def clear(ctx: Context) -> None:
    """Note the rows of this node's dataset, each of which was looked at, so that nobody has to look again."""
    condition, parameters = cleared(ctx)
    ctx.copy(
        "cleared",
        f"""SELECT DISTINCT node, ? AS evals, {LESSON_ID} AS lesson_id FROM dataset
            WHERE node = ? AND NOT {condition}""",
        [parameters[0], ctx.node.fingerprint, *parameters],
    )


def _evals_fingerprint(ctx: Context) -> str:
    return fingerprint([ctx.spec.curate.decontaminate.model_dump(), _eval_texts(ctx)])


def overlaps_with_evals(ctx: Context, lessons: Sequence[Lesson]) -> Mapping[int, Overlap]:
    """Lessons that overlap an item of any declared suite: index → overlap."""
    if not lessons:
        return {}
    pairs = ((lesson.question, lesson.whole) for lesson in lessons)
    rule = ctx.spec.curate.decontaminate
    return contaminated(pairs, _eval_texts(ctx), rule.ngram, rule.ratio)


def _eval_texts(ctx: Context) -> list[tuple[str, str, str, str]]:
    """(suite, item id, question, question and answer) of every declared suite, lm-eval's own included."""
    texts: list[tuple[str, str, str, str]] = []
    for name, suite in ctx.spec.evals.items():
        if suite.task is not None and suite.data is not None:
            columns = ctx.columns(suite.task)
            texts += [_item_text(name, row, columns) for row in ctx.task_rows(suite.task, suite.data)]
        elif suite.lm_eval is not None:
            found = ctx.compute(
                "flywheel.harness.texts:item_texts", (suite.lm_eval, str(ctx.root / "evals")), lambda _: None
            )
            texts += [(name, item, question, f"{question}\n{gold}") for item, question, gold in found]
    return texts


def _item_text(suite: str, row: TaskRow, columns: Iterable[str]) -> tuple[str, str, str, str]:
    question = words_of({column: row.inputs.get(column) for column in columns})
    return suite, row.row_id, question, f"{question}\n{row.gold}"
