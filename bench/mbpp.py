"""MBPP as published, judged against its own solutions: how many of 974 pass under each policy for numbers.

    python bench/mbpp.py [--seconds 20]

Needs `mbpp/mbpp.jsonl` of google-research/google-research in the folder that FLYWHEEL_TEST_DATA names, or in
../shared/data. A row's tests are its `test_setup_code` and its `test_list`, as they are; what fails is listed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from flywheel.records import Subject, Verdict
from flywheel.spec.models import Task
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers import Checker

TASKS = {"t": Task(prompt="p", target="code", verify=["code"])}


def problems() -> list[dict[str, Any]]:
    shared = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("FLYWHEEL_TEST_DATA", shared)) / "mbpp" / "mbpp.jsonl"
    if not path.exists():
        sys.exit(f"no MBPP at {path}; name the folder of the data sets in FLYWHEEL_TEST_DATA")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{**row, "tests": "\n".join([row["test_setup_code"], *row["test_list"]])} for row in rows]


def judged(rows: list[dict[str, Any]], numbers: Literal["exact", "close", "equal"], seconds: float) -> list[Verdict]:
    """The verdict of each problem's own solution."""
    spec = CodeVerifier(kind="code", numbers=numbers, timeout_seconds=seconds)
    subjects = (Subject(str(row["task_id"]), "t", row, row["code"]) for row in rows)
    with Checker({"code": spec}, Path.cwd()) as judge:
        return [said[0] for said in judge.judge(subjects, TASKS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of a program")
    seconds = parser.parse_args().seconds
    rows = problems()
    for numbers in ("exact", "close", "equal"):
        verdicts = judged(rows, numbers, seconds)
        counts = Counter(verdict.outcome for verdict in verdicts)
        print(f"numbers: {numbers}: {counts['pass']} of {len(rows)} pass")
        for verdict in verdicts:
            if verdict.outcome != "pass" and numbers == "equal":
                print(f"  {verdict.subject_id}: {verdict.outcome}: {verdict.reason[:100]}")


if __name__ == "__main__":
    main()
