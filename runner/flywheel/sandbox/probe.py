"""What this machine can do, by trying: attacks that each tier has to stop, best tier first."""

from __future__ import annotations

import functools
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from flywheel.sandbox.box import Box
from flywheel.sandbox.outcome import TIERS, Capability, Limits, SandboxUnavailable, Tier

ESCAPED, CONTAINED = b"escaped", b"contained"

# Each tries one thing; `contained` is an OSError where success would be an escape.
_ATTACKS = {
    "it read a file of ours": "open({file!r}).read()",
    "it wrote beside our file": "open({file!r} + '.new', 'w')",
    "it reached a port of ours": "import socket; socket.create_connection(('127.0.0.1', {port}), 1)",
    "it made a process": "import os; pid = os.fork(); pid or os._exit(0)",
    "it could signal its parent": "import os; os.kill(os.getppid() or {pid}, 0)",
    "it changed its namespaces": (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
        "    if libc.unshare(0x10000000): raise OSError(ctypes.get_errno(), 'unshare')"
    ),
}
_TRIED = "try:\n    {attack}\nexcept OSError:\n    print('contained')\nelse:\n    print('escaped')\n"
_LIMITS = Limits(seconds=5.0)


@functools.cache
def capability() -> Capability:
    """The best tier that works, tried once per process."""
    if sys.platform != "linux":
        return Capability("none", tuple((tier, f"it needs Linux, and this is {sys.platform}") for tier in TIERS[:-1]))
    refused: list[tuple[Tier, str]] = []
    for tier in TIERS[:-1]:
        why = refusal(tier)
        if not why:
            return Capability(tier, tuple(refused))
        refused.append((tier, why))
    return Capability("none", tuple(refused))


def refusal(tier: Tier) -> str:
    """Why the tier does not work here; empty where every attack fails in it."""
    try:
        with _canary() as names, Box(tier, workers=1) as sandbox:
            for escape, attack in _ATTACKS.items():
                ran = sandbox.run(_TRIED.format(attack=attack.format(**names)), limits=_LIMITS)
                if ran.stdout.strip() != CONTAINED:
                    return escape if ran.stdout.strip() == ESCAPED else f"{ran.status}: {ran.detail}"
    except SandboxUnavailable as error:
        return str(error.__cause__ or error)
    return ""


@contextmanager
def _canary() -> Iterator[dict[str, object]]:
    """Something to steal: a file that anyone may read, and a port that anyone may reach."""
    with (
        tempfile.TemporaryDirectory(prefix="flywheel-canary-") as folder,
        socket.create_server(("127.0.0.1", 0)) as port,
    ):
        os.chmod(folder, 0o777)
        path = os.path.join(folder, "secret")
        with open(path, "w", encoding="utf-8") as file:
            file.write("canary")
        yield {"file": path, "port": port.getsockname()[1], "pid": os.getpid()}
