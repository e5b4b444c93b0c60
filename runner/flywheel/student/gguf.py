"""A GGUF file as a folder that any tool loads: de-quantised once, to float32, so that no weight is rounded again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.files import swap

#: Raise it when the folder that comes of a file changes.
UNPACKING = 2
#: Llama 3.1 and later stretch low frequencies by this rule; a file holds what it gives and not these settings.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


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
        place(model.config, file)
        _plain(model).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
    except Exception as error:  # the readers of a damaged file raise whatever they stumble over
        shutil.rmtree(scratch, ignore_errors=True)
        raise FlywheelError(f"student {file} cannot be read as GGUF: {error}") from error
    swap(scratch, folder)


def place(config: Any, file: Path) -> None:
    """Put into the config how the file's model stretches positions: transformers 5.23 reads that of gpt-oss alone, and
    another model then answers from other places than it learned, in every text (linear, YaRN) or in long ones (Llama
    3.1).

    Raises ValueError where it is stretched in a way that transformers has no name for.
    """
    from gguf import GGUFReader

    reader = GGUFReader(file)
    kind = reader.fields["general.architecture"].contents()

    def said(key: str) -> Any:
        field = reader.fields.get(f"{kind}.rope.{key}")
        return None if field is None else field.contents()

    stretched = said("scaling.type") or "none"
    found: dict[str, Any] = {}
    if stretched in ("linear", "yarn"):
        keys = {"factor": "factor", "original_context_length": "original_max_position_embeddings",
                "yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}  # fmt: skip
        wanted = list(keys)[: 1 if stretched == "linear" else None]
        found = {keys[key]: said(f"scaling.{key}") for key in wanted if said(f"scaling.{key}") is not None}
        found["rope_type"] = stretched
    elif stretched != "none":
        raise ValueError(f"it stretches positions by {stretched!r}; name the model's folder")
    factors = next((tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"), None)
    if factors is not None:
        found = _llama3(factors, config)
    if found and kind != "gpt-oss":
        config.rope_parameters = _stretched(config.rope_parameters, found)


def _stretched(rope: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Where layers differ (Gemma 3), only those that see everything are stretched."""
    if "full_attention" in rope:
        return {**rope, "full_attention": {**rope["full_attention"], **found}}
    return {**rope, **found}


def _llama3(factors: Any, config: Any) -> dict[str, Any]:
    """The settings under which transformers divides frequencies by these factors, [head size / 2]."""
    import numpy
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    found = {"rope_type": "llama3", "factor": float(factors.max()), **_LLAMA3}
    theta, size = config.rope_parameters["rope_theta"], 2 * len(factors)
    plain = 1.0 / theta ** (torch.arange(0, size, 2).float() / size)
    config.rope_parameters = {**config.rope_parameters, **found}
    divided, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    if divided.shape != plain.shape or not numpy.allclose((plain / divided).numpy(), factors, rtol=1e-3):
        raise ValueError("it stretches positions otherwise than Llama 3.1 (rope_freqs.weight); name the model's folder")
    return found


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
