"""evaluate: incumbent and candidate on every suite, the same items in the same run, by lm-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flywheel.harness import SuiteJob
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model, Result
from flywheel.nodes.measuring import scored, suite_jobs
from flywheel.records import Counts
from flywheel.student.work import Effect, EffectJob

#: Prompts on which the adapter's effect is checked.
EFFECT_PROMPTS = 16


def evaluate(ctx: Context) -> Result:
    arms: list[tuple[str, Model]] = [("incumbent", ctx.incumbent())]
    candidate = ctx.candidate()
    if candidate is not None:
        arms.append(("candidate", candidate))
    suites = suite_jobs(ctx)
    environment = fingerprint(dict(ctx.versions))
    rows: list[dict[str, Any]] = []
    reused = []
    for arm, model in arms:
        known = _measured_before(ctx, model, environment)
        if known:
            rows += [{**row, "node": ctx.node.fingerprint, "arm": arm} for row in known]
            reused.append(arm)
        else:
            rows += scored(ctx, arm, model, suites)
    unknown = sum(row["outcome"] == "unknown" for row in rows)
    return Result(
        Counts(len(rows), len(rows) - unknown, 0, unknown),
        {"scores": rows},
        {
            "arms": {arm: model.model_id for arm, model in arms},
            "measured_before": reused,
            "environment": environment,
            "effect": _effect(ctx, candidate, suites),
            "scores": _means(rows),
        },
    )


def _measured_before(ctx: Context, model: Model, environment: str) -> list[dict[str, Any]]:
    """This model's scores from an earlier evaluation of the same suites in the same environment, if there is one."""
    own = {k: v for k, v in ctx.node.inputs.items() if k != "seed"}
    for row in ctx.query(
        "SELECT node, inputs, summary FROM nodes WHERE kind = 'evaluate' AND status = 'done' ORDER BY started_at DESC"
    ):
        before = {k: v for k, v in row["inputs"].items() if k != "seed"}
        if before == own and row["summary"]["environment"] == environment:
            for arm, measured in row["summary"]["arms"].items():
                if measured == model.model_id:
                    return ctx.query("SELECT * FROM scores WHERE node = ? AND arm = ?", [row["node"], arm])
    return []


def _effect(ctx: Context, candidate: Model | None, suites: Sequence[SuiteJob]) -> dict[str, Any] | None:
    """Whether the adapter changes answers and logits on a few prompts."""
    if candidate is None:
        return None
    prompts = tuple((item.item_id, item.prompt) for suite in suites for item in suite.items)[:EFFECT_PROMPTS]
    prompts = prompts or _probe_prompts(ctx)
    found: Effect = ctx.compute(
        "flywheel.student.work:effect", EffectJob(candidate.arm, ctx.asking, prompts), lambda _: None
    )
    return asdict(found)


def _probe_prompts(ctx: Context) -> tuple[tuple[str, str], ...]:
    rows = ctx.query(
        "SELECT row_id, prompt FROM answers WHERE list_contains(?, node) ORDER BY row_id LIMIT ?",
        [ctx.fingerprints("probe"), EFFECT_PROMPTS],
    )
    return tuple((row["row_id"], row["prompt"]) for row in rows)


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for row in rows:
        if row["score"] is not None:
            sums.setdefault(f"{row['suite']}/{row['arm']}", []).append(row["score"])
    return {name: sum(scores) / len(scores) for name, scores in sums.items()}
