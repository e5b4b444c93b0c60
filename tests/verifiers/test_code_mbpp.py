"""MBPP as published: every problem's own solution passes, but where tests build objects of its own classes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from coding import TASKS

from flywheel.records import Subject
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers import Checker

REPOSITORY = Path(__file__).parents[2]
OWN_CLASSES = {"367", "601", "927"}


@pytest.mark.slow
def test_every_solution_passes_under_pythons_own_equality() -> None:
    folder = Path(os.environ.get("FLYWHEEL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / "mbpp" / "mbpp.jsonl"
    if not path.exists():
        pytest.skip(f"no MBPP at {path}; name its folder in FLYWHEEL_TEST_DATA")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    spec = CodeVerifier(kind="code", numbers="equal", timeout_seconds=60.0)
    subjects = [
        Subject(
            str(row["task_id"]), "t", {"tests": "\n".join([row["test_setup_code"], *row["test_list"]])}, row["code"]
        )
        for row in rows
    ]
    with Checker({"code": spec}, REPOSITORY) as judge:
        said = [verdicts[0] for verdicts in judge.judge(subjects, TASKS)]
    assert {verdict.subject_id for verdict in said if verdict.outcome != "pass"} == OWN_CLASSES
    assert len(said) == 974
