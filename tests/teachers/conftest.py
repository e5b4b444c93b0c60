"""`stub_server` and `desks` lie beside this file; children of the tests import them too."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stub_server import StubServer


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; the stub server's aborted connections are meant."""
    monkeypatch.setattr("flywheel.teachers.desk.BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr("flywheel.teachers.pace.FIRST_PAUSE_SECONDS", 0.05)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running
