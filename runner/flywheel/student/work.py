"""What the model worker does with a student. Called by name in a child process: `fn(payload, progress)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flywheel.records import Generation
from flywheel.student.loading import Arm, Loaded, load, prepare_torch
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


@dataclass(frozen=True)
class LossJob:
    """Pairs of (prompt, target)."""

    arm: Arm
    asking: Asking
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EffectJob:
    """Does the adapter change the answers to these prompts?"""

    adapted: Arm
    asking: Asking
    prompts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Effect:
    """`outputs_changed` of `prompts` answers differ; `logit_change` is the greatest absolute difference."""

    prompts: int
    outputs_changed: int
    logit_change: float


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
        progress=lambda done: progress({"done": done, "total": len(job.prompts)}),
    )


def losses(job: LossJob, progress: Progress) -> list[float]:
    """The student's loss on each pair, in nats a token."""
    del progress
    return completion_losses(load(job.arm), job.pairs, system=job.asking.system, batch_size=job.asking.batch_size)


def effect(job: EffectJob, progress: Progress) -> Effect:
    """Whether an adapter does anything: one that is ignored passes every other check by being the base."""
    adapted = load(job.adapted)
    after = _last_logits(adapted, job)
    answers = answer(AnswerJob(job.adapted, job.asking, job.prompts), progress)
    with adapted.model.disable_adapter():
        before = _last_logits(adapted, job)
        base_answers = answer(AnswerJob(job.adapted, job.asking, job.prompts), progress)
    change = max(float((old - new).abs().max()) for old, new in zip(before, after, strict=True))
    changed = sum(a.text != b.text for a, b in zip(answers, base_answers, strict=True))
    return Effect(len(job.prompts), changed, change)


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
