#!/usr/bin/env bash
# lm-eval 0.4.13, seen in November 2026.
#
# Behaviour: the filters of self-consistency (`regex`, then `majority_vote`, as the shipped task gsm8k_cot_self_consistency has them) let samples without
# an answer vote. `regex` writes "[invalid]" for each, all of them alike, so that together they are a candidate that right answers have to outvote:
#     8 samples: 18, 18, 18, 17, and 4 that were cut before the answer       vote: [invalid], wrong
#     8 samples: 18, 18, 18, 17, and 4 wrong ones, all different             vote: 18, right
# Expected: the majority of the answers there are: 18 in both (Wang et al. 2022 vote over the answers that were parsed).
# Why it matters: whoever lowers max_gen_toks, or measures a model that thinks long, sees its maj@k fall below that of one that answers something wrong;
# the difference is told as one of reasoning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "lm_eval==0.4.13"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.util import find_spec
from pathlib import Path

import yaml
from lm_eval.filters import build_filter_ensemble

FOLDER = Path(find_spec("lm_eval").submodule_search_locations[0]) / "tasks" / "gsm8k"
shipped = yaml.safe_load((FOLDER / "gsm8k-cot-self-consistency.yaml").read_text())
(filters,) = [named["filter"] for named in shipped["filter_list"] if named["name"] == "maj@8"]
print(filters)
ANSWERED = [f"The answer is {number}." for number in ("18", "18", "18", "17")]


def vote(others):
    steps = [(step.pop("function"), step) for step in map(dict, filters)]
    responses = [[*ANSWERED, *others]]
    for name, options in steps:
        (built,) = build_filter_ensemble("vote", [(name, options or None)]).filters
        responses = list(built().apply(responses, [{}]))
    return responses[0]


cut = vote(["First, she sells 16 eggs, of which"] * 4)
wrong = vote([f"The answer is {number}." for number in ("1", "2", "3", "4")])
print("cut:", cut, "wrong:", wrong)
assert (cut, wrong) == ("[invalid]", "18"), "the behaviour has changed"
PYTHON
