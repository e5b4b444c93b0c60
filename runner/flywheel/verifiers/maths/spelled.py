"""Numbers that are spelled out in English: five, twenty-one, two hundred and fifty, three quarters, negative two."""

from __future__ import annotations

import re
from functools import cache

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_VALUES = {
    "zero": 0, "a": 1, "an": 1, **{word: n for n, word in enumerate(_ONES + _TEENS, 1)},
    **{word: 10 * n for n, word in enumerate(_TENS, 2)},
}  # fmt: skip
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10,
}  # fmt: skip

_ONE = "|".join(_ONES)
_BELOW_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[\s-]+(?:{_ONE})\b)?|{'|'.join(_TEENS)}|{_ONE}|zero)"
_BELOW_1000 = rf"(?:(?:an?|{'|'.join(_TEENS)}|{_ONE})\s+hundred(?:\s+(?:and\s+)?{_BELOW_100}\b)?|{_BELOW_100})"
_GROUP = rf"(?:an?|{_BELOW_1000})\s+(?:{'|'.join(_SCALES)})\b"
_AND = r",?\s+(?:and\s+)?"
_WHOLE = rf"(?:{_GROUP}(?:{_AND}{_GROUP})*(?:{_AND}{_BELOW_1000}\b)?|{_BELOW_1000}\b|an?(?=\s+dozen\b))"
_PART = rf"(?P<above>an?|{_ONE})[\s-]+(?P<below>{'|'.join(_PARTS)}|halve)s?\b|(?P<half>half)\b"
#: Pronouns that look like a number: no one, one of them, one another.
_NOT_AFTER = "".join(rf"(?<!\b{word} )" for word in ("no", "any", "each", "every", "the", "this", "that", "which"))
_SPELLED = (
    rf"\b{_NOT_AFTER}(?:(?:{_PART.replace('P<', 'P<lone_')})(?:\s+an?\b)?|(?P<whole>{_WHOLE})(?:\s+and\s+(?:{_PART}))?)"
    r"(?!\s+(?:of|another)\b|-\w)"
)
_SIGN = re.compile(r"\b(?:minus|negative)\s+(?=[$＄]?\d)", re.I)
_BOTH_SIGNS = re.compile(r"\bplus\s+or\s+minus\b|\+/-", re.I)


@cache
def _spelled() -> re.Pattern[str]:
    return re.compile(_SPELLED, re.I)  # takes a while, and few answers need it


_ANY = re.compile(
    "|".join((*_ONES, *_TENS, *_PARTS, *_SCALES, "ten", "el", "twelve", "teen", "hundred", "dozen", "zero")), re.I
)


def in_digits(text: str) -> str:
    """`text` with numbers that are spelled out in digits."""
    return signed(_spelled().sub(_digits, text) if _ANY.search(text) else text)


def signed(text: str) -> str:
    """`text` with "minus", "negative" and "plus or minus" before a number as signs."""
    return _SIGN.sub("-", _BOTH_SIGNS.sub(r"\\pm ", text))


def _digits(found: re.Match[str]) -> str:
    part = _fraction(found["above"] or found["lone_above"], found["below"] or found["lone_below"])
    half = "1/2" if found["half"] or found["lone_half"] else ""
    whole = str(_value(found["whole"])) if found["whole"] else ""
    return " ".join(said for said in (whole, part or half) if said)


def _fraction(above: str | None, below: str | None) -> str:
    if not (above and below):
        return ""
    return f"{_VALUES[above.lower()]}/{_PARTS.get(below.lower(), 2)}"


def _value(words: str) -> int:
    total = current = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word in _SCALES:
            total, current = total + current * _SCALES[word], 0
        elif word == "hundred":
            current *= 100
        elif word != "and":
            current += _VALUES[word]
    return total + current
