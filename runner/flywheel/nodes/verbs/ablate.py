"""ablate: is a part worth having? Two small trainings from the base that differ in that part alone, on one suite.

Both get the same number of new lessons and the same human seeds. "with" draws from the lessons that this iteration
curated, "without" from what would have been curated had the part not been there; a lesson that both could draw, both
draw. No decision reads the outcome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flywheel.nodes.context import Context, Model, NodeResult
from flywheel.nodes.fitting import fitted
from flywheel.nodes.lessons.acceptance import grade, select, subject_of_row
from flywheel.nodes.lessons.curation import Remembered, accepted, curated, history_of, lesson_of, mixed, shuffled
from flywheel.nodes.lessons.lesson import Lesson, overlaps_with_evals
from flywheel.nodes.lessons.shelf import chosen
from flywheel.nodes.measuring.pairing import paired
from flywheel.nodes.measuring.suites import scored, suite_jobs
from flywheel.records import Counts, Verdict
from flywheel.records.decision import PairedItem
from flywheel.spec.models import Ablation
from flywheel.student import model_id
from flywheel.text import plural
from flywheel.verifiers import outcome_of


@dataclass(frozen=True)
class _Trained:
    """One of the two trainings."""

    model: Model
    rows: list[dict[str, Any]]
    """Its training rows."""
    steps: int
    loss: float


def ablate(ctx: Context) -> NodeResult:
    ablation = next(a for a in ctx.spec.ablate if a.name == ctx.node.subject)
    pools = {"with": _curated_here(ctx), "without": _without(ctx, ablation)}
    number = min(ablation.lessons, *(len(pool) for pool in pools.values()))
    if number == 0:
        sizes = ", ".join(f"{len(pool)} {arm}" for arm, pool in pools.items())
        return NodeResult(summary={"measured": False, "why": f"there are no lessons to draw from: {sizes}"})
    drawn = {arm: chosen(pool, shuffled(ctx, pool)[:number]) for arm, pool in pools.items()}
    trained = {arm: _trained(ctx, arm, lessons) for arm, lessons in drawn.items()}
    scores = {arm: _scores(ctx, ablation, arm, found.model) for arm, found in trained.items()}
    detail = {
        "lessons_asked_for": ablation.lessons,
        "pools": {arm: len(pool) for arm, pool in pools.items()},
        "shared": len({lesson.candidate_id for lesson in drawn["with"]} & {x.candidate_id for x in drawn["without"]}),
        "overlap_with_evals": {arm: len(overlaps_with_evals(ctx, lessons)) for arm, lessons in drawn.items()},
        "trainings": {arm: _facts(found) for arm, found in trained.items()},
        "note": _note(ablation, number, pools),
    }
    return _result(ctx, ablation, number, scores, detail)


def _note(ablation: Ablation, number: int, pools: Mapping[str, Sequence[Lesson]]) -> str:
    """What a reader must know before believing the figure."""
    notes = []
    if number < ablation.lessons:
        fewest = min(pools, key=lambda arm: len(pools[arm]))
        notes.append(f"{plural(number, 'lesson')} of {ablation.lessons:,}: there were no more {fewest} the part")
    if ablation.without == "curate.decontaminate":
        notes.append("without the part lessons that overlap eval items are trained on: its score is inflated by them")
    return "; ".join(notes)


def _facts(trained: _Trained) -> dict[str, Any]:
    return {
        "model_id": trained.model.model_id, "rows": len(trained.rows), "steps": trained.steps, "loss": trained.loss,
    }  # fmt: skip


# --- lessons to draw from ---------------------------------------------------------------------------------------------


def _curated_here(ctx: Context) -> list[Lesson]:
    rows = ctx.query(
        "SELECT candidate_id FROM dataset WHERE list_contains(?, node) AND origin = 'new'", [ctx.fingerprints("curate")]
    )
    kept = {row["candidate_id"] for row in rows}
    return [lesson for lesson in accepted(ctx) if lesson.candidate_id in kept]


def _without(ctx: Context, ablation: Ablation) -> Sequence[Lesson]:
    """What curation would have kept."""
    section, _, name = ablation.without.partition(".")
    if section == "verifier":
        lessons: Sequence[Lesson] = _accepted_without(ctx, name)
    elif section == "curate":
        return curated(ctx, accepted(ctx), history_of(ctx), name).kept
    else:
        lessons = [lesson for lesson in accepted(ctx) if getattr(lesson, section) != name]
    return curated(ctx, lessons, history_of(ctx)).kept


def _accepted_without(ctx: Context, verifier: str) -> list[Lesson]:
    """What the other verifiers accept, and of several samples of a question the best, as verification has it."""
    rows = ctx.query(
        """SELECT * FROM candidates WHERE list_contains(?, node) AND status = 'parsed'
           ORDER BY candidate_id""",
        [ctx.fingerprints("generate")],
    )
    verdicts = _verdicts_without(ctx, rows, verifier)
    judged = [_judged(verdicts[row["candidate_id"]]) for row in rows]
    for generator in ctx.spec.generate:
        for number in range(1, generator.rounds + 1):
            places = [i for i, row in enumerate(rows) if (row["generator"], row["round"]) == (generator.name, number)]
            found = [judged[i] for i in places]
            select(generator, [rows[i] for i in places], found, ctx.spec.curate.dedup.answers_per_question)
    return [
        lesson_of({**row, "grade": said["score"]})
        for row, said in zip(rows, judged, strict=True)
        if said["outcome"] == "pass"
    ]


def _judged(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Where nobody else judges, everything passes."""
    return {"outcome": outcome_of(verdicts) if verdicts else "pass", "score": grade(verdicts)}


