"""What runs on a machine of the cluster: actors that drive a killable child, by the very Pool or Worker that runs here.

A Station has a core and judges; a ModelStation has a GPU, or a core, and a model.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.executor.child import describe
from flywheel.executor.parcel import Parcel, receive, unpack
from flywheel.executor.pool import Pool, Result
from flywheel.executor.worker import Worker
from flywheel.version import installed_version

#: Whose versions can change a verdict.
JUDGED_WITH = ("duckdb", "jsonschema-rs", "mpmath", "regex", "sqlglot")
#: … and an answer.
ANSWERED_WITH = ("lm_eval", "peft", "tokenizers", "torch", "transformers")

Said = tuple[str, Any]
"""`("value", …)`, or `("raised", what `child.describe` made of it)`: an exception of ours may not be picklable."""


def versions(packages: Collection[str]) -> dict[str, str]:
    """Of this machine; all that work for one run must agree."""
    found = {"python": platform.python_version(), "flywheel": installed_version()}
    for package in packages:
        try:
            found[package] = version(package).partition("+")[0]  # torch's builds for CPU and for CUDA are one version
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _told(work: Callable[[], Any]) -> Said:
    try:
        return "value", work()
    except Exception as error:
        return "raised", describe(error)


class Station:
    """The project, unpacked here, and a pool of one child for each function that was asked for."""

    def __init__(self) -> None:
        self._pools: dict[bytes, Pool] = {}

    def open(self, parcel: Parcel) -> Said:
        """The machine's name and versions."""
        return _told(lambda: self._opened(parcel))

    def run(self, request: bytes, items: Sequence[Any], timeouts: Sequence[float]) -> Said:
        """The items' results in order, and the seconds that they took. `request`: a function, its set-up and the
        address space of a child, as `parcel.send` made them."""
        return _told(lambda: self._judged(request, items, timeouts))

    def _opened(self, parcel: Parcel) -> tuple[str, dict[str, str]]:
        self._places = {parcel.folder: unpack(parcel)}
        return platform.node(), versions(JUDGED_WITH)

    def _judged(self, request: bytes, items: Sequence[Any], timeouts: Sequence[float]) -> tuple[list[Result], float]:
        started = time.monotonic()
        limits = iter(timeouts)
        return list(self._pool(request).map(items, lambda _: next(limits))), time.monotonic() - started

    def _pool(self, request: bytes) -> Pool:
        if request not in self._pools:
            function, setup, memory_bytes = receive(request, self._places)
            self._pools[request] = Pool(function, 1, setup=setup, memory_bytes=memory_bytes)
        return self._pools[request]


class ModelStation:
    """One model worker, and the folders with models that were sent here."""

    def __init__(self) -> None:
        self._worker = Worker(Path(tempfile.gettempdir()) / f"flywheel-{os.getuid()}" / f"worker-{os.getpid()}.log")
        self._places: dict[str, Path] = {}
        self._heard: dict[str, dict[str, Any]] = {}

    def open(self) -> Said:
        """The machine's name and versions."""
        return "value", (platform.node(), versions(ANSWERED_WITH))

    def receive(self, parcel: Parcel) -> Said:
        return _told(lambda: self._received(parcel))

    def run(self, function: str, sent: bytes) -> Said:
        """What the function gives, and the last it told of each thing that it counts."""
        return _told(lambda: self._called(function, sent))

    def _received(self, parcel: Parcel) -> str:
        self._places[parcel.folder] = unpack(parcel)
        return parcel.digest

    def _called(self, function: str, sent: bytes) -> tuple[Any, dict[str, dict[str, Any]]]:
        try:
            value = self._worker.call(function, receive(sent, self._places), on_progress=self._hear)
        except FlywheelError as error:
            error.args = (f"{error} (on {platform.node()}, a machine of the cluster)",)
            raise
        heard, self._heard = self._heard, {}  # who asks next may mean another part
        return value, heard

    def progress(self) -> dict[str, dict[str, Any]]:
        """What is counted → the last message of it. Answered while `run` runs."""
        return dict(self._heard)

    def _hear(self, message: dict[str, Any]) -> None:
        if "done" in message:
            what = {name: value for name, value in message.items() if name not in ("done", "total")}
            self._heard[str(what)] = message
