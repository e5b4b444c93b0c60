#!/usr/bin/env bash
# lm-format-enforcer 0.11.3, seen in November 2026.
#
# Behaviour: a model that is held to a JSON schema by it cannot write an array of more than 20 items. After the 20th the comma is not allowed, only the
# closing bracket; the schema says nothing of an end. With `minItems: 19` it is still 20, with `minItems: 20` there is no end.
# Expected: JSON Schema has no end of an array where `maxItems` sets none.
# Why it matters: lists of entities, rows of a table, steps of a plan end after 20, as valid JSON. A model that is measured through it is short of
# recall, one that teaches through it teaches to stop at 20, and neither the answer nor a log shows that it was cut.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "lm-format-enforcer==0.11.3"
"$folder/venv/bin/python" - <<'PYTHON'
import json

from lmformatenforcer import JsonSchemaParser


def written(count, **more):
    """What of the text may be said, and what may be said where it ends."""
    parser, text = JsonSchemaParser({"type": "array", "items": {"type": "integer"}, **more}), json.dumps([7] * count)
    for place, character in enumerate(text):
        if character not in parser.get_allowed_characters():
            return f"item {text[:place].count('7')} is the last: {character!r} is not allowed, {']' in parser.get_allowed_characters()=}"
        parser = parser.add_character(character)
    return "whole" if parser.can_end() else "not an end"


found = {
    "20": written(20),
    "21": written(21),
    "21, at least 19": written(21, minItems=19),
    "99, at least 20": written(99, minItems=20),
    "30, at most 30": written(30, maxItems=30),
}
print(*found.items(), sep="\n")
assert found["20"] == found["99, at least 20"] == found["30, at most 30"] == "whole", "the behaviour has changed"
assert found["21"].startswith("item 20 is the last: ',' is not allowed") and found["21"].endswith("True"), "the behaviour has changed"
assert found["21, at least 19"].startswith("item 20 is the last"), "the behaviour has changed"
PYTHON
