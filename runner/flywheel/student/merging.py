"""An adapter and its base as one plain model, that answers as the two do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.student.loading import Arm, Loaded, forget, load, prepare_torch, untie_adapted
from flywheel.student.sampling import generate
from flywheel.student.work import Asking, EffectJob, Merged, answer_logits, compared


@dataclass(frozen=True)
class MergeJob:
    """Merge into `folder`, which exists, and ask adapter and merged model the `prompts`."""

    adapted: Arm
    asking: Asking
    prompts: tuple[str, ...]
    folder: str


@dataclass(frozen=True)
class MergeResult:
    prompts: int
    equal: int
    """Prompts to which adapter and merged model give the same greedy answer, to the letter."""
    untied: bool
    """Whether the output layer got weights of its own first."""
    merged: Merged
    """The folder, loaded again, along the adapter's answers."""


def merge(job: MergeJob, progress: Callable[[dict[str, Any]], None]) -> MergeResult:
    """Write config and weights (safetensors, in the dtype that the student runs in) and load them again by transformers
    alone: what is measured is what others will load."""
    del progress
    adapted = load(job.adapted)
    before = _answers(adapted, job)
    pairs = EffectJob(job.adapted, job.asking, tuple(zip(job.prompts, before, strict=True)))
    logits = answer_logits(adapted, pairs)
    forget()  # merging changes the loaded weights themselves
    untied = untie_adapted(adapted.model)
    whole = adapted.model.merge_and_unload()
    whole.config.name_or_path = ""
    whole.save_pretrained(Path(job.folder))
    tokenizer, device, dtype = adapted.tokenizer, adapted.device, whole.dtype
    del adapted, whole  # two may not fit
    again = Loaded(_plain(Path(job.folder), dtype).to(device).eval(), tokenizer, device)
    equal = sum(one == other for one, other in zip(_answers(again, job), before, strict=True))
    return MergeResult(len(job.prompts), equal, untied, compared(again, pairs, logits))


def _plain(folder: Path, dtype: Any) -> Any:
    prepare_torch()
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False, use_safetensors=True)


def _answers(loaded: Loaded, job: MergeJob) -> list[str]:
    asked = [(str(i), prompt) for i, prompt in enumerate(job.prompts)]
    said = generate(
        loaded,
        asked,
        chat=job.asking.chat,
        max_new_tokens=job.asking.max_new_tokens,
        batch_size=job.asking.batch_size,
    )
    return [one.text for one in said]
