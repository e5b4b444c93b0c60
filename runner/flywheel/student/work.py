"""What the model worker does with a student. Called by name in a child process: `fn(payload, progress)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from flywheel.records import Generation
from flywheel.spec.models import Student
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import Arm, Loaded, forget, load, prepare_torch
from flywheel.student.sampling import completion_losses, generate, target_logits

Progress = Callable[[dict[str, Any]], None]

#: Of an answer so many tokens are compared: with a large vocabulary the logits of a long one fill the memory.
COMPARED_TOKENS = 32


@dataclass(frozen=True)
class Asking:
    """How a student is asked, wherever it is asked."""

    chat: Chat
    max_new_tokens: int
    batch_size: int

    @classmethod
    def of(cls, student: Student) -> Self:
        """As the spec says."""
        return cls(chat_of(student), student.max_new_tokens, student.batch_size)


def chat_of(student: Student) -> Chat:
    """As the spec says."""
    return Chat(student.system, student.chat_template_kwargs)


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
    """Does the adapter change what follows these prompts, and the same way when it is merged into the base?

    Pairs of (prompt, answer): the models are compared at each token of an answer that somebody gave, all in one pass,
    where generating anew would take one for each.
    """

    adapted: Arm
    asking: Asking
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Merged:
    """The adapter merged into the base against the adapter beside it."""

    outputs_changed: int
    """Prompts after which another token is the likeliest, somewhere along the answer."""
    logit_change: float
    """Greatest absolute difference of the logits along the answers."""
    logit_scale: float
    """Greatest absolute logit, to which a difference is small or not."""
    dtype: str
    """Of the weights, such as `float32`: how finely a merged weight can be told."""


@dataclass(frozen=True)
class Effect:
    """After `outputs_changed` of `prompts` another token is the likeliest, somewhere along the answer; `logit_change`:
    the greatest absolute difference of the logits."""

    prompts: int
    outputs_changed: int
    logit_change: float
    merged: Merged | None = None


def answer(job: AnswerJob, progress: Progress) -> list[Generation]:
    """One answer a prompt, in order."""
    return generate(
        load(job.arm),
        job.prompts,
        chat=job.asking.chat,
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
        chat=job.asking.chat,
        progress=lambda done: progress({"done": done, "total": len(job.pairs)}),
    )


def effect(job: EffectJob, progress: Progress) -> Effect:
    """Whether an adapter does anything: one that is ignored passes every other check by being the base."""
    del progress
    adapted = load(job.adapted)
    after = _answer_logits(adapted, job)
    with adapted.model.disable_adapter():
        before = _answer_logits(adapted, job)
    return Effect(len(job.pairs), _differing(before, after), _change(before, after), _merged(adapted, job, after))


def _merged(adapted: Loaded, job: EffectJob, logits: list[Any]) -> Merged:
    """Merging changes the loaded weights themselves, so the model is given up afterwards."""
    forget()
    _untie(adapted.model)
    whole = Loaded(adapted.model.merge_and_unload(), adapted.tokenizer, adapted.device)
    found = _answer_logits(whole, job)
    return Merged(
        outputs_changed=_differing(found, logits),
        logit_change=_change(found, logits),
        logit_scale=max(float(one.abs().max()) for one in logits),
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


def _differing(one: list[Any], other: list[Any]) -> int:
    return sum(bool((a.argmax(-1) != b.argmax(-1)).any()) for a, b in zip(one, other, strict=True))


def _change(one: list[Any], other: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def _answer_logits(loaded: Loaded, job: EffectJob) -> list[Any]:
    """For each pair the logits before each token of the answer and of its end, shape (tokens, vocabulary)."""
    torch = prepare_torch()
    prompter = Prompter(loaded.tokenizer, job.asking.chat)
    found = []
    for prompt, answer in job.pairs:
        ids, start = prompter.supervised(prompt, answer)
        with torch.inference_mode():
            logits, _, _ = target_logits(torch, loaded, [(ids[: start + COMPARED_TOKENS], start)])
        found.append(logits)
    return found
