"""What a node is given, and what it gives back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flywheel.answers import leading_thought, without_thoughts
from flywheel.errors import NodeFailed
from flywheel.plan.model import PlanNode
from flywheel.records import Counts, LessonRequest, Outcome, Reply, Row, Subject, Verdict, row_id
from flywheel.records.nodes import NodeRecord, Query, finished, makers
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.data import read_prompt
from flywheel.spec.models import Spec, Task
from flywheel.spec.outline import judged_columns
from flywheel.spec.reading import read_answer
from flywheel.student import StudentFiles, model_id
from flywheel.student.loading import Arm, base_arm
from flywheel.student.work import Asking
from flywheel.text import plural
from flywheel.verifiers import outcome_of

if TYPE_CHECKING:
    import pyarrow as pa


class Compute(Protocol):
    """Runs a named function in the model worker and waits for it."""

    def __call__(self, function: str, payload: Any, on_progress: Callable[[dict[str, Any]], None]) -> Any: ...


class JudgeAnswers(Protocol):
    """Runs every verifier of each subject's task (`tasks`: other than the spec's); with `cascade` none after one that
    failed."""

    def __call__(
        self, subjects: Iterable[Subject], cascade: bool = False, tasks: Mapping[str, Task] | None = None
    ) -> Iterable[list[Verdict]]: ...


class AskTeachers(Protocol):
    """Sends requests to teachers; replies in the same order. `student` is who a student teacher samples."""

    def __call__(self, requests: Sequence[LessonRequest], student: Arm) -> list[Reply]: ...


class Stream(Protocol):
    """The rows of a query as they come, for more than memory holds."""

    def __call__(self, sql: str, parameters: Sequence[Any]) -> Iterator[dict[str, Any]]: ...


class ColumnsOf(Protocol):
    """The rows of a query as an Arrow table."""

    def __call__(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table: ...


class WriteRows(Protocol):
    """Puts rows of a table into the store as they come, a block at a time: they count once the node is done."""

    def __call__(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None: ...


class CopyRows(Protocol):
    """Puts the rows of a query into a table of the store, by the names of their columns."""

    def __call__(self, table: str, sql: str, parameters: Sequence[Any]) -> None: ...


@dataclass(frozen=True)
class NodeResult:
    """What a node gives back: rows by table, beside those that it has written; the conservation law's counts, and a few
    words or figures."""

    counts: Counts = field(default_factory=Counts)
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskRow:
    """A row of a task's data file: what the student sees of it, the right answer, everything."""

    row_id: str
    inputs: Row
    gold: str
    columns: Row


@dataclass(frozen=True)
class Model:
    """The incumbent or a candidate: an identity, and how to load it."""

    model_id: str
    arm: Arm


