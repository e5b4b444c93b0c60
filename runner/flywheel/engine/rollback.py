"""Moving the pointer back: hashes first, then a smoke evaluation, then the move, then its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.engine.asking import arm_of, prompt_of, refuse_other_base
from flywheel.engine.overview import write_overview
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.engine.resources import Resources
from flywheel.errors import FlywheelError, UsageError
from flywheel.nodes.targets import Release, ServedGate, ServedPrompt, TargetRefused, chosen, tell
from flywheel.nodes.trust.deployment import check_history, history_row, move_pointer, verify_home
from flywheel.nodes.trust.evidence import Query, lineage_in, verify_holdout, verify_report, verify_store
from flywheel.records.nodes import record_of
from flywheel.records.rows import read_rows
from flywheel.spec.models import Spec
from flywheel.store import Store
from flywheel.student.loading import Arm
from flywheel.student.work import AnswerJob, Asking
from flywheel.text import listing

#: Rows asked in the smoke evaluation.
SMOKE_ROWS = 16
#: Share of them that may be answered otherwise than when measured: batches of another shape can turn near ties.
SMOKE_DIFFERS = 0.25


def rollback(project: Workspace, to: str | None = None) -> dict[str, Any]:
    """Point at the model that was in service before the current one came, or at `to` (a model id or the start of one).

    Gives the manifest now in force. Raises UsageError where there is nothing to go back to, Tampered where what is
    there, or what its decision rests on, is not what it was, FlywheelError where the model does not answer as it was
    measured, here or by the target that `deploy` names. Nothing moves then.
    """
    with Store(project.store_path) as store, Resources(project, store, "rollback") as resources:
        history = store.query("SELECT * FROM deployments ORDER BY sequence")
        check_history(history)
        target = _target(history, to)
        folder = project.root / project.spec.deploy.path
        verify_home(folder / target["model_id"], target["manifest"])
        lineage = lineage_in(target["manifest"])
        verify_store(store.query, lineage)
        verify_report(store.query, project.root, lineage.report, published=False)
        verify_holdout(store.query, project.root, lineage.evaluate, later=True)
        _smoke(project, resources, target, measured_before(store.query, project, lineage.evaluate))
        move_pointer(folder, target["manifest"])
        _tell(project, resources, store.query, target, history[-1])
        row = history_row(
            history, node="", action="rollback", iteration=target["iteration"], manifest=target["manifest"]
        )
        store.write("deployments", [row])
        # The overview says which model is in service.
        turns = max(project.spec.loop.iterations, *(past["iteration"] for past in history))
        write_overview(project, make_plan(project, turns, store.query), store.query)
        store.snapshot(project.state / "snapshot.duckdb")
        return dict(target["manifest"])


def _tell(
    project: Workspace, resources: Resources, query: Query, target: Mapping[str, Any], former: Mapping[str, Any]
) -> None:
    """The deployment target, too. Raises TargetRefused with the pointer back where it was."""
    folder, spec = project.root / project.spec.deploy.path, project.spec.deploy
    release, before = (Release(folder / row["model_id"], row["manifest"]) for row in (target, former))
    try:
        asked = _questions(project, resources, query, target) if spec.asked_at is not None else ()
        tell(spec, project.root, release, before, ServedGate(release.home, asked), "rollback")
    except TargetRefused as error:
        if before.home.is_dir():
            move_pointer(folder, former["manifest"])
        raise TargetRefused(f"{error} The pointer was not moved.") from None


def _questions(project: Workspace, resources: Resources, query: Query, target: Mapping[str, Any]) -> list[ServedPrompt]:
    manifest = target["manifest"]
    evaluated = _measured(query, project, lineage_in(manifest).evaluate)
    if not evaluated:
        prompts = probe_prompts(project)
        said = _answers(project, resources, manifest, prompts)
        evaluated = [(prompt, answer, ()) for prompt, answer in zip(prompts, said, strict=True)]
    base = arm_of(project, None, None)
    return chosen(evaluated, lambda prompts: _said(project, resources, base, prompts))


def _target(history: list[dict[str, Any]], to: str | None) -> dict[str, Any]:
    if not history:
        raise UsageError("nothing was ever deployed. Run `flywheel apply` first.")
    current = history[-1]["model_id"]
    known = f"Deployed so far: {listing((row['model_id'] for row in reversed(history)), to or '')}."
    if to is not None:
        found = [row for row in history if row["model_id"].startswith(to)]
        if not found:
            raise UsageError(f'no deployment of "{to}". {known}')
        if found[-1]["model_id"] == current:
            raise UsageError(f"{current} is in service already. {known}")
        return found[-1]
    *before, _ = _still_stands(history)
    if not before:
        raise UsageError(f"before {current} no model was in service. {known} `flywheel rollback --to ID` takes any.")
    return before[-1]


def _still_stands(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Deployments that no rollback took back, so that a second one goes further back and never forward again."""
    found: list[dict[str, Any]] = []
    for row in history:
        same = [place for place, one in enumerate(found) if one["model_id"] == row["model_id"]]
        if row["action"] == "rollback" and same:
            del found[same[-1] + 1 :]
        elif not same or same[-1] != len(found) - 1:
            found.append(row)
    return found


