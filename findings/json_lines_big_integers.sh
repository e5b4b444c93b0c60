#!/usr/bin/env bash
# duckdb 2.0.0 and datasets 5.2.0 (pyarrow as it comes), seen in November 2026.
#
# Behaviour: a column of integers in JSON lines, of which one needs more than 64 bits, is read as floats by both, without a word. Different
# integers become equal, and come out in other digits:
#     12345678901234567890123 and 12345678901234567890124   ->   1.2345678901234568e+22 twice
# In datasets 9223372036854775808 (2**63, an ordinary unsigned 64-bit id) is enough.
# Expected: text, a wider integer (DuckDB has HUGEINT: 39 digits), or an error.
# Why it matters: trace and span ids and hashes are such numbers; a join by them, or "drop what occurs twice", then takes two rows for one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==2.0.0" "datasets==5.2.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import duckdb
from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar

disable_progress_bar()
ids = [12345678901234567890123, 12345678901234567890124]
open("long.jsonl", "w").write("".join(f"{{\"id\": {i}}}\n" for i in ids))
open("u64.jsonl", "w").write("".join(f"{{\"id\": {i}}}\n" for i in (2**63, 2**63 + 1)))
by_duckdb = [row[0] for row in duckdb.connect().execute("SELECT id FROM read_json('long.jsonl')").fetchall()]
by_datasets = load_dataset("json", data_files="long.jsonl", split="train")["id"][:]
u64 = load_dataset("json", data_files="u64.jsonl", split="train")["id"][:]
print("duckdb:", by_duckdb)
print("datasets:", by_datasets, u64)
for found in (by_duckdb, by_datasets, u64):
    assert all(isinstance(value, float) for value in found) and len(set(found)) == 1, "the behaviour has changed"
PYTHON
