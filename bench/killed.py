"""The default run, killed again and again: does it end where an uninterrupted one ends?

    python bench/killed.py [--kills N] [--whole DIR]

Runs `flywheel apply` on a copy of the default domain, kills its process group with SIGKILL at N random moments, lets
the last one finish, and compares dataset hashes, decisions and model ids with those of an uninterrupted run (`--whole`,
or made here). Teacher calls that were answered twice are counted in the store.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flywheel.engine.history import open_lookup

ROOT = Path(__file__).parents[1]
APPLY = [sys.executable, "-m", "flywheel", "apply"]


def copy_domain(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("flywheel.yaml", "teachers.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("prompts", "evals"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    """(iteration, dataset hash, decision, candidate) of each iteration."""
    with open_lookup(folder / ".flywheel") as query:
        rows = query(
            """SELECT d.iteration, a.dataset_hash, d.outcome, d.candidate_id FROM decisions d
               LEFT JOIN adapters a ON a.model_id = d.candidate_id ORDER BY d.iteration"""
        )
    return [tuple(row.values()) for row in rows]


def repeated_calls(folder: Path) -> tuple[int, int]:
    """Answered calls, and how many of them were answered more than once."""
    with open_lookup(folder / ".flywheel") as query:
        row = query(
            "SELECT count(DISTINCT key) AS calls, count(*) - count(DISTINCT key) AS twice FROM calls "
            "WHERE status = 'ok'"
        )[0]
    return row["calls"], row["twice"]


def run_killed(folder: Path, kills: int, seed: int) -> None:
    """Start, wait a random while, SIGKILL the whole group; then once more to the end."""
    rng = random.Random(seed)
    for number in range(kills):
        process = subprocess.Popen(APPLY, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL)
        moment = rng.uniform(0.5, 30)
        try:
            process.wait(moment)
            print(f"kill {number + 1}: the run had ended", flush=True)
            return
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        print(f"kill {number + 1} after {moment:.1f} s", flush=True)
    subprocess.run(APPLY, cwd=folder, check=False, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", type=Path, help="a finished copy of the default domain")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whole = options.whole or copy_domain(Path(scratch) / "whole")
        if options.whole is None:
            subprocess.run(APPLY, cwd=whole, check=False, stdout=subprocess.DEVNULL)
        killed = copy_domain(Path(scratch) / "killed")
        began = time.monotonic()
        run_killed(killed, options.kills, options.seed)
        calls, twice = repeated_calls(killed)
        print(f"{time.monotonic() - began:.0f} s; {calls} answered calls, {twice} answered twice")
        for one, other in zip(outcome(whole), outcome(killed), strict=True):
            print("same" if one == other else f"DIFFERENT: {one} | {other}", other)


if __name__ == "__main__":
    main()
