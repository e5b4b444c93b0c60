"""A GGUF file as a folder that any tool loads: de-quantised once, to float32, so that no weight is rounded again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.files import swap

#: Raise it when the folder that comes of a file changes.
UNPACKING = 1


def unpack(file: Path, folder: Path) -> None:
    """Write model and tokenizer of `file` into `folder`, which appears only when it is whole.

    Raises FlywheelError where transformers cannot read the file.
    """
    if folder.exists():
        return
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # a run and somebody who asks may both want it
        if not folder.exists():
            _unpack(file, folder)


def _unpack(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    scratch = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
        _plain(model).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
    except Exception as error:  # the readers of a damaged file raise whatever they stumble over
        shutil.rmtree(scratch, ignore_errors=True)
        raise FlywheelError(f"student {file} cannot be read as GGUF: {error}") from error
    swap(scratch, folder)


def _plain(model: Any) -> Any:
    """The same weights in a model that forgot its GGUF: transformers refuses to save the one that it loaded."""
    import torch

    config = model.config
    del config.quantization_config
    config.name_or_path = ""
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain
