"""A sandbox in each tier that this machine has, and things on the host that hostile programs go for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flywheel.sandbox import Sandbox, Tier
from flywheel.sandbox.probe import refusal

_REFUSED: dict[str, str] = {}


def works(tier: Tier) -> None:
    """Skip the test, with the reason, where the tier does not work here."""
    if tier not in _REFUSED:
        _REFUSED[tier] = refusal(tier)
    if _REFUSED[tier]:
        pytest.skip(f"{tier}: {_REFUSED[tier]}")


@pytest.fixture(scope="session", params=["namespaces", "landlock", pytest.param("bubblewrap", marks=pytest.mark.slow)])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    works(request.param)
    with Sandbox(tier=request.param) as made:
        yield made


@pytest.fixture(scope="session")
def best() -> Iterator[Sandbox]:
    """The best tier alone, for what does not depend on the tier."""
    with Sandbox(workers=1) as made:
        if made.tier == "none":
            pytest.skip("no tier works here")
        yield made


@dataclass(frozen=True)
class Host:
    """What there is to steal, to break and to reach."""

    folder: Path
    listeners: tuple[socket.socket, ...]

    @property
    def names(self) -> dict[str, object]:
        tcp, udp = self.listeners[:2]
        return {
            "folder": str(self.folder),
            "secret": str(self.folder / "secret"),
            "pid": os.getpid(),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
        }

    def heard(self) -> list[str]:
        """Who was reached."""
        found = []
        for listener in self.listeners:
            try:
                listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(1)
            except BlockingIOError:
                continue
            found.append(str(listener.getsockname()))
        return found


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o777)  # so that nothing but the sandbox keeps another user out
    (folder / "secret").write_text("SECRET-IN-A-FILE")
    (folder / "secret").chmod(0o666)
    listeners = (
        socket.create_server(("127.0.0.1", 0)),
        _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        _bound(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream")),
        _bound(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagram")),
        _bound(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder}"),
    )
    for listener in listeners:
        listener.setblocking(False)
    inherited = os.open(folder / "secret", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_HOST", "SECRET-IN-THE-ENVIRONMENT")
        yield Host(folder, listeners)
    os.close(inherited)
    for listener in listeners:
        listener.close()


def _bound(family: int, kind: int, address: object) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(address)  # type: ignore[arg-type]
    if kind == socket.SOCK_STREAM:
        made.listen()
    elif family == socket.AF_UNIX:
        os.chmod(str(address), 0o777)
    return made
