#!/usr/bin/env bash
# xgrammar 0.2.8, beside jsonschema 4.26.0, seen in November 2026.
#
# Behaviour: under {"type": "number"} a model can say 0.1234567 and 1e-7. With a bound on either side ("minimum": 0) it can say neither: six decimals at most, and no
# exponent. Of {"minimum": 1e-7, "maximum": 9e-7} no number is left at all, and nothing is said of it.
# Expected: a bound limits the value, not how it is written; or the schema is refused.
# Why it matters: probabilities, prices of a token, p-values, doses: what has "minimum": 0 in a schema is exactly what is small. 4.2e-07 can only be said as 0.0 or
# 0.000000, which is valid JSON and valid by the schema.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "xgrammar==0.2.8" "torch==2.13.0" "jsonschema==4.26.0" numpy
"$folder/venv/bin/python" - 2> "$folder/err" <<'PYTHON'
import json

import xgrammar
from jsonschema import Draft202012Validator

tokens = xgrammar.TokenizerInfo([bytes([i]) for i in range(256)] + [b"</s>"], stop_token_ids=[256])
compiler = xgrammar.GrammarCompiler(tokens)


def can_be_said(schema, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(text) and matcher.accept_token(256)


FREE, BOUND, TINY = {"type": "number"}, {"type": "number", "minimum": 0}, {"type": "number", "minimum": 1e-7, "maximum": 9e-7}
CASES = [(FREE, "0.1234567", True), (FREE, "4.2e-07", True), (BOUND, "0.123456", True), (BOUND, "0.1234567", False),
         (BOUND, "4.2e-07", False), (BOUND, "0.000000", True), (TINY, "0.0000005", False), (TINY, "5e-07", False)]
for schema, text, before in CASES:
    said, valid = can_be_said(schema, text), Draft202012Validator(schema).is_valid(json.loads(text))
    print(f"{json.dumps(schema):55} {text:10} valid: {valid}  can be said: {said}")
    assert valid and said == before, "the behaviour has changed"
PYTHON
if grep -i "warning" "$folder/err"; then echo "the behaviour has changed: it is said now"; exit 1; fi