# --- smoke evaluation -------------------------------------------------------------------------------------------------


def measured_before(query: Query, project: Workspace, evaluate: str) -> list[tuple[str, str]]:
    """(prompt, answer) as `_measured` finds them."""
    return [(prompt, answer) for prompt, answer, _ in _measured(query, project, evaluate)]


def _measured(query: Query, project: Workspace, evaluate: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """(prompt, answer, stop) of suite items that the candidate of node `evaluate` answered when it was measured.

    Guards first. Only where they can be asked again just so: suites of this spec that are asked as they were, greedy,
    without shots of their own.
    """
    spec = project.spec
    inputs = record_of(query, evaluate).inputs
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for name, suite in sorted(spec.evals.items(), key=lambda pair: (pair[1].role != "guard", pair[0])):
        if (
            suite.task is None
            or suite.repeats > 1
            or suite.num_fewshot is not None
            or not _asked_alike(project, suite.task, inputs)
        ):
            continue
        rows = query(
            """SELECT "row", answer FROM scores WHERE node = ? AND arm = 'candidate' AND suite = ?
               AND outcome <> 'unknown' ORDER BY item_id LIMIT ?""",
            [evaluate, name, SMOKE_ROWS - len(found)],
        )
        stop = tuple(spec.stop_of(suite))
        found += [(prompt_of(project, suite.task, row["row"]), row["answer"], stop) for row in rows]
    return found


def _asked_alike(project: Workspace, task: str, inputs: Mapping[str, Any]) -> bool:
    """Whether prompt and student settings are those of that evaluation."""
    student, declared = project.spec.student, project.spec.tasks[task]
    files = [declared.prompt, *([declared.seeds] if student.shots else [])]
    now = {
        **{f"file {name}": project.facts().files[str(name)] for name in files},
        "student.shots": student.shots or None,
        "student.weights": project.student.weights_hash,
        "student.dtype": student.dtype,
        "student.device": student.device,
        "student.system": student.system,
        **student.template_parts,
        "student.max_new_tokens": student.max_new_tokens,
    }
    return all(inputs.get(part) == value for part, value in now.items())


def probe_prompts(project: Workspace) -> list[str]:
    """Of the first task's probes, or of other rows of it where it has none."""
    spec: Spec = project.spec
    name, task = next(iter(spec.tasks.items()))
    rows = read_rows(project.root / spec.rows_of(name))[:SMOKE_ROWS]
    return [prompt_of(project, name, {k: v for k, v in row.items() if k != task.target}) for row in rows]


def _smoke(project: Workspace, resources: Resources, target: dict[str, Any], known: list[tuple[str, str]]) -> None:
    """The model loads, and answers a few items as it did when it was measured; where none can be asked again just so,
    it answers a few probe rows."""
    manifest = target["manifest"]
    refuse_other_base(project, target["model_id"], manifest)
    prompts = [prompt for prompt, _ in known] or probe_prompts(project)
    answers = _answers(project, resources, manifest, prompts)
    if not any(answer.strip() for answer in answers):
        raise FlywheelError(f"{target['model_id']} gave {len(answers)} empty answers; the pointer was not moved.")
    differ = sum(now.strip() != before.strip() for now, (_, before) in zip(answers, known, strict=False))
    if differ > SMOKE_DIFFERS * len(answers):
        raise FlywheelError(
            f"{target['model_id']} answers {differ} of {len(answers)} items otherwise than when it was measured; the "
            "pointer was not moved. Has the machine, or a package, changed? Run `flywheel apply` to measure anew."
        )


def _answers(project: Workspace, resources: Resources, manifest: Mapping[str, Any], prompts: list[str]) -> list[str]:
    home = project.root / project.spec.deploy.path / str(manifest["model_id"])
    return _said(project, resources, arm_of(project, home, manifest["adapter_hash"]), prompts)


def _said(project: Workspace, resources: Resources, arm: Arm, prompts: Sequence[str]) -> list[str]:
    asked = tuple((str(i), prompt) for i, prompt in enumerate(prompts))
    job = AnswerJob(arm, Asking.of(project.spec.student), asked)
    # Here: to go back must not hang on a cluster, which may be gone or busy.
    return [answer.text for answer in resources.compute_here("flywheel.student.work:answer", job, lambda _: None)]
