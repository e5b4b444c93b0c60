"""Where an adapter can be served, by what it changes and by the base's architecture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.errors import Fault
from flywheel.spec.bases import BUILTIN, base_config
from flywheel.spec.document import Document
from flywheel.spec.models import Spec
from flywheel.spec.outline import Outline
from flywheel.text import one_line

#: What architectures call the embedding and the output layer.
_EMBEDDINGS = {"embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings"}
_OUTPUTS = {"lm_head", "embed_out"}

#: vLLM 0.33.0: whether the class of a `model_type` declares `embedding_modules`; without them an adapter on the
#: embedding or the output layer is refused.
_LOADED_BY_VLLM = {"llama", "phi3", "qwen3", "qwen3moe", "qwen35", "granite"}
_REFUSED_BY_VLLM = {"qwen2", "gemma", "gemma2", "gemma3", "gemma4", "mistral", "opt", "glm4"}
#: What vLLM 0.33.0 takes for `--max-lora-rank`.
RANKS_OF_VLLM = (1, 8, 16, 32, 64, 128, 256, 320, 512)
#: From lora on the output layer vLLM 0.33.0 wants a vocabulary no larger than this.
_OUTPUT_VOCABULARY = 258_048


def serving_warnings(document: Document, root: Path, spec: Spec) -> Iterator[Fault]:
    """A word where `train.targets` name the embedding or the output layer of a pretrained student.

    The built-in one has to learn words and nobody serves it; `all-linear` leaves both out.
    """
    targets = spec.train.targets if isinstance(spec.train.targets, list) else []
    named = [target for target in targets if target.rpartition(".")[2] in _EMBEDDINGS | _OUTPUTS]
    if not named or spec.student.base == BUILTIN:
        return
    config = base_config(root, spec.student.base, spec.student.revision)
    facts = [_size(config, spec.train.rank), *_vllm(config, named), _merge(config)]
    message = f"{' and '.join(one_line(name, 60) for name in named)}: {'; '.join(facts)}."
    yield document.warning(("train", "targets"), message, "Write targets: all-linear.")


def serving_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    """What the server that `deploy` names, or the student's engine, cannot take, said before anything is trained."""
    target, train = outline.deploy, outline.train
    by_vllm = outline.student.engine == "vllm"
    largest = RANKS_OF_VLLM[-1] if by_vllm else target.largest_rank
    if largest is not None and train.rank > largest:
        yield document.fault(
            ("train", "rank"), f"no vLLM takes a rank above {largest}.", f"Write rank: {largest}, or less."
        )
    elif target.rank_limit is not None and train.rank > target.rank_limit:
        message = f"the server that deploy names takes a rank of up to {target.rank_limit} (deploy.max_lora_rank)."
        hint = f"Start it with --max-lora-rank {next_rank(train.rank)} and write deploy.max_lora_rank: "
        yield document.fault(("train", "rank"), message, f"{hint}{next_rank(train.rank)}, or lower the rank.")
    if target.refuses_embeddings or by_vllm:
        yield from _embedding_faults(document, root, outline)


def next_rank(rank: int) -> int:
    """The least maximum with which a server that takes an adapter of `rank` can be started."""
    return next((most for most in RANKS_OF_VLLM if most >= rank), rank)


def _embedding_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    targets = outline.train.targets if isinstance(outline.train.targets, list) else []
    named = [target for target in targets if target.rpartition(".")[2] in _EMBEDDINGS | _OUTPUTS]
    config = base_config(root, outline.student.base, outline.student.revision)
    if named and _kind_of_base(config) in _REFUSED_BY_VLLM:
        message = f"{one_line(named[0], 60)}: {_refused(config, named[:1])}."
        yield document.fault(("train", "targets"), message, "Write targets: all-linear.")


def _kind_of_base(config: dict[str, Any]) -> str:
    return re.sub(r"[-_]", "", str(config.get("model_type") or "").lower()).removesuffix("text")


def _part(config: dict[str, Any], key: str) -> Any:
    """Models that also see pictures keep what is of text apart."""
    text = config.get("text_config")
    return config.get(key, text.get(key) if isinstance(text, dict) else None)


def _size(config: dict[str, Any], rank: int) -> str:
    vocabulary = _part(config, "vocab_size")
    product = f" ({vocabulary:,} x {rank})" if isinstance(vocabulary, int) else ""
    return f"the adapter grows by vocabulary x rank{product}"


def _vllm(config: dict[str, Any], named: list[str]) -> Iterator[str]:
    architecture = str(config.get("model_type") or "")
    kind = _kind_of_base(config)
    names = {name.rpartition(".")[2] for name in named}
    if kind in _REFUSED_BY_VLLM:
        yield _refused(config, named)
        return
    if names & _EMBEDDINGS:
        if kind in _LOADED_BY_VLLM:
            yield f"vLLM 0.33.0 loads LoRA on the embedding of {one_line(architecture, 60)}, other servers may not"
        else:
            yield "vLLM 0.33.0 loads LoRA on the embedding for Llama, Phi-3, Qwen3, Qwen3.5 and Granite"
    vocabulary = _part(config, "vocab_size")
    if names & _OUTPUTS and isinstance(vocabulary, int) and vocabulary > _OUTPUT_VOCABULARY:
        yield f"vLLM 0.33.0 takes LoRA on the output layer up to {_OUTPUT_VOCABULARY:,} words only"


def _refused(config: dict[str, Any], named: list[str]) -> str:
    """Of an architecture that declares neither layer to vLLM."""
    names = {name.rpartition(".")[2] for name in named}
    layers = [layer for layer, known in (("embedding", _EMBEDDINGS), ("output layer", _OUTPUTS)) if names & known]
    architecture = one_line(str(config.get("model_type")), 60)
    return f"vLLM 0.33.0 refuses LoRA on the {' and the '.join(layers)} of {architecture}"


def _merge(config: dict[str, Any]) -> str:
    tied = _part(config, "tie_word_embeddings")
    if tied is False:
        return "a plain merge is sound, as this base does not tie its embeddings"
    where = "as this base ties its embeddings" if tied else "where the base ties its embeddings"
    return f"a plain merge changes the answers, {where} (`flywheel export --merged FOLDER` unties first)"
