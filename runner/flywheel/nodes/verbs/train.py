"""train: LoRA on the curated rows, in the model worker."""

from __future__ import annotations

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.fitting import adapter_row, fitted
from flywheel.records import Counts


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
        {
            "adapters": [adapter_row(ctx, result)],
            "losses": [{"node": ctx.node.fingerprint, **step} for step in result.losses],
        },
        {
            "trained": True, "rows": result.rows, "left_out": result.left_out, "steps": result.steps,
            "tokens": result.tokens, "loss": result.loss, "notes": list(result.notes),
        },
    )  # fmt: skip