def _verdicts_without(ctx: Context, rows: Sequence[Mapping[str, Any]], verifier: str) -> dict[str, list[Verdict]]:
    """The others' verdicts by candidate; where this verifier's "fail" kept later ones from looking, they look now."""
    found: dict[str, list[Verdict]] = {row["candidate_id"]: [] for row in rows}
    failed = set()
    for said in ctx.query("SELECT * FROM verdicts WHERE list_contains(?, node)", [ctx.fingerprints("verify")]):
        if said["verifier"] != verifier:
            found[said["subject_id"]].append(_verdict(said))
        elif said["outcome"] == "fail":
            failed.add(said["subject_id"])
    tasks = {
        name: task.model_copy(update={"verify": [other for other in task.verify if other != verifier]})
        for name, task in ctx.spec.tasks.items()
    }
    cut = [
        subject_of_row(row)
        for row in rows
        if row["candidate_id"] in failed
        and tasks[row["task"]].verify
        and outcome_of(found[row["candidate_id"]]) != "fail"
    ]
    for subject, verdicts in zip(cut, ctx.judge(cut, cascade=True, tasks=tasks) if cut else (), strict=True):
        found[subject.subject_id] = verdicts
    return found


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(
        row["subject_id"], row["verifier"], row["version"], row["outcome"], row["reason"], row["seconds"], row["score"],
        bool(row["advisory"]),
    )  # fmt: skip


# --- training and measuring -------------------------------------------------------------------------------------------


def _trained(ctx: Context, arm: str, lessons: Sequence[Lesson]) -> _Trained:
    rows = list(mixed(ctx, lessons, Remembered(())).made)
    out = ctx.artifact / arm
    result = fitted(ctx, ctx.base().arm, rows, out, f"steps {arm}")
    adapter = {
        "model_id": model_id(ctx.student.weights_hash, result.weights_hash),
        "path": out.relative_to(ctx.root),
        "weights_hash": result.weights_hash,
    }
    return _Trained(ctx.adapted(adapter), rows, result.steps, result.loss)


def _scores(ctx: Context, ablation: Ablation, arm: str, model: Model) -> dict[str, dict[str, Any]]:
    """Item → its row of `scores`; each item is answered once, greedily."""
    suite = ctx.spec.evals[ablation.suite].model_copy(update={"repeats": 1, "pass_at": None})
    alone = replace(ctx, spec=ctx.spec.model_copy(update={"evals": {ablation.suite: suite}}))
    rows, _ = scored(alone, arm, model, suite_jobs(alone))
    return {row["item_id"]: row for row in rows}


def _result(
    ctx: Context, ablation: Ablation, lessons: int, scores: Mapping[str, Mapping[str, Any]], detail: dict[str, Any]
) -> NodeResult:
    items = {item: [scores[arm][item]["score"] for arm in ("with", "without")] for item in scores["with"]}
    clusters = {item: row["cluster"] for item, row in scores["with"].items()}
    found = paired((PairedItem(i, s[1], s[0], cluster=clusters[i]) for i, s in items.items()), ctx.seed())
    if found is None:
        why = f"no item of {ablation.suite} has a verdict for both"
        return NodeResult(Counts(len(items), failed=len(items)), summary={"measured": False, "why": why})
    row = {
        "node": ctx.node.fingerprint, "name": ablation.name, "without": ablation.without, "suite": ablation.suite,
        "lessons": lessons, **asdict(found), "detail": json.dumps({**detail, "scores": items}, ensure_ascii=False),
    }  # fmt: skip
    return NodeResult(
        Counts(len(items), found.items, 0, len(items) - found.items),
        {"ablations": [row]},
        {"measured": True, "without": ablation.without, "lessons": lessons, **asdict(found), **detail},
    )
