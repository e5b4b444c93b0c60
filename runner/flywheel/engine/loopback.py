"""Pages for people at this machine: a server on its loopback, asked under its own name only.

A page elsewhere that has its name resolve to this machine is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from flywheel.errors import UsageError

STRANGER = "This server answers to 127.0.0.1 only."


class LoopbackHandler(BaseHTTPRequestHandler):
    """What the handlers of such servers share."""

    @property
    def is_asked_by_its_own_name(self) -> bool:
        own = {f"{name}:{self.connection.getsockname()[1]}" for name in ("127.0.0.1", "localhost")}
        return self.headers.get("Host") in own

    def send_page(self, status: HTTPStatus, kind: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
        """`kind`: the content type. Nothing is kept by the browser, or taken for another kind."""
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for name, value in (*own.items(), ("X-Content-Type-Options", "nosniff"), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The terminal is for people."""


def loopback_server(handler: type[LoopbackHandler], port: int) -> ThreadingHTTPServer:
    """Port 0 takes a free one. Raises UsageError where the port is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UsageError(f"port {port}: {error.strerror}. Name another with --port, or none for a free one.") from error


def serve_until_stopped(server: ThreadingHTTPServer, say: Callable[[str], None], path: str = "") -> None:
    """Until Ctrl-C. `say` is told the address."""
    say(f"http://127.0.0.1:{server.server_port}/{path}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
