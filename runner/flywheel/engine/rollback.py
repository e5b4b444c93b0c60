"""Moving the pointer back: hashes first, then a smoke evaluation, then the move, then its record."""

from __future__ import annotations

from typing import Any

from flywheel.engine.project import Project
from flywheel.engine.resources import Resources
from flywheel.errors import FlywheelError, UsageError
from flywheel.nodes.deployment import check_history, history_row, move_pointer, verify_home
from flywheel.prompting import render
from flywheel.records.rows import read_rows
from flywheel.store import Store
from flywheel.student.loading import Arm
from flywheel.student.work import AnswerJob, Asking

#: Rows asked in the smoke evaluation.
SMOKE_ROWS = 8


def rollback(project: Project, to: str | None = None) -> dict[str, Any]:
    """Point at the model deployed before the current one, or at `to` (a model id or the start of one).

    Gives the manifest now in force. Raises UsageError where there is nothing to go back to, Tampered where what is
    there is not what was deployed, FlywheelError where the model does not answer. Nothing moves then.
    """
    with Store(project.store_path) as store, Resources(project, store, "rollback") as resources:
        history = store.query("SELECT * FROM deployments ORDER BY sequence")
        check_history(history)
        target = _target(history, to)
        folder = project.root / project.spec.deploy.path
        verify_home(folder / target["model_id"], target["manifest"])
        _smoke(project, resources, target)
        move_pointer(folder, target["manifest"])
        row = history_row(
            history, node="", action="rollback", iteration=target["iteration"], manifest=target["manifest"]
        )
        store.write("deployments", [row])
        store.snapshot(project.state / "snapshot.duckdb")
        return dict(target["manifest"])


def _target(history: list[dict[str, Any]], to: str | None) -> dict[str, Any]:
    if not history:
        raise UsageError("nothing was ever deployed. Run `flywheel apply` first.")
    current = history[-1]["model_id"]
    others = [row for row in history if row["model_id"] != current]
    if to is not None:
        others = [row for row in history if row["model_id"].startswith(to)]
    if not others:
        known = ", ".join(dict.fromkeys(row["model_id"] for row in history))
        raise UsageError(
            f'no deployment of "{to}". Deployed so far: {known}.'
            if to
            else f"{current} is the only model ever deployed; there is none to go back to."
        )
    return others[-1]


def _smoke(project: Project, resources: Resources, target: dict[str, Any]) -> None:
    """The model loads and answers a few probe rows."""
    manifest, student = target["manifest"], project.spec.student
    if manifest["base_hash"] != project.student.weights_hash:
        raise FlywheelError(
            f"{target['model_id']} was trained on another base ({manifest['base']}) than student.base "
            f"({project.student.base}) now. Set student.base back to it first."
        )
    task_name, task = next(iter(project.spec.tasks.items()))
    path = task.probes or next(s.data for s in project.spec.evals.values() if s.task == task_name)
    rows = read_rows(project.root / str(path))[:SMOKE_ROWS]
    prompts = tuple(
        (
            str(i),
            render(project.root / task.prompt, project.root, {"row": {k: v for k, v in r.items() if k != task.target}}),
        )
        for i, r in enumerate(rows)
    )
    home = project.root / project.spec.deploy.path / target["model_id"]
    arm = Arm(
        project.student.source, project.student.revision, student.dtype, student.device, project.student.weights_hash,
        str(home), manifest["adapter_hash"],
    )  # fmt: skip
    job = AnswerJob(arm, Asking(student.system, student.max_new_tokens, student.batch_size), prompts)
    answers = resources.compute("flywheel.student.work:answer", job, lambda _: None)
    if not any(answer.text.strip() for answer in answers):
        raise FlywheelError(f"{target['model_id']} gave {len(answers)} empty answers; the pointer was not moved.")
