"""curve: what part of this iteration's lessons brings how much; for `flywheel compare --curve`.

One training, from where the iteration's own began and with its settings and seed, on a part of its rows; then the
target suites. Smaller parts lie within larger ones. Which lessons a part holds hangs on the seed of the training:
several seeds draw several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.fitting import fitted
from flywheel.nodes.measuring.suites import scored, suite_jobs
from flywheel.records import Counts
from flywheel.student import model_id


def curve(ctx: Context) -> NodeResult:
    rows = ctx.query(
        "SELECT lesson_id, origin, prompt, target FROM dataset WHERE list_contains(?, node) ORDER BY position",
        [ctx.fingerprints("curate")],
    )
    part = thinned(rows, ctx.node.inputs["part of the lessons"], ctx.seed())
    start = ctx.incumbent() if ctx.spec.train.init == "incumbent" else ctx.base()
    result = fitted(ctx, start.arm, part, ctx.artifact, f"steps {ctx.node.subject}")
    model = ctx.adapted(
        {
            "model_id": model_id(ctx.student.weights_hash, result.weights_hash),
            "path": ctx.artifact.relative_to(ctx.root),
            "weights_hash": result.weights_hash,
        }
    )
    targets = {name: suite for name, suite in ctx.spec.evals.items() if suite.role == "target"}
    alone = replace(ctx, spec=ctx.spec.model_copy(update={"evals": targets}))
    scores, _ = scored(alone, "part", model, suite_jobs(alone))
    unknown = sum(row["outcome"] == "unknown" for row in scores)
    lessons = sum(row["origin"] != "seed" for row in part)
    return NodeResult(
        Counts(len(scores), len(scores) - unknown, 0, unknown),
        {"scores": scores},
        {"lessons": lessons, "rows": len(part), "steps": result.steps, "model_id": model.model_id},
    )


def thinned(rows: Sequence[dict[str, Any]], part: float, seed: int) -> list[dict[str, Any]]:
    """A `part` in (0, 1] of the lessons and of the human seeds among `rows`, in their order; at least one lesson."""
    chosen = set[int]()
    for human in (False, True):
        places = [place for place, row in enumerate(rows) if (row["origin"] == "seed") is human]
        drawn = sorted(places, key=lambda place: fingerprint([seed, rows[place]["lesson_id"], place]))
        chosen |= set(drawn[: max(round(part * len(places)), int(not human))])
    return [row for place, row in enumerate(rows) if place in chosen]
