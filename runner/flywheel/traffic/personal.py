"""Personal data at the border: what is precise enough to be recognised goes, before anything is stored.

A pseudonym is a keyed hash, so one address is one pseudonym everywhere and nobody without the key can try addresses.
A pattern counts only where its own check holds: IBANs by ISO 7064 mod 97-10, cards by Luhn (ISO/IEC 7812) and a known
issuer, addresses by what the standard library reads.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from flywheel.spec.secrets import KEY
from flywheel.spec.traffic import Personal

DIGITS = 8
"""Of a pseudonym, hexadecimal."""


@dataclass(frozen=True)
class Shape:
    """`hints`: a text with none of these is not looked at. `true_of`: how much of a match, from its start, is the
    thing; 0 where it is none."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    true_of: Callable[[str], int] = len


def _iban(text: str) -> int:
    """The longest beginning with a right check number; what follows may be another word in capitals."""
    ends = [i for i in range(len(text), 0, -1) if i == len(text) or not text[i - 1].isspace()]
    for end in ends:
        plain = re.sub(r"[ \u00a0]", "", text[:end])
        if 15 <= len(plain) <= 34 and _mod97(plain):
            return end
    return 0


def _mod97(iban: str) -> bool:
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


_ISSUERS: Mapping[int, re.Pattern[str]] = {
    13: re.compile("4"), 14: re.compile("30[0-5]|3[689]"), 15: re.compile("3[47]"),
    16: re.compile("4|5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720)|6011|65|64[4-9]|35(2[89]|[3-8])|62"),
    17: re.compile("62"), 18: re.compile("62"), 19: re.compile("4|62"),
}  # fmt: skip


def _card(text: str) -> int:
    digits = re.sub(r"\D", "", text)
    issuer = _ISSUERS.get(len(digits))
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    right = sum(d - 9 * (d > 9) for d in doubled) % 10 == 0
    return len(text) if issuer is not None and issuer.match(digits) and right else 0


def _phone(text: str) -> int:
    return len(text) if 8 <= sum(c.isdigit() for c in text) <= 15 else 0


def _ip(text: str) -> int:
    """`::` alone and `a::b` are programs, `12:30:45` is a time, 127.0.0.1 is nobody."""
    text = text.rstrip(".:") if not text.endswith("::") else text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    if address.version == 6 and (text.count(":") < 3 or not any(c.isdigit() for c in text)):
        return 0
    return 0 if address.is_loopback or address.is_unspecified else len(text)


SHAPES: Mapping[Personal, Shape] = {
    # Keys first: they may hold what looks like something else.
    "key": Shape(
        ("sk-", "pk-", "rk-", "hf_", "gh", "glpat-", "AKIA", "xox", "AIza", "gsk_", "eyJ", "-----BEGIN"),
        re.compile(
            rf"(?<![\w-])(?:{KEY.pattern})|\beyJ[\w-]{{8,}}\.eyJ[\w-]{{8,}}\.[\w-]{{8,}}"
            r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
        ),
    ),
    "email": Shape(
        ("@",), re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,63}\b")
    ),
    "iban": Shape(("",), re.compile(r"\b[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]){11,30}\b"), _iban),
    "card": Shape(("",), re.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?![\w]|[.,]\d)"), _card),
    # A plus after a number, a bracket or an operator is arithmetic.
    "phone": Shape(
        ("+",), re.compile(r"(?<![\w)\]=*/+^-])(?<![\d)] )\+[1-9](?:[ .()/\u00a0-]{0,2}\d){6,16}(?!\w)"), _phone
    ),
    "ip": Shape(
        (".", ":"),
        re.compile(
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w:]|\.\d)"
            r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f.]{0,15}){2,8}(?![\w:]))"
        ),
        _ip,
    ),
}  # fmt: skip
assert set(SHAPES) == set(get_args(Personal))


class Pseudonyms:
    """`counts`: how many of each kind were replaced. `key`: what pseudonyms are made with."""

    def __init__(self, kinds: Collection[Personal], key: bytes) -> None:
        self._shapes = [(shape, self._instead(name, shape)) for name, shape in SHAPES.items() if name in kinds]
        self._key = key
        self.counts: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """`text` without personal data, and such that UTF-8 can carry it."""
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()
        for shape, instead in self._shapes:
            if any(hint in text for hint in shape.hints):
                text = shape.pattern.sub(instead, text)
        return text

    def value(self, value: Any) -> Any:
        """The same of every text in a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return value

    def _instead(self, name: str, shape: Shape) -> Callable[[re.Match[str]], str]:
        def instead(found: re.Match[str]) -> str:
            text = found[0]
            length = shape.true_of(text)
            if not length:
                return text
            self.counts[name] += 1
            return f"<{name}:{self.pseudonym(text[:length])}>{text[length:]}"

        return instead

    def pseudonym(self, text: str) -> str:
        """Of one thing however it is spaced, or written in capitals."""
        plain = re.sub(r"[\s()./-]", "", text).casefold() if "@" not in text else text.casefold()
        return hmac.new(self._key, plain.encode(), hashlib.sha256).hexdigest()[:DIGITS]
