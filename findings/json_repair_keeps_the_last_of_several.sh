#!/usr/bin/env bash
# json-repair 0.64.6, seen in November 2026.
#
# Behaviour: of several JSON values in one text, those of one shape (an object's keys and kinds of values, a list's length) are one: the last is kept.
#     {"id": 1}                                                 loads: {"id": 3}
#     {"id": 2}
#     {"id": 3}
#     {"id": 1}, {"id": 2}, {"id": "three"} on three lines      loads: [{"id": 2}, {"id": "three"}]
#     {"id": 1} and {"name": "two"}                             loads: both
#     two calls of tools, in two fences, with the same keys     loads: the second call
# Expected: all of them, in a list, as where the shapes differ.
# Why it matters: it reads the answers of models. Where one was asked for examples, rows or calls and gave them one a line, which
# is JSON Lines, all but the last are gone, and what is left is what one answer looks like. Rows with different keys hide it in a test.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "json-repair==0.64.6"
"$folder/venv/bin/python" - <<'PYTHON'
import json

from json_repair import loads


def read(text, expected):
    found = loads(text)
    print(text, found, sep="\n  -> ")
    assert found == expected, "the behaviour has changed"


def lines(*values):
    return "\n".join(map(json.dumps, values))


read(lines({"id": 1}, {"id": 2}, {"id": 3}), {"id": 3})
read(lines({"id": 1}, {"id": 2}, {"id": "three"}), [{"id": 2}, {"id": "three"}])
read(lines({"id": 1}, {"name": "two"}), [{"id": 1}, {"name": "two"}])
read(lines([1, 2], [3, 4]), [3, 4])
calls = [{"name": "refund", "arguments": {"order": 17}}, {"name": "notify", "arguments": {"order": 17}}]
read("First:\n" + "\nThen:\n".join(f"```json\n{json.dumps(call)}\n```" for call in calls), calls[1])
read(json.dumps(calls), calls)
PYTHON
