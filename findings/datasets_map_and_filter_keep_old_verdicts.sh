#!/usr/bin/env bash
# datasets 5.2.0 (dill as it comes), seen in November 2026.
#
# Behaviour: `map` and `filter` of a loaded data set keep their result on disk, under a hash of the function. Of a function in the user's own module the
# hash takes the name only, and so of a lambda that calls it. Edit the module, start the program again, and the old results come back:
#     rules.py says: right is "4"       map: True     filter keeps the row
#     rules.py says: right is "5"       map: True     filter keeps the row
#     the same, in the main file        map: False    filter drops it        (here the hash takes the code)
# Expected: what the documentation leads one to think, that a changed function is computed again; or that a function whose code is not seen is not
# cached.
# Why it matters: rewards, verifiers and label maps are in a module, and are mended when somebody looked at what they say. After the correction the
# numbers are as before, so the correction "changes nothing", and training goes on with rows that the rule of today refuses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0"
cd "$folder"
echo '{"answer": "4"}' >rows.jsonl
cat >imported.py <<'PYTHON'
import rules
from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()
rows = load_dataset("json", data_files="rows.jsonl", split="train")
by_name, by_lambda = rows.map(rules.mark), rows.map(lambda row: {"right": rules.mark(row)["right"]})
print(by_name["right"][0], by_lambda["right"][0], len(rows.filter(rules.keep)))
PYTHON
program() {
  HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$folder" "$folder/venv/bin/python" -W ignore "$1"
}
rules() {
  printf 'def keep(row):\n    return row["answer"] == "%s"\n\n\ndef mark(row):\n    return {"right": keep(row)}\n' "$1"
}
for right in 4 5; do
  rules "$right" >rules.py
  { rules "$right"; sed -e '/^import rules/d' -e 's/rules\.//g' imported.py; } >whole.py
  program imported.py | tee "imported$right"
  program whole.py | tee "whole$right"
done
for found in imported4 imported5 whole4; do
  [ "$(cat $found)" = "True True 1" ] || { echo "the behaviour has changed"; exit 1; }
done
[ "$(cat whole5)" = "False False 0" ] || { echo "the behaviour has changed"; exit 1; }