@dataclass(frozen=True)
class Context:
    """One node's view of the world.

    `chain` maps iteration → kind → node fingerprints of this plan; a node reads only what its ancestors wrote.
    """

    spec: Spec
    spec_text: str
    spec_hash: str
    root: Path
    node: PlanNode
    chain: Mapping[int, Mapping[str, Sequence[str]]]
    student: StudentFiles
    run_id: str
    query: Query
    stream: Stream
    columns_of: ColumnsOf
    write: WriteRows
    copy: CopyRows
    compute: Compute
    judge: JudgeAnswers
    ask: AskTeachers
    teacher_parameters: Mapping[str, Mapping[str, Any]]
    shots: Mapping[str, str]
    render: Callable[[str, Mapping[str, Any]], str]
    progress: Callable[..., None]
    versions: Mapping[str, str]
    command: str

    @property
    def state(self) -> Path:
        return self.root / ".flywheel"

    @property
    def artifact(self) -> Path:
        """This node's folder; whoever writes there writes beside it and renames."""
        return self.state / "artifacts" / self.node.fingerprint[:32]

    @property
    def asking(self) -> Asking:
        """For a few prompts; `asking_many` for probes, samples and suites."""
        return Asking.of(self.spec.student)

    @property
    def asking_many(self) -> Asking:
        return Asking.many(self.spec.student)

    def seed(self) -> int:
        return int(self.node.inputs.get("seed", self.spec.seed))

    def fingerprints(self, *kinds: str, iteration: int | None = None) -> list[str]:
        """Nodes of these kinds in one iteration (this one by default)."""
        nodes = self.chain.get(self.node.iteration if iteration is None else iteration, {})
        return [fingerprint for kind in kinds for fingerprint in nodes.get(kind, ())]

    def earlier(self, kind: str) -> list[str]:
        """Nodes of a kind in all earlier iterations, oldest first."""
        return [f for n in range(1, self.node.iteration) for f in self.fingerprints(kind, iteration=n)]

    def remembered(self) -> list[str]:
        """Curate nodes of the earlier iterations whose lessons count, oldest first: those in `curate.mix.window`."""
        if self.node.iteration == 1:
            return []
        window = self.spec.curate.mix.window
        first = 1 if window is None else max(1, self.node.iteration - window)
        return [f for n in range(first, self.node.iteration) for f in self.fingerprints("curate", iteration=n)]

    def finished(self, nodes: Collection[str]) -> list[NodeRecord]:
        """The records of these nodes, of those that are done."""
        return finished(self.query, nodes)

    # -- rows of tasks

    def rows(self, path: str) -> list[Row]:
        """Rows of a data file as they are."""
        return read_rows(self.root / path)

    def seen(self, task: str, path: str) -> list[Row]:
        """Rows of a task's data file as predicates see them: without the target."""
        return [{k: v for k, v in row.items() if k != self.spec.tasks[task].target} for row in self.rows(path)]

    def task_rows(self, task: str, path: str) -> list[TaskRow]:
        """Rows of a data file. Raises SpecInvalid with `file:line` where one lacks a needed column."""
        spec = self.spec.tasks[task]
        rows = read_rows(self.root / path)
        return [self._task_row(spec, row) for row in rows]

    def _task_row(self, task: Task, row: Row) -> TaskRow:
        inputs = {k: v for k, v in row.items() if k != task.target}
        return TaskRow(row_id(row), inputs, target_text(row[task.target]), row)

    def columns(self, task: str) -> list[str]:
        """The columns that make a row of this task."""
        return columns_of_task(self.spec, self.root, task)

    def prompt(self, task: str, inputs: Row) -> str:
        """How the student is asked: after solved examples, where the spec wants some."""
        return self.shots[task] + self.question(task, inputs)

    def question(self, task: str, inputs: Row) -> str:
        return self.render(self.spec.tasks[task].prompt, {"row": inputs})

    def read(self, task: str, text: str, row: Row) -> str:
        """The answer in what a teacher wrote; the working stays, where the task says how to find the `final` answer."""
        if self.spec.tasks[task].final is not None:
            return without_thoughts(text).strip()
        return read_answer(text, (self.spec.verifiers[name] for name in self.spec.tasks[task].verify), row)

    def taught(self, task: str, text: str, row: Row) -> str:
        """The target of a lesson in what a teacher wrote: its answer, behind the thought where the task keeps that."""
        answer = self.read(task, text, row)
        if self.spec.tasks[task].thoughts == "drop" or not answer:
            return answer
        return leading_thought(text) + answer

    # -- models

    def base(self) -> Model:
        student = self.spec.student
        arm = base_arm(self.student, student.dtype, student.device)
        return Model(model_id(self.student.weights_hash, None), arm)

    def incumbent(self) -> Model:
        """The last model this chain promoted before this iteration, and no person rejected; else the base."""
        promoted = self.query(
            "SELECT a.* FROM decisions d JOIN adapters a ON a.model_id = d.candidate_id "
            "WHERE d.outcome = 'promote' AND list_contains(?, d.node) AND list_contains(?, a.node) "
            "AND (SELECT arg_max(p.verdict, p.sequence) FROM approvals p WHERE p.decision_hash = d.decision_hash) "
            "IS DISTINCT FROM 'reject' "
            "ORDER BY d.iteration DESC LIMIT 1",
            [self.earlier("gate"), [*self.earlier("train"), *self.earlier("prefer")]],
        )
        return self.adapted(promoted[0]) if promoted else self.base()

    def candidate(self) -> Model | None:
        """What this iteration trained, if it trained."""
        adapters = self.adapters(makers(self.chain[self.node.iteration]))
        return self.adapted(adapters[0]) if adapters else None

    def adapters(self, nodes: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of the adapters that these nodes made; none where there was nothing to learn."""
        return self.query("SELECT * FROM adapters WHERE list_contains(?, node)", [nodes])

    def adapted(self, adapter: Mapping[str, Any]) -> Model:
        path = str(self.root / adapter["path"])
        arm = replace(self.base().arm, adapter=path, adapter_hash=adapter["weights_hash"])
        return Model(adapter["model_id"], arm)


def columns_of_task(spec: Spec, root: Path, name: str) -> list[str]:
    """What its prompt and its verifiers read; all but the target where the prompt reads all."""
    task = spec.tasks[name]
    read = read_prompt(root / task.prompt).columns
    if read is not None:
        return list(dict.fromkeys([*read, *judged_columns(spec.verifiers[verifier] for verifier in task.verify)]))
    path = task.seeds or spec.rows_of(name)
    return [column for column in read_rows(root / path)[0] if column != task.target]


class Unknowns:
    """Verdicts that could not be given, of the `total` subjects of a node."""

    def __init__(self, ctx: Context, total: int) -> None:
        self._spec, self._total = ctx.spec, total
        self._reasons: Counter[str] = Counter()

    def add(self, subjects: Sequence[Subject], verdicts: Sequence[Sequence[Verdict]]) -> None:
        """Raise NodeFailed where more than `loop.max_unknown` allows could not be judged.

        A verdict that had nothing trustworthy to compare with is the teacher's fault, not the verifier's.
        """
        self._reasons.update(
            f"{verdict.verifier}: {verdict.reason}"
            for subject, found in zip(subjects, verdicts, strict=True)
            for verdict in found
            if verdict.outcome == "unknown" and not verdict.advisory and self._to_blame(subject, verdict)
        )
        number, limit = self._reasons.total(), self._spec.loop.max_unknown
        if number > limit * self._total:
            raise NodeFailed(
                f"{plural(number, 'verdict')} on {self._total:,} answers unknown, more than loop.max_unknown "
                f"({limit:.0%}) allows. Most often: {self._reasons.most_common(1)[0][0]}. Mend the verifier, or raise "
                "the limit."
            )

    def _to_blame(self, subject: Subject, verdict: Verdict) -> bool:
        return subject.trusted or not self._spec.verifiers[verdict.verifier].needs_reference


def verdict_rows(node: str, verdicts: Iterable[Sequence[Verdict]]) -> list[dict[str, Any]]:
    return [
        {
            "node": node, "subject_id": v.subject_id, "verifier": v.verifier, "version": v.version,
            "outcome": v.outcome, "reason": v.reason[:2_000], "seconds": v.seconds, "score": v.score,
            "advisory": v.advisory,
        }
        for found in verdicts
        for v in found
    ]  # fmt: skip


def judge_all(
    ctx: Context, subjects: Sequence[Subject], cascade: bool = False
) -> tuple[list[list[Verdict]], list[Outcome]]:
    """Verdicts and outcome of each subject, in order, with progress."""
    verdicts = watched(ctx, ctx.judge(subjects, cascade=cascade), len(subjects))
    Unknowns(ctx, len(subjects)).add(subjects, verdicts)
    return verdicts, [outcome_of(found) for found in verdicts]


def watched(
    ctx: Context, judged: Iterable[list[Verdict]], total: int, done: int = 0, passed: int = 0
) -> list[list[Verdict]]:
    """The verdicts as they come, with progress: how many subjects are judged, and how many of them pass. `done`,
    `passed`: before these."""
    verdicts: list[list[Verdict]] = []
    for found in judged:
        verdicts.append(found)
        passed += outcome_of(found) == "pass"
        ctx.progress(done=done + len(verdicts), total=total, what="judged", passed=passed)
    return verdicts
