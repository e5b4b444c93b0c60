"""gate: the declared rules on paired per-item results, and what must hold before they count."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flywheel.gate import decide
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Result
from flywheel.nodes.lessons import Lesson, overlaps_with_evals
from flywheel.records import Counts
from flywheel.records.decision import Decision, PairedItem, Precondition


def gate(ctx: Context) -> Result:
    summary = ctx.query("SELECT summary FROM nodes WHERE list_contains(?, node)", [ctx.fingerprints("evaluate")])[-1]
    evaluated = summary["summary"]
    candidate = ctx.candidate()
    holdout = _holdout(ctx)
    if candidate is None:
        decision = Decision("inconclusive", (), (), _looks(ctx, holdout, None), _nothing_trained(ctx))
    else:
        decision = decide(
            ctx.spec.gate,
            {suite: _paired(ctx, suite) for suite in {rule.suite for rule in ctx.spec.gate}},
            _preconditions(ctx, evaluated),
            _looks(ctx, holdout, candidate.model_id),
            ctx.seed(),
        )
    row = {
        "node": ctx.node.fingerprint, "iteration": ctx.node.iteration, "outcome": decision.outcome,
        "incumbent_id": evaluated["arms"]["incumbent"], "candidate_id": candidate.model_id if candidate else None,
        "rules": [asdict(rule) for rule in decision.rules],
        "preconditions": [asdict(p) for p in decision.preconditions], "explanation": decision.explanation,
        "holdout": holdout,
    }  # fmt: skip
    row["decision_hash"] = fingerprint(row)
    row["decided_at"] = datetime.now(UTC)
    return Result(
        Counts(1, 1),
        {"decisions": [row]},
        {
            "outcome": decision.outcome, "explanation": decision.explanation, "look": decision.look,
            "candidate": row["candidate_id"], "decision_hash": row["decision_hash"],
        },
    )  # fmt: skip


def _nothing_trained(ctx: Context) -> str:
    trained = ctx.query("SELECT summary FROM nodes WHERE list_contains(?, node)", [ctx.fingerprints("train")])
    return f"Inconclusive. There is no candidate to judge: {trained[-1]['summary']['why']}. The incumbent stays."


def _holdout(ctx: Context) -> str:
    """Identity of the items the gate looks at."""
    items = ctx.query(
        "SELECT DISTINCT suite, item_id FROM scores WHERE list_contains(?, node) ORDER BY suite, item_id",
        [ctx.fingerprints("evaluate")],
    )
    watched = {rule.suite for rule in ctx.spec.gate}
    return fingerprint([[i["suite"], i["item_id"]] for i in items if i["suite"] in watched])


def _looks(ctx: Context, holdout: str, candidate: str | None) -> int:
    """How often these items have judged a candidate, this time included; whatever the spec was then."""
    rows = ctx.query(
        "SELECT count(DISTINCT candidate_id) AS n FROM decisions WHERE holdout = ? AND candidate_id IS DISTINCT FROM ?",
        [holdout, candidate],
    )
    return int(rows[0]["n"]) + 1


def _paired(ctx: Context, suite: str) -> list[PairedItem]:
    rows = ctx.query(
        """SELECT item_id, any_value(cluster) AS cluster,
               any_value(score) FILTER (arm = 'incumbent') AS before,
               any_value(score) FILTER (arm = 'candidate') AS after,
               any_value(mode) FILTER (arm = 'incumbent') AS mode_before,
               any_value(mode) FILTER (arm = 'candidate') AS mode_after
           FROM scores WHERE list_contains(?, node) AND suite = ? GROUP BY item_id ORDER BY item_id""",
        [ctx.fingerprints("evaluate"), suite],
    )
    return [
        PairedItem(r["item_id"], r["before"], r["after"], r["mode_before"], r["mode_after"], r["cluster"]) for r in rows
    ]


def _preconditions(ctx: Context, evaluated: dict[str, Any]) -> list[Precondition]:
    return [_effect(evaluated["effect"]), _contamination(ctx), _verifier_errors(ctx)]


def _effect(effect: dict[str, Any]) -> Precondition:
    changed, prompts = effect["outputs_changed"], effect["prompts"]
    detail = f"{changed} of {prompts} answers and logits by up to {effect['logit_change']:.3g} differ from the base"
    return Precondition("the adapter changes the model's outputs", changed > 0 and effect["logit_change"] > 0, detail)


def _contamination(ctx: Context) -> Precondition:
    """Looked for again on the final dataset: curation may have been edited around."""
    rows = ctx.query("SELECT * FROM dataset WHERE list_contains(?, node)", [ctx.fingerprints("curate")])
    lessons = [
        Lesson(r["lesson_id"], r["candidate_id"], r["task"], r["mode"], r["teacher"], "", r["row"], r["target"])
        for r in rows
    ]
    overlaps = overlaps_with_evals(ctx, lessons)
    detail = f"{len(overlaps)} of {len(lessons):,} training rows overlap an item of any declared suite"
    return Precondition("no training row overlaps an eval item", not overlaps, detail)


def _verifier_errors(ctx: Context) -> Precondition:
    rows = ctx.query(
        "SELECT count(*) FILTER (outcome = 'unknown') AS unknown, count(*) AS n FROM scores "
        "WHERE list_contains(?, node)",
        [ctx.fingerprints("evaluate")],
    )[0]
    detail = f"{rows['unknown']} of {rows['n']:,} answers could not be judged"
    return Precondition("no verifier errors", rows["unknown"] == 0, detail)
