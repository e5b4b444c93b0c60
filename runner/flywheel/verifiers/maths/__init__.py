"""The math check: the same final answer, whatever it looks like.

`place` finds where the final answer stands, `lexer` and `grammar` read it to its last character, `comparing` compares
what was read: numbers as exact fractions, formulas by their values, lists item by item. `judging` puts them together.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from flywheel.records import Subject
from flywheel.spec.verifiers import MathVerifier
from flywheel.verifiers.finding import Check, Finding, read


def open_math(spec: MathVerifier, root: Path, unsafe: bool = False) -> Check:
    from flywheel.verifiers.maths.comparing import MathPolicy  # here: `validate` has no use for mpmath
    from flywheel.verifiers.maths.judging import Judgement

    judgement = Judgement(MathPolicy(Fraction(spec.tolerance), spec.percent, spec.units), spec.decimal_comma)

    def check(subject: Subject) -> Finding:
        said = read(subject, "math")
        return judgement.finding(said.reference or "", said.answer)

    return check
