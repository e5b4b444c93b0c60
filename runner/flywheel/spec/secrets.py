"""`${env:NAME}`: how a spec speaks of a secret without holding it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flywheel.errors import Fault, SpecInvalid

REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
ANY_REFERENCE = re.compile(r"\$\{?\s*env\b|\$\{")
"""Also what was meant as a reference and is not one."""

#: The beginnings that well-known services give to their keys.
KEY = re.compile(
    r"(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|xox[abpr]-[\w-]{10,}|AIza[\w-]{30,}|gsk_[A-Za-z0-9]{20,}"
)
_KEY_BEFORE_END = re.compile(r"(?i)\b(?:api[_-]?key|secret|password|token)[\"']?\s*:\s*[|>]?[-+0-9]*\s*$")
_KEY_LINE = re.compile(r"(?i)(\b(?:api[_-]?key|secret|password|token)[\"']?\s*:\s*)(?![\"']?\$\{env:)([^\s,}#][^,}#]*)")


#: User and password in a URL, and parameters that hold a key; references are no secrets.
_USERINFO = re.compile(r"(?<=://)[^/?#\s@\"'<>]+(?=@)")
_PARAMETER = re.compile(
    r"(?i)(?<=[?&])([\w-]*(?:key|token|secret|passw\w*|sig|signature|auth)=)((?:\$\{env:\w+\}|[^&\s\"'#,}])+)"
)


def names(value: str) -> list[str]:
    """The variables that `value` refers to."""
    return REFERENCE.findall(value)


def looks_like_key(value: str) -> bool:
    return KEY.search(value) is not None


def secret_words(value: Any, under_key: bool = False) -> Iterator[str]:
    """The words of every text under `api_key` in a tree, references aside."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secret_words(item, under_key or key == "api_key")
    elif isinstance(value, list):
        for item in value:
            yield from secret_words(item, under_key)
    elif under_key and isinstance(value, str) and not REFERENCE.fullmatch(value):
        yield from (word for word in value.split() if len(word) > 3)


def awaits_key(line: str) -> bool:
    """Whether the line ends before the value of a key like `api_key`, so that the next may hold it."""
    return _KEY_BEFORE_END.search(line) is not None


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with everything that may be a secret as asterisks; columns stay where they were."""
    for secret in secrets:
        text = text.replace(secret, "*" * len(secret))
    text = KEY.sub(lambda m: "*" * len(m[0]), text)
    text = _USERINFO.sub(lambda m: _starred(m[0]), text)
    text = _PARAMETER.sub(lambda m: m[1] + _starred(m[2]), text)
    return _KEY_LINE.sub(lambda m: m[1] + "*" * len(m[2]), text)


def _starred(text: str) -> str:
    """Asterisks for all but references."""
    return re.sub(rf"({REFERENCE.pattern})|.", lambda m: m[1] or "*", text)


def resolve_env(value: str, environ: Mapping[str, str] | None = None) -> str:
    """`value` with each `${env:NAME}` replaced by the variable; for the moment of use, never for storing.

    Raises `SpecInvalid` naming every variable that is not set or empty.
    """
    known = os.environ if environ is None else environ
    if missing := [name for name in names(value) if not known.get(name)]:
        raise SpecInvalid([missing_variable(name) for name in missing])
    return REFERENCE.sub(lambda match: known[match[1]], value)


def missing_variable(name: str) -> Fault:
    return Fault(f"the environment variable {name} is not set.", hint=f"Set it: export {name}=… and run again.")
