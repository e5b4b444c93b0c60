#!/usr/bin/env bash
# xgrammar 0.2.8, beside jsonschema 4.26.0 and llguidance 1.7.6, seen in November 2026.
#
# Behaviour: keywords beside `$ref`, or beside an `allOf` of one, count (JSON Schema 2020-12 Core, 8.2.3.1 and 10.2.1.1); it is how a schema extends another. xgrammar
# takes the reference and drops the rest, without a word:
#                                                                   jsonschema   llguidance   xgrammar
#     $ref of {a}, with properties {b}    {"a": 1, "b": "x"}        valid        can          cannot be said
#                                         {"a": 1}                  invalid      cannot       can be said
#     allOf [$ref of {a}], with {b}       the same
#     $ref of an integer, minimum 5       1                         invalid      cannot       can be said
# Expected: both count, or the schema is refused (of an allOf of two it warns).
# Why it matters: the fields that the extending schema requires are missing in all that a model says under it, whatever it is asked; and a limit at a field of a shared
# type (what pydantic writes for a constrained enum or alias) is not held.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "xgrammar==0.2.8" "torch==2.13.0" "llguidance==1.7.6" "jsonschema==4.26.0" numpy
"$folder/venv/bin/python" - 2> "$folder/err" <<'PYTHON'
import json

import llguidance
import xgrammar
from jsonschema import Draft202012Validator

vocabulary = [bytes([i]) for i in range(256)] + [b"</s>"]
compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[256]))


class Tokenizer:
    eos_token_id, bos_token_id, tokens, special_token_ids = 256, None, vocabulary, [256]

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Tokenizer()))


def by_xgrammar(schema, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(text) and matcher.accept_token(256)


def by_llguidance(schema, text):
    matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    return matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and matcher.is_accepting()


BASE = {"$defs": {"base": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}
MORE = {"properties": {"b": {"type": "string"}}, "required": ["b"]}
CASES = [
    ({**BASE, "$ref": "#/$defs/base", **MORE}, ['{"a": 1, "b": "x"}', '{"a": 1}']),
    ({**BASE, "allOf": [{"$ref": "#/$defs/base"}], "type": "object", **MORE}, ['{"a": 1, "b": "x"}', '{"a": 1}']),
    ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 5}, ["1"]),
]
for schema, texts in CASES:
    for text in texts:
        valid = Draft202012Validator(schema).is_valid(json.loads(text))
        other, said = by_llguidance(schema, text), by_xgrammar(schema, text)
        print(f"{text:20} valid: {valid!s:5}  llguidance: {other!s:5}  xgrammar: {said}")
        assert other == valid != said, "the behaviour has changed"
PYTHON
if grep -i "warning" "$folder/err"; then echo "the behaviour has changed: it is said now"; exit 1; fi
