#!/usr/bin/env bash
# math-verify 0.9.0 (with latex2sympy2-extended, antlr 4.13.2), seen in November 2026.
#
# Behaviour: a number in e-notation, as every programming language prints it, is parsed as a product with Euler's number:
#     parse("$1e3$") -> [1*E*3, ...]                  verify("1000", "1e3") -> False
#     parse("$100000$") -> [100000, ...]              verify("100000", "1e5") -> False
# and so it equals what it is not: verify("3e", "1e3") -> True.
# Expected: 1e3 is 1000, or is not parsed at all.
# Why it matters: a model that computes with code answers 1e5 or 6.02e23, and is marked wrong; nothing says that the parser
# read something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "math-verify[antlr4_13_2]==0.9.0"
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
from math_verify import parse, verify


def same(gold, answer):
    return verify(parse(f"${gold}$"), parse(f"${answer}$"))


print("1e3 is parsed as", parse("$1e3$")[0])
seen = {"1000 = 1e3": same("1000", "1e3"), "100000 = 1e5": same("100000", "1e5"), "3e = 1e3": same("3e", "1e3")}
print(seen)
assert list(seen.values()) == [False, False, True], "the behaviour has changed"
PYTHON
