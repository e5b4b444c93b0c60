"""Three commands from a table to a deployed model: `init --from`, `apply`, `ask`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flywheel.api import Project
from flywheel.engine.starting.start import Wishes, start
from flywheel.engine.templates import TEMPLATES
from flywheel.records.rows import read_rows

from .conftest import score_of, turn_once


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_four_hundred_rows_become_a_model_that_is_deployed(tmp_path: Path, tiny: str) -> None:
    rows = read_rows(TEMPLATES / "intents" / "rows" / "lessons.jsonl")[:400]
    with (tmp_path / "mail.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter=";")
        writer.writerows([["message", "intent"], *([row["message"], row["intent"]] for row in rows)])

    made = start(str(tmp_path / "mail.csv"), tmp_path / "mail", Wishes())
    before, after = score_of(turn_once(made.folder), "holdout")

    assert after >= before + 0.2
    with Project.open(made.folder / "flywheel.yaml") as project:
        (answer,) = project.answers("intent", [{"message": rows[0]["message"]}])
    assert answer.answer in (made.folder / "labels.txt").read_text().split()
