"""deploy: a promoted candidate becomes the model in use; anything else leaves the pointer alone.

Who serves it is told then; where the served model is not the evaluated one, the pointer goes back.

What the decision rests on is looked at again first, and with `deploy.approve: human` a person must have said yes to it.
Where the deployed model is not the one the candidate was measured against (it came from an earlier spec), the gate's
rules are asked again, against that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flywheel.errors import ApprovalNeeded
from flywheel.nodes.context import Context, Model, NodeResult
from flywheel.nodes.measuring.suites import scored, suite_jobs
from flywheel.nodes.targets import LOOKED_AT, Release, ServedGate, ServedPrompt, TargetRefused, chosen, tell
from flywheel.nodes.trust.approvals import last_word, verify_approval
from flywheel.nodes.trust.deployment import check_history, clear_pointer, history_row, move_pointer, place, verify_home
from flywheel.nodes.trust.evidence import (
    Lineage,
    Scores,
    decision_of,
    ruling,
    scores_of,
    verify_adapter,
    verify_holdout,
    verify_report,
    verify_store,
)
from flywheel.nodes.trust.handover import Handover, write_handover
from flywheel.records import Counts
from flywheel.records.nodes import makers, record_of
from flywheel.student.work import AnswerJob


def deploy(ctx: Context) -> NodeResult:
    lineage = _lineage(ctx)
    decision = decision_of(ctx.query, lineage.gate)
    candidate = ctx.candidate()
    if decision["outcome"] != "promote" or candidate is None:
        said = {"deployed": False, "why": f"the gate said {decision['outcome']}"}
        return NodeResult(Counts(1, 0, 1), summary=said)
    if refusal := _person_says(ctx, lineage, decision):
        return _held_back(refusal)
    _verify(ctx, lineage)
    history = ctx.query("SELECT * FROM deployments ORDER BY sequence")
    check_history(history)
    in_force = (ctx.root / ctx.spec.deploy.path / "current").exists()  # an emptied folder deploys nothing
    deployed = history[-1] if history and in_force else None
    if deployed is not None and deployed["model_id"] == candidate.model_id:
        verify_home(ctx.root / ctx.spec.deploy.path / candidate.model_id, deployed["manifest"])
        return _told(ctx, lineage, candidate, deployed["manifest"], None) or _in_place(
            ctx, candidate, "deployed already"
        )
    if why := _keep(ctx, decision, deployed):
        return _held_back(why)
    assert candidate.arm.adapter is not None
    manifest = place(
        ctx.root / ctx.spec.deploy.path,
        ctx.root / candidate.arm.adapter,
        _manifest(ctx, decision, candidate, lineage),
        lambda scratch: _complete(ctx, scratch, candidate, lineage),
    )
    row = history_row(
        history, node=ctx.node.fingerprint, action="deploy", iteration=ctx.node.iteration, manifest=manifest
    )
    refused = _told(ctx, lineage, candidate, manifest, deployed, history, row)
    return refused or _in_place(ctx, candidate, "promoted", row)


# --- who serves it ----------------------------------------------------------------------------------------------------


def _told(
    ctx: Context,
    lineage: Lineage,
    candidate: Model,
    manifest: Mapping[str, Any],
    former: Mapping[str, Any] | None,
    history: Sequence[Mapping[str, Any]] = (),
    row: Mapping[str, Any] | None = None,
) -> NodeResult | None:
    """The target is told of the model. Where it does not serve it, the pointer goes back to `former` and what becomes
    of the node is given; the next apply tries again. `row`: the model's, not yet in the history; None where it was in
    force before."""
    folder, target = ctx.root / ctx.spec.deploy.path, ctx.spec.deploy
    before = None if former is None else Release(folder / former["model_id"], former["manifest"])
    release = Release(folder / candidate.model_id, manifest)
    try:
        check = ServedGate(release.home, _questions(ctx, lineage, candidate) if target.asked_at is not None else ())
        tell(target, ctx.root, release, before, check, "deploy")
    except TargetRefused as error:
        rows = [] if row is None else _undone(ctx, folder, history, row, former)
        said = {"deployed": False, "undone": True, "why": f"the promotion was undone. {error}"}
        return NodeResult(Counts(1, 0, 1), {"deployments": rows}, said)
    return None


def _undone(
    ctx: Context,
    folder: Path,
    history: Sequence[Mapping[str, Any]],
    row: Mapping[str, Any],
    former: Mapping[str, Any] | None,
) -> list[Mapping[str, Any]]:
    """Back to the former model as `flywheel rollback` would; the history tells of both. Nothing was deployed where
    there is none."""
    if former is None:
        clear_pointer(folder)
        return []
    move_pointer(folder, former["manifest"])
    back = history_row(
        [*history, row], node=ctx.node.fingerprint, action="rollback", iteration=former["iteration"],
        manifest=former["manifest"],
    )  # fmt: skip
    return [row, back]


def _questions(ctx: Context, lineage: Lineage, candidate: Model) -> list[ServedPrompt]:
    """Evaluated answers, first those that the incumbent did not give; where all suites are lm-eval's own, probes."""
    rows = ctx.query("SELECT suite, item_id, arm, answer FROM scores WHERE node = ?", [lineage.evaluate])
    said = {(row["suite"], row["item_id"], row["arm"]): row["answer"] for row in rows}
    found: dict[bool, list[tuple[str, str, tuple[str, ...]]]] = {True: [], False: []}
    for suite in suite_jobs(ctx):
        for item in suite.items if suite.repeats == 1 else ():
            answer, before = (said.get((suite.name, item.item_id, arm)) for arm in ("candidate", "incumbent"))
            if answer is not None and not item.shots:
                found[answer == before].append((item.prompt, answer, tuple(suite.stop)))
    evaluated = [*found[False], *found[True]] or _probes(ctx, candidate)
    return chosen(evaluated, lambda prompts: _answers(ctx, ctx.base(), prompts))


