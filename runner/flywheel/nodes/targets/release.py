"""What a target is told of, and how it is reached."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx

from flywheel.errors import FlywheelError
from flywheel.spec.secrets import resolve_env
from flywheel.spec.targets import Deploy
from flywheel.teachers import Redactor, redactor_of
from flywheel.text import one_line

Action = Literal["deploy", "rollback", "withdraw"]

#: Seconds before each further attempt at a server that cannot be reached, or is busy.
PAUSES: tuple[float, ...] = (1.0, 4.0)
_BUSY = frozenset({429, 502, 503, 504})


class TargetRefused(FlywheelError):
    """A target does not serve the model; it has, or was put back to, the former one."""


@dataclass(frozen=True)
class Release:
    """A deployed model: its folder, named by its content, and its manifest."""

    home: Path
    manifest: Mapping[str, Any]

    @property
    def model_id(self) -> str:
        return str(self.manifest["model_id"])


class AskServed(Protocol):
    """Asks the model of this name; raises TargetRefused where it is not the one that was evaluated."""

    def __call__(self, server: Server, model: str) -> None: ...


def hiding(spec: Deploy) -> Redactor:
    """For what a target says: nothing that the spec's references hold, nor the environment's own keys, is passed on."""
    return redactor_of([(None, getattr(spec, name)) for name in spec.variables], os.environ.get)


class Server:
    """Requests to one address, tried again a few times where it cannot be reached. `hide`: what it must not show."""

    def __init__(self, address: str, key: str | None, timeout: float, hide: Redactor) -> None:
        self._hide = hide
        self.address = resolve_env(address).rstrip("/")
        headers = {} if key is None else {"Authorization": f"Bearer {resolve_env(key)}"}
        self._client = httpx.Client(headers=headers, timeout=timeout)

    @property
    def place(self) -> str:
        """As it may be shown: path, query and user may be secret."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def shown(self, said: str, limit: int) -> str:
        """What the server said, in one line and without secrets: they go before the text is cut."""
        return one_line(self._hide.detail(said), limit)

    def get(self, path: str) -> Any:
        return _content(self._answered("GET", path))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What it answers. Raises TargetRefused with what it says where that is not a 2xx."""
        return _content(self._answered("POST", path, json=body))

    def send(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Raises TargetRefused where the answer is not a 2xx."""
        self._answered("POST", "", content=content, headers=headers)

    def _answered(self, method: str, path: str, **what: Any) -> httpx.Response:
        for pause in (*PAUSES, None):
            try:
                answer = self._client.request(method, self.address + path, **what)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = f"{self.place} cannot be reached: {self.shown(str(error) or type(error).__name__, 120)}"
            else:
                if answer.is_success:
                    return answer
                problem = f"{self.place}{path} answered {answer.status_code}: {self.shown(_said(answer), 300)}"
                if answer.status_code not in _BUSY:
                    break
            if pause is not None:
                time.sleep(pause)
        raise TargetRefused(f"{problem.rstrip('.')}.")


def _content(answer: httpx.Response) -> Any:
    """As JSON, or the text where it is none: a page, or the bare word of a server that loads an adapter."""
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _said(answer: httpx.Response) -> str:
    """The message, however the server wraps it."""
    found = _content(answer)
    for key in ("error", "message", "error_message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return str(found)
