"""A student in memory: base, tokenizer, adapter. Safetensors only; code that comes with a model is never run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, Tampered
from flywheel.hashing import hash_file, short
from flywheel.student import four_bits
from flywheel.student.chat import on_the_same_day
from flywheel.student.engine import BatchEngine
from flywheel.student.gguf import unpack
from flywheel.student.identity import StudentFiles
from flywheel.student.lengths import CONTEXT_KEYS
from flywheel.student.vllm import Vllm, lack, refuse_untold
from flywheel.text import plural

#: Parameters below which one thread trains as fast as two, at two thirds of their CPU time (bench/README.md).
ALONE_BELOW = 3_000_000


@dataclass(frozen=True)
class Arm:
    """A model to load: a base as resolved by `identity.locate`, and an adapter folder or None."""

    source: str
    revision: str | None
    dtype: str
    device: str
    base_hash: str
    adapter: str | None = None
    adapter_hash: str | None = None
    gguf: str | None = None
    """The file from which the folder `source` is made, where it is not there."""
    merged: bool = False
    """Its adapter in the base's weights, where they are float32: fewer sums a token, and the same up to rounding."""
    engine: str = "transformers"
    """Who computes: `student.engine`."""


def base_arm(files: StudentFiles, dtype: str, device: str) -> Arm:
    """The base alone."""
    return Arm(files.source, files.revision, dtype, device, files.weights_hash, gguf=files.gguf)


@dataclass
class Loaded:
    """With an `engine`, `model` has configuration and no weights."""

    model: Any
    tokenizer: Any
    device: str
    sharded: bool = False
    """Its weights are spread over several processes, which must go through it together."""
    engine: BatchEngine | None = None

    @property
    def context(self) -> int | None:
        """Tokens that fit the model, prompt and answer together; None where its configuration does not say."""
        config = self.model.config.get_text_config()
        known = (getattr(config, name, None) for name in CONTEXT_KEYS)
        return next((length for length in known if isinstance(length, int)), None)


_kept: dict[Arm, Loaded] = {}


def load(arm: Arm) -> Loaded:
    """The model, kept in this process until another is asked for: two may not fit. Its base stays where the other has
    the same.

    Raises FlywheelError where files are missing or unsafe, Tampered where the adapter is not the recorded one.
    """
    if arm not in _kept:
        base = _base_of_kept(arm)
        forget()
        _kept[arm] = _with_engine(arm) if arm.engine == "vllm" else _load(arm, base)
    return _kept[arm]


def _with_engine(arm: Arm) -> Loaded:
    """By vLLM, with the model's configuration alone. Raises FlywheelError where that cannot be read or vLLM is not
    here, Tampered where the adapter is not the recorded one."""
    torch = prepare_torch()
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    if missing := lack():
        raise FlywheelError(f"student.engine: {' '.join(missing)}")
    if arm.adapter is not None:
        check_adapter(Path(arm.adapter), arm.adapter_hash)
    device = choose_device(arm.device)
    where: dict[str, Any] = {"revision": arm.revision} if arm.revision else {}
    dtype = choose_dtype(arm.dtype, device)
    from_config: Callable[..., Any] = AutoModelForCausalLM.from_config
    try:
        tokenizer = load_tokenizer(arm)
        config = AutoConfig.from_pretrained(arm.source, trust_remote_code=False, **where)
        with torch.device("meta"):
            model = from_config(config, dtype=dtype).eval()
    except (OSError, ValueError) as error:
        raise FlywheelError(f"student {arm.source} cannot be loaded: {error}") from error
    with suppress(OSError):  # a base without one has what its configuration says
        model.generation_config = GenerationConfig.from_pretrained(arm.source, **where)
    refuse_untold(model.generation_config)
    loaded = Loaded(model, tokenizer, device)
    named = str(dtype).removeprefix("torch.")
    settings = {"model": arm.source, "revision": arm.revision, "adapter": arm.adapter, "dtype": named}
    loaded.engine = Vllm(settings, tokenizer, loaded.context, lambda: _load(replace(arm, engine="transformers"), None))
    return loaded


def _base_of_kept(arm: Arm) -> Loaded | None:
    """The base of the model that is kept, without its adapter, where `arm` has the same and nothing was merged."""
    for kept, loaded in _kept.items():
        if loaded.engine is None and not kept.merged and _without_adapter(kept) == _without_adapter(arm):
            model = loaded.model if kept.adapter is None else loaded.model.unload()
            return Loaded(model, loaded.tokenizer, loaded.device)
    return None


def _without_adapter(arm: Arm) -> Arm:
    return replace(arm, adapter=None, adapter_hash=None, merged=False)


def forget() -> None:
    """Give up the model that is kept."""
    _stop_engine()
    _kept.clear()


def _stop_engine() -> None:
    """It holds most of an accelerator's memory."""
    for loaded in _kept.values():
        if loaded.engine is not None:
            loaded.engine.close()


