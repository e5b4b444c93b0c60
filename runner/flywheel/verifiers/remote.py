"""A module that runs in the sandbox, called from here. All that comes back is a claim."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from flywheel.sandbox import Limits, Sandbox, SessionEnded
from flywheel.sandbox.values import MAX_DEPTH, decode, encode, from_json, to_json
from flywheel.text import one_line

_ENDED = {
    "timeout": "timed out",
    "memory": "out of memory",
    "crash": "crashed",
    "failed": "ended early",
    "ok": "ended early",
    "output": "too much output",
    "forged": "forged result",
}


class SandboxFailed(Exception):
    """The sandbox broke, not the program."""


class Stopped(Exception):
    """The program is gone, or broke the protocol; the message is the reason."""


@dataclass(frozen=True)
class Call:
    """A call of a function by name."""

    function: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def __str__(self) -> str:
        arguments = [shown(value, 200) for value in self.args]
        arguments += [f"{name}={shown(value, 200)}" for name, value in self.kwargs.items()]
        return one_line(f"{self.function}({', '.join(arguments)})", 200)


@dataclass(frozen=True)
class Said:
    """What came back: `value`, or `error` ("Type: text"), or `asks`, a call that the module wants made for it."""

    value: Any = None
    error: str = ""
    asks: Call | None = None

    @property
    def error_name(self) -> str:
        return self.error.partition(":")[0]

    @property
    def is_not_plain(self) -> bool:
        return self.error_name == "NotPlain"


class RemoteModule:
    """A module loaded into a session of its own. `limits.seconds` is for all that it does, not for each call.

    Every method raises Stopped where the module ends, hangs or breaks the protocol, and SandboxFailed.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._limits = limits
        self._seconds_left = limits.seconds
        self._may_ask = False
        try:
            self._session = sandbox.serve(limits)
        except SessionEnded as error:  # nothing of the program has run yet
            raise SandboxFailed(error.detail) from error

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    def load(self, source: str, name: str, remote: str | None = None) -> Said:
        """Executes the source as a module. `remote`: under this name it finds a function whose calls come here."""
        request = {"source": source, "name": name}
        self._may_ask = remote is not None
        return self._ask({**request, "remote": remote} if remote else request, "loading the program")

    def call(self, call: Call) -> Said:
        """Calls one of its functions. Raises NotPlain where an argument cannot cross."""
        args = [encode(value) for value in call.args]
        kwargs = {name: encode(value) for name, value in call.kwargs.items()}
        return self._ask({"function": call.function, "args": args, "kwargs": kwargs}, str(call))

    def answer(self, value: Any) -> Said:
        """Gives the module what its call returned, and lets it go on."""
        return self._ask({"result": encode(value, MAX_DEPTH + 2)}, "the tests")

    def _ask(self, request: dict[str, Any], doing: str) -> Said:
        started = time.monotonic()
        try:
            reply = self._session.call(to_json(request).encode(), max(self._seconds_left, 0.001))
            said = _said(from_json(reply, self._limits.output_bytes))
            if said.asks is not None and not self._may_ask:
                raise ValueError("it asks for a call")
            return said
        except SessionEnded as error:
            if error.status == "infrastructure":
                raise SandboxFailed(error.detail) from error
            raise Stopped(self._reason(error, doing)) from error
        except ValueError as error:
            raise Stopped(f"forged result: {doing}: {one_line(str(error), 120)}") from error
        finally:
            self._seconds_left -= time.monotonic() - started

    def _reason(self, error: SessionEnded, doing: str) -> str:
        if error.status == "timeout":
            return f"timed out: {doing}, after {self._limits.seconds:g} s"
        return f"{_ENDED[error.status]}: {doing}: {one_line(error.detail, 120)}"


def _said(reply: Any) -> Said:
    """The reply, read with distrust. Raises ValueError where it is none."""
    match reply:
        case {"value": value}:
            return Said(value=decode(value))
        case {"raised": str(error)}:
            return Said(error=one_line(error, 300) or "Exception")
        case {"call": {"args": [str(function), args, kwargs]}}:
            args, kwargs = decode(args), decode(kwargs)
            if isinstance(args, list) and isinstance(kwargs, dict) and all(type(name) is str for name in kwargs):
                return Said(asks=Call(function, args, kwargs))
    raise ValueError("not a reply")


def shown(value: Any, limit: int = 120) -> str:
    """The value in Python's notation, on one line."""
    try:
        return one_line(repr(value), limit)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return f"a {type(value).__name__} with a very large number"