def _probes(ctx: Context, candidate: Model) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = ctx.query(
        "SELECT DISTINCT prompt FROM answers WHERE list_contains(?, node) ORDER BY prompt LIMIT ?",
        [ctx.fingerprints("probe"), LOOKED_AT],
    )
    prompts = [row["prompt"] for row in rows]
    return [(prompt, said, ()) for prompt, said in zip(prompts, _answers(ctx, candidate, prompts), strict=True)]


def _answers(ctx: Context, model: Model, prompts: Sequence[str]) -> list[str]:
    job = AnswerJob(model.arm, ctx.asking, tuple((str(i), prompt) for i, prompt in enumerate(prompts)))
    return [answer.text for answer in ctx.compute("flywheel.student.work:answer", job, lambda _: None)]


# --- the folder -------------------------------------------------------------------------------------------------------


def _complete(ctx: Context, folder: Path, candidate: Model, lineage: Lineage) -> None:
    summary = record_of(ctx.query, lineage.evaluate).summary
    evaluated, arm = summary["settings"], "/candidate"
    scores = {suite.removesuffix(arm): mean for suite, mean in summary["scores"].items() if suite.endswith(arm)}
    handover = Handover(
        ctx.spec, ctx.root, ctx.student, candidate.model_id, ctx.node.iteration, evaluated.get("dtype", "auto"),
        ctx.versions, scores=scores,
    )  # fmt: skip
    write_handover(folder, handover, lambda function, payload: ctx.compute(function, payload, lambda _: None))


def _in_place(ctx: Context, model: Model, why: str, *rows: dict[str, Any]) -> NodeResult:
    said = {"deployed": True, "model_id": model.model_id, "why": why, "path": f"{ctx.spec.deploy.path}/current"}
    return NodeResult(Counts(1, 1), {"deployments": rows}, said)


def _held_back(why: str) -> NodeResult:
    """Of what the gate promoted."""
    return NodeResult(Counts(1, 0, 1), summary={"deployed": False, "held_back": True, "why": why})


def _lineage(ctx: Context) -> Lineage:
    return Lineage.of(ctx.chain[ctx.node.iteration])


