"""The zygote: a small process without secrets that forks one contained process for each program it is sent.

It is started with an empty environment, imports what programs usually import, and listens on one socket. A request is
one record with the program's descriptors attached; from then on the program has a socket of its own to the other side:

    here → there   `S` the program starts; `E` and its wait status: it ended; `X` and a text: it could not be contained
    there → here   `K`, or closing it: kill the program

When the listening socket closes, the zygote kills every program and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import math
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from flywheel.sandbox import kernel
from flywheel.sandbox.containment import Ground, contain, die_with_zygote, enter
from flywheel.sandbox.inside import CHANNEL, run_program, serve
from flywheel.sandbox.outcome import Limits, Tier
from flywheel.sandbox.wire import ENDED, ENDED_STATUS, MAX_FDS, RECORD_BYTES, REFUSED, STARTED

PRELOADED = """
abc array ast asyncio base64 bisect calendar cmath collections collections.abc concurrent.futures contextlib copy csv
dataclasses datetime decimal difflib enum fractions functools glob hashlib heapq inspect io itertools json linecache
locale logging math numbers operator os pathlib pickle pprint queue random re shutil statistics string struct tempfile
textwrap threading time timeit traceback types typing unicodedata unittest uuid warnings weakref zoneinfo
"""


def main(fd: int, tier: Tier, root: str) -> None:
    """Serve the socket `fd`; `root` is the folder this package was imported from, which programs shall not see."""
    control = socket.socket(fileno=fd)
    try:
        ground = enter(tier)
    except OSError as error:
        _tell(control, {"refused": str(error)})
        return
    if tier == "namespaces":
        _become_first(control)
    _settle(root)
    _tell(control, {"ready": True})
    _Zygote(control, ground).listen()


def _tell(control: socket.socket, record: dict[str, Any]) -> None:
    control.sendall(json.dumps(record).encode()[:RECORD_BYTES].ljust(RECORD_BYTES))


def _become_first(control: socket.socket) -> None:
    """Fork process 1 of the new namespace, whose end is the end of every process in it; wait for it here."""
    child = os.fork()
    if child:
        control.close()
        os.waitpid(child, 0)
        os._exit(0)
    kernel.die_with_parent(signal.SIGKILL)


def _settle(root: str) -> None:
    """Everything imported, nothing of ours left to find, and no garbage collection that would copy shared pages."""
    os.environ.clear()
    for name in PRELOADED.split():
        importlib.import_module(name)
    "".encode("idna")
    sys.path.remove(root)
    sys.path_importer_cache.pop(root, None)
    for name in [name for name in sys.modules if name.split(".")[0] == "flywheel"]:
        del sys.modules[name]
    kernel.few_malloc_arenas()
    gc.collect()
    gc.freeze()
    gc.disable()


class _Zygote:
    def __init__(self, control: socket.socket, ground: Ground) -> None:
        self._control = control
        self._ground = ground
        self._poll = select.poll()
        self._jobs: dict[int, tuple[int, socket.socket]] = {}
        """By the descriptor of a job's socket: its process and the socket."""

    def listen(self) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for fd in (self._control.fileno(), read):
            self._poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == read:
                    os.read(read, 4096)
                    self._reap()
                elif fd == self._control.fileno():
                    self._start()
                elif fd in self._jobs:
                    self._kill(fd)

    def _start(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._control, RECORD_BYTES, MAX_FDS)
        if not data:
            self._end()
        request = json.loads(data)
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._control.detach()
            _program(request, fds, self._ground, zygote)
        status = socket.socket(fileno=fds[0])
        for fd in fds[1:]:
            os.close(fd)
        self._jobs[status.fileno()] = (pid, status)
        self._poll.register(status.fileno(), select.POLLIN)

    def _kill(self, fd: int) -> None:
        pid, _ = self._jobs[fd]
        self._poll.unregister(fd)  # it would go on telling that it is closed
        _kill(pid, self._ground.tier)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        _kill_children(pid, self._ground.tier)
        for fd, (known, sock) in list(self._jobs.items()):
            if known == pid:
                del self._jobs[fd]
                with contextlib.suppress(KeyError):  # it was killed
                    self._poll.unregister(fd)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
                    sock.sendall(ENDED + ENDED_STATUS.pack(os.waitstatus_to_exitcode(status)))
                sock.close()

    def _end(self) -> NoReturn:
        for pid, _ in self._jobs.values():
            _kill(pid, self._ground.tier)
        os._exit(0)


def _kill(pid: int, tier: Tier) -> None:
    os.kill(pid, signal.SIGKILL)
    _kill_children(pid, tier)


def _kill_children(pid: int, tier: Tier) -> None:
    if tier == "none":  # elsewhere it can have none
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _program(request: dict[str, Any], fds: list[int], ground: Ground, zygote: int) -> NoReturn:
    """In the forked process: take its descriptors, contain it, say so, and run."""
    status = fds[0]
    try:
        limits = Limits(**request["limits"])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        die_with_zygote(zygote)
        os.setsid()
        source = b"" if request["serve"] else _content(fds[1])
        status = _take(fds, request["serve"], ground.kept)
        contain(ground, limits, None if request["serve"] else math.ceil(limits.seconds) + 1)
    except BaseException as error:
        os.write(status, REFUSED + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:RECORD_BYTES])
        os._exit(1)
    gc.enable()
    os.write(status, STARTED)
    os.close(status)
    if request["serve"]:
        serve(request["max_request_bytes"])
    run_program(source)


def _content(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _take(fds: list[int], serving: bool, kept: tuple[int, ...]) -> int:
    """Put the program's descriptors in their places, close all others, and return the status socket's."""
    nothing = os.open(os.devnull, os.O_RDWR)
    wanted = [nothing, nothing, nothing, fds[1]] if serving else fds[2:5]
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, CHANNEL + 2) for fd in (*wanted, fds[0])]  # out of the places to be filled
    for place, fd in enumerate(moved):
        os.dup2(fd, place)
    status = len(moved) - 1
    low = status + 1
    for fd in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        if low < fd:  # closerange(n, n) closes everything
            os.closerange(low, fd)
        low = fd + 1
    return status
