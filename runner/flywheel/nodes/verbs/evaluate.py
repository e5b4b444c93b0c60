"""evaluate: incumbent and candidate on every suite, the same items in the same run, by lm-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flywheel.harness import Evaluated, SuiteJob
from flywheel.harness.emitted import SuiteJudges, command, emit
from flywheel.hashing import fingerprint
from flywheel.nodes.context import Context, Model, NodeResult
from flywheel.nodes.measuring.stages import decided, ordered
from flywheel.nodes.measuring.suites import (
    label_scores,
    noise,
    run_on,
    scored,
    suite_jobs,
    teachers_scored,
    thoughts,
    too_long,
    undecided,
)
from flywheel.plan import VERBS
from flywheel.records import Counts
from flywheel.records.nodes import NodeRecord, finished
from flywheel.student.work import Effect, EffectJob

#: Prompts on which the adapter's effect is checked. Those that the arms answer differently come first: an adapter that
#: is ignored changes none, and one that merges badly shows at the first.
EFFECT_PROMPTS = 4


@dataclass
class _Measurement:
    """What is known of the models so far; what an earlier evaluation measured is taken over."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    noise: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How far each suite came whose evaluation ends when its rules are decided."""
    folder: str = ""
    """Where the suites lie as tasks of stock lm-eval, relative to the project."""


def evaluate(ctx: Context) -> NodeResult:
    arms: list[tuple[str, Model]] = [("incumbent", ctx.incumbent())]
    candidate = ctx.candidate()
    if candidate is not None:
        arms.append(("candidate", candidate))
    suites = suite_jobs(ctx)
    # With the implementation: what an earlier one measured is not what this one would.
    environment = fingerprint({**ctx.versions, "evaluate": VERBS["evaluate"].implementation})
    measurement = _Measurement()
    if candidate is not None and ctx.spec.loop.stop_when_decided:
        suites = _until_decided(ctx, measurement, dict(arms), suites, environment)
    else:
        for arm, model in arms:
            if not _taken_over(ctx, measurement, arm, model, environment):
                _measure(ctx, measurement, arm, model, suites)
    rows = measurement.rows + teachers_scored(ctx, suites)
    unknown = sum(row["outcome"] == "unknown" for row in rows)
    return NodeResult(
        Counts(len(rows), len(rows) - unknown, 0, unknown),
        {"scores": rows},
        {
            "arms": {arm: model.model_id for arm, model in arms},
            "measured_before": measurement.reused,
            "environment": environment,
            "settings": dict(measurement.settings),
            "effect": _effect(ctx, candidate, suites, rows),
            "scores": _means(rows),
            "noise": dict(measurement.noise),
            "stages": measurement.stages,
            "too_long": too_long(rows),
            "ran_on": run_on(rows, ctx.spec.evals, ctx.spec.tasks),
            "thoughts": thoughts(rows),
            "labels": label_scores(rows, ctx.spec, ctx.root),
            "undecided": undecided(ctx, rows),
            "lm_eval": measurement.folder,
            "lm_eval_commands": _commands(ctx, measurement, arms, suites),
        },
    )


# --- measuring --------------------------------------------------------------------------------------------------------


def _measure(ctx: Context, measurement: _Measurement, arm: str, model: Model, suites: Sequence[SuiteJob]) -> None:
    rows, measured = scored(ctx, arm, model, suites)
    measurement.rows += rows
    measurement.settings = measured.settings
    if arm == "incumbent":
        measurement.noise = noise(ctx, model, suites, rows)
    _emit(ctx, suites, measured)
    measurement.folder = _emitted(ctx).relative_to(ctx.root).as_posix()


