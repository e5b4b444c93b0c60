"""examples/openthoughts: three domains of questions, cleaned and asked once, and one of them unverified."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rapidfuzz import fuzz

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project

from ..templates.conftest import REPOSITORY, load_script, tiny, turn_once
from .test_examples import asked, copied
from .test_r1 import cut_rows, edited

__all__ = ["tiny"]  # a fixture

ROWS = REPOSITORY / "examples" / "openthoughts" / "rows"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied("openthoughts", tmp_path)


@pytest.fixture(scope="module")
def teachers() -> ModuleType:
    return load_script(ROWS.parent / "teachers.py")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROWS / f"{name}.jsonl").read_text().splitlines()]


def said(teachers: ModuleType, question: str, seed: int = 1, **options: float) -> str:
    chosen = {"error_rate": 0.0, "doubt_rate": 0.0, **options}
    answer: str = teachers.reason({"row": {"question": question}, "seed": seed, "options": chosen})
    return answer


def result(text: str) -> str:
    """What stands behind the thought, or in the box of a known solution."""
    last = text.rpartition("</think>")[2].strip()
    boxed = re.search(r"\\boxed\{(\d+)\}", last)
    return boxed[1] if boxed else last


def test_it_is_valid_without_warnings_and_plans_its_iteration(project: Path) -> None:
    opened = open_project(project / "flywheel.yaml")

    assert opened.loaded.warnings == ()
    assert {node.iteration for node in make_plan(opened).nodes} == {1}
    assert all(teacher.is_simulated for teacher in opened.spec.teachers.values())


def test_every_question_of_a_file_is_asked_once(project: Path) -> None:
    for generator in open_project(project / "flywheel.yaml").spec.generate:
        assert (generator.answers_each, generator.too_easy_from, generator.rounds) == (1, None, 1)
        assert generator.accept == len((project / str(generator.data)).read_text().splitlines())


def test_the_rows_are_those_that_make_rows_writes(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed


def test_what_is_measured_is_asked_nowhere_else_but_in_the_leaks() -> None:
    measured = {row["question"] for name in ("holdout", "puzzle_holdout", "science_holdout") for row in rows(name)}
    others = ["probes", "puzzle_probes", "problems", "puzzles", "science"]
    shared = [row["question"] for name in others for row in rows(name) if row["question"] in measured]

    assert len(measured) == 600
    assert len(shared) == 12, "planted in rows/problems.jsonl"


@pytest.mark.parametrize("name", ["holdout", "puzzle_holdout", "science_holdout", "probes", "puzzle_probes"])
def test_a_reasoner_that_does_not_err_comes_to_the_known_result_and_one_that_errs_never(
    teachers: ModuleType, name: str
) -> None:
    for row in rows(name):
        assert result(said(teachers, row["question"])) == result(row["solution"])
        assert result(said(teachers, row["question"], error_rate=1.0)) != result(row["solution"])


def test_at_temperature_0_a_question_has_one_answer_whatever_the_seed(teachers: ModuleType) -> None:
    questions = [row["question"] for row in rows("problems")]
    rates = {"error_rate": 0.3, "doubt_rate": 0.1}

    first = [said(teachers, question, 1, **rates) for question in questions]

    assert first == [said(teachers, question, 2, **rates) for question in questions]
    assert 0.05 < sum("wait" in answer for answer in first) / len(first) < 0.15


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lessons_are_clean_right_where_that_is_known_and_not_shortened(project: Path, tiny: str) -> None:
    def shrink(spec: dict[str, Any]) -> None:
        assert spec["student"]["base"] == tiny
        spec["train"]["epochs"] = 1
        for suite in spec["evals"].values():
            suite["limit"] = 10

    edited(project, shrink)
    cut_rows(project, {"rows/problems.jsonl": 400, "rows/puzzles.jsonl": 60, "rows/science.jsonl": 100,
                       "rows/probes.jsonl": 10, "rows/puzzle_probes.jsonl": 5})  # fmt: skip
    solve = load_script(project / "teachers.py").reason

    turn_once(project)

    kept = asked(project, "SELECT task, row->>'$.question' AS question, target FROM dataset WHERE origin = 'new'")
    exact = {"error_rate": 0.0, "doubt_rate": 0.0}
    wrong = [
        lesson["task"] for lesson in kept
        if result(lesson["target"]) != result(solve({"row": {"question": lesson["question"]}, "options": exact}))
    ]  # fmt: skip
    assert {lesson["task"] for lesson in kept} == {"problem", "puzzle", "science"}
    assert set(wrong) == {"science"}, "nobody verified these"
    assert all(lesson["target"].startswith("<think>\n") for lesson in kept)
    assert any("wait, once more" in lesson["target"] for lesson in kept)
    none_is_like_another([lesson["question"] for lesson in kept if lesson["task"] == "problem"])
    dropped = asked(
        project, "SELECT DISTINCT split_part(problem, ' ', 1) AS rule FROM candidates WHERE status = 'filtered'"
    )
    assert len(dropped) >= 3
    [unknown] = asked(project, "SELECT count(*) AS n FROM judged WHERE outcome = 'unknown'")
    assert unknown["n"] > 0, "questions without a known result"


def none_is_like_another(questions: list[str]) -> None:
    held = [row["question"] for row in rows("holdout")]
    assert len(questions) > 100
    for place, question in enumerate(questions):
        assert re.search(r"see the figure|http|a\).*b\)", question) is None
        assert all(fuzz.ratio(question, other) < 95 for other in held)
        assert all(fuzz.ratio(question, other) <= 95 for other in questions[:place])
