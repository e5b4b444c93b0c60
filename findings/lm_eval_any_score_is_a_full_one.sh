#!/usr/bin/env bash
# lm-eval 0.4.13, seen in November 2026.
#
# Behaviour: where a generative task has several right answers a row (`doc_to_target` is a list), every metric but exact_match that gives more than
# nothing for one of them counts as 1, however little it was. With a metric of one's own, the share of the words that answer and target have in common:
#     target                          model says                          score of the row
#     "the red house"                 "the blue car is over there"        0.17
#     ["the red house"]               "the blue car is over there"        1.0
#     ["the red house", "a house"]    "the blue car is over there"        1.0
# And who lists exact_match first gives the metrics behind it a list in the place of the text.
# Expected: the best of the scores over the right answers, 0.17, as SQuAD's F1 and ROUGE with several references are defined.
# Why it matters: such scores are for tasks whose answers are texts, and those have several right ones. Every model that writes "the" has 100%, before
# training and after it; the log of samples holds the 1.0, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "lm_eval==0.4.13" "datasets==5.2.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import json
from pathlib import Path

import lm_eval
from lm_eval.api.model import LM

SAID = "the blue car is over there"
given = []


class Saying(LM):
    """Not a model: says the same to each question."""

    def generate_until(self, requests):
        return [SAID for _ in requests]

    loglikelihood = loglikelihood_rolling = None


Saying.__abstractmethods__ = frozenset()


def shared_words(references, predictions):
    """Share of the longer text's words that both have, 0 to 1."""
    given.append(predictions[0])
    target, answer = references[0].split(), str(predictions[0]).split()
    return len(set(target) & set(answer)) / max(len(target), len(answer))


def score(target, *before):
    name = f"rows{len(list(Path().glob('*.jsonl')))}"
    Path(f"{name}.jsonl").write_text(json.dumps({"question": "Where?", "answer": target}) + "\n")
    task = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "test_split": "test",
        "output_type": "generate_until", "doc_to_text": "question", "doc_to_target": "answer",
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in (*before, shared_words)],
    }
    found = lm_eval.simple_evaluate(Saying(), tasks=[task], bootstrap_iters=0)["results"][name]["shared_words,none"]
    print(target, "said:", SAID, "score", round(found, 2))
    return round(found, 2)


assert score("the red house") == 0.17, "the behaviour has changed"
assert score(["the red house"]) == score(["the red house", "a house"]) == 1, "the behaviour has changed"
assert score(["a red house"]) == 0, "the behaviour has changed"
assert given[-1] == SAID
score(["a red house"], "exact_match")
assert given[-1] == [SAID], "the behaviour has changed"
PYTHON
