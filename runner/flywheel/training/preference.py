"""Learning from judged answers: the loop of `training.lora`, from the adapter that gave them, by another objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flywheel.errors import NodeFailed
from flywheel.student.chat import Prompter
from flywheel.student.loading import Loaded, load_base, prepare_torch
from flywheel.student.memory import Row
from flywheel.training.lora import Objective, TrainingJob, TrainingResult, in_4_bits, learned, with_adapter
from flywheel.training.objectives import DirectPreference, GroupRelative, Unpaired
from flywheel.training.recipe import filled, preference_rate, size_of

Progress = Callable[[dict[str, Any]], None]
Method = Literal["dpo", "kto", "grpo"]

#: Pairs, or answers, that a step adds up.
STEP: Mapping[Method, int] = {"dpo": 8, "kto": 16, "grpo": 32}


@dataclass(frozen=True)
class OwnAnswer:
    """An answer to a prompt. `ended`: by itself, not at the token limit."""

    prompt: str
    text: str
    ended: bool = True


@dataclass(frozen=True)
class PreferenceJob:
    """`training` says from which adapter, to where, and how; it has no rows. `units`: of dpo pairs (chosen, rejected),
    else single answers with their `rewards`: for kto 1 where it passed and 0 where it failed, for grpo the advantage.
    """

    training: TrainingJob
    method: Method
    units: tuple[tuple[OwnAnswer, ...], ...]
    rewards: tuple[float, ...] = ()


def prefer(job: PreferenceJob, progress: Progress) -> TrainingResult:
    """Train one adapter into the folder `job.training.out`, which appears only when it is whole.

    A unit that is too long for `max_length`, and a pair whose answers are the same tokens, is left out and counted.
    Raises NodeFailed where none is left, or the loss is not finite.
    """
    torch = prepare_torch()
    torch.manual_seed(job.training.seed)
    loaded = load_base(job.training.arm, in_4_bits(job.training.settings))
    prompter = Prompter(loaded.tokenizer, job.training.chat)
    encoded = [tuple(prompter.supervised(one.prompt, one.text, one.ended) for one in unit) for unit in job.units]
    kept = [i for i, rows in enumerate(encoded) if _teaches(rows, job.training.settings["max_length"])]
    if not kept:
        raise NodeFailed(_nothing_left(len(encoded), job.training.settings["max_length"]))
    training = replace(job.training, settings=_settings(job, loaded.model))
    loaded.model = _without_dropout(torch, with_adapter(loaded.model, training.settings, training.arm.adapter))
    rewards = [job.rewards[i] for i in kept if job.rewards]
    objective = _objective(torch, loaded, job, [encoded[i] for i in kept], rewards)
    return learned(torch, loaded, objective, training, len(encoded) - len(kept), progress)


def _teaches(rows: Sequence[Row], limit: int) -> bool:
    """Whether it fits, has an answer and, of a pair, two different ones."""
    fits = all(start < len(ids) <= limit for ids, start in rows)
    return fits and len({tuple(ids) for ids, _ in rows}) == len(rows)


def _nothing_left(units: int, limit: int) -> str:
    return (
        f"none of the {units:,} judged answers or pairs can be learned from: they are longer than train.max_length "
        f"({limit} tokens), or chosen and rejected are the same tokens. Raise it, or student.max_new_tokens."
    )


def _settings(job: PreferenceJob, model: Any) -> dict[str, Any]:
    """Of this stage: its own rate, epochs and batches; the adapter's shape is that of the one it starts from."""
    settings = job.training.settings
    own = settings["preference"]
    rate = own["learning_rate"] or preference_rate(size_of(model), job.method)
    chosen = {"learning_rate": rate, "epochs": own["epochs"], "batch_size": STEP[job.method], "max_steps": None}
    return filled({**settings, **chosen, "gradient_accumulation": 1}, model, len(job.units))


def _without_dropout(torch: Any, model: Any) -> Any:
    """The same answer must be as likely each time that it is read."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def _objective(
    torch: Any, loaded: Loaded, job: PreferenceJob, rows: Sequence[tuple[Row, ...]], rewards: Sequence[float]
) -> Objective:
    beta = job.training.settings["preference"]["beta"]
    match job.method:
        case "dpo":
            return DirectPreference.of(torch, loaded, [(chosen, rejected) for chosen, rejected in rows], beta)
        case "kto":
            return Unpaired.of(torch, loaded, [row for (row,) in rows], [reward > 0 for reward in rewards], beta)
        case "grpo":
            return GroupRelative.of(torch, loaded, [row for (row,) in rows], rewards)
