"""Who may ask, and how much: keys, the server's own name, JSON alone, a body with an end."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_address

from starlette.requests import ClientDisconnect, Request

from flywheel.engine.serving.requests import Refusal
from flywheel.errors import UsageError
from flywheel.text import plural

#: Of a request's body, in bytes: a prompt has at most 200,000 characters.
MAX_BODY = 1 << 20
#: For a request's body to arrive, in seconds.
BODY_SECONDS = 30.0
#: Of a key, in characters.
_SHORTEST_KEY = 16
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_PORT = re.compile(r":\d+$")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keys_of(variable: str | None, host: str) -> tuple[str, ...]:
    """The keys that clients must show, from an environment variable: several with commas or white space between them.

    Raises UsageError where it holds none or a short one, and where there are none and others than this machine could
    reach the server.
    """
    if variable is None:
        if is_loopback(host):
            return ()
        raise UsageError(
            f"--host {host}: others than this machine could ask there, so they must show a key. Put one into an "
            "environment variable, such as FLYWHEEL_KEYS=$(openssl rand -hex 32), and name it: --keys FLYWHEEL_KEYS."
        )
    keys = tuple(filter(None, re.split(r"[\s,]+", os.environ.get(variable, ""))))
    if not keys:
        raise UsageError(f"--keys {variable}: the environment has no such variable, or it is empty. Export it first.")
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise UsageError(f"--keys {variable}: a key has at least {plural(_SHORTEST_KEY, 'character')}.")
    return keys


class Guard:
    """Raises Refusal for requests that are not let in. Without keys only this machine asks, and only by its own names:
    a page elsewhere that has its name resolve to this machine is refused."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [sha256(key.encode()).digest() for key in keys]

    def admit(self, request: Request) -> None:
        host = _PORT.sub("", request.headers.get("host", "")).strip("[]")
        if not self._keys and host not in _OWN_NAMES:
            raise Refusal(403, "this server answers to 127.0.0.1 and localhost only.")
        if self._keys and not self._has_key(request):
            raise Refusal(401, "no such API key. Send one as `Authorization: Bearer KEY`.", code="invalid_api_key")

    def knows(self, request: Request) -> bool:
        """Whether `admit` lets it in."""
        try:
            self.admit(request)
        except Refusal:
            return False
        return True

    def _has_key(self, request: Request) -> bool:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        digest = sha256(shown.strip().encode()).digest()
        # All are compared, in constant time: how long it takes says nothing about any.
        found = [hmac.compare_digest(digest, key) for key in self._keys]
        return scheme.lower() == "bearer" and any(found)


async def body_of(request: Request) -> bytes:
    """All of a body that is called JSON: a page elsewhere cannot send that without asking first, which is refused.
    Raises Refusal for another kind, one that is too large, and one that does not come."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "send the body as `Content-Type: application/json`.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request)
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS:.0f} s.") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the body was cut off.") from error


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    content = bytearray()
    if not (declared.isdigit() and int(declared) > MAX_BODY):
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_BODY:
                break
        else:
            return bytes(content)
    raise Refusal(413, f"the body is larger than {MAX_BODY:,} bytes.")
