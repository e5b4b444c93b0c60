"""What runs on a core of the cluster: an actor that drives one killable child, by the very Pool that runs locally."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flywheel.executor.child import describe
from flywheel.executor.parcel import Parcel, receive, unpack
from flywheel.executor.pool import Pool, Result
from flywheel.version import installed_version

#: Whose versions can change a verdict.
JUDGED_WITH = ("duckdb", "jsonschema-rs", "mpmath", "regex", "sqlglot")

Said = tuple[str, Any]
"""`("value", …)`, or `("raised", what `child.describe` made of it)`: an exception of ours may not be picklable."""


def versions() -> dict[str, str]:
    """Of this machine; two machines that judge for one run must agree."""
    found = {"python": platform.python_version(), "flywheel": installed_version()}
    for package in JUDGED_WITH:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


class Station:
    """The project, unpacked here, and a pool of one child for each function that was asked for."""

    def __init__(self) -> None:
        self._pools: dict[bytes, Pool] = {}

    def open(self, parcel: Parcel) -> Said:
        """The machine's name and versions."""
        try:
            self._root = unpack(parcel)
            return "value", (platform.node(), versions())
        except Exception as error:
            return "raised", describe(error)

    def run(self, request: bytes, items: Sequence[Any], timeouts: Sequence[float]) -> Said:
        """The items' results in order, and the seconds that they took. `request`: a function, its set-up and the
        address space of a child, as `parcel.send` made them."""
        started = time.monotonic()
        limits = iter(timeouts)
        try:
            results: list[Result] = list(self._pool(request).map(items, lambda _: next(limits)))
            return "value", (results, time.monotonic() - started)
        except Exception as error:
            return "raised", describe(error)

    def _pool(self, request: bytes) -> Pool:
        if request not in self._pools:
            function, setup, memory_bytes = receive(request, self._root)
            self._pools[request] = Pool(function, 1, setup=setup, memory_bytes=memory_bytes)
        return self._pools[request]
