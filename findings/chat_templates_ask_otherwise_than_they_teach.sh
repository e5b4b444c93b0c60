#!/usr/bin/env bash
# The chat templates that trl 1.16.0 ships as they are published with their models, rendered by transformers 5.23.0 (jinja2 3.1.6), seen in
# November 2026.
#
# Behaviour: a finished conversation does not hold what the model is asked with. Where a generation prompt is wanted, DeepSeek-R1's distilled models
# and DeepSeek-V3 open a thought ("<think>") that is not in the conversation with its answer. GLM-4.5 writes nothing at all after an answer: its end
# of turn is the beginning of the next one.
# Expected: the prompt is how the conversation begins, and the answer is followed by a token that ends it.
# Why it matters: who trains on rendered conversations trains DeepSeek's to answer where they are never asked (behind an open thought they have not
# seen an answer), and GLM never to stop. The loss falls as ever; evaluation says that training made the model worse.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "jinja2==3.1.6"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "trl==1.16.0"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

FOLDER = Path(find_spec("trl").submodule_search_locations[0]) / "chat_templates"
ASK = [{"role": "user", "content": "Which colour?"}]
NAMES = {"bos_token": "<bos>", "eos_token": "<eos>"}


def text(name, messages, prompted):
    template = (FOLDER / f"{name}.jinja").read_text("utf-8")
    (said,), _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=prompted, **NAMES)
    return said


def both(name):
    """The prompt, and what stands before and behind the answer of the finished conversation."""
    before, _, behind = text(name, [*ASK, {"role": "assistant", "content": "green"}], False).rpartition("green")
    return text(name, ASK, True), before, behind


for name in ("deepseek_r1_distill", "deepseekv3", "glm4moe", "qwen2_5"):
    print(name, both(name), sep="\n  ")
for name in ("deepseek_r1_distill", "deepseekv3"):
    asked, before, _ = both(name)
    assert asked == before + "<think>\n", "the behaviour has changed"
assert both("glm4moe")[2] == "", "the behaviour has changed"
asked, before, behind = both("qwen2_5")  # as one expects
assert (asked, behind) == (before, "<|im_end|>\n"), "the behaviour has changed"
PYTHON
