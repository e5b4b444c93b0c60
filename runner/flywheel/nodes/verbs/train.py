"""train: LoRA on the curated rows, in the model worker."""

from __future__ import annotations

from typing import Any

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.fitting import fitted
from flywheel.records import Counts
from flywheel.student import model_id
from flywheel.training import TrainingResult


def train(ctx: Context) -> NodeResult:
    rows = ctx.query(
        "SELECT prompt, target FROM dataset WHERE list_contains(?, node) ORDER BY position",
        [ctx.fingerprints("curate")],
    )
    if not rows:
        return NodeResult(summary={"trained": False, "why": "no new lesson survived verification and curation"})
    start = ctx.incumbent() if ctx.spec.train.init == "incumbent" else ctx.base()
    result = fitted(ctx, start.arm, rows, ctx.artifact)
    return NodeResult(
        Counts(len(rows), result.rows, result.left_out),
        {"adapters": [_adapter(ctx, result)], "losses": [{"node": ctx.node.fingerprint, **x} for x in result.losses]},
        {
            "trained": True, "rows": result.rows, "left_out": result.left_out, "steps": result.steps,
            "tokens": result.tokens, "loss": result.loss, "notes": list(result.notes),
        },
    )  # fmt: skip


def _adapter(ctx: Context, result: TrainingResult) -> dict[str, Any]:
    curated = ctx.finished(ctx.fingerprints("curate"))[-1]
    return {
        "node": ctx.node.fingerprint, "model_id": model_id(ctx.student.weights_hash, result.weights_hash),
        "base": ctx.student.name, "base_hash": ctx.student.weights_hash,
        "path": ctx.artifact.relative_to(ctx.root).as_posix(), "weights_hash": result.weights_hash,
        "dataset_hash": curated.summary["dataset_hash"], "settings": result.settings,
        "rows": result.rows, "left_out": result.left_out, "tokens": result.tokens, "steps": result.steps,
        "loss": result.loss,
    }  # fmt: skip
