"""deploy: a promoted candidate becomes the model in use; anything else leaves the pointer alone.

Where the deployed model is not the one the candidate was measured against (it came from an earlier spec), the gate's
rules are asked again, against that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flywheel.errors import Tampered
from flywheel.gate import decide
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model, Result
from flywheel.nodes.deployment import check_history, history_row, place, verify_home
from flywheel.nodes.measuring import scored, suite_jobs
from flywheel.records import Counts
from flywheel.records.decision import PairedItem


def deploy(ctx: Context) -> Result:
    decision = _decision(ctx)
    candidate = ctx.candidate()
    if decision["outcome"] != "promote" or candidate is None:
        return Result(Counts(1, 0, 1), summary={"deployed": False, "why": f"the gate said {decision['outcome']}"})
    history = ctx.query("SELECT * FROM deployments ORDER BY sequence")
    check_history(history)
    in_force = (ctx.root / ctx.spec.deploy.path / "current").exists()  # an emptied folder deploys nothing
    if why := _keep(ctx, decision, candidate, history[-1] if history and in_force else None):
        return Result(Counts(1, 0, 1), summary={"deployed": False, "why": why})
    manifest = _manifest(ctx, decision, candidate)
    assert candidate.arm.adapter is not None
    place(ctx.root / ctx.spec.deploy.path, ctx.root / candidate.arm.adapter, manifest)
    row = history_row(
        history, node=ctx.node.fingerprint, action="deploy", iteration=ctx.node.iteration, manifest=manifest
    )
    return Result(
        Counts(1, 1),
        {"deployments": [row]},
        {
            "deployed": True,
            "model_id": candidate.model_id,
            "why": "promoted",
            "path": f"{ctx.spec.deploy.path}/current",
        },
    )


def _decision(ctx: Context) -> dict[str, Any]:
    """The gate's decision. Raises Tampered where the row in the store is not what the gate wrote."""
    row = ctx.query("SELECT * FROM decisions WHERE list_contains(?, node)", [ctx.fingerprints("gate")])[-1]
    body = {k: v for k, v in row.items() if k not in ("decision_hash", "decided_at")}
    if fingerprint(body) != row["decision_hash"]:
        raise Tampered(
            f"the decision of iteration {ctx.node.iteration} does not match its hash: the store was edited after the "
            "gate ran. Nothing was deployed."
        )
    return row


def _keep(ctx: Context, decision: Mapping[str, Any], candidate: Model, deployed: Mapping[str, Any] | None) -> str:
    """Why what is deployed should stay; empty where the candidate may replace it."""
    if deployed is None or deployed["model_id"] in (decision["incumbent_id"], candidate.model_id):
        return ""
    name = f"the deployed model {deployed['model_id']} (iteration {deployed['iteration']} of an earlier spec)"
    manifest = deployed["manifest"]
    if manifest["base_hash"] != ctx.student.weights_hash:
        return (
            f"{name} has another base, {manifest['base']}: it cannot be measured beside this one. Empty "
            f"{ctx.spec.deploy.path} to give it up"
        )
    scores = _scores_of(ctx, deployed)
    again = decide(ctx.spec.gate, {r.suite: _against(ctx, r.suite, scores) for r in ctx.spec.gate}, (), 1, ctx.seed())
    return "" if again.outcome == "promote" else f"{name} stays: {again.explanation}"


def _scores_of(ctx: Context, deployed: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The deployed model's scores on this spec's suites, measured now: (suite, item) → score row."""
    manifest = deployed["manifest"]
    home = ctx.root / ctx.spec.deploy.path / manifest["model_id"]
    verify_home(home, manifest)
    arm = replace(ctx.base().arm, adapter=str(home), adapter_hash=manifest["adapter_hash"])
    rows = scored(ctx, "deployed", Model(manifest["model_id"], arm), suite_jobs(ctx))
    return {(row["suite"], row["item_id"]): row for row in rows}


def _against(ctx: Context, suite: str, deployed: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[PairedItem]:
    """This iteration's candidate paired with the deployed model on the same items."""
    rows = ctx.query(
        "SELECT * FROM scores WHERE list_contains(?, node) AND suite = ? AND arm = 'candidate' ORDER BY item_id",
        [ctx.fingerprints("evaluate"), suite],
    )
    return [
        PairedItem(r["item_id"], before["score"], r["score"], before["mode"], r["mode"], r["cluster"])
        for r in rows
        for before in [deployed[suite, r["item_id"]]]
    ]


def _manifest(ctx: Context, decision: Mapping[str, Any], candidate: Model) -> dict[str, Any]:
    adapter = ctx.query("SELECT * FROM adapters WHERE list_contains(?, node)", [ctx.fingerprints("train")])[-1]
    report = ctx.query("SELECT summary FROM nodes WHERE list_contains(?, node)", [ctx.fingerprints("report")])[-1]
    return {
        "manifest_version": 1,
        "name": ctx.spec.name,
        "iteration": ctx.node.iteration,
        "model_id": candidate.model_id,
        "base": adapter["base"],
        "base_revision": ctx.student.revision,
        "base_hash": adapter["base_hash"],
        "adapter_hash": adapter["weights_hash"],
        "dataset_hash": adapter["dataset_hash"],
        "decision_hash": decision["decision_hash"],
        "report_hash": report["summary"]["hash"],
        "spec_hash": ctx.spec_hash,
        "versions": dict(ctx.versions),
    }
