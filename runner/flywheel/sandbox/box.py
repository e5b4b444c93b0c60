"""The sandbox: programs from start to end, and sessions with a contained process."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self

from flywheel.sandbox.forkserver import ForkServer, Refused, sealed
from flywheel.sandbox.inside import HEADER, MEMORY_EXIT
from flywheel.sandbox.outcome import MEND, Limits, Ran, SandboxUnavailable, SessionEnded, SessionStatus, Status, Tier
from flywheel.sandbox.wire import ENDED, ENDED_STATUS, REFUSED, STARTED

_START_SECONDS = 20.0
"""Until a program starts; waiting for its turn on a busy machine is not its fault."""
_END_SECONDS = 0.4
_CHUNK = 1 << 16
_REQUEST_BYTES = 64 << 20


class Box:
    """Programs in one tier, of `workers` fork servers that start when first needed. Thread-safe."""

    def __init__(self, tier: Tier, workers: int = 2) -> None:
        self.tier = tier
        self._servers: list[ForkServer | None] = [None] * workers
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, source: str, stdin: bytes = b"", limits: Limits = Limits()) -> Ran:
        """Run a program as `__main__`. Only the standard library can be imported.

        Returns how it ended; `infrastructure` where the sandbox failed twice. Raises SandboxUnavailable where the
        tier does not work.
        """
        ran = self._ran(source, stdin, limits)
        return self._ran(source, stdin, limits) if ran.status == "infrastructure" else ran

    def serve(self, limits: Limits) -> Session:
        """A contained process to talk to. Raises SandboxUnavailable, or SessionEnded where it cannot be started."""
        try:
            return Session(self._server, limits)
        except SessionEnded:
            return Session(self._server, limits)

    def close(self) -> None:
        """End the zygotes, and with them every program."""
        with self._lock:
            self._closed = True
            servers, self._servers = self._servers, [None] * len(self._servers)
        for server in filter(None, servers):
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _server(self) -> ForkServer:
        """The next zygote; a new one in the place of one that died."""
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("this sandbox is closed. Open another.")
            place = next(self._turn) % len(self._servers)
            server = self._servers[place]
            if server is not None and not server.alive:
                server.close()
                server = None
            if server is None:
                server = self._servers[place] = self._started()
            return server

    def _started(self) -> ForkServer:
        try:
            return ForkServer(self.tier)
        except Refused as error:
            raise SandboxUnavailable(f"the sandbox's tier {self.tier!r} does not work here: {error}. {MEND}") from error

    def _ran(self, source: str, stdin: bytes, limits: Limits) -> Ran:
        with contextlib.ExitStack() as stack:
            fds = [_owned(stack, sealed(data)) for data in (source.encode("utf-8", "surrogatepass"), stdin)]
            pipes = [os.pipe(), os.pipe()]
            fds += [_owned(stack, write) for _, write in pipes]
            reads = [_owned_file(stack, read) for read, _ in pipes]
            status, theirs = (stack.enter_context(sock) for sock in socket.socketpair())
            try:
                self._server().start(limits, [theirs.fileno(), *fds], serve=False)
            except OSError as error:
                return Ran("infrastructure", None, b"", b"", 0.0, f"the zygote is gone: {error}")
            theirs.close()
            return _Watch(status, [_Stream(read, limits.output_bytes) for read in reads], limits).result()


def _owned(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _owned_file(stack: contextlib.ExitStack, fd: int) -> int:
    os.set_blocking(fd, False)
    return _owned(stack, fd)


class _Stream:
    """What a program writes, up to a limit."""

    def __init__(self, fd: int, limit: int) -> None:
        self.fd = fd
        self.data = b""
        self._limit = limit
        self.exceeded = False
        self.open = True

    def read(self) -> None:
        """Take what is there; whatever exceeds the limit is dropped and noted."""
        while self.open and not self.exceeded:
            try:
                chunk = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return
            self.open = bool(chunk)
            self.exceeded = len(self.data) + len(chunk) > self._limit
            self.data += chunk[: self._limit - len(self.data)]


class _Life:
    """What a program's own socket has told: refused, started, ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._told = b""
        self.lost = False

    def read(self) -> None:
        try:
            chunk = self.sock.recv(1024, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        self._told += chunk
        self.lost = not chunk

    @property
    def started(self) -> bool:
        return self._told.startswith(STARTED)

    @property
    def refused(self) -> str:
        """Why it could not be contained; empty where it could."""
        return self._told[1:].decode("utf-8", "replace") if self._told.startswith(REFUSED) else ""

    @property
    def returncode(self) -> int | None:
        told = self._told[1:] if self.started else self._told
        if not told.startswith(ENDED) or len(told) < 1 + ENDED_STATUS.size:
            return None
        code: int = ENDED_STATUS.unpack_from(told, 1)[0]
        return code

    @property
    def over(self) -> bool:
        return self.lost or self.returncode is not None or bool(self.refused)

    def kill(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the zygote is gone, and the program with it
            self.sock.send(b"K", socket.MSG_DONTWAIT)


class _Watch:
    """Waits for one program's end, or brings it about."""

    def __init__(self, sock: socket.socket, streams: list[_Stream], limits: Limits) -> None:
        self._life = _Life(sock)
        self._streams = streams
        self._limits = limits
        self._asked = time.monotonic()
        self._began = 0.0

    def result(self) -> Ran:
        stopped = self._watch()
        seconds = time.monotonic() - (self._began or self._asked)
        if stopped:
            self._life.kill()
            self._wait(time.monotonic() + _END_SECONDS)
        for stream in self._streams:
            stream.read()
        status, detail = self._verdict(stopped)
        out, err = (stream.data for stream in self._streams)
        return Ran(status, self._life.returncode, out, err, seconds, detail)

    def _watch(self) -> Status | None:
        """Until it has ended (None), or must be ended."""
        deadline = self._asked + _START_SECONDS
        while not self._life.over:
            if not self._began and self._life.started:
                self._began = time.monotonic()
                deadline = self._began + self._limits.seconds
            if any(stream.exceeded for stream in self._streams):
                return "output"
            if not self._once(deadline):
                return "timeout" if self._began else "infrastructure"
        return None

    def _wait(self, deadline: float) -> None:
        while not self._life.over and self._once(deadline):
            pass

    def _once(self, deadline: float) -> bool:
        """Read what comes next. False where the deadline has passed."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poll = select.poll()
        poll.register(self._life.sock, select.POLLIN)
        streams = {stream.fd: stream for stream in self._streams if stream.open and not stream.exceeded}
        for fd in streams:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(left * 1000 + 1):
            streams.get(fd, self._life).read()
        return True

    def _verdict(self, stopped: Status | None) -> tuple[Status, str]:
        if stopped == "timeout":
            return "timeout", f"no end after {self._limits.seconds:g} s"
        if stopped == "infrastructure":
            return stopped, f"the program was not started within {_START_SECONDS:g} s"
        if stopped or any(stream.exceeded for stream in self._streams):
            return "output", f"wrote more than {self._limits.output_bytes:,} bytes"
        return _ending(self._life, self._streams[1].data)


def _ending(life: _Life, stderr: bytes) -> tuple[Status, str]:
    code = life.returncode
    if life.refused:
        return "infrastructure", f"the program could not be contained: {life.refused}"
    if code is None:
        return "infrastructure", "the zygote ended before the program"
    last = stderr.rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")[:500]
    if code == 0:
        return "ok", ""
    if code == -signal.SIGXCPU:
        return "timeout", "the limit on CPU seconds"
    if code < 0:
        return "crash", _signal_name(-code)
    return ("memory", last) if last.startswith("MemoryError") else ("failed", last or f"exit code {code}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Session:
    """A contained process that answers requests, one at a time; `inside.serve` says which. Close it, or use `with`."""

    def __init__(self, server: Callable[[], ForkServer], limits: Limits) -> None:
        """Start it on a zygote that `server` gives. Raises SessionEnded."""
        self._limits = limits
        self._channel, channel = socket.socketpair()
        sock, theirs = socket.socketpair()
        self._life = _Life(sock)
        with channel, theirs:
            try:
                server().start(limits, [theirs.fileno(), channel.fileno()], True, _REQUEST_BYTES)
            except OSError as error:
                self._end("infrastructure", f"the zygote is gone: {error}")
            except BaseException:
                self.close()
                raise
        deadline = time.monotonic() + _START_SECONDS
        while not self._life.started:
            self._wait_for(self._life.sock, deadline, "infrastructure", "it was not started")

    def call(self, request: bytes, seconds: float | None = None) -> bytes:
        """Send a request, a JSON document, and return the reply's bytes: hostile, parse them with `values.from_json`.

        `seconds` is the wall time it may take, else the limits'. Raises SessionEnded; the session is closed then.
        """
        limit = self._limits.seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        late = f"no answer after {limit:g} s"
        self._refuse_extra()
        identity = secrets.token_bytes(16)
        self._send(HEADER.pack(len(request), identity) + request, deadline, late)
        size, told = HEADER.unpack(self._receive(HEADER.size, deadline, late))
        if told != identity:
            self._end("forged", "a reply to no request")
        if size > self._limits.output_bytes:
            self._end("output", f"a reply of {size:,} bytes; at most {self._limits.output_bytes:,} are read")
        reply = self._receive(size, deadline, late)
        self._refuse_extra()
        return reply

    def close(self) -> None:
        """Kill the process, if it lives. A second time does nothing."""
        self._channel.close()
        self._life.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _send(self, data: bytes, deadline: float, late: str) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._channel.send(view, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for(self._channel, deadline, "timeout", late, select.POLLOUT)
            except (BrokenPipeError, ConnectionResetError):
                self._end_as_told()

    def _receive(self, size: int, deadline: float, late: str) -> bytes:
        parts = []
        while size:
            try:
                part = self._channel.recv(min(size, _CHUNK), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_for(self._channel, deadline, "timeout", late)
                continue
            except ConnectionResetError:
                part = b""
            if not part:
                self._end_as_told()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait_for(
        self, sock: socket.socket, deadline: float, status: Status, late: str, event: int = select.POLLIN
    ) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            self._end(status, late)
        poll = select.poll()
        poll.register(self._life.sock, select.POLLIN)
        poll.register(sock, event | (select.POLLIN if sock is self._life.sock else 0))
        ready = {fd for fd, _ in poll.poll(left * 1000 + 1)}
        if self._life.sock.fileno() in ready:
            self._life.read()
            if self._life.over and sock.fileno() not in ready - {self._life.sock.fileno()}:
                self._end_as_told()

    def _refuse_extra(self) -> None:
        try:
            extra = self._channel.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            extra = b""
        except OSError as error:
            raise SessionEnded("infrastructure", "the session is closed") from error
        if extra:
            self._end("forged", "a reply to no request")

    def _end_as_told(self) -> NoReturn:
        """The process ended: say how, once the zygote has told."""
        deadline = time.monotonic() + _END_SECONDS
        while not self._life.over and time.monotonic() < deadline:
            poll = select.poll()
            poll.register(self._life.sock, select.POLLIN)
            if poll.poll(_END_SECONDS * 1000):
                self._life.read()
        if self._life.returncode == MEMORY_EXIT:
            self._end("memory", "even a reply needs more memory than there is")
        if self._life.returncode == 0:
            self._end("failed", "the program ended its process")
        if not self._life.over:
            self._end("crash", "the program closed its channel")
        self._end(*_ending(self._life, b""))

    def _end(self, status: SessionStatus, detail: str) -> NoReturn:
        self.close()
        raise SessionEnded(status, detail)
