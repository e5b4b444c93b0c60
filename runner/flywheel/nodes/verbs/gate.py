"""gate: the declared rules on paired per-item results, and what must hold before they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flywheel.gate.decision import VERIFIERS_ANSWERED
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.lesson import Lesson, cleared, overlaps_with_evals
from flywheel.nodes.measuring.stages import holdout_of, look_at
from flywheel.nodes.trust.evidence import decision_hash, evidence, ruling, scores_of, unverified
from flywheel.records import Counts
from flywheel.records.decision import Decision, Precondition
from flywheel.records.nodes import finished
from flywheel.student.work import Merged, plain_merge_warning
from flywheel.text import plural
from flywheel.verifiers.rates import audit_rows, never_audited, versions_of


def gate(ctx: Context) -> NodeResult:
    evaluate, curate = ctx.fingerprints("evaluate")[-1], ctx.fingerprints("curate")[-1]
    evaluated = ctx.finished([evaluate])[-1].summary
    candidate = ctx.candidate()
    stages = evaluated.get("stages") or {}
    holdout = _holdout(ctx, stages)
    look = look_at(ctx.query, holdout, candidate.model_id if candidate else None)
    if candidate is None:
        decision = Decision("inconclusive", (), (), look, _nothing_trained(ctx))
    else:
        decision = ruling(
            ctx.spec.gate,
            scores_of(ctx.query, evaluate, "incumbent"),
            scores_of(ctx.query, evaluate, "candidate"),
            _preconditions(ctx, evaluated),
            look,
            ctx.seed(),
            evaluated.get("noise", {}),
            stages,
        )
    row: dict[str, Any] = {
        "node": ctx.node.fingerprint, "iteration": ctx.node.iteration, "outcome": decision.outcome,
        "incumbent_id": evaluated["arms"]["incumbent"], "candidate_id": candidate.model_id if candidate else None,
        "rules": [asdict(rule) for rule in decision.rules],
        "preconditions": [asdict(p) for p in decision.preconditions], "explanation": decision.explanation,
        "holdout": holdout, "look": decision.look,
        "stages": stages or None,
    }  # fmt: skip
    found = evidence(ctx.query, evaluate, curate, candidate.arm.adapter_hash if candidate else None)
    row["decision_hash"] = decision_hash(row, found)
    row["decided_at"] = datetime.now(UTC)
    return NodeResult(
        Counts(1, 1),
        {"decisions": [row]},
        {
            "outcome": decision.outcome, "explanation": decision.explanation, "look": decision.look,
            "candidate": row["candidate_id"], "decision_hash": row["decision_hash"], "evidence": found,
        },
    )  # fmt: skip


def _nothing_trained(ctx: Context) -> str:
    trained = ctx.finished(ctx.fingerprints("train"))[-1]
    return f"Inconclusive. There is no candidate to judge: {trained.summary['why']}. The incumbent stays."


def _holdout(ctx: Context, stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Identity of the items that the gate looks at; those that were left for a rule that was decided belong to it."""
    rows = ctx.query(
        """SELECT DISTINCT suite, item_id FROM scores
           WHERE list_contains(?, node) AND arm IN ('incumbent', 'candidate')""",
        [ctx.fingerprints("evaluate")],
    )
    items = {(row["suite"], row["item_id"]) for row in rows}
    items |= {(suite, item) for suite, found in stages.items() for item in found["left"]}
    return holdout_of(items, {rule.suite for rule in ctx.spec.gate})


# --- what must hold ---------------------------------------------------------------------------------------------------


def _preconditions(ctx: Context, evaluated: Mapping[str, Any]) -> list[Precondition]:
    return [
        _effect(evaluated["effect"]),
        _merged(evaluated["effect"]),
        _contamination(ctx),
        _verified(ctx),
        _verifier_errors(ctx),
        _sandboxed(ctx),
        _same_evals(ctx, evaluated),
        _audited(ctx),
    ]


def _effect(effect: Mapping[str, Any]) -> Precondition:
    changed, prompts = effect["outputs_changed"], effect["prompts"]
    detail = (
        f"in {changed} of {prompts} answers another word is the likeliest than in the base; logits differ by up to "
        f"{effect['logit_change']:.3g}"
    )
    return Precondition("the adapter changes the model's outputs", changed > 0 and effect["logit_change"] > 0, detail)


def _merged(effect: Mapping[str, Any]) -> Precondition:
    name = "the adapter says the same when merged into the base"
    if effect.get("merged") is None:
        return Precondition(name, False, "not measured; run `flywheel apply` with the suites evaluated anew")
    merged = Merged(**effect["merged"])
    detail = (
        f"{merged.outputs_changed} of {effect['prompts']} answers differ, logits by up to "
        f"{merged.logit_change:.3g} ({merged.allowed:.3g} allowed in {merged.dtype})"
    )
    return Precondition(name, merged.is_alike, detail, plain_merge_warning(effect))


