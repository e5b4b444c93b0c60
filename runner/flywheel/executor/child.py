"""What runs inside a child process: set-up, then one of two loops over a pipe to the parent.

The child is a fresh interpreter (never a fork: the parent owns DuckDB and threads). It dies with its parent,
ignores Ctrl-C (the parent decides), and is what the kernel kills first when memory runs out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from flywheel.errors import FlywheelError

Wire = Connection  # of bytes: every message is pickled here, so that what cannot be pickled is an answer too


def main(arguments: list[str]) -> None:
    """`arguments`: file descriptor, the parent's process id, address space in bytes (0: no limit), loop."""
    fd, parent, memory_bytes, loop = int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    _limit(memory_bytes)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        {"calls": serve_calls, "items": serve_items}[loop](Connection(fd))


def _die_with(parent: int) -> None:
    """Linux kills us with the parent's spawning thread; elsewhere an idle child ends with the pipe."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as handle:
        handle.write("500")


def _limit(memory_bytes: int) -> None:
    """Elsewhere than on Linux a limit that is refused, or that is not there, is done without."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.nullcontext() if sys.platform == "linux" else contextlib.suppress(ValueError, OSError):
        _set_limits(resource, memory_bytes)


def _set_limits(resource: Any, memory_bytes: int) -> None:
    # A crash leaves no gigabytes behind, and 1 starts no core handler that reads from a pipe, as 0 would (core(5)).
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    no_core = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (no_core, no_core))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def resolve(function: str) -> Callable[..., Any]:
    """The function that `package.module:name` names."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


# --- one call at a time ---


def serve_calls(wire: Wire) -> None:
    """Answer each `(function, payload)`: some `("progress", …)`, then a `("value", …)` or `("raised", …)`."""

    def progress(message: dict[str, Any]) -> None:
        wire.send_bytes(pickle.dumps(("progress", message)))

    while True:
        wire.send_bytes(_answer(wire.recv_bytes(), progress))


def _answer(request: bytes, progress: Callable[[dict[str, Any]], None]) -> bytes:
    try:
        function, payload = pickle.loads(request)
        del request  # it may be large
        return pickle.dumps(("value", resolve(function)(payload, progress)))
    except BaseException as error:
        return pickle.dumps(("raised", describe(error)))


def describe(error: BaseException) -> dict[str, Any]:
    """The error as plain values: its own class, message and state where it is ours, its traceback always."""
    described: dict[str, Any] = {
        "summary": one_line_of(error),
        "trace": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, FlywheelError):
        # A pickled exception calls its constructor with its message, which fails for richer constructors.
        with contextlib.suppress(Exception):
            described["own"] = pickle.dumps((type(error), str(error), dict(error.__dict__)))
    return described


def one_line_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# --- many small items ---


def serve_items(wire: Wire) -> None:
    """First `(factory, setup)`, answered by `("ready",)`; then lists of pickled items, one answer an item.

    A result is sent at once: the parent knows which item is running, and loses nothing but it.
    """
    try:
        factory, setup = pickle.loads(wire.recv_bytes())
        function = resolve(factory)(setup)
    except Exception as error:
        wire.send_bytes(pickle.dumps(("raised", describe(error))))
        return
    wire.send_bytes(pickle.dumps(("ready",)))
    while True:
        for item in pickle.loads(wire.recv_bytes()):
            wire.send_bytes(_result(function, item))


def _result(function: Callable[[Any], Any], item: bytes) -> bytes:
    try:
        return pickle.dumps(("ok", function(pickle.loads(item))))
    except BaseException as error:  # SystemExit too: an item may not end its process
        return pickle.dumps(("raised", one_line_of(error)))
