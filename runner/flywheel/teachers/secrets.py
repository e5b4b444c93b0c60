"""`${env:NAME}`: looked up at the last moment, and never shown."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from flywheel.errors import Fault, SpecInvalid
from flywheel.text import did_you_mean

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAME = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD)$", re.I)
_SHORTEST = 8
"""A shorter value is no secret, and replacing it would garble the message."""

Lookup = Callable[[str], str | None]


def resolve(text: str, lookup: Lookup, path: tuple[str | int, ...]) -> str:
    """`text` with every `${env:NAME}` replaced. Raises `SpecInvalid` naming the variable that is not set."""

    def value(match: re.Match[str]) -> str:
        found = lookup(match[1])
        if not found:
            near = did_you_mean(match[1], (n for n in os.environ if _SECRET_NAME.search(n))) if found is None else ""
            fault = Fault(
                f"the environment variable {match[1]} is not set.",
                path,
                f"export {match[1]}=… {near}".strip(),
            )
            raise SpecInvalid([fault])
        return found

    return _REFERENCE.sub(value, text)


def secret_values(texts: Iterable[str | None], lookup: Lookup) -> set[str]:
    """What must not be shown: values of all references in `texts`, and the environment's own keys and tokens."""
    names = {name for text in texts if text for name in _REFERENCE.findall(text)}
    own = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    return {value for value in {lookup(name) or "" for name in names} | own if len(value) >= _SHORTEST}


class Redactor:
    """Replaces secret values, also base64- and URL-encoded, in text that will be kept or shown."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form for value in values for form in _forms(value)}
        # Longest first: a key that contains another one goes as a whole.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub("[secret]", text) if self._pattern and text else text


def _forms(value: str) -> set[str]:
    raw = value.encode()
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return {value, quote(value, safe=""), quote_plus(value)} | encoded | {e.rstrip("=") for e in encoded}
