#!/usr/bin/env bash
# math-verify 0.9.0 (with latex2sympy2-extended 1.11.0, antlr 4.13.2), seen in November 2026.
#
# Behaviour: what stands over, under or behind a number or a name is left out in silence, and two answers that differ in nothing else are equal. verify says
#     right answer              answer                    same     because both are read as
#     0.\overline{3}            0.\overline{6}            True     0
#     0.\overline{3}            0                         True     0
#     0.\overline{3}            \frac{1}{3}               False    0, and 1/3
#     1011_2                    1011_3                    True     1011
#     7 \bmod 3                 3                         True     3
#     7 \bmod 3                 1                         False    3, and 1
#     x \equiv 5 \pmod 7        x \equiv 4 \pmod 7        True     7
#     f'(x)                     f(x)                      True     f(x)
# Expected: False of the pairs that are not equal, True of those that are; or no formula is read, as of \cup, and verify says False.
# Why it matters: repeating decimals, bases and residues are what much of number theory asks for. Such golds pass wrong answers and fail right
# ones, and a reward learns from it that a residue is its modulus.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "math-verify[antlr4_13_2]==0.9.0" "latex2sympy2_extended==1.11.0"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from math_verify import parse, verify


def same(gold, answer):
    one, other = parse(f"${gold}$"), parse(f"${answer}$")
    print(f"{gold:20} {answer:20} {verify(one, other)!s:5} {one[0]} | {other[0]}")
    return verify(one, other)


for gold, answer in (
    (r"0.\overline{3}", r"0.\overline{6}"),
    (r"0.\overline{3}", "0"),
    ("1011_2", "1011_3"),
    (r"7 \bmod 3", "3"),
    (r"x \equiv 5 \pmod 7", r"x \equiv 4 \pmod 7"),
    ("f'(x)", "f(x)"),
):
    assert same(gold, answer), "the behaviour has changed"
for gold, answer in ((r"0.\overline{3}", r"\frac{1}{3}"), (r"7 \bmod 3", "1"), ("x_1", "x_2"), ("5!", "5")):
    assert not same(gold, answer), "the behaviour has changed"
assert [type(read) for read in parse(r"$A \cup B$")] == [str], "the behaviour has changed"
PYTHON