def prepare_torch() -> Any:
    """torch, set up so that a seeded run repeats on the same machine."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Threads that wait by spinning take a shared machine from each other: steps get several times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    return torch


def computed_on(device: str) -> str:
    """What can change the last digits of a sum, beside the versions: `cpu, 2 threads, AVX2`, or the accelerator's
    name."""
    torch = prepare_torch()
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{device}, {plural(torch.get_num_threads(), 'thread')}, {torch.backends.cpu.get_cpu_capability()}"


def choose_threads(parameters: int) -> None:
    """One thread for a model so small that more would wait for each other longer than they compute, and sums that are
    then the same on any number of cores; else as many as torch takes. OMP_NUM_THREADS goes before both."""
    torch = prepare_torch()
    if not os.environ.get("OMP_NUM_THREADS"):
        every = _all_threads()
        torch.set_num_threads(1 if parameters < ALONE_BELOW else every)


@cache
def _all_threads() -> int:
    """What torch took before anybody said otherwise."""
    return int(prepare_torch().get_num_threads())


def choose_device(wanted: str) -> str:
    torch = prepare_torch()
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(wanted: str, device: str) -> Any:
    torch = prepare_torch()
    if wanted == "auto":
        fast = device == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return getattr(torch, wanted)


def load_tokenizer(arm: Arm) -> Any:
    """The base's, as a student is asked with it. Raises OSError or ValueError where there is none."""
    from transformers import AutoTokenizer

    if arm.gguf is not None:
        unpack(Path(arm.gguf), Path(arm.source))
    tokenizer = AutoTokenizer.from_pretrained(
        arm.source, revision=arm.revision, trust_remote_code=False, padding_side="left"
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        # What somebody's last call left in tokenizer.json: a server that reads the file would cut every prompt by it.
        backend.no_truncation()
        backend.no_padding()
    tokenizer.chat_template = on_the_same_day(tokenizer.chat_template)
    return tokenizer


def load_base(arm: Arm, in_4_bits: bool = False, moved: bool = True) -> Loaded:
    """The base without an adapter, never shared: training may change it. `in_4_bits`: as QLoRA trains on it. `moved`:
    to the device, where it is in 4 bits in any case; else it is on the CPU.

    Raises FlywheelError where files are missing or unsafe, or this machine cannot do 4 bits.
    """
    prepare_torch()
    from transformers import AutoModelForCausalLM

    _stop_engine()
    if in_4_bits and (lack := four_bits.lack(in_depth=True)):
        raise FlywheelError(f"train.quantize: {lack[0]} {lack[1]}")
    device = choose_device(arm.device)
    try:
        tokenizer = load_tokenizer(arm)
        model: Any = AutoModelForCausalLM.from_pretrained(
            arm.source,
            revision=arm.revision,
            dtype=choose_dtype(arm.dtype, device),
            trust_remote_code=False,
            use_safetensors=True,
            **(four_bits.loaded_so(device) if in_4_bits else {}),
        )
    except (OSError, ValueError) as error:
        raise FlywheelError(f"student {arm.source} cannot be loaded: {error}") from error
    if in_4_bits:
        model = four_bits.prepared(model)
    elif moved:
        model = model.to(device)
    if device == "cpu":
        choose_threads(sum(weights.numel() for weights in model.parameters()))
    return Loaded(model.eval(), tokenizer, device)


def _load(arm: Arm, base: Loaded | None) -> Loaded:
    loaded = base or load_base(arm)
    if arm.adapter is not None:
        check_adapter(Path(arm.adapter), arm.adapter_hash)
        from peft import PeftModel

        loaded.model = PeftModel.from_pretrained(loaded.model, arm.adapter, torch_device=loaded.device).eval()
        if arm.merged and str(loaded.model.dtype) == "torch.float32":
            untie_adapted(loaded.model)
            loaded.model = loaded.model.merge_and_unload()
    return loaded


def untie_adapted(model: Any) -> bool:
    """Gives the output layer weights of its own, where it shares the embedding's and the adapter changes one of them.

    An adapter on a shared embedding changes what goes in and not what comes out; merged into the shared weights it
    would change both. Whoever merges such an adapter must do the same. Gives whether that was so.
    """
    torch = prepare_torch()
    from peft.tuners.tuners_utils import BaseTunerLayer

    enters, leaves, config = model.get_input_embeddings(), model.get_output_embeddings(), model.get_base_model().config
    if leaves is None or not any(isinstance(layer, BaseTunerLayer) for layer in (enters, leaves)):
        return False
    if leaves.weight.data_ptr() != enters.weight.data_ptr():
        return False
    weights = torch.nn.Parameter(leaves.weight.detach().clone(), requires_grad=False)
    getattr(leaves, "base_layer", leaves).weight = weights
    for part in (config, config.get_text_config(decoder=True)):
        part.tie_word_embeddings = False
    return True


def check_adapter(folder: Path, expected_hash: str | None) -> None:
    """Refuse pickled adapters and adapters whose weights are not the recorded ones."""
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        pickled = (folder / "adapter_model.bin").exists()
        why = "only pickled weights, which can run code" if pickled else "no adapter_model.safetensors"
        raise FlywheelError(f"{folder}: {why}. Run `flywheel apply` to train it again.")
    if expected_hash is not None and (found := adapter_hash(folder)) != expected_hash:
        raise Tampered(
            f"{weights.parent}: the adapter has changed: its hash is {short(found)}, recorded was "
            f"{short(expected_hash)}. Restore it, or delete the folder and run `flywheel apply` to train it again."
        )


def adapter_hash(folder: Path) -> str:
    """Over weights and configuration: either one changes the model."""
    from flywheel.hashing import fingerprint

    config = json.loads((folder / "adapter_config.json").read_text())
    return fingerprint([hash_file(folder / "adapter_model.safetensors"), config])