def _taken_over(ctx: Context, measurement: _Measurement, arm: str, model: Model, environment: str) -> bool:
    """Whether this model was measured before: on the same suites, in the same environment."""
    for record in _alike(ctx, environment):
        summary = record.summary
        stages = summary.get("stages") or {}
        if stages and (ctx.candidate() is not None or not ctx.spec.loop.stop_when_decided):
            continue
        for measured_arm, measured in summary["arms"].items():
            if measured == model.model_id:
                known = ctx.query("SELECT * FROM scores WHERE node = ? AND arm = ?", [record.node, measured_arm])
                measurement.rows += [{**r, "node": ctx.node.fingerprint, "arm": arm} for r in known]
                measurement.reused.append(arm)
                measurement.noise = measurement.noise or summary["noise"]
                measurement.settings = measurement.settings or summary["settings"]
                measurement.folder = measurement.folder or summary["lm_eval"]
                measurement.stages = stages
                return True
    return False


def _alike(ctx: Context, environment: str) -> list[NodeRecord]:
    """Earlier evaluations that asked the same items in the same way, the last one first."""
    own = _as_asked(ctx.node.inputs)
    records = reversed(finished(ctx.query, verb="evaluate"))
    return [r for r in records if _as_asked(r.inputs) == own and r.summary["environment"] == environment]


def _as_asked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only says when to end."""
    return {k: v for k, v in inputs.items() if k != "loop.stop_when_decided" and not k.startswith("gate[")}


# --- until it is decided ----------------------------------------------------------------------------------------------


def _until_decided(
    ctx: Context, measurement: _Measurement, arms: Mapping[str, Model], suites: Sequence[SuiteJob], environment: str
) -> list[SuiteJob]:
    """Both models, stage by stage; the suites with the items that were asked.

    What is known of the incumbent is taken over item by item. The candidate is asked all, so that the emitted tasks
    hold what its score is of.
    """
    known = _known(ctx, measurement, arms["incumbent"], environment)
    gated = {rule.suite for rule in ctx.spec.gate}
    orders = {s.name: ordered(s, ctx.spec.seed) for s in suites if s.name in gated and s.lm_eval is None}
    parts = [orders[s.name].at(1) if s.name in orders else s for s in suites]
    asked, evaluated, stage = list(parts), Evaluated(), 1
    measurement.reused = ["incumbent"]
    while parts:
        for arm in _by_turns(stage):
            _measure_part(ctx, measurement, arm, arms[arm], parts, known if arm == "incumbent" else {}, evaluated)
        open_ = {part.name for part in parts if part.name in orders}
        measurement.stages |= {name: orders[name].record(stage) for name in open_}
        open_ -= decided(ctx, arms["candidate"].model_id, measurement.rows, measurement.stages, measurement.noise)
        stage += 1
        parts = [orders[name].at(stage) for name in orders if name in open_]
        asked += parts
    _emit(ctx, suites, evaluated)
    measurement.folder = _emitted(ctx).relative_to(ctx.root).as_posix()
    return [replace(s, items=tuple(i for part in asked if part.name == s.name for i in part.items)) for s in suites]


def _by_turns(stage: int) -> tuple[str, str]:
    """The model that is in memory goes first."""
    return ("incumbent", "candidate") if stage % 2 else ("candidate", "incumbent")


def _known(ctx: Context, measurement: _Measurement, model: Model, environment: str) -> dict[tuple[str, str], Any]:
    """(suite, item) → row of `scores` of this model; of suites of lm-eval's own the items are known afterwards only."""
    found: dict[tuple[str, str], Any] = {}
    for record in _alike(ctx, environment):
        for arm, measured in record.summary["arms"].items():
            if measured == model.model_id:
                rows = ctx.query("SELECT * FROM scores WHERE node = ? AND arm = ?", [record.node, arm])
                found = {(r["suite"], r["item_id"]): r for r in rows} | found
                measurement.noise = measurement.noise or record.summary["noise"]
    return found


