"""`bench/faulty.py`, small: every row accounted for, only what a kill interrupted paid twice, no budget passed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("calls", "kills"), [(40, 1), pytest.param(2_000, 5, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_faulty_endpoint_and_kills(calls: int, kills: int) -> None:
    done = subprocess.run(
        [sys.executable, "bench/faulty.py", "--calls", str(calls), "--kills", str(kills)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"replies {{'ok': {calls}}}" in done.stdout
    twice, lost = re.search(r"answered twice (\d+).*in flight at the kills (\d+)", done.stdout).groups()  # type: ignore[union-attr]
    assert int(twice) <= int(lost) <= 128 * kills
    assert done.stdout.endswith("every claim holds\n")
