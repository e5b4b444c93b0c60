"""What the model worker does with a student. Called by name in a child process: `fn(payload, progress)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flywheel.records import Generation
from flywheel.student.loading import Arm, Loaded, forget, load, prepare_torch
from flywheel.student.sampling import chat_prompt, completion_losses, encode, generate

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Asking:
    """How a student is asked, wherever it is asked."""

    system: str | None
    max_new_tokens: int
    batch_size: int


@dataclass(frozen=True)
class AnswerJob:
    """Prompts as (id, text); temperature 0 is greedy, above it each prompt has its seed."""

    arm: Arm
    asking: Asking
    prompts: tuple[tuple[str, str], ...]
    temperature: float = 0.0
    top_p: float = 1.0
    seeds: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossJob:
    """Pairs of (prompt, target)."""

    arm: Arm
    asking: Asking
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EffectJob:
    """Does the adapter change the answers to these prompts, and the same way when it is merged into the base?"""

    adapted: Arm
    asking: Asking
    prompts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Merged:
    """The adapter merged into the base against the adapter beside it."""

    outputs_changed: int
    """Greedy answers that differ."""
    logit_change: float
    """Greatest absolute difference of the logits after a prompt."""
    logit_scale: float
    """Greatest absolute logit, to which a difference is small or not."""
    dtype: str
    """Of the weights, such as `float32`: how finely a merged weight can be told."""


@dataclass(frozen=True)
class Effect:
    """`outputs_changed` of `prompts` answers differ; `logit_change` is the greatest absolute difference."""

    prompts: int
    outputs_changed: int
    logit_change: float
    merged: Merged | None = None


def answer(job: AnswerJob, progress: Progress) -> list[Generation]:
    """One answer a prompt, in order."""
    return generate(
        load(job.arm),
        job.prompts,
        system=job.asking.system,
        max_new_tokens=job.asking.max_new_tokens,
        batch_size=job.asking.batch_size,
        temperature=job.temperature,
        top_p=job.top_p,
        seeds=job.seeds,
        stop=job.stop,
        progress=lambda done: progress({"done": done, "total": len(job.prompts)}),
    )


def losses(job: LossJob, progress: Progress) -> list[float]:
    """The student's loss on each pair, in nats a token."""
    return completion_losses(
        load(job.arm),
        job.pairs,
        system=job.asking.system,
        progress=lambda done: progress({"done": done, "total": len(job.pairs)}),
    )


def effect(job: EffectJob, progress: Progress) -> Effect:
    """Whether an adapter does anything: one that is ignored passes every other check by being the base."""
    adapted = load(job.adapted)
    after, answers = _last_logits(adapted, job), _greedy(adapted, job, progress)
    with adapted.model.disable_adapter():
        before, base_answers = _last_logits(adapted, job), _greedy(adapted, job, progress)
    merged = _merged(adapted, job, after, answers, progress)
    return Effect(len(job.prompts), _differing(answers, base_answers), _change(before, after), merged)


def _merged(adapted: Loaded, job: EffectJob, logits: list[Any], answers: list[str], progress: Progress) -> Merged:
    """Merging changes the loaded weights themselves, so the model is given up afterwards."""
    forget()
    _untie(adapted.model)
    whole = Loaded(adapted.model.merge_and_unload(), adapted.tokenizer, adapted.device)
    return Merged(
        outputs_changed=_differing(_greedy(whole, job, progress), answers),
        logit_change=_change(_last_logits(whole, job), logits),
        logit_scale=max(float(found.abs().max()) for found in logits),
        dtype=str(whole.model.dtype).removeprefix("torch."),
    )


def _untie(model: Any) -> None:
    """Gives the output layer weights of its own, where it shares the embedding's.

    An adapter on a shared embedding changes what goes in and not what comes out; merged into the shared weights it
    would change both. Whoever merges such an adapter must do the same.
    """
    torch = prepare_torch()
    output = model.get_output_embeddings()
    base = model.get_base_model()
    if output is not None and getattr(base.config, "tie_word_embeddings", False):
        output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=False)
        base.config.tie_word_embeddings = False


def _greedy(loaded: Loaded, job: EffectJob, progress: Progress) -> list[str]:
    found = generate(
        loaded,
        job.prompts,
        system=job.asking.system,
        max_new_tokens=job.asking.max_new_tokens,
        batch_size=job.asking.batch_size,
        progress=lambda done: progress({"done": done, "total": len(job.prompts)}),
    )
    return [answer.text for answer in found]


def _differing(one: list[str], other: list[str]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _change(one: list[Any], other: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def _last_logits(loaded: Loaded, job: EffectJob) -> list[Any]:
    """The logits, shape (vocabulary,), after each prompt."""
    torch = prepare_torch()
    found = []
    for _, text in job.prompts:
        ids = encode(loaded.tokenizer, chat_prompt(loaded.tokenizer, text, job.asking.system))
        with torch.inference_mode():
            output = loaded.model(input_ids=torch.tensor([ids], device=loaded.device))
        found.append(output.logits[0, -1].float())
    return found
