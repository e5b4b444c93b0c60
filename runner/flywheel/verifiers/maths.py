"""The math check: equal final answers, as exact fractions where both are numbers, else by math-verify.

The final answer is what follows `####`, or stands in the last `\\boxed{}`; in prose without either mark it is
the last number that stands free of operators and lists. Anything else is a formula. A unit after a marked
number is dropped; a percent sign may be left out, or worked out.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from flywheel.records import Subject
from flywheel.spec.models import MathVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import PASS, Check, Finding, fail, read, unknown

# Digits and exponents are bounded: `1e999999999` must not become a fraction.
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d{1,400})(?:\.\d{0,400})?|\.\d{1,400}"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*\$?\s*(?P<digits>{_PLAIN})(?:[eE](?P<exponent>[-+]?\d{{1,3}}))?"
    r"(?:\s*/\s*(?P<divisor>\d{1,400}))?\s*(?P<percent>%?)(?:\s+[A-Za-z][A-Za-z ]*)?\.?"
)
_LAST_NUMBER = re.compile(rf"(?:(?<!\d)(?<!\d\s)[-+])?\$?(?:{_PLAIN})(?:\s*/\s*\d+)?(?:\s*%)?")
_WORD = re.compile(r"[A-Za-z]{2}")
_TIED_BEFORE = re.compile(r"(?:[-+*/^({\[_\\×·÷.]|\d\s*[:,]|[A-Za-z0-9])$|[-+*/^×·÷]\s*$")
_TIED_AFTER = re.compile(r"\s*[-+*/^=(){\]×·÷]|[A-Za-z0-9]")
_TYPESETTING = (
    ("\\$", "$"),
    ("\\%", "%"),
    ("{,}", ","),
    ("\\,", ""),
    ("\\!", ""),
    ("−", "-"),
    ("\u202f", ""),
)
_FORMULA_LIMIT = 1_000


def open_math(spec: MathVerifier, root: Path) -> Check:
    import math_verify  # noqa: F401  (half a second, paid before the first answer's clock runs)

    tolerance = Fraction(spec.tolerance)

    def check(subject: Subject) -> Finding:
        subject = read(subject, "math")
        gold, answer = final_answer(subject.reference or ""), final_answer(subject.answer)
        if not answer:
            return fail("no answer")
        right, given = _number(gold), _number(answer)
        if right is None or given is None:
            return _same_formula(gold, answer)
        return PASS if _equal(given, right, tolerance) else _other(answer, gold)

    return check


def final_answer(text: str) -> str:
    """What the text ends in: see the module's docstring."""
    for mark, plain in _TYPESETTING:
        text = text.replace(mark, plain)
    if "####" in text:
        return text.rpartition("####")[2].strip()
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    lines = text.strip().splitlines()
    return _last_number(text) or (lines[-1].strip() if lines else "")


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for position in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 7 : position]
    return None


def _last_number(text: str) -> str | None:
    """The last number in prose; None in a formula, where a part is not the whole."""
    if "\\" in text or not _WORD.search(text):
        return None
    found = list(_LAST_NUMBER.finditer(text))[-1:]
    if not found:
        return None
    before, after = text[: found[0].start()], text[found[0].end() :]
    if before.endswith("(") and after.startswith(")"):
        before, after = before[:-1], after[1:]
    if _TIED_BEFORE.search(before) or _TIED_AFTER.match(after):
        return None
    return found[0][0].strip()


def _number(text: str) -> tuple[Fraction, bool] | None:
    """The number that the whole text is, and whether it is a percentage."""
    found = _NUMBER.fullmatch(text)
    if found is None or (found["divisor"] and int(found["divisor"]) == 0):
        return None
    value = Fraction(found["sign"] + found["digits"].replace(",", "").rstrip("."))
    value *= Fraction(10) ** int(found["exponent"] or 0)
    return value / int(found["divisor"] or 1), bool(found["percent"])


def _equal(given: tuple[Fraction, bool], right: tuple[Fraction, bool], tolerance: Fraction) -> bool:
    (value, percent), (gold, gold_percent) = given, right
    if abs(value - gold) <= abs(gold) * tolerance:
        return True
    if percent == gold_percent:
        return False
    worked_out, gold = (value / 100, gold) if percent else (value, gold / 100)
    return abs(worked_out - gold) <= abs(gold) * tolerance


@lru_cache(4096)
def _same_formula(gold: str, answer: str) -> Finding:
    """By math-verify, whose own time-outs are off: the pool's kill is the clock."""
    from math_verify import parse, verify

    if len(answer) > _FORMULA_LIMIT:
        return fail(f"too long for a final answer ({len(answer):,} characters)")
    right = parse(_as_formula(gold), parsing_timeout=None)
    if not right:
        return unknown(f"the gold has no final answer that can be read: {one_line(gold, 60)}")
    given = parse(_as_formula(answer), parsing_timeout=None)
    if not given:
        return fail(f"no final answer that can be read: {one_line(answer, 60)}")
    same = verify(right, given, timeout_seconds=None, raise_on_error=True)
    return PASS if same else _other(answer, gold)


def _as_formula(text: str) -> str:
    return text if "$" in text or (_WORD.search(text) and "\\" not in text) else f"${text}$"


def _other(answer: str, gold: str) -> Finding:
    return fail(f"{one_line(answer, 60)} instead of {one_line(gold, 60)}")
