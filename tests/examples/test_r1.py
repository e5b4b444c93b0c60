"""examples/r1: long thoughts as lessons, of which none is wrong, mixed or unreadable; and the same recipe on GSM8K."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project

from ..templates.conftest import data_file, tiny, turn_once
from .test_examples import asked, copied

__all__ = ["data_file", "tiny"]  # fixtures


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied("r1", tmp_path)


def edited(project: Path, change: Callable[[dict[str, Any]], None], source: str = "flywheel.yaml") -> Path:
    spec = yaml.safe_load((project / source).read_text(encoding="utf-8"))
    change(spec)
    (project / "flywheel.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return project


def cut_rows(project: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = project / name
        lines = path.read_text(encoding="utf-8").split("\n")[:size]
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def test_it_is_valid_without_warnings_and_plans_both_iterations(project: Path) -> None:
    opened = open_project(project / "flywheel.yaml")

    assert opened.loaded.warnings == ()
    assert {node.iteration for node in make_plan(opened).nodes} == {1, 2}
    assert all(teacher.is_simulated for teacher in opened.spec.teachers.values())


def test_the_mix_has_the_published_proportions(project: Path) -> None:
    wanted = {generator.name: generator.accept for generator in open_project(project / "flywheel.yaml").spec.generate}

    assert wanted == {"reasoning": 600, "plain": 200}


def test_the_rows_are_those_that_make_rows_writes_and_no_two_share_a_question(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed
    questions = [json.loads(line)["question"] for text in committed.values() for line in text.splitlines()]
    assert len(questions) == len(set(questions))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lessons_think_and_are_right_readable_and_in_one_language(project: Path, tiny: str) -> None:
    def shrink(spec: dict[str, Any]) -> None:
        assert spec["student"]["base"] == tiny
        spec["generate"][0]["accept"], spec["generate"][1]["accept"] = 60, 20
        spec["train"]["epochs"] = 1

    edited(project, shrink)
    cut_rows(project, {"rows/probes.jsonl": 10, "rows/general_probes.jsonl": 5, "rows/holdout.jsonl": 10,
                       "rows/general_holdout.jsonl": 10})  # fmt: skip

    turn_once(project)

    kept = asked(project, "SELECT task, row, target FROM dataset WHERE origin = 'new'")
    reasoned = [row for row in kept if row["task"] == "reason"]
    assert (len(reasoned), len(kept)) == (60, 80)
    for row in reasoned:
        steps, result = re.fullmatch(r"<think>\n((?:.{1,40}\n){3})</think>\n\n(\d+)", row["target"]).groups()  # type: ignore[union-attr]
        a, b = re.findall(r"\d+", row["row"]["question"])
        assert int(a) + int(b) == int(result)
        assert not re.search(r"[^\x00-\x7f]|```|\b(dann|donc|luego)\b", steps)
    assert not any("<think>" in row["target"] for row in kept if row["task"] == "general")
    problems = {row["problem"] for row in asked(project, "SELECT problem FROM candidates WHERE status = 'filtered'")}
    assert len(problems) == 4, "each rule drops something"


# --- GSM8K


@pytest.fixture
def gsm8k(project: Path, data_file: Callable[[str], Path]) -> Path:
    folder = data_file("gsm8k/train.jsonl").parents[1]
    subprocess.run([sys.executable, "prepare.py", "--data", str(folder)], cwd=project, check=True)
    return project


def test_gsm8k_is_valid_on_rows_that_share_no_problem(gsm8k: Path) -> None:
    assert open_project(gsm8k / "gsm8k.yaml").loaded.warnings == ()
    files = {path.stem: path.read_text().strip().split("\n") for path in (gsm8k / "data").iterdir()}
    questions = [json.loads(line)["question"] for name, lines in files.items() if name != "solutions" for line in lines]
    assert len(questions) == 7_473
    assert not any("<<" in line or "####" in line for line in files["solutions"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recorded_solutions_of_gsm8k_become_thoughts(gsm8k: Path, tiny: str) -> None:
    def shrink(spec: dict[str, Any]) -> None:
        assert spec["student"]["base"] == tiny
        spec["generate"][0]["accept"] = 12
        spec["train"].update(epochs=1, max_steps=2)

    edited(gsm8k, shrink, "gsm8k.yaml")
    cut_rows(gsm8k, {"data/probes.jsonl": 4, "data/holdout.jsonl": 4, "data/problems.jsonl": 200})

    turn_once(gsm8k)

    kept = asked(gsm8k, "SELECT target FROM dataset WHERE origin = 'new'")
    assert len(kept) == 12
    assert all(re.fullmatch(r"(?s)<think>\n.+\n</think>\n\n[-\d.,]+", row["target"]) for row in kept)
