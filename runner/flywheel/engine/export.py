"""A model that the wheel made as a folder that stands alone: the adapter with all that it needs, or merged into its
base."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.engine.asking import chosen_model
from flywheel.engine.history import open_lookup
from flywheel.engine.project import Workspace
from flywheel.engine.rollback import measured_before, probe_prompts
from flywheel.errors import FlywheelError, UsageError
from flywheel.executor import Worker
from flywheel.files import build_new_folder, refuse_filled
from flywheel.nodes.trust.handover import Handover, write_handover
from flywheel.records.nodes import NodeRecord, Query, finished
from flywheel.student import BUILTIN
from flywheel.student.loading import Arm
from flywheel.student.merging import MergeJob, MergeResult
from flywheel.student.work import Asking

#: Prompts that adapter and merged model are both asked.
CHECKED = 8


@dataclass(frozen=True)
class Exported:
    """What was written. `prompts`, `equal`, `untied`: of a merged model, on how many prompts its greedy answer was the
    adapter's, and whether the output layer got weights of its own."""

    folder: Path
    model_id: str
    iteration: int
    prompts: int = 0
    equal: int = 0
    untied: bool = False
    notes: tuple[str, ...] = ()
    """What is otherwise than when the model was measured."""


def export(
    project: Workspace, worker: Worker, folder: Path, iteration: int | None = None, merged: bool = False
) -> Exported:
    """Write the deployed model, or the one that `iteration` trained, to `folder`, which appears only when it is whole.

    Raises UsageError where the folder is not empty or there is no such model, Tampered where the adapter is not the
    recorded one, FlywheelError where the merged model does not answer as the adapter does: nothing is left then.
    """
    refuse_filled(folder)
    name, arm = chosen_model(project, iteration)
    if arm.adapter is None:
        raise UsageError("0 is the base, which has no adapter to export. Name an iteration that trained one.")
    with open_lookup(project.state) as query:
        record = _measured(query, name)
        known = [] if record is None else measured_before(query, project, record.node)
    number = iteration or (0 if record is None else record.iteration)
    dtype = "auto" if record is None else record.summary["settings"].get("dtype", "auto")
    handover = Handover(project.spec, project.root, project.student, name, number, dtype, project.versions, merged)
    exported = Exported(folder, name, number, notes=_moved(project, record))

    def build(scratch: Path) -> None:
        nonlocal exported, handover
        if merged:
            prompts = [prompt for prompt, _ in known] or probe_prompts(project)
            found = _merge(project, worker, arm, prompts[:CHECKED], scratch)
            handover = replace(handover, dtype=found.merged.dtype)
            exported = replace(exported, prompts=found.prompts, equal=found.equal, untied=found.untied)
        else:
            _copy_adapter(project, Path(str(arm.adapter)), scratch)
        write_handover(scratch, handover, worker.call)

    build_new_folder(folder, build)
    return exported


def _measured(query: Query, model_id: str) -> NodeRecord | None:
    """The newest evaluation that this model was the candidate of."""
    records = finished(query, verb="evaluate")
    return next((r for r in reversed(records) if r.summary["arms"].get("candidate") == model_id), None)


def _moved(project: Workspace, record: NodeRecord | None) -> tuple[str, ...]:
    """What the folder holds otherwise than it was when the model was measured."""
    student, files = project.spec.student, project.facts().files
    now: dict[str, Any] = {f"file {task.prompt}": files[task.prompt] for task in project.spec.tasks.values()}
    now |= {
        "student.system": student.system,
        "student.max_new_tokens": student.max_new_tokens,
        **student.template_parts,
    }
    before = {} if record is None else record.inputs
    moved = [part.removeprefix("file ") for part, value in now.items() if part in before and before[part] != value]
    return tuple(f"{part} has changed since this model was measured; the folder has it as it is now" for part in moved)


def _copy_adapter(project: Workspace, adapter: Path, scratch: Path) -> None:
    """Weights and configuration; the built-in base too, which nobody has elsewhere."""
    shutil.copy2(adapter / "adapter_model.safetensors", scratch)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    # An earlier version may have named the base by its place on this machine.
    config |= {"base_model_name_or_path": project.student.name, "revision": project.student.revision}
    text = json.dumps(config, indent=2, sort_keys=True)
    (scratch / "adapter_config.json").write_text(text, encoding="utf-8")
    if project.student.base in BUILTIN:
        shutil.copytree(BUILTIN[project.student.base], scratch / "base")


def _merge(project: Workspace, worker: Worker, arm: Arm, prompts: list[str], scratch: Path) -> MergeResult:
    job = MergeJob(arm, Asking.of(project.spec.student), tuple(prompts), str(scratch))
    found: MergeResult = worker.call("flywheel.student.merging:merge", job)
    if not found.merged.is_alike:
        raise FlywheelError(
            f"merged, the model answers otherwise than its adapter: {found.equal} of {found.prompts} answers equal, "
            f"logits differ by up to {found.merged.logit_change:.3g} ({found.merged.allowed:.3g} allowed in "
            f"{found.merged.dtype}). Nothing was written. Export the adapter instead (without --merged), or set "
            "student.dtype: float32."
        )
    return found
