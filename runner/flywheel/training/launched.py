"""One process of a training that a launcher started: `torchrun … -m flywheel.training.launched FOLDER`.

The folder holds the job; `training.launching` wrote it, and reads there what came of it. The first process (RANK 0)
writes adapter, checkpoints, result and progress.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, NodeFailed
from flywheel.executor.child import die_with
from flywheel.files import write_text
from flywheel.student.loading import choose_device, prepare_torch
from flywheel.training.launching import JOB, RESULT
from flywheel.training.lora import BeginSmaller, TrainingJob, TrainingResult, train
from flywheel.training.preference import PreferenceJob, prefer
from flywheel.training.ranks import Ranks
from flywheel.version import installed_version

Progress = Callable[[dict[str, Any]], None]


def main(arguments: list[str]) -> None:
    from torch.distributed.elastic.multiprocessing.errors import record

    die_with(os.getppid())  # launchers start us in sessions of our own, which nobody kills
    record(serve)(Path(arguments[0]))


def serve(folder: Path) -> None:
    """Ends the process with status 1 where the training failed, and its launcher ends the others."""
    progress = _progress()
    rank = int(os.environ.get("RANK", 0))
    try:
        if rank == 0:
            _claim(folder)
        result = _trained(folder, progress if rank == 0 else _nobody)
    except FlywheelError as error:
        failure = {"message": str(error), "again": isinstance(error, BeginSmaller)}
        write_text(folder / f"failed.{rank}.json", json.dumps(failure))
        raise SystemExit(1) from error
    if rank == 0:
        write_text(folder / RESULT, json.dumps(asdict(result)))


def _progress() -> Progress:
    """Stdout is for progress alone: what libraries print there goes to stderr."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def progress(message: dict[str, Any]) -> None:
        print(json.dumps({"progress": message}), file=lines)  # fails when nobody reads it any more: the worker is dead

    return progress


def _nobody(message: dict[str, Any]) -> None:
    """Who hears the other processes."""


def _claim(folder: Path) -> None:
    """A launcher that numbers nobody starts several first processes, which would write over each other."""
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        (folder / f"first.{start}").touch(exist_ok=False)
    except FileExistsError:
        raise NodeFailed(
            "train.launch started several processes without numbers (RANK, WORLD_SIZE). Let torchrun start them: "
            "`srun torchrun …` rather than `srun python`."
        ) from None


def _trained(folder: Path, progress: Progress) -> TrainingResult:
    from pydantic import TypeAdapter

    told = json.loads((folder / JOB).read_text())
    if told["version"] != (here := installed_version()):
        raise NodeFailed(f"train.launch: the job is of flywheel {told['version']}, and {here} is what it reached.")
    torch = prepare_torch()
    if told["of"] == TrainingJob.__name__:
        job = TypeAdapter(TrainingJob).validate_python(told["job"])
        return _in_ranks(torch, job, lambda ranks: train(replace(job, launch=None), progress, ranks))
    wanted = TypeAdapter(PreferenceJob).validate_python(told["job"])
    alone = replace(wanted, training=replace(wanted.training, launch=None))
    return _in_ranks(torch, wanted.training, lambda ranks: prefer(alone, progress, ranks))


def _in_ranks(torch: Any, job: TrainingJob, run: Callable[[Ranks], TrainingResult]) -> TrainingResult:
    """LOCAL_RANK chooses the GPU."""
    device = choose_device(job.arm.device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    ranks = Ranks.joined(torch, device)
    if device == "mps" and ranks.world > 1:
        raise NodeFailed("train.launch: a Mac has one GPU. Start one process, or set student.device: cpu.")
    result = run(ranks)
    ranks.leave(torch)
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
