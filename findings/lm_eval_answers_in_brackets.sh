#!/usr/bin/env bash
# lm-eval 0.4.13 (datasets 5.2.0), seen in November 2026.
#
# Behaviour: a right answer in a template (`doc_to_target: "{{answer}}"`) that begins with [ and ends with ] is read as a Python list, and a list
# means several right answers. Where that of the first row is one, every other text of the task is taken apart into letters, each of them right:
#     rows: [1, 2] | 42 | Paris         model says what stands in the rows: exact_match 0.00
#                                       model says 1 | 4 | P:               exact_match 0.67
#     rows: 42 | Paris | [1,2]          model says what stands in the rows: exact_match 0.67   ([1,2] became [1, 2])
# With the name of the column (`doc_to_target: answer`) the rows are as they are: 1.00 for the first model.
# Expected: text of a template is text; 1.00.
# Why it matters: answers of tasks on lists, intervals and JSON look so, and one such row that comes first changes the verdict on all the others. A
# shuffle, or --limit with another order, moves the score from nearly all to nothing and back; the log of samples shows the text as it was.
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


class Saying(LM):
    """Not a model: says the given answer to each question."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def generate_until(self, requests):
        return [self.answers[request.args[0]] for request in requests]

    loglikelihood = loglikelihood_rolling = None


Saying.__abstractmethods__ = frozenset()


def score(golds, said, target="{{answer}}"):
    name = f"rows{len(list(Path().glob('*.jsonl')))}"
    rows = [{"question": f"q{place}", "answer": gold} for place, gold in enumerate(golds)]
    Path(f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, "test_split": "test",
        "output_type": "generate_until", "doc_to_text": "question", "doc_to_target": target,
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    model = Saying({f"q{place}": answer for place, answer in enumerate(said)})
    found = lm_eval.simple_evaluate(model, tasks=[task], bootstrap_iters=0)["results"][name]["exact_match,none"]
    print(golds, "said:", said, target, "exact_match", round(found, 2))
    return round(found, 2)


first, last = ["[1, 2]", "42", "Paris"], ["42", "Paris", "[1,2]"]
assert score(first, first) == 0, "the behaviour has changed"
assert score(first, ["1", "4", "P"]) == 0.67, "the behaviour has changed"
assert score(last, last) == 0.67, "the behaviour has changed"
assert score(first, first, "answer") == score(last, last, "answer") == 1, "the behaviour has changed"
PYTHON
