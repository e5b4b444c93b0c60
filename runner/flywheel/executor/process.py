"""A child process seen from the parent: start, talk, kill, and say how it died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO, Literal

from flywheel.executor.child import Clock

_START = (
    "import json,sys; sys.path[:]=json.loads(sys.argv[1]);from flywheel.executor.child import main; main(sys.argv[2:])"
)
_TAIL_BYTES = 2_000


class Process:
    """One child interpreter and the pipe to it. Its stdout and stderr are added to `log`, if there is one. A child that
    serves items has a `clock`."""

    def __init__(
        self,
        loop: Literal["calls", "items"],
        log: Path | None,
        memory_bytes: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log = log
        self.wire, theirs = Pipe()
        self._log_start = log.stat().st_size if log and log.exists() else 0
        with theirs, _shared(16) if loop == "items" else nullcontext() as shared:
            self.clock = Clock(shared.fileno()) if shared else None
            files = [theirs.fileno(), shared.fileno() if shared else -1]
            arguments = [str(number) for number in (*files, os.getpid(), memory_bytes or 0)]
            self._popen = _spawner().submit(_start, files, arguments, log, environment or {}).result()

    def kill(self) -> None:
        """Kill the child and its own children, at once. Safe to call from any thread, and twice."""
        if self._popen.returncode is None:  # not reaped: the process id is still its own
            try:
                os.killpg(self._popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._popen.kill()

    def close(self) -> None:
        self.kill()
        self._popen.wait()
        self.wire.close()
        if self.clock is not None:
            self.clock.close()

    def cause_of_death(self) -> str:
        """`was killed by SIGSEGV`, or `exited with status 3`."""
        try:
            code = self._popen.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives on
            self.close()
            code = self._popen.returncode
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        if code == -signal.SIGKILL:
            cause += " (out of memory?)"
        return cause

    def log_tail(self) -> str:
        """The last lines that this child wrote."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(self._log_start, size - _TAIL_BYTES))
            return handle.read().decode(errors="replace").strip()


def _shared(size: int) -> IO[bytes]:
    """A file of so many bytes without a name."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(size)
    return file


def _start(
    files: list[int], arguments: list[str], log: Path | None, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    output = _open_log(log)
    try:
        return subprocess.Popen(
            [sys.executable, "-u", "-c", _START, json.dumps(sys.path), *arguments],
            pass_fds=[file for file in files if file >= 0],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent; its own children die with it
        )
    finally:
        os.close(output)


def _open_log(log: Path | None) -> int:
    if log is None:
        return os.open(os.devnull, os.O_WRONLY)
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


@cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts children.

    The kernel's parent-death signal follows the *thread* that started a child: one started by a short-lived
    thread would die with that thread.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="flywheel-spawner")
