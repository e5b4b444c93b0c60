"""Each benchmark runs, small, as a person starts it; none asserts a time. What the stages find must be right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(name: str, *arguments: str) -> str:
    """What the script prints; its failure is the test's."""
    done = subprocess.run(
        [sys.executable, f"bench/{name}.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ratios(printed: str) -> list[float]:
    return [float(found) for found in re.findall(r" ([\d.]+)x$", printed, re.MULTILINE)]


def test_decontamination_misses_nothing_and_finds_nothing_extra() -> None:
    printed = run("decontamination", "--size", "600", "--rounds", "1")
    assert "contaminated 6; missed 0, extra 0" in printed
    assert len(ratios(printed)) == 2


@pytest.mark.slow
def test_near_duplicates_that_are_reported_are_real_and_nearly_all_are_found() -> None:
    printed = run("near_dedup", "--size", "1000")
    quality = re.findall(r"recall ([\d.]+), precision ([\d.]+); .*: (\d+)", printed)
    assert len(quality) == 2
    for recall, precision, missed in quality:
        assert float(recall) >= 0.95
        assert (float(precision), int(missed)) == (1.0, 0)


def test_pairs_made_to_deceive_are_told_apart_in_every_language() -> None:
    printed = run("adversarial_pairs", "--size", "600")
    rows = re.findall(r"^(\w+) +\d+ +([\d.]+) +([\d.]+) ", printed, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["English", "Russian", "Arabic", "Hindi", "Chinese", "Japanese", "all"]
    assert all(float(precision) >= 0.99 and float(recall) >= 0.98 for _, precision, recall in rows), printed


def test_the_store_stands_beside_arrow_and_jsonl() -> None:
    printed = run("store", "--size", "500", "--rounds", "1")
    assert [line.split("  ")[0] for line in printed.splitlines()[2:5]] == [
        "bare Arrow into DuckDB",
        "JSONL, synced by chunk",
        "flywheel Store.write",
    ]
    assert ratios(printed)[0] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows"), [("training", "24"), ("evaluation", "8")])
def test_models_are_measured_beside_the_plain_loop(name: str, rows: str) -> None:
    printed = run(name, "--size", rows, "--rounds", "1")
    assert len(ratios(printed)) == 3
    assert ratios(printed)[0] == 1.0


@pytest.mark.slow
def test_start_up_is_measured_on_a_project_that_is_done() -> None:
    printed = run("unchanged_apply", "--rounds", "1")
    assert len(ratios(printed)) == 4
    assert "flywheel apply, nothing to do" in printed


@pytest.mark.slow
def test_every_candidate_of_a_large_run_is_made_and_curated() -> None:
    printed = run("million", "--size", "400")
    assert [line.split()[1] for line in printed.splitlines()[1:7]] == [
        "probe", "diagnose", "budget", "generate", "verify", "curate",
    ]  # fmt: skip
    assert "400 candidates, " in printed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_judged_answers_add_is_measured_once_and_shown_again(tmp_path: Path) -> None:
    small = ("--data", "nim20", "--methods", "sft", "grpo", "--seeds", "1", "--rounds", "2", "--questions", "16")
    small += ("--practice", "32", "--steps", "5", "--out", str(tmp_path))

    first, again = run("beyond", *small), run("beyond", *small)

    assert first.count("| nim20 |") == 2
    assert "(one seed)" in first, "no interval from one seed"
    assert again == "\n".join(line for line in first.splitlines() if line.startswith("|")) + "\n"
