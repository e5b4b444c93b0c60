"""Numbers as people write them, as exact fractions."""

from __future__ import annotations

import re
from fractions import Fraction

#: Digits are bounded so that no literal takes long to read. A longer number is compared as it stands.
MOST_DIGITS = 4_000
MOST_EXPONENT = 5_000

#: Thousands by commas (also 12,34,567) or not at all, decimals by a point.
PLAIN = (
    rf"(?:[1-9]\d{{0,2}}(?:,\d{{3}})+(?!\d)|[1-9]\d?(?:,\d{{2}})+,\d{{3}}(?!\d)|\d{{1,{MOST_DIGITS}}})"
    rf"(?:\.\d{{0,{MOST_DIGITS}}})?|\.\d{{1,{MOST_DIGITS}}}"
)
#: Thousands by dots and decimals by a comma, where nothing else can be meant: 1.234,5 and 1.234.567.
TURNED = r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}(?![\d.,])"
#: 1 234 567,8 and 1'234'567.8
SPACED = r"\d{1,3}(?:(?:[ ]\d{3})+|(?:'\d{3})+)(?![\d]|[ ]\d)(?:[.,]\d+)?"
#: One comma that no thousands explain: a decimal comma, or two numbers.
COMMA = r"\d+,\d+"

Exact = Fraction | int
SIMPLE = re.compile(
    rf"(?P<sign>[-+]?)\s*[$＄]?\s*(?P<digits>{PLAIN})(?:[eE](?P<exponent>[-+]?\d{{1,4}}))?"
    r"(?:\s*/\s*(?P<divisor>\d{1,400}))?\s*(?P<percent>%?)\.?"
)


def simple(text: str) -> tuple[Exact, bool] | None:
    """The number that the whole text is (72, -1,234.50, $5, 3/4, 1e3), and whether it is a percentage."""
    if text.isdecimal() and len(text) < 400:  # the same, many times as fast
        return int(text), False
    found = SIMPLE.fullmatch(text)
    if found is None:
        return None
    divisor = int(found["divisor"] or 1)
    value = scientific(plain(found["digits"]), found["exponent"])
    if divisor == 0 or value is None:
        return None
    return (-value if found["sign"] == "-" else value) / divisor, bool(found["percent"])


def plain(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip("."))


def turned(digits: str) -> Fraction:
    return Fraction(digits.replace(".", "").replace(",", "."))


def spaced(digits: str) -> Fraction:
    return Fraction(re.sub(r"[ ']", "", digits).replace(",", "."))


def scientific(value: Fraction, exponent: str | None) -> Fraction | None:
    if not exponent:
        return value
    if abs(int(exponent)) > MOST_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent)


def repeating(start: str, block: str) -> Fraction:
    """0.1\\overline{6} is repeating("0.1", "6")."""
    whole, _, decimals = start.replace(",", "").partition(".")
    shift = 10 ** len(decimals)
    return Fraction(int((whole or "0") + decimals), shift) + Fraction(int(block), shift * (10 ** len(block) - 1))
