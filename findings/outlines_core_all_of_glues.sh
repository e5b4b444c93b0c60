#!/usr/bin/env bash
# outlines-core 0.2.14, beside jsonschema 4.26.0 and llguidance 1.9.1, seen in November 2026.
#
# Behaviour: the parts of an `allOf` are said one after the other instead of holding for one value.
#     schema                                               text                    jsonschema     llguidance   outlines-core
#     allOf: an object with "a", an object with "b"        {"a": 1, "b": 2}        valid          can be said  cannot be said
#                                                          {"a": 1}{"b": 2}        no JSON        cannot       can be said
#     allOf: an integer, an integer                        7                       valid          can be said  cannot be said
#                                                          71                      valid          can be said  can be said: a 7 and a 1
#     allOf: a string of 5 at most, one of 1 at least      "ab"                    valid          can be said  cannot be said
# Expected: a value that both parts allow (JSON Schema 2020-12 Core, 10.2.1.1), or a schema that is refused, as others of its keywords are.
# Why it matters: allOf is how generators of schemas write a base class, or a reference with something beside it. With objects nothing that the model can
# say is JSON; with numbers it is JSON, valid, and its digits come from two answers. Nothing is said when the schema is compiled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "outlines-core==0.2.14" "llguidance==1.9.1" "jsonschema==4.26.0"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import re

from jsonschema import Draft202012Validator
from llguidance import LLMatcher, LLTokenizer
from outlines_core.json_schema import build_regex_from_schema

BYTES = LLTokenizer("byte")
INTEGER = {"type": "integer"}
OBJECTS = {"allOf": [{"type": "object", "properties": {name: INTEGER}, "required": [name]} for name in "ab"]}
INTEGERS = {"allOf": [INTEGER, INTEGER]}
STRINGS = {"allOf": [{"type": "string", "maxLength": 5}, {"type": "string", "minLength": 1}]}


def valid(schema, text):
    try:
        return Draft202012Validator(schema).is_valid(json.loads(text))
    except ValueError:
        return False


def guidance(schema, text):
    matcher, tokens = LLMatcher(BYTES, LLMatcher.grammar_from_json_schema(json.dumps(schema))), BYTES.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def outlines(schema, text):
    return re.fullmatch(build_regex_from_schema(json.dumps(schema)), text) is not None


def said(schema, text):
    found = tuple(engine(schema, text) for engine in (valid, guidance, outlines))
    print(text, *found)
    return found


assert said(OBJECTS, '{"a": 1, "b": 2}') == said(INTEGERS, "7") == said(STRINGS, '"ab"') == (True, True, False), "changed"
assert said(OBJECTS, '{"a": 1}{"b": 2}') == (False, False, True), "the behaviour has changed"
assert said(INTEGERS, "71") == (True, True, True), "the behaviour has changed"
assert said({"allOf": [INTEGER]}, "7") == (True, True, True), "the behaviour has changed"
PYTHON
