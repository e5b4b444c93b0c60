"""Learning from judged answers: the loop of `training.lora`, from the adapter that gave them, by another objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flywheel.errors import NodeFailed
from flywheel.student.chat import Prompter
from flywheel.student.loading import Loaded, prepare_torch
from flywheel.student.memory import Row
from flywheel.training.launching import launch
from flywheel.training.lora import Objective, TrainingJob, TrainingResult, adapt, begun, launched_result, learned
from flywheel.training.objectives import DirectPreference, GroupRelative, Unpaired
from flywheel.training.ranks import ALONE, Ranks
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
    practises: bool = False
    """There are questions to practise on (`tasks.*.practice`)."""


def prefer(job: PreferenceJob, progress: Progress, ranks: Ranks = ALONE) -> TrainingResult:
    """Train one adapter into the folder `job.training.out`, which appears only when it is whole.

    A unit that is too long for `max_length`, and a pair whose answers are the same tokens, is left out and counted.
    With `job.training.launch` that command's processes do. Raises NodeFailed where no unit is left, the loss is not
    finite, or the command fails.
    """
    training = job.training
    if training.launch is not None:
        return launched_result(launch(training.launch, job, training.arm, training.out, progress))
    torch = prepare_torch()
    loaded, free = begun(torch, training, ranks)
    prompter = Prompter(loaded.tokenizer, training.chat)
    encoded = [tuple(prompter.supervised(one.prompt, one.text, one.ended) for one in unit) for unit in job.units]
    kept = [i for i, rows in enumerate(encoded) if _teaches(rows, training.settings["max_length"])]
    if not kept:
        raise NodeFailed(_nothing_left(len(encoded), training.settings["max_length"]))
    training = replace(training, settings=_settings(job, loaded.model))
    adapt(torch, loaded, training, free, ranks)
    _without_dropout(torch, loaded.model)
    rewards = [job.rewards[i] for i in kept if job.rewards]
    objective = _objective(torch, loaded, job, [encoded[i] for i in kept], rewards, ranks)
    return learned(torch, loaded, objective, training, len(encoded) - len(kept), progress, ranks)


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
    rate = own["learning_rate"] or preference_rate(size_of(model), job.method, job.practises)
    chosen = {"learning_rate": rate, "epochs": own["epochs"], "batch_size": STEP[job.method], "max_steps": None}
    return filled({**settings, **chosen, "gradient_accumulation": 1}, model, len(job.units))


def _without_dropout(torch: Any, model: Any) -> None:
    """The same answer must be as likely each time that it is read."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _objective(
    torch: Any,
    loaded: Loaded,
    job: PreferenceJob,
    rows: Sequence[tuple[Row, ...]],
    rewards: Sequence[float],
    ranks: Ranks,
) -> Objective:
    chosen = job.training.settings["preference"]
    beta = chosen["beta"]
    match job.method:
        case "dpo":
            pairs = [(right, wrong) for right, wrong in rows]
            return DirectPreference.of(torch, loaded, pairs, beta, chosen["nll"], ranks)
        case "kto":
            passed = [reward > 0 for reward in rewards]
            return Unpaired.of(torch, loaded, [row for (row,) in rows], passed, beta, ranks)
        case "grpo":
            return GroupRelative.of(torch, loaded, [row for (row,) in rows], rewards, ranks)
