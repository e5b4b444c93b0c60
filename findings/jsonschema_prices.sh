#!/usr/bin/env bash
# jsonschema 4.26.0 and, as the other reader, jsonschema-rs 0.60.3, seen in November 2026.
#
# Behaviour: `multipleOf: 0.01`, the way to say "a price", refuses prices. The number is divided by a binary 0.01, and the quotient has to be whole:
#     19.99   jsonschema: refused   jsonschema-rs: accepted
#     0.07    jsonschema: refused   jsonschema-rs: accepted
# Of the 10,000 prices from 0.01 to 100.00 jsonschema refuses 1,363, jsonschema-rs none. `multipleOf: 0.1` is the same: 0.3 is refused.
# Expected: 19.99 is a multiple of 0.01. JSON writes both in decimals, and both readers are given the same floats.
# Why it matters: it is the validator behind most checks of structured answers and of tool calls in Python. One right answer of seven is marked as
# malformed, by its value, so that training learns to avoid some prices; a schema tried with 1.10 and 2.50 looks right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "jsonschema==4.26.0" "jsonschema-rs==0.60.3"
"$folder/venv/bin/python" - <<'PYTHON'
import json

import jsonschema_rs
from jsonschema import Draft202012Validator


def both(value, step):
    """Whether each takes the number, read from JSON as both would get it."""
    schema, number = {"type": "number", "multipleOf": step}, json.loads(value)
    return Draft202012Validator(schema).is_valid(number), jsonschema_rs.is_valid(schema, number)


for value, step in (("19.99", 0.01), ("0.07", 0.01), ("0.3", 0.1), ("2.50", 0.01), ("2.505", 0.01)):
    print(value, step, *both(value, step))
verdicts = [both(f"{cents / 100:.2f}", 0.01) for cents in range(1, 10_001)]
refused = [sum(not said for said in by) for by in zip(*verdicts, strict=True)]
print("refused of 10,000 prices:", *refused)
assert both("19.99", 0.01) == both("0.07", 0.01) == both("0.3", 0.1) == (False, True), "the behaviour has changed"
assert both("2.50", 0.01) == (True, True) and both("2.505", 0.01) == (False, False), "the behaviour has changed"
assert refused == [1363, 0], "the behaviour has changed"
PYTHON