def _contamination(ctx: Context) -> Precondition:
    """Looked for again on the final dataset: curation may have been edited around. What says to the letter what
    curation looked at, against the same items, is known."""
    curates = [ctx.fingerprints("curate")]
    total = ctx.query("SELECT count(*) AS n FROM dataset WHERE list_contains(?, node)", curates)[0]["n"]
    condition, parameters = cleared(ctx)
    rows = ctx.query(f"SELECT * FROM dataset WHERE list_contains(?, node) AND NOT {condition}", [*curates, *parameters])
    lessons = [
        Lesson(r["lesson_id"], r["candidate_id"], r["task"], r["mode"], r["teacher"], "", r["row"], r["target"])
        for r in rows
    ]
    overlaps = overlaps_with_evals(ctx, lessons)
    detail = f"{len(overlaps)} of {total:,} training rows overlap an item of any declared suite"
    return Precondition("no training row overlaps an eval item", not overlaps, detail)


def _verified(ctx: Context) -> Precondition:
    strange = [lesson for curate in ctx.fingerprints("curate") for lesson in unverified(ctx.query, curate)]
    words = f": {', '.join(strange[:3])}" if strange else ""
    detail = f"{plural(len(strange), 'training row')} without a passing verdict, or edited since{words}"
    return Precondition("every training row was verified", not strange, detail)


def _verifier_errors(ctx: Context) -> Precondition:
    """The worst of the gate's suites and arms, against `loop.max_unknown`."""
    rows = ctx.query(
        """SELECT suite, arm, count(*) FILTER (outcome = 'unknown') AS unknown, count(*) AS n FROM scores
           WHERE list_contains(?, node) AND arm IN ('incumbent', 'candidate') AND list_contains(?, suite)
           GROUP BY ALL ORDER BY unknown / n DESC, suite, arm""",
        [ctx.fingerprints("evaluate"), sorted({rule.suite for rule in ctx.spec.gate})],
    )
    unknown, n = sum(row["unknown"] for row in rows), sum(row["n"] for row in rows)
    detail = f"{unknown} of {n:,} answers could not be judged"
    if unknown:
        worst = rows[0]
        detail += f"; most of {worst['suite']} by the {worst['arm']}: {worst['unknown']} of {worst['n']:,}"
    within = all(row["unknown"] <= ctx.spec.loop.max_unknown * row["n"] for row in rows)
    return Precondition(VERIFIERS_ANSWERED, within, detail)


def _sandboxed(ctx: Context) -> Precondition:
    """Of all runs that made what this decision rests on, this one included."""
    nodes = [node for n in range(1, ctx.node.iteration + 1) for found in ctx.chain[n].values() for node in found]
    made_by = [ctx.run_id, *(record.run_id for record in ctx.finished(nodes))]
    tainted = ctx.query(
        "SELECT DISTINCT run_id FROM runs WHERE tainted AND list_contains(?, run_id) ORDER BY run_id", [made_by]
    )
    detail = "no run ran untrusted code without a sandbox"
    if tainted:
        runs = ", ".join(row["run_id"] for row in tainted)
        detail = (
            f"untrusted code ran without a sandbox ({runs}); it could have changed any answer. Run where a sandbox "
            "works, without allow_unsafe_execution, in a fresh .flywheel"
        )
    return Precondition("untrusted code stayed in its sandbox", not tainted, detail)


# --- what is only said ------------------------------------------------------------------------------------------------


def _same_evals(ctx: Context, evaluated: Mapping[str, Any]) -> Precondition:
    """Both arms are always measured together, so other suites than before are no fault; they are said."""
    own = ctx.fingerprints("evaluate")[-1]
    records = finished(ctx.query, verb="evaluate")
    now = next(record.inputs for record in records if record.node == own)
    incumbent = evaluated["arms"]["incumbent"]
    before = [r.inputs for r in records if r.node != own and incumbent in r.summary["arms"].values()]
    changed = _changed_suites(before[-1], now) if before else []
    detail = (
        "the incumbent's suites are those it was measured on before" if before else "measured here for the first time"
    )
    if changed:
        detail = (
            f"warning: changed since the incumbent was last measured: {', '.join(changed)}. Both were measured anew"
        )
    return Precondition("both models were measured on the same suites", True, detail)


def _changed_suites(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    parts = sorted({*before, *now})
    return [
        p for p in parts if before.get(p) != now.get(p) and p.startswith(("evals.", "file ", "verifiers.", "lm-eval"))
    ]


def _audited(ctx: Context) -> Precondition:
    """Whether anyone measured how often the gate's verifiers err, in the version that judged."""
    gated = {ctx.spec.evals[rule.suite].task for rule in ctx.spec.gate}
    rows = audit_rows(ctx.query, ctx.spec, versions_of(ctx.spec, ctx.root, ctx.teacher_parameters))
    missing = [task for task in never_audited(ctx.spec, rows) if task in gated]
    detail = "the verifiers of the gate's tasks were audited"
    if missing:
        detail = f"warning: the verifiers of {', '.join(missing)} were never audited as they are. Run `flywheel audit`"
    return Precondition("audit of the verifiers", True, detail)
