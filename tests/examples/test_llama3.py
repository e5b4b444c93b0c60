"""examples/llama3: code that was linted, run and repaired, and of what passed the best by grade and difficulty."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.sandbox import capability

from ..templates.conftest import load_script, tiny, turn_once
from .test_examples import REPAIRS, asked, copied

__all__ = ["tiny"]  # a fixture


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied("llama3", tmp_path)


def test_it_is_valid_and_its_one_warning_is_of_the_task_that_is_only_measured(project: Path) -> None:
    opened = open_project(project / "flywheel.yaml")

    assert [fault.message for fault in opened.loaded.warnings] == [
        'no generator teaches the task "exam": it is only measured.'
    ]
    assert {node.iteration for node in make_plan(opened).nodes} == {1, 2}
    assert all(teacher.is_simulated for teacher in opened.spec.teachers.values())


def test_the_exam_is_the_task_without_its_judge(project: Path) -> None:
    spec = open_project(project / "flywheel.yaml").spec

    taught, exam = (spec.tasks[name] for name in ("function", "exam"))
    assert (taught.prompt, taught.target, taught.verify) == (exam.prompt, exam.target, [*exam.verify, "quality"])
    assert {suite.task for suite in spec.evals.values()} == {"exam"}


def test_the_rows_are_those_that_make_rows_writes_and_no_two_share_a_question(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed
    questions = [json.loads(line)["question"] for text in committed.values() for line in text.splitlines()]
    assert len(questions) == len(set(questions))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(x): return x + 3", ""),
        ("def f(x): n = x + 3; return n", ""),
        ("f = lambda x: x + 3", "E731 do not assign a lambda expression, write a def"),
        ("def f(x) return x", "does not parse: expected ':' (<unknown>, line 1)"),
        ("def f(x): x + 3", "the function returns nothing"),
        ("x + 3", "no function"),
        ("", "no function"),
        ("def f(x): return '\0'", "does not parse"),
    ],
)
def test_the_linter_says_what_the_writer_can_mend(project: Path, code: str, said: str) -> None:
    passed, reason = load_script(project / "linter.py").check({"row": {}, "answer": code, "reference": None})

    assert passed == (said == "")
    assert reason.startswith(said)


PASSED = """SELECT c.target, j.score FROM candidates c JOIN judged j USING (candidate_id) WHERE j.outcome = 'pass'"""
KEPT = """SELECT c.row->>'$.tests' AS tests, d.target FROM dataset d JOIN candidates c USING (candidate_id)
    WHERE d.origin = 'new'"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lessons_were_repaired_run_and_are_the_better_ones(project: Path, tiny: str) -> None:
    if capability().tier == "none":
        pytest.skip("no sandbox works here: flywheel doctor")
    spec: dict[str, Any] = yaml.safe_load((project / "flywheel.yaml").read_text(encoding="utf-8"))
    assert spec["student"]["base"] == tiny
    spec["generate"][0]["accept"] = 40
    spec["train"]["epochs"] = 1
    del spec["ablate"]
    (project / "flywheel.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    for name in ("probes", "holdout"):
        path = project / "rows" / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))

    turn_once(project)

    kept, passed = asked(project, KEPT), asked(project, PASSED)
    assert len(kept) == 40 < len(passed)
    for lesson in kept:
        scope: dict[str, Any] = {}
        exec(lesson["target"], scope)  # of our own teacher, and run in the sandbox before
        assert all(scope["f"](*case["args"]) == case["expected"] for case in json.loads(lesson["tests"]))
        assert "lambda" not in lesson["target"]
    grades = {row["target"]: row["score"] for row in passed}
    assert set(grades.values()) == {0.5, 1.0}
    chosen = [grades[lesson["target"]] for lesson in kept]
    assert sum(chosen) / len(chosen) > sum(row["score"] for row in passed) / len(passed), (
        "the grade counts in the order"
    )
    assert asked(project, REPAIRS)
