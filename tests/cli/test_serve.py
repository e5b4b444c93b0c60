"""`flywheel serve` as a process: it says what it lacks, ends in good order, and loses nothing when it is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.engine.serving.log import read_served
from mini_domain import Domain

CLIENTS = 6


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_without_its_packages_it_says_how_to_install_them(
    applied: Domain, flywheel, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("flywheel.engine.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)

    code, _, error = flywheel(applied, "serve", "--port", "0")

    assert code == 64
    assert "pip install 'flywheel-loop[serve]'" in error


def test_elsewhere_it_wants_keys(applied: Domain, flywheel) -> None:
    code, _, error = flywheel(applied, "serve", "--host", "0.0.0.0")

    assert code == 64
    assert "--keys FLYWHEEL_KEYS" in error


def started(domain: Domain) -> tuple[subprocess.Popen[str], str]:
    """A server and its address."""
    process = domain.start("serve", "--port", "0")
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said.startswith("flywheel: serving "), said + process.stderr.read()
    return process, said.split()[-1].removesuffix("/v1")


def ask(client: httpx.Client, text: str) -> str:
    body = {"flywheel": {"task": "colour", "row": {"text": text}}}
    said = client.post("/v1/chat/completions", json=body).raise_for_status()
    return str(said.json()["id"])


def rate(client: httpx.Client, receipt: str) -> str:
    said = client.post("/feedback", json={"receipt": receipt, "rating": 1}).raise_for_status()
    return str(said.json()["id"])


def records(domain: Domain) -> list[dict[str, Any]]:
    files = sorted((domain.root / ".flywheel" / "served").glob("*.jsonl"))
    return [record for path in files for record in read_served(path).records]


@pytest.mark.slow
def test_told_to_end_it_answers_what_was_asked_and_ends_well(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_PAUSE", "1")
    applied.edit(lambda spec: spec["student"].update(batch_size=1))
    process, address = started(applied)
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=address, timeout=60, verify=False) as client:
        asked = [pool.submit(ask, client, text) for text in ("old sky 1", "old rose 2")]
        while client.get("/health").json()["waiting"] == 0:  # until the second waits for the first
            assert not asked[1].done()
        process.send_signal(signal.SIGTERM)
        receipts = {one.result() for one in asked}

    assert process.wait(60) == 0
    assert {record["id"] for record in records(applied)} == receipts


class Clients:
    """Some who ask and rate as fast as they can, until their server is killed; they know what they were told."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.answers: dict[str, str] = {}
        self.feedback: dict[str, str] = {}
        self._texts = iter(range(1_000_000))
        self._lock = threading.Lock()

    def until_killed(self, is_time: Callable[[int], bool], seconds: float = 60.0) -> None:
        """`is_time` is asked with the number of answers since the server began, and after `seconds` no more."""
        process, address = started(self.domain)
        before = len(self.answers)
        timer = threading.Timer(seconds, process.kill)
        timer.start()

        def go_on() -> None:
            with httpx.Client(base_url=address, timeout=60, verify=False) as client:
                while True:
                    with self._lock:
                        text = f"old sky {next(self._texts)}"
                    try:
                        receipt = ask(client, text)
                        self.answers[receipt] = text
                        self.feedback[rate(client, receipt)] = receipt
                    except httpx.TransportError:
                        return
                    if is_time(len(self.answers) - before):
                        process.kill()

        with ThreadPoolExecutor(CLIENTS) as pool:
            for one in [pool.submit(go_on) for _ in range(CLIENTS)]:
                one.result()
        timer.cancel()
        assert process.wait(60) == -signal.SIGKILL

    def check(self, kills: int) -> None:
        """All that anybody was told is in the log, once; of what nobody was told, no more than was on its way."""
        found = records(self.domain)
        answers = {record["id"]: record["row"]["text"] for record in found if record["kind"] == "answer"}
        feedback = {record["id"]: record["receipt"] for record in found if record["kind"] == "feedback"}
        assert len(answers) + len(feedback) == len(found), "nothing is there twice"
        assert self.answers.items() <= answers.items()
        assert self.feedback.items() <= feedback.items()
        assert len(found) - len(self.answers) - len(self.feedback) <= kills * CLIENTS
        assert len(set(answers.values())) == len(answers), "no request was answered twice"


def test_a_killed_server_has_kept_all_that_it_told(applied: Domain) -> None:
    clients = Clients(applied)

    for answers in (1, 9):
        clients.until_killed(lambda count, answers=answers: count >= answers)

    assert len(clients.answers) >= 10
    clients.check(kills=2)


@pytest.mark.slow
def test_a_server_killed_at_any_moment_has_kept_all_that_it_told(applied: Domain) -> None:
    clients, rng = Clients(applied), random.Random(5)

    for _ in range(5):
        clients.until_killed(lambda count: False, seconds=rng.uniform(0.1, 2.0))

    assert clients.answers
    clients.check(kills=5)
