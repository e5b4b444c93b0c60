"""What the model worker does with a student. Called by name in a child process: `fn(payload, progress)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from flywheel.records import Generation
from flywheel.spec.models import Student
from flywheel.student.chat import Chat, Prompter
from flywheel.student.gguf import unpack
from flywheel.student.loading import Arm, Loaded, forget, load, prepare_torch, untie_adapted
from flywheel.student.rounding import rounding
from flywheel.student.sampling import ELSEWHERE, Share, completion_losses, generate, target_logits

Progress = Callable[[dict[str, Any]], None]

#: Of an answer so many tokens are compared: with a large vocabulary the logits of a long one fill the memory.
COMPARED_TOKENS = 32


@dataclass(frozen=True)
class Asking:
    """How a student is asked, wherever it is asked."""

    chat: Chat
    max_new_tokens: int
    batch_size: int
    share: Share = field(default_factory=Share)
    engine: str = "transformers"
    """Who answers, where there is more than a few prompts to answer."""

    @classmethod
    def of(cls, student: Student) -> Self:
        """A few prompts, as the spec says."""
        return cls(chat_of(student), student.max_new_tokens, student.batch_size)

    @classmethod
    def many(cls, student: Student) -> Self:
        """Probes, samples and suites: by `student.engine`, which takes a while to start."""
        return replace(cls.of(student), engine=student.engine)

    def arm(self, arm: Arm) -> Arm:
        """The model by the one who answers."""
        return replace(arm, engine=self.engine)

    def shares(self, of: int, prompts: int) -> list[Self]:
        """At most so many, of so many prompts; none without a batch."""
        batches = -(-prompts // self.batch_size)
        number = max(1, min(of, batches))
        return [replace(self, share=Share(i, number)) for i in range(number)]


def chat_of(student: Student) -> Chat:
    """As the spec says."""
    return Chat(student.system, student.chat_template_kwargs)


@runtime_checkable
class Divisible(Protocol):
    """What several model workers can do together, to the same result: everything it needs is in memory or in folders
    that nobody changes, and nothing is written."""

    @property
    def arm(self) -> Arm: ...

    def parts(self, of: int) -> Sequence[Any]:
        """The same job in at most `of` parts."""

    def joined(self, results: Sequence[Any]) -> Any:
        """What the whole would have given, of what the parts gave."""

    def folders(self) -> Sequence[str]:
        """That it reads, the model's aside."""


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

    def parts(self, of: int) -> list[Self]:
        return [replace(self, asking=share) for share in self.asking.shares(of, len(self.prompts))]

    def joined(self, results: Sequence[Sequence[Generation]]) -> list[Generation]:
        return [next(one for one in found if one.tokens != ELSEWHERE) for found in zip(*results, strict=True)]

    def folders(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class LossJob:
    """Pairs of (prompt, target)."""

    arm: Arm
    asking: Asking
    pairs: tuple[tuple[str, str], ...]

    def parts(self, of: int) -> list[Self]:
        """One: what is read together follows from the memory of who reads it, and the last digit of a loss with it."""
        return [self]

    def joined(self, results: Sequence[list[float]]) -> list[float]:
        return results[0]

    def folders(self) -> Sequence[str]:
        return ()


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

    @property
    def allowed(self) -> float:
        """How far the logits may be apart by rounding alone."""
        return rounding(self.dtype, self.logit_scale)

    @property
    def is_alike(self) -> bool:
        """The likeliest token must be the same in float32; where weights are coarser, near ties may fall either way."""
        same = self.outputs_changed == 0 or self.dtype != "float32"
        return same and self.logit_change <= self.allowed


@dataclass(frozen=True)
class Effect:
    """After `outputs_changed` of `prompts` another token is the likeliest, somewhere along the answer; `logit_change`:
    the greatest absolute difference of the logits."""

    prompts: int
    outputs_changed: int
    logit_change: float
    merged: Merged | None = None
    plain: Merged | None = None
    """The plain merge that people do, where it is another one: the adapter changes an embedding that the output layer
    shares, and `merged` unties the two first."""


def plain_merge_warning(effect: Mapping[str, Any]) -> str:
    """What to say of an `Effect` (as a dict, of an earlier version too) whose plain merge is another model; else empty.

    The merge that people do is peft's `merge_and_unload` on the base as it is.
    """
    if effect.get("plain") is None or (plain := Merged(**effect["plain"])).is_alike:
        return ""
    return (
        f"a plain merge answers differently ({plain.outputs_changed} of {effect['prompts']} answers, logits by up to "
        f"{plain.logit_change:.3g}): use `flywheel export --merged FOLDER`, which unties first"
    )


def unpacked(arm: Arm, progress: Progress) -> None:
    """Makes the folder of a base that is a GGUF file, where it is not there. Raises as `gguf.unpack`."""
    del progress
    if arm.gguf is not None:
        unpack(Path(arm.gguf), Path(arm.source))


def answer(job: AnswerJob, progress: Progress) -> list[Generation]:
    """One answer a prompt, in order."""
    return generate(
        load(job.asking.arm(job.arm)),
        job.prompts,
        chat=job.asking.chat,
        max_new_tokens=job.asking.max_new_tokens,
        batch_size=job.asking.batch_size,
        temperature=job.temperature,
        top_p=job.top_p,
        seeds=job.seeds,
        stop=job.stop,
        share=job.asking.share,
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
    after = answer_logits(adapted, job)
    with adapted.model.disable_adapter():
        before = answer_logits(adapted, job)
    merged, untied = _merged(adapted, job, after, untie=True)
    del adapted  # two may not fit
    plain = _merged(load(job.adapted), job, after, untie=False)[0] if untied else None
    return Effect(len(job.pairs), differing(before, after), _change(before, after), merged, plain)


def _merged(adapted: Loaded, job: EffectJob, logits: list[Any], untie: bool) -> tuple[Merged, bool]:
    """The merged model against the adapter's `logits`; whether it was untied. Merging changes the loaded weights
    themselves, so the model is given up afterwards."""
    forget()
    untied = untie and untie_adapted(adapted.model)
    whole = Loaded(adapted.model.merge_and_unload(), adapted.tokenizer, adapted.device)
    return compared(whole, job, logits), untied


def compared(whole: Loaded, job: EffectJob, logits: list[Any]) -> Merged:
    """A merged model against the `logits` of the adapter beside its base."""
    found = answer_logits(whole, job)
    return Merged(
        outputs_changed=differing(found, logits),
        logit_change=_change(found, logits),
        logit_scale=max(float(one.abs().max()) for one in logits),
        dtype=str(whole.model.dtype).removeprefix("torch."),
    )


def differing(one: list[Any], other: list[Any]) -> int:
    return sum(bool((a.argmax(-1) != b.argmax(-1)).any()) for a, b in zip(one, other, strict=True))


def _change(one: list[Any], other: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def answer_logits(loaded: Loaded, job: EffectJob) -> list[Any]:
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
