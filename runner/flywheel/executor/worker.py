"""One long-lived child process that runs one named function at a time: the model worker, for instance."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flywheel.executor.faults import WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout
from flywheel.executor.process import Process

OnProgress = Callable[[dict[str, Any]], None]


class _Overdue(Exception):
    pass


class Worker:
    """A child process, started at the first call and kept: what the called modules load stays loaded.

    `log` takes its stdout and stderr. `memory_bytes` bounds its address space (not for CUDA, which maps far
    more than it uses). A call after a time-out, a crash or `cancel` starts a new child.
    """

    def __init__(self, log: Path | None = None, memory_bytes: int | None = None) -> None:
        self._log = log
        self._memory_bytes = memory_bytes
        self._turn = threading.Lock()
        self._state = threading.Lock()
        self._process: Process | None = None
        self._cancelled = False
        self._closed = False

    def call(
        self,
        function: str,
        payload: Any,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Any:
        """What `function` ("package.module:name") gives, called as `fn(payload, progress)` in the child.

        `progress(dict)` there calls `on_progress` here. `timeout`: seconds, a child's start included. Calls
        from several threads take turns. Raises what the function raised where that is a FlywheelError, else
        WorkerError; WorkerTimeout, WorkerCrashed, WorkerCancelled.
        """
        request = pickle.dumps((function, payload))
        with self._turn:
            deadline = None if timeout is None else time.monotonic() + timeout
            process = self._ready()
            try:
                process.wire.send_bytes(request)
                kind, content = self._converse(process, deadline, on_progress)
            except _Overdue:
                self._drop()
                message = f"{function} gave no result within {timeout:g} s{self._see_log()}"
                raise WorkerTimeout(message) from None
            except (EOFError, ConnectionError) as error:
                raise self._death(function, process) from error
            except BaseException:  # the conversation is cut in the middle: this child cannot be asked again
                self._drop()
                raise
        if kind == "raised":
            raise revived(content, function)
        return content

    def cancel(self) -> None:
        """Kill the child at once; the call that is running, if any, raises WorkerCancelled."""
        with self._state:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the child; calls that wait for their turn are refused."""
        self._closed = True
        self.cancel()
        with self._turn:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> Process:
        with self._state:
            if self._closed:
                raise WorkerCancelled("the worker is closed")
            if self._cancelled and self._process is not None:
                self._process.close()
                self._process = None
            self._cancelled = False
            if self._process is None:
                self._process = Process("calls", self._log, self._memory_bytes)
            return self._process

    def _converse(self, process: Process, deadline: float | None, on_progress: OnProgress | None) -> tuple[str, Any]:
        while True:
            if not process.wire.poll(None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise _Overdue
            kind, content = pickle.loads(process.wire.recv_bytes())
            if kind != "progress":
                return kind, content
            if on_progress is not None:
                on_progress(content)

    def _death(self, function: str, process: Process) -> WorkerError:
        if self._cancelled:
            self._drop()
            return WorkerCancelled(f"{function} was cancelled")
        cause, tail = process.cause_of_death(), process.log_tail()
        self._drop()
        said = f"\nIt last said:\n{tail}" if tail else ""
        return WorkerCrashed(f"{function}: its process {cause}{self._see_log()}{said}", trace=tail)

    def _drop(self) -> None:
        with self._state:
            if self._process is not None:
                self._process.close()
                self._process = None

    def _see_log(self) -> str:
        return f"; see {self._log}" if self._log else ""


def revived(described: dict[str, Any], function: str) -> BaseException:
    """The exception that `child.describe` took apart, with the child's traceback as its cause."""
    trace = described["trace"]
    if "own" in described:
        kind, message, state = pickle.loads(described["own"])
        error: BaseException = kind.__new__(kind, message)
        error.__dict__.update(state)
        error.__cause__ = WorkerError("in the child process", trace)
        return error
    return WorkerError(f"{function} raised {described['summary']}\n{trace}", trace)
