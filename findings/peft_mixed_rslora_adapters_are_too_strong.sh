#!/usr/bin/env bash
# peft 0.21.2 (torch 2.13.0), seen in November 2026.
#
# Behaviour: `add_weighted_adapter` of adapters with `use_rslora=True` gives one that is too strong by the square root of its rank. What it adds to the
# layer's output, in times of the weighted mean of what its two parts add (ranks 8 and 8, weights 0.5 and 0.5):
#     combination_type         rank of the mixture     plain LoRA     use_rslora
#     cat                      16                      1.00           4.00
#     svd, svd_rank=16         16                      1.00           4.00
#     cat, weights 1 and 0     16                      1.00           4.00, of a mixture that should be its first part
# The parts' own scaling is in the mixture's weights already; it is given lora_alpha = rank so that nothing more is multiplied, and its configuration
# keeps `use_rslora`, by which that is rank / sqrt(rank).
# Expected: 1.00; its documentation calls cat and svd precise.
# Why it matters: rank-stabilized LoRA is for high ranks, and of two adapters of rank 64 that factor is 11. The mixture loads, answers and can be deployed; who
# compares it with its parts measures the factor, and takes it for what mixing does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "peft==0.21.2" "transformers==5.23.0" "torch==2.13.0" numpy
cd "$folder"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import torch
from peft import LoraConfig, get_peft_model

RANK = 8


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(32, 32)

    def forward(self, inputs):
        return self.linear(inputs)


@torch.no_grad()
def times(weights, use_rslora, **how):
    """What the mixture adds to the output, in times of what its parts, weighted, add; and how far it is from that many times them."""
    torch.manual_seed(0)
    layer, inputs = Layer(), torch.randn(64, 32)
    plain = layer(inputs)
    config = LoraConfig(r=RANK, lora_alpha=16, target_modules=["linear"], init_lora_weights=False, use_rslora=use_rslora)
    model = get_peft_model(layer, config, "one")
    model.add_adapter("two", config)
    model.add_weighted_adapter(["one", "two"], weights, "mixed", **how)

    def added(name):
        model.set_adapter(name)
        return model(inputs) - plain

    wanted = weights[0] * added("one") + weights[1] * added("two")
    found = added("mixed")
    ratio = float(found.norm() / wanted.norm())
    assert (found - ratio * wanted).norm() < 1e-3 * found.norm(), "the behaviour has changed: it is no multiple"
    print(weights, f"{use_rslora=}", how, f"{ratio:.2f} times")
    return round(ratio, 2)


CASES = [
    ([0.5, 0.5], {"combination_type": "cat"}),
    ([0.5, 0.5], {"combination_type": "svd", "svd_rank": 2 * RANK}),
    ([1.0, 0.0], {"combination_type": "cat"}),
]
for weights, how in CASES:
    assert times(weights, False, **how) == 1, "the behaviour has changed"
    assert times(weights, True, **how) == 4, "the behaviour has changed"  # the square root of 16
PYTHON
