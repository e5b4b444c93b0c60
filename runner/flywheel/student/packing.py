"""What stands beside weights so that they answer elsewhere as here: tokenizer, chat template, greedy decoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.student.chat import Prompter
from flywheel.student.loading import Arm, load_tokenizer
from flywheel.student.work import Asking

#: Of a base's generation config: what only sampling reads, and the one other bound on the length.
_NOT_GREEDY = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "max_length")


@dataclass(frozen=True)
class PackingJob:
    """`arm`: whose base; `folder` exists, and is written into."""

    arm: Arm
    asking: Asking
    folder: str


def pack(job: PackingJob, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Write tokenizer files, chat template and `generation_config.json`; no weights are read. Gives how a prompt is put
    into the chat template (`Prompter.skeleton`).

    Everything is written by transformers anew and not copied: a tokenizer without its model's config.json must say
    itself which class it is. Raises FlywheelError where the base is not there.
    """
    del progress
    arm, folder = job.arm, Path(job.folder)
    try:
        tokenizer = load_tokenizer(arm)
        prompter = Prompter(tokenizer, job.asking.chat)
        config = greedy(arm, prompter, job.asking.max_new_tokens)
    except (OSError, ValueError) as error:
        raise FlywheelError(f"the tokenizer of {arm.source} cannot be loaded: {error}") from error
    tokenizer.save_pretrained(folder)
    _forget_places(folder / "tokenizer_config.json")
    config.save_pretrained(folder)
    return prompter.skeleton()


def greedy(arm: Arm, prompter: Prompter, max_new_tokens: int) -> Any:
    """The base's `GenerationConfig` as the student is asked: its ends of turn and penalties, without sampling."""
    from transformers import AutoConfig, GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(arm.source, revision=arm.revision or "main")
    except OSError:  # it has none: what its config.json says
        model = AutoConfig.from_pretrained(arm.source, revision=arm.revision, trust_remote_code=False)
        config = GenerationConfig.from_model_config(model)
    for key in _NOT_GREEDY:
        setattr(config, key, None)
    config._from_model_config = False  # else `generate` makes it anew and forgets what is set here
    config.do_sample = False
    config.max_new_tokens = max_new_tokens
    tokenizer = prompter.tokenizer
    config.pad_token_id = tokenizer.pad_token_id
    config.eos_token_id = sorted({*prompter.stop_ids(config.eos_token_id), tokenizer.pad_token_id})
    return config


def _forget_places(file: Path) -> None:
    """Where the base was on this machine is nobody else's business."""
    config = json.loads(file.read_text(encoding="utf-8"))
    for key in ("name_or_path", "local_files_only", "is_local", "_commit_hash"):
        config.pop(key, None)
    file.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
