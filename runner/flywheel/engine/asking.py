"""Asking a model that the wheel made: the deployed one, an iteration's, or the base before any."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flywheel.answers import final_answer
from flywheel.engine.history import open_lookup
from flywheel.engine.project import Workspace
from flywheel.errors import FlywheelError, SpecInvalid, UsageError
from flywheel.executor import Worker
from flywheel.prompting import render
from flywheel.records import Generation, Outcome, Row, Subject, Verdict, row_id
from flywheel.records.nodes import Query, finished
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.data import read_prompt
from flywheel.spec.models import Task
from flywheel.student import model_id
from flywheel.student.loading import Arm, base_arm
from flywheel.student.work import AnswerJob, Asking
from flywheel.text import did_you_mean, listing
from flywheel.verifiers import Checker, outcome_of

#: Verifier processes.
_JUDGES = 2


@dataclass(frozen=True)
class StudentAnswer:
    """What a model said to one row of a task."""

    row: Row
    """As it was given."""
    text: str
    """All that the model wrote."""
    answer: str
    """What the task's `final` finds in it; all of it where the task has none."""
    truncated: bool
    """True where it reached `student.max_new_tokens`."""
    tokens: int
    model_id: str
    outcome: Outcome | None = None
    """By the task's verifiers; None where nobody asked them."""
    verdicts: tuple[Verdict, ...] = ()


def ask(
    project: Workspace,
    worker: Worker,
    task: str,
    rows: Sequence[Mapping[str, Any]],
    iteration: int | None = None,
    judge: bool = False,
) -> list[StudentAnswer]:
    """Greedy answers to `rows`, in order: asked by the task's prompt, up to its stops, as when the model was measured.

    `iteration` names the model that it trained, 0 the base; without it the deployed one answers. The column with the
    right answer may be among a row's: the student does not see it. With `judge` the task's verifiers speak too; of
    those that need a right answer, only where the row has one, and none of kind `judge`, which would ask a teacher.

    Raises UsageError for a task, an iteration or a row that is none, Tampered where the adapter is not the recorded
    one.
    """
    wanted = task_of(project, task)
    name, arm = chosen_model(project, iteration)
    inputs = [inputs_of(wanted, row) for row in rows]
    prompts = tuple((str(i), _prompt(project, task, i, row)) for i, row in enumerate(inputs))
    student = project.spec.student
    asking = Asking.of(student)
    job = AnswerJob(arm, asking, prompts, stop=tuple(wanted.stop))
    said: list[Generation] = worker.call("flywheel.student.work:answer", job)
    answers = [
        StudentAnswer(dict(row), text.text, final_answer(text.text, wanted.final), text.truncated, text.tokens, name)
        for row, text in zip(rows, said, strict=True)
    ]
    return _judged(project, task, answers) if judge else answers


def example_row(project: Workspace, task: str) -> str:
    """What a person can type as the row in `flywheel ask TASK ROW`: the columns that the prompt reads of the task's
    first row, or the file where they are no short texts."""
    wanted = project.spec.tasks[task]
    path = project.spec.rows_of(task)
    row = read_rows(project.root / path)[0]
    columns = read_prompt(project.root / wanted.prompt).columns or [name for name in row if name != wanted.target]
    values = {name: row.get(name) for name in columns}
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items() if isinstance(value, str))
    is_short = len(words) <= 100 and "\n" not in words and all(isinstance(value, str) for value in values.values())
    return words if is_short and all(name.isidentifier() for name in values) else shlex.quote(path)


def new_worker(project_root: Path, log: str = "asking.log") -> Worker:
    """The process that holds the model; close it. What it prints goes to `log`."""
    return Worker(project_root / ".flywheel" / log)


def arm_of(project: Workspace, adapter: Path | None, adapter_hash: str | None) -> Arm:
    """The project's student as it is loaded, with this adapter."""
    student = project.spec.student
    base = base_arm(project.student, student.dtype, student.device)
    return replace(base, adapter=None if adapter is None else str(adapter), adapter_hash=adapter_hash)


def refuse_other_base(project: Workspace, name: str, made_from: Mapping[str, Any]) -> None:
    """Raise FlywheelError where an adapter was trained on another base. `made_from`: its `base` and `base_hash`."""
    if made_from["base_hash"] != project.student.weights_hash:
        raise FlywheelError(
            f"{name} was trained on another base ({made_from['base']}) than student.base "
            f"({project.student.base}) now. Set student.base back to it first."
        )


# --- what is asked ----------------------------------------------------------------------------------------------------


def task_of(project: Workspace, name: str) -> Task:
    """A task of the spec. Raises UsageError for a name that is none's."""
    tasks = project.spec.tasks
    if name not in tasks:
        raise UsageError(f'the spec has no task "{name}". {did_you_mean(name, tasks)}'.strip())
    return tasks[name]


