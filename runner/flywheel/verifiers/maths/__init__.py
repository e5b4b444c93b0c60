"""The math check: the same final answer, whatever it looks like.

`place` finds where the final answer stands, `lexer` and `grammar` read it to its last character, `comparing` compares
what was read: numbers as exact fractions, formulas by their values, lists item by item. `judging` puts them together.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from flywheel.spec.verifiers import MathVerifier
from flywheel.verifiers.finding import Check


def open_math(spec: MathVerifier, root: Path, unsafe: bool = False) -> Check:
    from flywheel.verifiers.maths.comparing import MathPolicy  # here: `validate` has no use for mpmath
    from flywheel.verifiers.maths.judging import Judgement

    judgement = Judgement(MathPolicy(Fraction(spec.tolerance), spec.percent, spec.units), spec.decimal_comma)
    return lambda subject: judgement.finding(subject.reference or "", subject.answer)
