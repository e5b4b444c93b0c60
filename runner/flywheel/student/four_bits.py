"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): the base in 4 bits while an adapter learns, and what that needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib import metadata
from typing import Any

Lack = tuple[str, str]
"""What is not here, and what to do about it."""

_INSTALL = 'Run `pip install "flywheel-loop[qlora]"`, or remove train.quantize.'
_ELSEWHERE = "Train on a machine that has one, or remove train.quantize."
#: Where drivers show: NVIDIA's, and AMD's, whose GPUs torch calls cuda too.
_DRIVERS = ("/dev/nvidia0", "/dev/kfd")


def lack(in_depth: bool = False) -> Lack | None:
    """None where this machine can train in 4 bits. `in_depth` imports torch to ask it for the GPU; else a driver has to
    do."""
    if not (_torch_sees_one() if in_depth else _driver_is_here()):
        return "4bit needs a GPU that torch has for cuda, and none is here.", _ELSEWHERE
    try:
        metadata.version("bitsandbytes")
    except metadata.PackageNotFoundError:
        return "4bit needs bitsandbytes, which is not installed.", _INSTALL
    return None


def _driver_is_here() -> bool:
    return shutil.which("nvidia-smi") is not None or any(map(os.path.exists, _DRIVERS))


def _torch_sees_one() -> bool:
    import torch

    return torch.cuda.is_available()


def loaded_so(device: str) -> dict[str, Any]:
    """What `from_pretrained` is told: NormalFloat, the scales quantised too, and bfloat16 to compute in."""
    import torch
    from transformers import BitsAndBytesConfig

    configure: Callable[..., Any] = BitsAndBytesConfig
    config = configure(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def prepared(model: Any) -> Any:
    """To have adapters: nothing of the base learns, and what is not in 4 bits (norms, embeddings, output) becomes
    float32."""
    from peft import prepare_model_for_kbit_training

    prepare: Callable[..., Any] = prepare_model_for_kbit_training
    return prepare(model, use_gradient_checkpointing=False)  # `Room` decides about it
