#!/usr/bin/env bash
# rouge-score 0.1.2, seen in November 2026.
#
# Behaviour: its tokenizer keeps a to z and 0 to 9, and takes all else for blanks. ROUGE-L F1 of two texts:
#     "東京は日本の首都です", twice                    0     (Russian, Arabic, Greek: 0, too)
#     "x = a + b"        and  "x = a - b"             1.0
#     "it is -5 degrees" and  "it is 5 degrees"       1.0
#     "a != b"           and  "a == b"                1.0
#     "Größe"            and  "Gräße"                 1.0
# Expected: a text is like itself, in any script; texts that differ in a word or a sign are less than 1.0 alike.
# Why it matters: Self-Instruct and what follows it drop a new question whose ROUGE-L with an earlier one is over 0.7. In Japanese or Russian nothing
# is ever dropped, copies included; of sums that differ in their sign all but one are. As a score it gives a right answer 0 and a wrong one 1.
# No warning either way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "rouge-score==0.1.2"
"$folder/venv/bin/python" - <<'PYTHON'
from rouge_score.rouge_scorer import RougeScorer

SCORER = RougeScorer(["rougeL"])


def alike(one, other):
    found = SCORER.score(one, other)["rougeL"].fmeasure
    print(f"{found:.2f}  {one} | {other}")
    return found


for text in ("東京は日本の首都です", "Москва столица России", "القاهرة عاصمة مصر", "Η Αθήνα είναι πρωτεύουσα"):
    assert alike(text, text) == 0, "the behaviour has changed"
for one, other in (
    ("x = a + b", "x = a - b"),
    ("it is -5 degrees", "it is 5 degrees"),
    ("a != b", "a == b"),
    ("Größe", "Gräße"),
):
    assert alike(one, other) == 1, "the behaviour has changed"
assert alike("the cat sat", "the cat sat") == 1 > alike("the cat sat", "the dog sat"), "the behaviour has changed"
PYTHON
