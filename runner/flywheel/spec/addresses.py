"""`api_base`: an address that can be called, and no place for a literal password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flywheel.spec.secrets import REFERENCE

_SECRET_PARAMETER = re.compile(r"(?i)key|token|secret|passw|sig(nature)?$|auth|credential")
_PLACE = "env.{}.place"
_Problem = tuple[str, str]


def address_problem(address: str) -> _Problem | None:
    """What is wrong with an address as a request would use it, and what to write; never the address itself."""
    example = "Write http://host:port/v1, or https://…"
    if re.search(r"[\s\x00-\x1f\x7f]", address):
        return "holds a blank or a control character.", example
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "is no address: its port is no number up to 65535, or a bracket is missing.", example
    if parts.scheme.lower() not in ("http", "https"):
        return "does not begin with http:// or https://.", example
    if not parts.hostname:
        return "names no host.", example
    if port == 0:
        return "has the port 0, which nobody listens on.", example
    if parts.fragment:
        return "has a fragment (#…), which is never sent.", "Leave it out."
    return None


def has_user(address: str) -> bool:
    return "@" in urlsplit(address).netloc


def literal_problem(text: str) -> _Problem | None:
    """Whether `api_base` as written holds a password or a key of its own, or, without variables, is no address. The
    message follows "the address"."""
    template = REFERENCE.sub(lambda match: _PLACE.format(match[1]), text)
    try:
        parts = urlsplit(template)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if _literal(parts.netloc.rpartition("@")[0]) or any(_literal(value) for value in _secret_parameters(parts)):
        return (
            "holds a literal password or key, which does not belong in a file.",
            "Write ${env:NAME} and set the variable NAME.",
        )
    if not REFERENCE.search(text):
        return address_problem(text)
    return None


def credentials(template: str, address: str) -> Iterator[str]:
    """What of an address must be shown nowhere: user and password, and what variables put into its path and query."""
    try:
        parts, written = urlsplit(address), urlsplit(template)
    except ValueError:
        return
    userinfo = parts.netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    yield from {userinfo, unquote(userinfo), password or user, unquote(password or user)}
    literal = parse_qsl(written.query, keep_blank_values=True)
    for pair in parse_qsl(parts.query, keep_blank_values=True):
        if pair not in literal or _SECRET_PARAMETER.search(pair[0]):
            yield pair[1]
    places = [name for name in REFERENCE.findall(template) if f"${{env:{name}}}" in written.path]
    yield from (f"${{env:{name}}}" for name in places)


def place_of(address: str) -> str:
    """One way to write an address: two that lead to one server by the same path are equal. References stay."""
    template = REFERENCE.sub(lambda match: _PLACE.format(match[1]), address)
    try:
        parts = urlsplit(template)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return address
    host = "127.0.0.1" if parts.hostname in ("localhost", "::1") else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}?{parts.query}"


def users(address: str) -> list[str]:
    """The user in an address, as it is written and as it is meant."""
    try:
        user = urlsplit(address).netloc.rpartition("@")[0].partition(":")[0]
    except ValueError:
        return []
    return [user, unquote(user)]


def _secret_parameters(parts: SplitResult) -> list[str]:
    return [value for name, value in parse_qsl(parts.query) if _SECRET_PARAMETER.search(name)]


def _literal(text: str) -> bool:
    """Whether anything but references (and the colon between user and password) stands there.
    A user alone is a token."""
    user, colon, password = text.partition(":")
    told = password if colon else user
    return bool(re.sub(r"env\.\w+\.place", "", told))
