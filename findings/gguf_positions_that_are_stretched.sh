#!/usr/bin/env bash
# transformers 5.23.0 and gguf 0.19.0 (torch 2.13.0), seen in November 2026.
#
# Behaviour: a GGUF says how a model's positions are stretched (`<arch>.rope.scaling.type`, `.factor`, `.original_context_length`; for Llama 3.1 and later
# a tensor `rope_freqs.weight`). transformers reads that of gpt-oss alone. Any other model is loaded with `rope_type: default`, without a word:
#     the file says        loaded                               largest difference of the logits from those of the model that was written
#     linear, factor 4     {'rope_type': 'default', ...}        17, from the second token on
#     yarn, factor 4       {'rope_type': 'default', ...}        15.6, from the second token on
#     nothing              {'rope_type': 'default', ...}        0 (the weights themselves are read rightly)
# Expected: the model's own rope_parameters, as from its folder, or an error.
# Why it matters: models whose context was extended (linear in Gemma 3 from 4B on and in older code models, YaRN in Qwen's long variants, Llama 3.1 and
# 3.2 in every file) are fine-tuned and measured at places that they never saw, while llama.cpp serves the same file rightly. With linear scaling and
# YaRN that is every text, with Llama 3.1 long ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "gguf==0.19.0" "torch==2.13.0" "accelerate==1.15.0"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

ROPES = [
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
]
SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}


def written(rope, folder):
    """A small Qwen2 with random weights, and its GGUF in float32."""
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=64, max_position_embeddings=512, initializer_range=0.5, rope_parameters={"rope_theta": 10_000.0, **rope}, **SIZES)
    model = Qwen2ForCausalLM(config).eval()
    writer = gguf.GGUFWriter(folder / "model.gguf", "qwen2")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_block_count(2)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(64)
    if "factor" in rope:
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if "original_max_position_embeddings" in rope:
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)
    for name, weights in model.state_dict().items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), weights.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


tokens = torch.arange(48)[None]
for rope in ROPES:
    folder = Path(rope["rope_type"])
    folder.mkdir()
    model = written(rope, folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype="float32").eval()
    with torch.no_grad():
        apart = (model(tokens).logits - loaded(tokens).logits).abs().amax(-1)[0]
    first = next((place for place, value in enumerate(apart.tolist()) if value > 1e-4), None)
    print(rope, loaded.config.rope_parameters["rope_type"], f"apart by {float(apart.max()):.3g}, first at token {first}")
    assert loaded.config.rope_parameters["rope_type"] == "default"
    assert (first is None) == (rope["rope_type"] == "default")
PYTHON
echo "as described"
