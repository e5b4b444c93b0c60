#!/usr/bin/env bash
# duckdb 2.0.0, seen in November 2026.
#
# Behaviour: read_json looks for columns in the first 32 files of a pattern only. A key that first occurs in the 33rd is not a column, and its values
# are gone, without a word. In one file the same is an error:
#     40 files, "error" from the 33rd on          columns: id              no error, 40 rows
#     one file, "error" from line 20,481 on       "Object {...} has unknown key "error""
# Expected: the error, in both; or the column.
# Why it matters: logged calls of models are one file a day or an hour, and a field comes with an update: a rating, a refusal, the tool calls. A query
# for it fails while there are few files with it, but `SELECT *` into a table, or Parquet, keeps nothing of it, and who looks next month finds that
# nobody ever rated. `union_by_name = true` reads all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==2.0.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import duckdb


def written(name, rows):
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def read(pattern, *options):
    try:
        found = duckdb.connect().execute(f"SELECT * FROM read_json({', '.join([repr(pattern), *options])}) ORDER BY id")
        return [column for column, *_ in found.description], found.fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]


for day in range(40):
    written(f"day{day:02}.jsonl", [{"id": day, "error": "refused"} if day >= 32 else {"id": day}])
written("one.jsonl", [{"id": line, "error": "refused"} if line >= 20_480 else {"id": line} for line in range(20_500)])
many, all_of_them, one = read("day*.jsonl"), read("day*.jsonl", "union_by_name = true"), read("one.jsonl")
print(many[0], len(many[1]), "rows;", all_of_them[0], len(all_of_them[1]), "rows;", one)
assert many == (["id"], [(day,) for day in range(40)]), "the behaviour has changed"
assert all_of_them[0] == ["id", "error"] and all_of_them[1][32] == (32, "refused"), "the behaviour has changed"
assert "unknown key" in one, "the behaviour has changed"
PYTHON
