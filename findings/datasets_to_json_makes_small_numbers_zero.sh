#!/usr/bin/env bash
# datasets 5.2.0 (pandas 3.1.1), seen in November 2026.
#
# Behaviour: `Dataset.to_json` writes floats with ten digits after the point, unless they are below 1e-15:
#     0.12345678901234567   ->   0.123456789
#     1e-11                 ->   0.0
#     9e-12                 ->   0.0
#     1e-16                 ->   1e-16          smaller than both, and now the largest
# In lists and structs as well. `to_parquet`, `to_csv` and `to_list` keep every digit.
# Expected: the shortest digits that read back as the same number, as json.dumps writes.
# Why it matters: a data set of probabilities, p-values, learning rates or distances is written as JSON lines to be shared. Small ones are zero afterwards, their
# logarithm is infinite, their order is another, and two rows that differed are one for who removes duplicates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0" "pandas==3.1.1"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json

from datasets import Dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()
given = [0.12345678901234567, 1e-11, 9e-12, 1e-16]
rows = Dataset.from_dict({"p": given, "list": [[value] for value in given], "struct": [{"p": value} for value in given]})
rows.to_json("rows.jsonl")
rows.to_parquet("rows.parquet")
written = [json.loads(line) for line in open("rows.jsonl")]
print(*written, sep="\n")
assert [row["p"] for row in written] == [0.123456789, 0.0, 0.0, 1e-16], "the behaviour has changed"
assert all(row["list"] == [row["p"]] and row["struct"] == {"p": row["p"]} for row in written), "the behaviour has changed"
rows.to_csv("rows.csv")
of_csv = [float(line.split(",")[0]) for line in open("rows.csv").readlines()[1:]]
assert Dataset.from_parquet("rows.parquet")["p"][:] == of_csv == rows["p"][:] == given, "the behaviour has changed"
PYTHON
