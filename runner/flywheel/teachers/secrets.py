"""`${env:NAME}`: looked up at the last moment, and never shown."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from flywheel.errors import Fault, SpecInvalid
from flywheel.spec.addresses import credentials, users
from flywheel.spec.teachers import Teacher
from flywheel.text import did_you_mean

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAME = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD)$", re.I)
_SHORT = 8
"""A shorter value is replaced only where it stands alone: inside words it would garble the text."""
_SHORTEST = 3
_USERINFO = re.compile(r"(?<=://)[^/?#\s@\"'<>]+(?=@)")

Lookup = Callable[[str], str | None]


def resolve(text: str, lookup: Lookup, path: tuple[str | int, ...]) -> str:
    """`text` with every `${env:NAME}` replaced. Raises `SpecInvalid` naming the variable that is not set."""

    def value(match: re.Match[str]) -> str:
        found = lookup(match[1])
        if not found:
            near = did_you_mean(match[1], filter(_SECRET_NAME.search, os.environ), cut=False) if found is None else ""
            fault = Fault(
                f"the environment variable {match[1]} is not set.",
                path,
                f"export {match[1]}=… {near}".strip(),
            )
            raise SpecInvalid([fault])
        return found

    return _REFERENCE.sub(value, text)


def redactor(teachers: Iterable[Teacher], lookup: Lookup) -> Redactor:
    """For what these teachers say: their keys, what is secret in their addresses, the environment's own keys and
    tokens; in what is told of a call, also all else that a reference in an address resolved to."""
    return redactor_of(((teacher.key_reference, teacher.address) for teacher in teachers), lookup)


def redactor_of(reached: Iterable[tuple[str | None, str | None]], lookup: Lookup) -> Redactor:
    """The same for whoever is reached by a key and an address, as the spec writes them."""
    secret = {value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORT}
    other: set[str] = set()
    for key, address_of in reached:
        secret |= {lookup(name) or "" for name in _REFERENCE.findall(key or "")}
        template = address_of or ""
        address = _REFERENCE.sub(lambda match: lookup(match[1]) or "", template)
        secret |= {_REFERENCE.sub(lambda match: lookup(match[1]) or "", v) for v in credentials(template, address)}
        other |= {lookup(name) or "" for name in _REFERENCE.findall(template)} | set(users(address))
    return Redactor(secret, other)


class Redactor:
    """Replaces secret values in text that will be kept or shown, also as JSON, HTML, base64 and URLs write them."""

    def __init__(self, values: Iterable[str], addresses: Iterable[str] = ()) -> None:
        """`addresses`: what may be a port or the name of a host. No answer is changed for them, see `detail`."""
        values = set(values)
        self._secret = _pattern(values)
        self._all = _pattern(values | set(addresses))

    def __call__(self, text: str) -> str:
        """Of an answer: secrets alone, as it will be learned from."""
        return self._secret.sub("[secret]", text) if self._secret and text else text

    def detail(self, text: str) -> str:
        """Of what is told about a call: also addresses that variables hold, and user and password of any URL."""
        return _USERINFO.sub("[secret]", self._all.sub("[secret]", text) if self._all and text else text)


def _pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    forms = {form for value in values if len(value) >= _SHORTEST for form in _forms(value)}
    # Longest first: a key that contains another one goes as a whole.
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    words = (re.escape(f) if len(f) >= _SHORT else rf"(?<![^\W_]){re.escape(f)}(?![^\W_])" for f in ordered)
    return re.compile("|".join(words)) if ordered else None


def _forms(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    quoted = {quote(raw, safe=safe) for safe in ("", "/", "!$&'()*+,;=:@/?-._~")} | {quote_plus(raw)}
    lower = {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in quoted}
    written = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], html.escape(value)}
    return {value} | quoted | lower | written | (_base64(raw) if len(raw) >= _SHORT else set())


def _base64(raw: bytes) -> set[str]:
    """Whole, and as it stands inside a longer text (`Basic user:password`): without the characters at either end that
    depend on the neighbours."""
    found = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        found |= {whole, whole.rstrip("=")}
        for before in range(3):
            inside = encode(b"\0" * before + raw).decode().rstrip("=")
            left, right = (before * 8 + 5) // 6, 1 if (before + len(raw)) % 3 else 0
            found.add(inside[left : len(inside) - right])
    return {form for form in found if len(form) >= _SHORT}
