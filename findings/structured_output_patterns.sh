#!/usr/bin/env bash
# outlines-core 0.2.14 and lm-format-enforcer 0.11.3, beside jsonschema 4.26.0 and llguidance 1.9.1, seen in November 2026.
#
# Behaviour: a `pattern` of a JSON schema is searched for in the text (JSON Schema 2020-12 Validation, 6.3.3: not implicitly anchored). Two of the
# engines that hold a model to a schema take it for the whole text:
#                                   jsonschema   llguidance   lm-format-enforcer   outlines-core
#     pattern @       "a@b"         valid        can be said  cannot be said       cannot be said
#     pattern @       "@"           valid        can be said  can be said          can be said
#     pattern ^ORD-   "ORD-17"      valid        can be said  cannot be said       nothing can be said; an error follows
#     pattern ^ORD-   "ORD-"        valid        can be said  can be said
# Expected: what the schema allows can be said, or the schema is refused.
# Why it matters: the model is left with one text, "@" or "ORD-", and says it, whatever was asked. It is valid JSON, and valid by the schema, so
# nothing downstream complains. A pattern with both ends ("^ORD-[0-9]+$") is the same everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "outlines-core==0.2.14" "lm-format-enforcer==0.11.3" "llguidance==1.9.1" "jsonschema==4.26.0"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import re

from jsonschema import Draft202012Validator
from llguidance import LLMatcher, LLTokenizer
from lmformatenforcer import JsonSchemaParser
from outlines_core.json_schema import build_regex_from_schema

BYTES = LLTokenizer("byte")


def outlines(schema, text):
    return re.fullmatch(build_regex_from_schema(json.dumps(schema)), text) is not None


def enforcer(schema, text):
    parser = JsonSchemaParser(schema)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()


def guidance(schema, text):
    matcher, tokens = LLMatcher(BYTES, LLMatcher.grammar_from_json_schema(json.dumps(schema))), BYTES.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def said(pattern, value):
    schema, text = {"type": "string", "pattern": pattern}, json.dumps(value)
    found = (Draft202012Validator(schema).is_valid(value), *(engine(schema, text) for engine in (guidance, enforcer, outlines)))
    print(pattern, text, *found)
    return found


assert said("@", "a@b") == said("^ORD-", "ORD-17") == (True, True, False, False), "the behaviour has changed"
assert said("@", "@") == said("^ORD-[0-9]+$", "ORD-17") == (True, True, True, True), "the behaviour has changed"
assert said("^ORD-", "ORD-") == (True, True, True, False), "the behaviour has changed"
assert said("^ORD-", "17") == (False, False, False, False), "the behaviour has changed"
PYTHON
