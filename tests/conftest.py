"""For all tests: no real home, no network beyond this machine, no GPU; and a small domain to turn the wheel on."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mini_domain import Domain, write_chat_student, write_mini_student
from stand_in import StandInWorker

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


class Reached(Exception):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True, scope="session")
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Children inherit the environment: they are as sealed as we are, a dead proxy stands in for the network."""
    home = tmp_path_factory.mktemp("home")
    dead = "http://127.0.0.1:9"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("XDG_", "HF_", "OPENAI_", "ANTHROPIC_"))]:
            patch.delenv(name)
        for name, value in {
            "HOME": str(home),
            "HF_HOME": str(home / "huggingface"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "CUDA_VISIBLE_DEVICES": "",
            "TOKENIZERS_PARALLELISM": "false",
            "http_proxy": dead,
            "https_proxy": dead,
            "all_proxy": dead,
            "no_proxy": "localhost,127.0.0.1,::1",
        }.items():
            patch.setenv(name, value)
        patch.delenv("FLYWHEEL_ONLINE", raising=False)
        patch.setattr(socket.socket, "connect", _local_only(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _local_only(socket.socket.connect_ex))
        yield


def _local_only(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise Reached(f"a test tried to reach {address}")
        return connect(self, address)

    return guarded


@pytest.fixture(scope="session")
def mini_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 layers and its byte-level tokenizer, without a chat template."""
    return write_mini_student(tmp_path_factory.mktemp("students") / "mini")


@pytest.fixture(scope="session")
def chat_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen of 2 layers with a chat template."""
    return write_chat_student(tmp_path_factory.mktemp("students") / "chat")


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """A small complete project whose model is played by `StandInWorker`: an apply costs about a second."""
    monkeypatch.setattr("flywheel.engine.resources.Worker", StandInWorker)
    monkeypatch.setattr("flywheel.engine.asking.Worker", StandInWorker)
    return Domain.written(tmp_path / "project")


@pytest.fixture
def real_domain(tmp_path: Path, mini_student: Path) -> Domain:
    """The same project with a real student, in the real model worker."""
    return Domain.written(tmp_path / "project", mini_student)


@pytest.fixture(scope="session")
def _applied_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished apply of two iterations; the second finds nothing left to learn."""
    root = tmp_path_factory.mktemp("applied") / "project"
    domain = Domain.written(root).edit(lambda spec: spec["loop"].update(iterations=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        domain.apply()
    return root


@pytest.fixture
def applied(_applied_once: Path, domain: Domain) -> Domain:
    """A copy of a project whose two iterations are done; iteration 1 was promoted."""
    shutil.rmtree(domain.root)
    shutil.copytree(_applied_once, domain.root, symlinks=True)
    domain.spec["loop"]["iterations"] = 2
    return domain


@pytest.fixture
def flywheel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`flywheel …` in a domain's folder, in this process: (exit code, stdout, stderr)."""

    from flywheel.cli import main

    def run(domain: Domain, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(domain.root)
        monkeypatch.setattr(sys, "argv", ["flywheel", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run