def inputs_of(task: Task, row: Mapping[str, Any]) -> Row:
    """What of a row the student may see: all but the column with the right answer."""
    return {column: value for column, value in row.items() if column != task.target}


def prompt_of(project: Workspace, task: str, inputs: Mapping[str, Any]) -> str:
    """How the student is asked about a row of a task. Raises SpecInvalid where the row lacks a column."""
    asked = render(project.root / project.spec.tasks[task].prompt, project.root, {"row": inputs})
    return project.shots[task] + asked


def _prompt(project: Workspace, task: str, index: int, inputs: Row) -> str:
    try:
        return prompt_of(project, task, inputs)
    except SpecInvalid as error:
        have = ", ".join(inputs) or "no column"
        why = _lacking(project, task, inputs, error) or error
        raise UsageError(f"row {index + 1} (it has {have}) cannot be asked about: {why}") from error


def _lacking(project: Workspace, task: str, inputs: Row, error: SpecInvalid) -> str:
    """Of the column that the prompt reads and the row lacks: the prompt is right, and the row is to be mended."""
    fault = error.faults[0]
    columns = read_prompt(project.root / project.spec.tasks[task].prompt).columns or {}
    missing = next((name for name in columns if fault.message.endswith(f"has no attribute '{name}'.")), None)
    if missing is None:
        return ""
    near = get_close_matches(missing, [name for name in inputs if name not in columns], 1)
    mend = f'Write "{missing}" for "{near[0]}".' if near else f"It reads {listing(columns, missing)}."
    return f'{fault.file}:{fault.line} reads the column "{missing}", which is not there. {mend}'


# --- who is asked -----------------------------------------------------------------------------------------------------


def chosen_model(project: Workspace, iteration: int | None) -> tuple[str, Arm]:
    """Identity of an iteration's model (0: the base), or of the deployed one, and how to load it. Raises as `ask`."""
    if iteration == 0:
        return model_id(project.student.weights_hash, None), arm_of(project, None, None)
    if iteration is None:
        return _deployed(project)
    with open_lookup(project.state) as query:
        found = trained_model(query, iteration)
    refuse_other_base(project, found["model_id"], found)
    return found["model_id"], arm_of(project, project.root / found["path"], found["weights_hash"])


def trained_model(query: Query, iteration: int) -> dict[str, Any]:
    """The newest adapter of an iteration: of this spec, or of an earlier one that was not trained again since."""
    adapters = {row["node"]: row for row in query("SELECT * FROM adapters")}
    trained = [record for record in finished(query) if record.node in adapters]
    found = [adapters[record.node] for record in trained if record.iteration == iteration]
    if not found:
        have = listing((str(number) for number in sorted({record.iteration for record in trained})), str(iteration))
        known = f"Iterations with a model: {have}; 0 is the base." if have else "Run `flywheel apply`; 0 is the base."
        raise UsageError(f"iteration {iteration} has trained no model. {known}")
    return found[-1]


def _deployed(project: Workspace) -> tuple[str, Arm]:
    """Where `current` points now; an apply that is running may have moved it since the snapshot that can be read."""
    return deployed_model(project, (project.root / project.spec.deploy.path / "current").resolve())


def deployed_model(project: Workspace, home: Path) -> tuple[str, Arm]:
    """The model in this folder of `deploy.path`, now in force or before. Raises as `ask`."""
    from flywheel.nodes.trust.deployment import check_history, verify_home  # `example_row` is asked for by every apply

    if not (home / "manifest.json").is_file():
        raise UsageError(
            "nothing is deployed yet. Run `flywheel apply`, or ask an iteration's model by its number; 0 is the base."
        )
    manifest = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
    with open_lookup(project.state) as query:
        history = query("SELECT * FROM deployments ORDER BY sequence")
    check_history(history)
    recorded = [row["manifest"] for row in history if row["model_id"] == home.name]
    verify_home(home, recorded[-1] if recorded else manifest)
    refuse_other_base(project, home.name, manifest)
    return home.name, arm_of(project, home, manifest["adapter_hash"])


# --- who says whether it is right -------------------------------------------------------------------------------------


def _judged(project: Workspace, name: str, answers: Sequence[StudentAnswer]) -> list[StudentAnswer]:
    spec = project.spec
    task = spec.tasks[name]
    subjects = [_subject(name, task, answer) for answer in answers]
    with Checker(spec.verifiers, project.root, _JUDGES, unsafe=spec.allow_unsafe_execution) as checker:
        verdicts = list(checker.judge(subjects, spec.tasks))
    return [
        replace(answer, outcome=outcome_of(found), verdicts=tuple(found))
        for answer, found in zip(answers, verdicts, strict=True)
    ]


def _subject(name: str, task: Task, answer: StudentAnswer) -> Subject:
    gold = answer.row.get(task.target)
    return Subject(
        row_id(answer.row), name, inputs_of(task, answer.row), answer.text, None if gold is None else target_text(gold)
    )
