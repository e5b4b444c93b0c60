"""Training one adapter, in the model worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flywheel.nodes.context import Context
from flywheel.student import model_id
from flywheel.student.loading import Arm
from flywheel.student.work import chat_of
from flywheel.training import TrainingJob, TrainingResult


def fitted(ctx: Context, arm: Arm, rows: Sequence[dict[str, Any]], out: Path, what: str = "steps") -> TrainingResult:
    """An adapter in the folder `out`, trained from `arm` on the rows' `prompt` and `target`. `what`: a word for the
    terminal."""
    job = TrainingJob(
        arm=arm,
        base_name=ctx.student.name,
        rows=tuple((row["prompt"], row["target"]) for row in rows),
        settings=ctx.spec.train.of_lessons,
        chat=chat_of(ctx.spec.student),
        seed=ctx.seed(),
        out=str(out),
        launch=ctx.spec.train.launch,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    result: TrainingResult = ctx.compute("flywheel.training:train", job, lambda m: ctx.progress(**m, what=what))
    return result


def adapter_row(ctx: Context, result: TrainingResult) -> dict[str, Any]:
    """The node's row of `adapters`."""
    curated = ctx.finished(ctx.fingerprints("curate"))[-1]
    return {
        "node": ctx.node.fingerprint, "model_id": model_id(ctx.student.weights_hash, result.weights_hash),
        "base": ctx.student.name, "base_hash": ctx.student.weights_hash,
        "path": ctx.artifact.relative_to(ctx.root).as_posix(), "weights_hash": result.weights_hash,
        "dataset_hash": curated.summary["dataset_hash"], "settings": result.settings,
        "rows": result.rows, "left_out": result.left_out, "tokens": result.tokens, "steps": result.steps,
        "loss": result.loss,
    }  # fmt: skip
