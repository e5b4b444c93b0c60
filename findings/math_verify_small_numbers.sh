#!/usr/bin/env bash
# math-verify 0.9.0 (with latex2sympy2-extended, antlr 4.13.2), seen in November 2026.
#
# Behaviour: two decimal numbers are compared after both are rounded to six places after the point, whatever their size. All
# decimals below 0.0000005 are then zero, and each equals each:
#     verify("0.0000001", "0.0000002") -> True        twice as much
#     verify("0.0000001", "0.0000004") -> True        four times as much
#     verify("0.001", "0.0014") -> False              the same ratio, a thousand times larger
# Expected: False, as with fractions and powers of the same values (10^{-7} and 2*10^{-7} are told apart).
# Why it matters: in physics and chemistry, answers such as 0.0000001 are ordinary, and any of them passes.
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


seen = {
    "0.0000001 = 0.0000002": same("0.0000001", "0.0000002"),
    "0.0000001 = 0.0000004": same("0.0000001", "0.0000004"),
    "0.001 = 0.0014": same("0.001", "0.0014"),
    "10^-7 = 2 * 10^-7": same("10^{-7}", "2\\times10^{-7}"),
}
print(seen)
assert list(seen.values()) == [True, True, False, False], "the behaviour has changed"
PYTHON
