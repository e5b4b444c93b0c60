#!/usr/bin/env bash
# duckdb 2.0.0 and, as the other reader, orjson 3.13.0, seen in November 2026.
#
# Behaviour: DuckDB makes NaN and Infinity of doubles into JSON, and calls them valid, though JSON has neither (RFC 8259, 6):
#     SELECT to_json({v: 1e400::DOUBLE})              {"v":Infinity}
#     SELECT json_valid('{"v":NaN}')                  true
# json_valid is how one would guard against them. A file from COPY ... (FORMAT json) has them too.
# Expected: null, or an error; and json_valid false.
# Why it matters: one division by zero in one row, and the strict readers further down refuse the whole file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==2.0.0" "orjson==3.13.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import duckdb
import orjson

query = duckdb.connect().execute
text = query("SELECT to_json({v: 1e400::DOUBLE, w: 'NaN'::DOUBLE})").fetchall()[0][0]
valid = query("SELECT json_valid(?)", [text]).fetchall()[0][0]
print(text, "json_valid:", valid)
query("COPY (SELECT 'NaN'::DOUBLE AS score) TO 'scores.jsonl' (FORMAT json)")
line = open("scores.jsonl").read()
print("in a file:", line.strip())
refused = 0
for written in (text, line):
    try:
        orjson.loads(written)
    except orjson.JSONDecodeError as error:
        refused += 1
        print("orjson:", error)
assert "Infinity" in text and "NaN" in text and valid and refused == 2, "the behaviour has changed"
PYTHON
