"""examples/banking77: real input, cut from the shared data set."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.project import open_project
from flywheel.records.rows import read_rows
from flywheel.text import normalised

from .conftest import REPOSITORY, load_script, score_of, turn_once

EXAMPLE = REPOSITORY / "examples" / "banking77"
FILES = ["holdout", "seeds", "probes", "lessons"]


@pytest.fixture
def data(data_file: Callable[[str], Path]) -> Path:
    data_file("banking77/test.csv")
    return data_file("banking77/train.csv").parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example as it is committed, without rows."""
    for name in ("flywheel.yaml", "untargeted.yaml", "pretrained.yaml", "prompts/category.md", "prepare.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(EXAMPLE / name, tmp_path / name)
    return tmp_path


def prepare(
    project: Path, data: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> dict[str, list[dict[str, Any]]]:
    """Run prepare.py; the rows by file."""
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--data", str(data), *options])
    load_script(project / "prepare.py").main()
    return {name: read_rows(project / "data" / f"{name}.jsonl") for name in FILES}


def test_prepare_cuts_the_splits_into_disjoint_files(
    project: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = prepare(project, data, monkeypatch)

    texts = [normalised(row["text"]) for name in FILES for row in rows[name]]
    assert len(set(texts)) == len(texts)
    assert {name: len(rows[name]) for name in ("holdout", "seeds", "probes")} == {
        "holdout": 500, "seeds": 77, "probes": 462,
    }  # fmt: skip
    assert set(Counter(row["category"] for row in rows["probes"]).values()) == {6}


@pytest.mark.parametrize("spec", ["flywheel.yaml", "untargeted.yaml"])
def test_the_spec_is_valid_without_warnings(
    spec: str, project: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(project, data, monkeypatch)

    assert open_project(project / spec).loaded.warnings == ()


def test_the_pretrained_students_spec_is_valid_whatever_the_base(
    project: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are not needed to read it."""
    prepare(project, data, monkeypatch)
    spec = project / "pretrained.yaml"
    weights = "~/.cache/flywheel-weights/smollm2-135m-instruct.gguf"
    assert weights in spec.read_text()
    spec.write_text(spec.read_text().replace(weights, "builtin:tiny"))

    assert open_project(spec).loaded.warnings == ()


def test_both_specs_ask_for_the_same_number_of_lessons_and_training() -> None:
    import yaml

    one, other = (yaml.safe_load((EXAMPLE / name).read_text()) for name in ("flywheel.yaml", "untargeted.yaml"))

    assert one["generate"][0]["accept"] == other["generate"][0]["accept"]
    for section in ("student", "tasks", "train", "evals", "gate", "loop", "seed"):
        assert one[section] == other[section]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_small_turn_learns_from_rows_that_people_wrote(
    project: Path, data: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = prepare(project, data, monkeypatch, "--holdout", "200", "--probes", "2")
    text = (project / "flywheel.yaml").read_text()
    small = text.replace("accept: 1000", "accept: 800")
    assert small != text
    (project / "flywheel.yaml").write_text(small)
    assert open_project(project / "flywheel.yaml").spec.student.base == tiny

    before, after = score_of(turn_once(project), "holdout")

    assert len(rows["holdout"]) == 200
    assert after > before
    assert after > 3 / 77  # chance is one in 77
