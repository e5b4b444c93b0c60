"""The example of a pretrained student: its cut of CLINC150, and a spec that is valid on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.engine.project import open_project

EXAMPLE = Path(__file__).parents[2] / "examples" / "clinc150"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The example on rows of the same shape, with a student that is always here."""
    labels = next(
        line for line in (EXAMPLE / "prompts/intent.md").read_text().splitlines() if line.startswith("Labels")
    )
    intents = labels.removeprefix("Labels: ").split(", ")
    splits = {"train": 100, "val": 20, "test": 30}
    data = {
        split: [
            [f"{split} question {n} on {intent}", intent] for intent in [*intents, "weather"] for n in range(number)
        ]
        for split, number in splits.items()
    }
    (tmp_path / "data_full.json").write_text(json.dumps(data))
    project = shutil.copytree(EXAMPLE, tmp_path / "project")
    subprocess.run([sys.executable, "prepare.py", str(tmp_path / "data_full.json")], cwd=project, check=True)
    spec = project / "flywheel.yaml"
    spec.write_text(spec.read_text().replace("~/.cache/flywheel-weights/smollm2-135m-instruct.gguf", "builtin:tiny"))
    return project


def test_the_files_hold_each_intent_equally_often_and_share_no_row(prepared: Path) -> None:
    rows = {path.stem: path.read_text().splitlines() for path in (prepared / "data").glob("*.jsonl")}
    assert {name: len(found) for name, found in rows.items()} == {
        "seeds": 24, "lessons": 1176, "probes": 96, "holdout": 120,
    }  # fmt: skip
    assert sum(map(len, rows.values())) == len({row for found in rows.values() for row in found})
    assert "weather" not in (prepared / "data" / "labels.txt").read_text()


def test_its_spec_is_valid_and_its_prompt_names_the_labels(prepared: Path) -> None:
    assert open_project(prepared / "flywheel.yaml").warnings == ()
