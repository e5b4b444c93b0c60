#!/usr/bin/env bash
# huggingface_hub 1.33.0, seen in November 2026.
#
# Behaviour: results of one benchmark with different `dataset_args` (the number of shots, a subset) are written into a model card as results with
# those of the first, whose name they get, too:
#     given     GSM8K (0-shot)  num_few_shot: 0  acc 0.10        the card     GSM8K (0-shot)  num_few_shot: 0  acc 0.10
#               GSM8K (5-shot)  num_few_shot: 5  acc 0.50                                                      acc 0.50
# Read back, both are of 0 shots. Nothing is said.
# Expected: two entries, as with another `dataset_config` or `dataset_split`.
# Why it matters: the card is what people and leaderboards read. It says that the model scored 0.50 without an example, and says it beside 0.10 under
# the same name; in the other order the 0-shot figure goes as one of five.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "huggingface_hub==1.33.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" - <<'PYTHON'
from huggingface_hub import EvalResult, ModelCard, ModelCardData


def card(distinct):
    """What is read from the card of two results: name, arguments, value. `distinct`: the key that has the shots as well."""
    results = [
        EvalResult(
            task_type="text-generation", dataset_type="gsm8k", dataset_name=f"GSM8K ({shots}-shot)", metric_type="acc", metric_value=value,
            dataset_args={"num_few_shot": shots}, **({distinct: f"{shots}-shot"} if distinct else {}),
        )
        for shots, value in ((0, 0.1), (5, 0.5))
    ]
    text = f"---\n{ModelCardData(model_name='student', eval_results=results).to_yaml()}\n---\n"
    print(text)
    read = ModelCard(text).data.eval_results
    return [(result.dataset_name, result.dataset_args["num_few_shot"], result.metric_value) for result in read]


assert card(None) == [("GSM8K (0-shot)", 0, 0.1), ("GSM8K (0-shot)", 0, 0.5)], "the behaviour has changed"
for key in ("dataset_config", "dataset_split"):
    assert card(key) == [("GSM8K (0-shot)", 0, 0.1), ("GSM8K (5-shot)", 5, 0.5)], "the behaviour has changed"
PYTHON
