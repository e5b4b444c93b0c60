"""What runs inside a child process: set-up, then one of two loops over a pipe to the parent.

The child is a fresh interpreter (never a fork: the parent owns DuckDB and threads). It dies with its parent,
ignores Ctrl-C (the parent decides), and is what the kernel kills first when memory runs out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import mmap
import os
import pickle
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from flywheel.errors import FlywheelError

Wire = Connection  # of bytes: every message is pickled here, so that what cannot be pickled is an answer too


def main(arguments: list[str]) -> None:
    """`arguments`: file descriptors of the pipe and of the clock (-1: none, then calls are served one at a time), the
    parent's process id, address space in bytes (0: no limit)."""
    fd, clock, parent, memory_bytes = map(int, arguments)
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # From 3.14 on it adds the C stack, behind which a log's last lines do not show what happened.
    faulthandler.enable(**({"c_stack": False} if sys.version_info >= (3, 14) else {}))
    _limit(memory_bytes)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        if clock < 0:
            serve_calls(Connection(fd))
        else:
            serve_items(Connection(fd), Clock(clock))


def die_with(parent: int) -> None:
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

#: A result waits at most about so long for others to be sent with it; sending one costs as much as judging some.
FLUSH_SECONDS = 0.005


_ITEM, _TIME = struct.Struct("q"), struct.Struct("d")


class Clock:
    """Which item of a batch a child runs, and since when: in memory that its parent reads, so that a result need not be
    sent for the parent to know which item hung or crashed."""

    _NONE = -1

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, 16)
        self.stop()

    def stop(self) -> None:
        struct.pack_into("q", self._memory, 0, self._NONE)

    def start(self, item: int) -> float:
        """Gives the time."""
        now = time.monotonic()
        # The time first: what is read between the two is too late a start for the item before, never too early a one.
        _TIME.pack_into(self._memory, 8, now)
        _ITEM.pack_into(self._memory, 0, item)
        return now

    def read(self) -> tuple[int, float] | None:
        """The place of the item in its batch and when it began, by `time.monotonic`, which all processes share."""
        while True:
            (item,), (since,) = struct.unpack_from("q", self._memory, 0), struct.unpack_from("d", self._memory, 8)
            if struct.unpack_from("q", self._memory, 0) == (item,):
                return None if item == self._NONE else (item, since)

    def close(self) -> None:
        self._memory.close()


def serve_items(wire: Wire, clock: Clock) -> None:
    """First `(factory, setup)`, answered by `("ready",)`; then lists of items, answered by lists of results: as many as
    came within `FLUSH_SECONDS`."""
    try:
        factory, setup = pickle.loads(wire.recv_bytes())
        function = resolve(factory)(setup)
    except Exception as error:
        wire.send_bytes(pickle.dumps(("raised", describe(error))))
        return
    wire.send_bytes(pickle.dumps(("ready",)))
    while True:
        _run_batch(wire, function, pickle.loads(wire.recv_bytes()), clock)


def _run_batch(wire: Wire, function: Callable[[Any], Any], items: list[Any], clock: Clock) -> None:
    results: list[tuple[str, Any]] = []
    sent = time.monotonic()
    for place, item in enumerate(items):
        if clock.start(place) - sent > FLUSH_SECONDS and results:
            wire.send_bytes(_pickled(results))
            results, sent = [], clock.start(place)
        results.append(_result(function, item))
    clock.stop()
    if results:
        wire.send_bytes(_pickled(results))


def _result(function: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    try:
        return "ok", function(item)
    except BaseException as error:  # SystemExit too: an item may not end its process
        return "raised", one_line_of(error)


def _pickled(results: list[tuple[str, Any]]) -> bytes:
    try:
        return pickle.dumps(results)
    except Exception:
        return pickle.dumps([_picklable(result) for result in results])


def _picklable(result: tuple[str, Any]) -> tuple[str, Any]:
    try:
        pickle.dumps(result)
    except Exception as error:
        return "raised", one_line_of(error)
    return result
