"""How fast the project's student is on this machine: measured once, and kept until something of it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from flywheel.engine.asking import arm_of, new_worker, prompt_of
from flywheel.engine.project import Workspace
from flywheel.files import write_text
from flywheel.hashing import fingerprint, hash_file
from flywheel.plan import VERBS, Plan
from flywheel.plan.estimates import Speed
from flywheel.records.rows import read_rows, target_text
from flywheel.student import four_bits, model_folder
from flywheel.student.work import Asking
from flywheel.training.recipe import Size, rows_read, size_in

#: So many rows are enough to see how fast a student is.
ROWS = 64


def speed_of(project: Workspace, plan: Plan, say: Callable[[str], None]) -> Speed | None:
    """None where the plan needs none, the base is not here, or this machine cannot train it as it is to be. `say` is
    told when something is measured."""
    settings = project.spec.train.of_lessons
    if not _wanted(plan) or not _can_be_measured(project):
        return None
    found = _kept(project) or _measured(project, settings if project.spec.train.launch is None else None, say)
    size = size_of_student(project)
    if size is None:
        return None
    return Speed(
        found["load"],
        (found["answer_short"], found["answer_long"]),
        found["read"],
        found["learn"],
        lambda lessons: rows_read(settings, size, lessons),
    )


def size_of_student(project: Workspace) -> Size | None:
    """None where the base is not on this machine, or is a GGUF file that was never loaded."""
    student = project.spec.student
    folder = model_folder(student.base, student.revision, project.root)
    return size_in(folder or Path(project.student.source))


def _can_be_measured(project: Workspace) -> bool:
    is_here = project.student.gguf is not None or size_of_student(project) is not None
    train = project.spec.train
    return is_here and (train.quantize is None or train.launch is not None or four_bits.lack() is None)


def _wanted(plan: Plan) -> bool:
    return any(VERBS[node.kind].works_the_student and node.estimate.seconds is None for node in plan.pending)


def _file(project: Workspace) -> Path:
    return project.state / "calibration.json"


def _kept(project: Workspace) -> dict[str, Any] | None:
    try:
        kept = json.loads(_file(project).read_bytes())
    except (OSError, ValueError):
        return None
    return kept["seconds"] if isinstance(kept, dict) and kept.get("of") == _of(project) else None


def _of(project: Workspace) -> str:
    """What the seconds hang on."""
    spec = project.spec
    files = [[task.prompt, task.probes, task.seeds] for task in spec.tasks.values()]
    hashes = [hash_file(project.root / name) for names in files for name in names if name is not None]
    versions = [project.versions[name] for name in ("machine", "torch", "transformers", "peft")]
    student = [project.student.weights_hash, spec.student.model_dump(mode="json"), spec.train.of_lessons]
    launched = [] if spec.train.launch is None else ["trained by a command"]
    return fingerprint([student, hashes, versions, os.cpu_count(), *launched])


def _measured(project: Workspace, settings: dict[str, Any] | None, say: Callable[[str], None]) -> dict[str, Any]:
    from flywheel.training import CalibrationJob

    say(f"Measuring how fast {project.student.name} is here, about ten seconds; it is kept.")
    pairs = tuple(_pairs(project))
    job = CalibrationJob(arm_of(project, None, None), Asking.of(project.spec.student), pairs, settings)
    worker = new_worker(project.root)
    try:
        found = asdict(worker.call("flywheel.training:calibrate", job))
    finally:
        worker.close()
    write_text(_file(project), json.dumps({"of": _of(project), "seconds": found}, indent=1) + "\n")
    return found


def _pairs(project: Workspace) -> list[tuple[str, str]]:
    """The first rows of each task, as (prompt, right answer, empty where the file has none)."""
    found = []
    tasks = project.spec.tasks
    for name, task in tasks.items():
        for row in islice(read_rows(project.root / project.spec.rows_of(name)), max(1, ROWS // len(tasks))):
            inputs = {column: value for column, value in row.items() if column != task.target}
            found.append((prompt_of(project, name, inputs), target_text(row.get(task.target, ""))))
    return found
