from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shop import write_project

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def gsm8k() -> Path:
    folder = Path(os.environ.get("FLYWHEEL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / "gsm8k" / "train.jsonl"
    if not path.exists():
        pytest.skip(f"no gsm8k at {path}; name its folder in FLYWHEEL_TEST_DATA")
    return path
