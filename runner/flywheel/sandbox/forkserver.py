"""A zygote seen from outside: its process, the socket to it, and the requests sent over it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flywheel.sandbox.outcome import Limits, Tier
from flywheel.sandbox.view import DEVICES, readable
from flywheel.sandbox.wire import RECORD_BYTES

_START_SECONDS = 20.0
_CLOSE_SECONDS = 2.0
_ROOT = str(Path(__file__).parents[2])
_MAIN = (
    "import sys; fd, tier, root = sys.argv[1:]; sys.path.append(root); "
    "from flywheel.sandbox.zygote import main; main(int(fd), tier, root)"
)


class Refused(Exception):
    """The tier does not work here; the message says what the machine refused."""


class ForkServer:
    """One zygote. `start` may be called from any thread."""

    def __init__(self, tier: Tier) -> None:
        """Start it. Raises Refused."""
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                _command(tier, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(),
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            try:
                self._await(errors)
            except BaseException:
                self.close()
                raise

    def _await(self, errors: Any) -> None:
        self._control.settimeout(_START_SECONDS)
        try:
            record = self._control.recv(RECORD_BYTES, socket.MSG_WAITALL)
        except TimeoutError as error:
            raise Refused(f"the zygote did not start within {_START_SECONDS:g} s") from error
        self._control.settimeout(None)
        told = json.loads(record) if record else {"refused": _last_line(errors)}
        if "refused" in told:
            raise Refused(told["refused"])

    @property
    def alive(self) -> bool:
        """False from when the zygote has let go of its socket, which is before a program of its is known to be lost."""
        try:
            return bool(self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, limits: Limits, fds: Sequence[int], serve: bool, max_request_bytes: int = 0) -> None:
        """Send one program. Raises OSError where the zygote is gone."""
        request = {"limits": asdict(limits), "serve": serve, "max_request_bytes": max_request_bytes}
        record = json.dumps(request).encode().ljust(RECORD_BYTES)
        with self._lock:
            socket.send_fds(self._control, [record], list(fds))

    def close(self) -> None:
        """End it and every program it runs."""
        self._control.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _command(tier: Tier, fd: int) -> list[str]:
    python = getattr(sys, "_base_executable", None) or sys.executable
    plain = [python, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _MAIN, str(fd), tier, _ROOT]
    return [*_bubblewrap(python), *plain] if tier == "bubblewrap" else plain


def _environment() -> dict[str, str]:
    """A fixed hash seed, so that a program which prints a set prints the same every time."""
    wanted = {"PYTHONHASHSEED": "0"}
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter may not start without it
        wanted["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return wanted


def _bubblewrap(python: str) -> list[str]:
    """A read-only view of the libraries, the interpreter and this package; no network, no other process."""
    program = shutil.which("bwrap")
    if program is None:
        raise Refused("there is no bwrap program")
    view = [arg for path in (*readable(), python, _ROOT + "/flywheel") for arg in ("--ro-bind", path, path)]
    folders = [arg for path in ("/dev", "/etc", "/usr", "/usr/share") for arg in ("--perms", "0755", "--dir", path)]
    devices = [arg for path in DEVICES for arg in ("--dev-bind", path, path)]
    users = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.geteuid() == 0 else ["--unshare-user"]
    apart = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL", *users]
    return [program, *apart, *folders, *view, *devices, "--proc", "/proc", "--remount-ro", "/", "--"]


def _last_line(errors: Any) -> str:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "the zygote ended without a word"


def sealed(data: bytes) -> int:
    """A descriptor from which `data` can be read, and which cannot be written."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            return os.dup(file.fileno())
    import fcntl

    fd = os.memfd_create("data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with contextlib.ExitStack() as on_error:
        on_error.callback(os.close, fd)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xF)  # no writing, growing, shrinking, or other seals
        on_error.pop_all()
    return fd
