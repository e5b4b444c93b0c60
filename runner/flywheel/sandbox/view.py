"""What of the machine's files every program may read."""

from __future__ import annotations

import os
import sysconfig

SYSTEM = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/nix/store",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def libraries() -> tuple[str, ...]:
    """Folders of the interpreter's standard library."""
    return tuple(dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")))


def readable() -> list[str]:
    """The interpreter's library, the system's, time zones."""
    return [path for path in (*libraries(), *SYSTEM) if os.path.exists(path)]
