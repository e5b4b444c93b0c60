"""What `validate` says of adapters on the embedding or the output layer of a pretrained student."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import render_fault
from flywheel.spec.loader import load
from mini_domain import Domain
from spec.test_bases import write_gguf


def warned(root: Path, targets: Any, base: str = "student", **config: Any) -> list[str]:
    domain = Domain.written(root)
    said = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **config}
    (root / "student" / "config.json").write_text(json.dumps(said))
    domain.edit(lambda spec: spec["student"].update(base=base, revision="0123abc"))
    domain.edit(lambda spec: spec["train"].update(targets=targets))
    return [render_fault(fault) for fault in load(root / "flywheel.yaml").warnings if "targets" in fault.path]


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_of_linear_layers_nothing_is_said(tmp_path: Path, targets: Any) -> None:
    assert warned(tmp_path, targets) == []


def test_of_the_built_in_student_nothing_is_said(tmp_path: Path) -> None:
    assert warned(tmp_path, ["q_proj", "embed_tokens"], "builtin:tiny") == []


def test_the_place_the_figures_and_the_way_out_are_named(tmp_path: Path) -> None:
    said = warned(
        tmp_path, ["q_proj", "embed_tokens"], model_type="qwen2", architectures=["Qwen2ForCausalLM"],
        vocab_size=151_936, tie_word_embeddings=True,
    )  # fmt: skip

    assert len(said) == 1
    assert "warning: flywheel.yaml" in said[0].replace(str(tmp_path) + "/", "")
    assert (
        "train.targets: embed_tokens: the adapter grows by vocabulary x rank (151,936 x 4); vLLM 0.33.0 refuses LoRA "
        "on the embedding of qwen2; a plain merge changes the answers, as this base ties its embeddings (`flywheel "
        "export --merged FOLDER` unties first). Write targets: all-linear."
    ) in said[0]


@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        ("llama", ["embed_tokens"], "vLLM 0.33.0 loads LoRA on the embedding of llama, other servers may not"),
        ("qwen3", ["model.embed_tokens"], "vLLM 0.33.0 loads LoRA on the embedding of qwen3"),
        ("gemma3_text", ["embed_tokens"], "vLLM 0.33.0 refuses LoRA on the embedding of gemma3_text"),
        ("mistral", ["embed_tokens"], "vLLM 0.33.0 refuses LoRA on the embedding of mistral"),
        ("qwen2", ["lm_head"], "vLLM 0.33.0 refuses LoRA on the output layer of qwen2"),
        (
            "gemma3_text",
            ["lm_head", "embed_tokens"],
            "refuses LoRA on the embedding and the output layer of gemma3_text",
        ),
        ("gpt2", ["wte"], "vLLM 0.33.0 loads LoRA on the embedding for Llama, Phi-3, Qwen3, Qwen3.5 and Granite"),
        ("gpt2", ["wte"], "a plain merge changes the answers, where the base ties its embeddings"),
    ],
)
def test_each_architecture_has_its_own_word(tmp_path: Path, kind: str, targets: list[str], message: str) -> None:
    assert message in warned(tmp_path, targets, model_type=kind, architectures=["XForCausalLM"])[0]


def test_an_output_layer_of_its_own_merges_and_a_large_one_is_refused(tmp_path: Path) -> None:
    said = warned(tmp_path, ["lm_head"], vocab_size=262_144, tie_word_embeddings=False)[0]

    assert "lm_head: the adapter grows by vocabulary x rank (262,144 x 4); vLLM 0.33.0 takes LoRA on the output" in said
    assert "a plain merge is sound, as this base does not tie its embeddings" in said


def test_of_a_gguf_the_architecture_is_known(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    write_gguf(root / "small.gguf", "qwen2", before=(("general.quantization_version", struct.pack("<II", 4, 7)),))

    assert "vLLM 0.33.0 refuses LoRA on the embedding of qwen2" in warned(root, ["embed_tokens"], "small.gguf")[0]


@pytest.mark.parametrize("base", ["org/never-downloaded"])
def test_of_a_base_that_is_not_here_the_rule_is_said(tmp_path: Path, base: str) -> None:
    said = warned(tmp_path, ["embed_tokens"], base)[0]

    assert "the adapter grows by vocabulary x rank; vLLM 0.33.0 loads LoRA on the embedding for Llama" in said
