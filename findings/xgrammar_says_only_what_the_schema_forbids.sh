#!/usr/bin/env bash
# xgrammar 0.2.8, beside jsonschema 4.26.0, seen in November 2026.
#
# Behaviour: xgrammar turns a JSON schema into a grammar that holds a model. By default (`strict_mode`) items and properties that the schema does not name cannot be
# said. A name in `required` that does not stand in `properties`, and `contains`, do not count as naming; what is left is what the schema forbids:
#                                                            jsonschema    can be said
#     {"type": "array", "contains": {"type": "integer"}}     [] invalid    []
#                                                            [1] valid     no
#     {"type": "object", "required": ["total"]}              {} invalid    {}
#                                                            {"total": 2} valid    no
#     {..., "patternProperties": {"^x_": {"type": "integer"}}, "required": ["x_1"]}    {} invalid    {}; {"x_1": 2} no
# No warning, and no error; `minItems` in such a schema is an error that says why ("the array must be empty"). With `strict_mode=False` valid
# and invalid ones can be said, but for {"x_1": 2}.
# Expected: what is required can be said, or the schema is refused.
# Why it matters: it is the engine that servers of models take by default. The model is left with one text, and says it for every row: valid JSON, invalid
# by the very schema that was sent, and whoever trusts "constrained" does not check again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "xgrammar==0.2.8" "torch==2.13.0" "jsonschema==4.26.0" numpy
"$folder/venv/bin/python" - <<'PYTHON'
import json

import xgrammar
from jsonschema import Draft202012Validator

tokens = xgrammar.TokenizerInfo([bytes([i]) for i in range(256)] + [b"</s>"], stop_token_ids=[256])
compiler = xgrammar.GrammarCompiler(tokens)
SCHEMAS = {
    "contains": ({"type": "array", "contains": {"type": "integer"}}, ["[]", "[1]", '[1, "a"]']),
    "required": ({"type": "object", "required": ["total"]}, ["{}", '{"total": 2}']),
    "patternProperties": (
        {"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "required": ["x_1"]},
        ["{}", '{"x_1": 2}'],
    ),
}


def can_be_said(schema, text, **how):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema), **how))
    return matcher.accept_string(text) and matcher.accept_token(256)


for name, (schema, texts) in SCHEMAS.items():
    for text in texts:
        valid = Draft202012Validator(schema).is_valid(json.loads(text))
        said, loosely = can_be_said(schema, text), can_be_said(schema, text, strict_mode=False)
        print(f"{name:18} {text:13} {'valid' if valid else 'invalid':8} {'can be said' if said else 'cannot be said':15} loosely: {loosely}")
        assert said != valid, "the behaviour has changed"
        assert loosely == (text != '{"x_1": 2}'), "the behaviour has changed"
PYTHON
