"""The server itself: where it listens, how long it waits for a request's head, how it ends."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flywheel.engine.asking import new_worker
from flywheel.engine.serving.app import make_app
from flywheel.engine.serving.batching import Batcher
from flywheel.engine.serving.guard import Guard
from flywheel.engine.serving.log import ServedLog
from flywheel.engine.serving.models import CurrentModel
from flywheel.errors import UsageError

#: For the head of a request to arrive, and between two requests of a connection, in seconds.
HEAD_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 60
#: Between two looks at a promotion under test, in seconds.
JUDGING_SECONDS = 30.0
#: Connections at a time.
_CONNECTIONS = 2_048
#: For requests in flight, when the server is told to end.
_ENDING_SECONDS = 60


def serve(file: Path, host: str, port: int, keys: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Until Ctrl-C or SIGTERM; requests in flight are answered first. `say` is told the address, and what changes.
    Raises as `model_server`."""
    with model_server(file, host, port, keys, say) as server, suppress(KeyboardInterrupt):
        server.run()


@dataclass
class ModelServer:
    """It listens; `run` answers, until `stop` from another thread or a signal."""

    address: str
    _server: uvicorn.Server
    _socket: socket.socket

    def run(self) -> None:
        self._server.run([self._socket])

    def stop(self) -> None:
        self._server.should_exit = True


@contextmanager
def model_server(
    file: Path, host: str, port: int, keys: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[ModelServer]:
    """A server of the deployed model, which is loaded. Port 0 takes a free one.

    Raises UsageError where the port is taken or nothing is deployed, Tampered where that is not what it was.
    """
    root = file.absolute().parent
    with _listening(host, port) as listening, new_worker(root, "serving.log") as worker:
        deployed = CurrentModel(file, worker, say)
        log = ServedLog(root / ".flywheel" / "served")
        app = make_app(Batcher(deployed, worker, log, say), log, Guard(keys))
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        say(f"serving {deployed.served.model_id} at {address}/v1")
        with _judged(deployed):
            yield ModelServer(address, uvicorn.Server(_config(app)), listening)


@contextmanager
def _judged(deployed: CurrentModel) -> Iterator[None]:
    """A thread that looks at what people and verifiers say of a promotion under test."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(JUDGING_SECONDS):
            deployed.judge(_now(), over.is_set)

    thread = threading.Thread(target=look, name="flywheel-canary", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _now() -> datetime:
    return datetime.now(UTC)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(_CONNECTIONS)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"{host}, port {port}: {error.strerror}. Name another with --port; 0 is a free one."
        ) from error
    return opened


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_ENDING_SECONDS,
    )


class PatientProtocol(H11Protocol):
    """uvicorn's, with an end to its patience: it waits for the head of a request as long as a client likes."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """The time runs from the first byte of a head to its last, however many come between."""
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
