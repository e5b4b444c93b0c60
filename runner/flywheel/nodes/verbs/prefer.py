"""prefer: the student learns from a round's judged answers, by the spec's method, in the model worker."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.nodes.context import Context, Model, NodeResult
from flywheel.nodes.fitting import adapter_row
from flywheel.nodes.preference.canaries import refuse_cheats
from flywheel.nodes.preference.material import Unit, groups, pairs, singles
from flywheel.nodes.preference.questions import policy, step_before
from flywheel.records import Counts
from flywheel.student.work import chat_of
from flywheel.training import PreferenceJob, TrainingJob, TrainingResult


def prefer(ctx: Context) -> NodeResult:
    model = policy(ctx)
    units = _units(ctx)
    if not units:
        return _unchanged(ctx)
    result = _learned(ctx, model, units)
    adapter = adapter_row(ctx, result)
    canaries = refuse_cheats(ctx, ctx.adapted(adapter), f"after round {ctx.node.round}")
    return NodeResult(
        Counts(len(units), result.rows, result.left_out),
        {
            "adapters": [adapter],
            "losses": [{"node": ctx.node.fingerprint, **step} for step in result.losses],
            "preferences": [unit.stored(ctx.node.fingerprint, place) for place, unit in enumerate(units)],
        },
        {
            "trained": True, "method": ctx.spec.train.method, "rows": result.rows, "left_out": result.left_out,
            "steps": result.steps, "tokens": result.tokens, "loss": result.loss, "canaries": canaries,
            "notes": list(result.notes),
        },
    )  # fmt: skip


def _units(ctx: Context) -> list[Unit]:
    samples = ctx.query(
        "SELECT * FROM samples WHERE list_contains(?, node) AND round = ? ORDER BY question_id, sample_id",
        [ctx.fingerprints("sample"), ctx.node.round],
    )
    match ctx.spec.train.method:
        case "dpo":
            return pairs(ctx, samples)
        case "kto":
            return singles(samples)
        case _:
            return groups(samples)


def _unchanged(ctx: Context) -> NodeResult:
    """The model of the step before is this one's, too, where this iteration has trained one."""
    adapters = ctx.adapters(step_before(ctx))
    why = "no question had answers of which some are right and some wrong"
    return NodeResult(
        rows={"adapters": [{**adapter, "node": ctx.node.fingerprint} for adapter in adapters]},
        summary={"trained": False, "why": why},
    )


def _learned(ctx: Context, model: Model, units: Sequence[Unit]) -> TrainingResult:
    train = ctx.spec.train
    assert train.method != "sft"
    settings = {**train.of_lessons, "method": train.method, "preference": train.preference.of_steps(train.method)}
    training = TrainingJob(
        model.arm, ctx.student.name, (), settings, chat_of(ctx.spec.student), ctx.seed(), str(ctx.artifact),
        launch=train.launch,
    )  # fmt: skip
    rewards = tuple(unit.reward for unit in units if unit.reward is not None)
    answers = tuple(unit.answers for unit in units)
    job = PreferenceJob(training, train.method, answers, rewards, ctx.spec.practises)
    ctx.artifact.parent.mkdir(parents=True, exist_ok=True)
    result: TrainingResult = ctx.compute(
        "flywheel.training:prefer", job, lambda message: ctx.progress(**message, what="steps")
    )
    return result