def _measure_part(
    ctx: Context, measurement: _Measurement, arm: str, model: Model, parts: Sequence[SuiteJob],
    known: Mapping[tuple[str, str], Any], evaluated: Evaluated,
) -> None:  # fmt: skip
    named = {suite for suite, _ in known}
    asked = {(part.name, item.item_id) for part in parts for item in part.items}
    asked |= {pair for pair in known for part in parts if part.lm_eval is not None and pair[0] == part.name}
    measurement.rows += [
        {**row, "node": ctx.node.fingerprint, "arm": arm} for pair, row in known.items() if pair in asked
    ]
    new = [
        replace(part, items=tuple(item for item in part.items if (part.name, item.item_id) not in known))
        for part in parts
        if part.lm_eval is None or part.name not in named
    ]
    new = [part for part in new if part.items or part.lm_eval is not None]
    if not new:
        return
    measurement.reused = [known_arm for known_arm in measurement.reused if known_arm != arm]
    rows, measured = scored(ctx, arm, model, new)
    measurement.rows += rows
    measurement.settings = measured.settings
    if arm == "incumbent" and not measurement.noise:
        measurement.noise = noise(ctx, model, new, rows)
    if arm == "candidate":
        for name, items in measured.suites.items():
            evaluated.suites.setdefault(name, []).extend(items)


# --- the same by stock lm-eval ----------------------------------------------------------------------------------------


def _emitted(ctx: Context) -> Path:
    return ctx.artifact / "lm_eval"


def _emit(ctx: Context, suites: Sequence[SuiteJob], measured: Evaluated) -> None:
    tokens = ctx.spec.student.max_new_tokens
    for suite in suites:
        if suite.task is not None:
            task = ctx.spec.tasks[suite.task]
            verifiers = {name: ctx.spec.verifiers[name] for name in task.verify}
            judging = SuiteJudges(suite.task, task, verifiers, ctx.spec.evals[suite.name].pass_at)
            emit(_emitted(ctx) / suite.name, ctx.root, suite, judging, measured.suites[suite.name], tokens)


def _commands(
    ctx: Context, measurement: _Measurement, arms: Sequence[tuple[str, Model]], suites: Sequence[SuiteJob]
) -> dict[str, dict[str, str]]:
    """Suite → arm → the command that gives its number, to be run in the project's folder."""
    found: dict[str, dict[str, str]] = {}
    for suite in suites:
        folder = ctx.root / measurement.folder if suite.lm_eval is None else None
        if folder is not None and not (folder / suite.name / "task.yaml").exists():
            continue
        items = sorted({row["item_id"] for row in measurement.rows if row["suite"] == suite.name})
        found[suite.name] = {
            arm: command(ctx.root, ctx.student, model.arm, suite, folder, measurement.settings, items)
            for arm, model in arms
        }
    return found


# --- the adapter's effect ---------------------------------------------------------------------------------------------


def _effect(
    ctx: Context, candidate: Model | None, suites: Sequence[SuiteJob], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Whether the adapter changes what follows a few prompts."""
    if candidate is None:
        return None
    pairs = _answered(suites, rows) or _probed(ctx)
    found: Effect = ctx.compute(
        "flywheel.student.work:effect", EffectJob(candidate.arm, ctx.asking, tuple(pairs)), lambda _: None
    )
    return asdict(found)


def _answered(suites: Sequence[SuiteJob], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Prompts of items with the candidate's answer."""
    said = {(row["suite"], row["item_id"], row["arm"]): row["answer"] for row in rows if row["tokens"] is not None}
    pairs = {True: list[tuple[str, str]](), False: list[tuple[str, str]]()}
    for suite in suites:
        for item in suite.items:
            answer, before = (said.get((suite.name, item.item_id, arm)) for arm in ("candidate", "incumbent"))
            if answer is not None:
                pairs[answer == before].append((item.prompt, answer))
    return [*pairs[False], *pairs[True]][:EFFECT_PROMPTS]


def _probed(ctx: Context) -> list[tuple[str, str]]:
    """Where all suites are lm-eval's own: probes, with what the incumbent answered."""
    rows = ctx.query(
        "SELECT prompt, answer FROM answers WHERE list_contains(?, node) ORDER BY row_id LIMIT ?",
        [ctx.fingerprints("probe"), EFFECT_PROMPTS],
    )
    return [(row["prompt"], row["answer"]) for row in rows]


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for row in rows:
        if row["score"] is not None:
            sums.setdefault(f"{row['suite']}/{row['arm']}", []).append(row["score"])
    return {name: sum(scores) / len(scores) for name, scores in sums.items()}