def _person_says(ctx: Context, lineage: Lineage, decision: Mapping[str, Any]) -> str:
    """Why a person keeps the candidate back; empty where nobody does.

    A person's no counts in either mode. Raises ApprovalNeeded where a yes is asked for and nobody has spoken,
    Tampered where something else was approved.
    """
    word = last_word(ctx.query, decision["decision_hash"])
    if word is not None and word["verdict"] == "reject":
        note = f": {word['note']}" if word["note"] else ""
        return f"{word['person']} rejected it{note}"
    if ctx.spec.deploy.approve != "human":
        return ""
    if word is None:
        number = ctx.node.iteration
        raise ApprovalNeeded(
            f"iteration {number} waits for a person: flywheel approve {number} --by NAME (or: flywheel reject "
            f"{number} --by NAME), then flywheel apply"
        )
    verify_approval(ctx.query, ctx.root, lineage, word)
    return ""


def _verify(ctx: Context, lineage: Lineage) -> None:
    """Raise Tampered, naming the part, where what was decided on is not what is here."""
    verify_store(ctx.query, lineage)
    verify_adapter(ctx.query, ctx.root, lineage.train)
    verify_holdout(ctx.query, ctx.root, lineage.evaluate)
    verify_report(ctx.query, ctx.root, lineage.report)


def _keep(ctx: Context, decision: Mapping[str, Any], deployed: Mapping[str, Any] | None) -> str:
    """Why what is deployed should stay; empty where the candidate may replace it."""
    if deployed is None or deployed["model_id"] == decision["incumbent_id"]:
        return ""
    if later := _promoted_later(ctx, deployed["model_id"]):
        return f"the model of iteration {later} is deployed"
    name = f"the deployed model {deployed['model_id']} (iteration {deployed['iteration']} of an earlier spec)"
    manifest = deployed["manifest"]
    if manifest["base_hash"] != ctx.student.weights_hash:
        return (
            f"{name} has another base, {manifest['base']}: it cannot be measured beside this one. Empty "
            f"{ctx.spec.deploy.path} to give it up"
        )
    candidates = scores_of(ctx.query, ctx.fingerprints("evaluate")[-1], "candidate")
    measured = _measured_now(ctx, deployed, candidates)
    again = ruling(ctx.spec.gate, measured, candidates, seed=ctx.seed(), stages=decision["stages"] or {})
    return "" if again.outcome == "promote" else f"{name} stays: {again.explanation}"


def _promoted_later(ctx: Context, model_id: str) -> int | None:
    """The later iteration of this very chain that promoted the model."""
    gates = [node for n, nodes in ctx.chain.items() if n > ctx.node.iteration for node in nodes["gate"]]
    rows = ctx.query(
        "SELECT iteration FROM decisions WHERE list_contains(?, node) AND outcome = 'promote' AND candidate_id = ?",
        [gates, model_id],
    )
    return rows[-1]["iteration"] if rows else None


def _measured_now(ctx: Context, deployed: Mapping[str, Any], candidates: Scores) -> Scores:
    """The deployed model's scores on the items that the candidate answered."""
    manifest = deployed["manifest"]
    home = ctx.root / ctx.spec.deploy.path / manifest["model_id"]
    verify_home(home, manifest)
    arm = replace(ctx.base().arm, adapter=str(home), adapter_hash=manifest["adapter_hash"])
    suites = [
        replace(suite, items=tuple(item for item in suite.items if (suite.name, item.item_id) in candidates))
        for suite in suite_jobs(ctx)
    ]
    rows, _ = scored(ctx, "deployed", Model(manifest["model_id"], arm), suites)
    return {(row["suite"], row["item_id"]): row for row in rows}


def _manifest(ctx: Context, decision: Mapping[str, Any], candidate: Model, lineage: Lineage) -> dict[str, Any]:
    adapter = ctx.adapters(makers(ctx.chain[ctx.node.iteration]))[-1]
    report = ctx.finished(ctx.fingerprints("report"))[-1]
    return {
        "manifest_version": 3,
        "name": ctx.spec.name,
        "iteration": ctx.node.iteration,
        "model_id": candidate.model_id,
        "base": adapter["base"],
        "base_revision": ctx.student.revision,
        "base_hash": adapter["base_hash"],
        "adapter_hash": adapter["weights_hash"],
        "dataset_hash": adapter["dataset_hash"],
        "decision_hash": decision["decision_hash"],
        "report_hash": report.summary["hash"],
        "spec_hash": ctx.spec_hash,
        "lineage": asdict(lineage),
        "versions": dict(ctx.versions),
    }
