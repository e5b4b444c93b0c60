from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flywheel.student.identity import BUILTIN

REPOSITORY = Path(__file__).parents[2]


def load_script(path: Path) -> ModuleType:
    """A Python file that is not part of the package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """The path of a file of the shared data sets; skips where it is absent."""

    def find(name: str) -> Path:
        path = Path(os.environ.get("FLYWHEEL_TEST_DATA", REPOSITORY.parent / "shared" / "data")) / name
        if not path.exists():
            pytest.skip(f"no {name} in {path.parent}; name the folder of the data sets in FLYWHEEL_TEST_DATA")
        return path

    return find


@pytest.fixture(scope="session")
def tiny() -> str:
    """`builtin:tiny`; skips where its weights are not built."""
    if not any(BUILTIN["builtin:tiny"].glob("*.safetensors")):
        pytest.skip("builtin:tiny has no weights here; build them with scripts/train_tiny.py")
    return "builtin:tiny"


def turn_once(project: Path) -> dict[str, Any]:
    """One turn of the wheel in its own process, as a person runs it; gives the iteration's report."""
    command = [sys.executable, "-c", "from flywheel.cli import main; main()", "apply", "--iterations", "1"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: nothing was promoted
    report: dict[str, Any] = json.loads((project / "reports" / "iter-001" / "report.json").read_text(encoding="utf-8"))
    return report


def score_of(report: dict[str, Any], suite: str) -> tuple[float, float]:
    """The incumbent's and the candidate's share of right answers on a suite."""
    found = next(entry for entry in report["scores"]["suites"] if entry["suite"] == suite)
    return found["incumbent"]["value"], found["candidate"]["value"]
