"""What goes between a generator and its teachers: what lessons are made from, what is asked, what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from flywheel.nodes.context import Context, Model
from flywheel.records import Candidate, LessonRequest, Row
from flywheel.spec.models import Task
from flywheel.spec.outline import judged_columns
from flywheel.spec.strategies import Generator


@dataclass(frozen=True)
class Material:
    """What a lesson is made from: a failure, a seed, a row of a file, or an earlier lesson."""

    source_id: str
    row: Row
    """The input columns."""
    answer: str | None
    """The known right answer."""
    failure_ids: tuple[str, ...] = ()
    depth: int = 0


@dataclass(frozen=True)
class Ask:
    """A request and what it was made from."""

    request: LessonRequest
    failure_ids: tuple[str, ...] = ()
    source: Material | None = None


@dataclass(frozen=True)
class Piece:
    """Something a reply held: a candidate, or a problem with it. `status`: parsed, unparsed or filtered; where it is
    parsed, `problem` says why it has no second opinion."""

    candidate: Candidate
    status: Literal["parsed", "unparsed", "filtered"] = "parsed"
    problem: str = ""
    text: str = ""


class Assignment:
    """A generator in one node: its task, and who came before."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.generator: Generator = next(g for g in ctx.spec.generate if g.name == ctx.node.subject)
        self.task_name = ctx.spec.task_of(self.generator)
        self.task: Task = ctx.spec.tasks[self.task_name]
        self.columns = ctx.columns(self.task_name)
        self.target = self.task.target
        self.model: Model = ctx.incumbent()
        """Whom a student teacher samples."""

    def inputs(self, row: Mapping[str, Any]) -> Row:
        """The columns of a row that make it one of this task."""
        return {column: row.get(column) for column in self.columns}

    @cached_property
    def judged(self) -> list[str]:
        """Columns that the task's verifiers read beside the student's."""
        return judged_columns(self.ctx.spec.verifiers[name] for name in self.task.verify)

    @cached_property
    def asked_columns(self) -> list[str]:
        """The columns of a row that a teacher writes."""
        return self.generator.asked_columns(self.columns, self.judged, self.target)

    @cached_property
    def earlier_nodes(self) -> list[str]:
        """Generate nodes of this generator that ran before this one: earlier iterations, earlier rounds."""
        nodes = self.ctx.earlier("generate") + self.ctx.fingerprints("generate")
        before = nodes[: nodes.index(self.ctx.node.fingerprint)]
        # Other generators run beside this one: what they have done by now is a matter of luck.
        own = {record.node for record in self.ctx.finished(before) if record.subject == self.generator.name}
        return [node for node in before if node in own]
