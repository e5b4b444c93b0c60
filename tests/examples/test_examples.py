"""examples/: three strategies that run offline, with programs for teachers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.sandbox import capability
from flywheel.spec.models import Spec

from ..templates.conftest import REPOSITORY, score_of, tiny, turn_once

__all__ = ["tiny"]  # a fixture

EXAMPLES = ["self_instruct", "star", "code"]
STRATEGIES = {
    "self_instruct": ["self_instruct", "evolve", "paraphrase"],
    "star": ["rationalize", "trace"],
    "code": ["code_with_tests"],
}


def copied(example: str, to: Path) -> Path:
    """The example as it is committed."""
    made = shutil.ignore_patterns(".flywheel", "reports", "deploy", "__pycache__")
    shutil.copytree(REPOSITORY / "examples" / example, to / example, ignore=made)
    return to / example


@pytest.fixture(params=EXAMPLES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copied(request.param, tmp_path)


def spec_of(project: Path) -> Spec:
    return open_project(project / "flywheel.yaml").spec


def test_an_example_is_valid_without_warnings(project: Path) -> None:
    assert open_project(project / "flywheel.yaml").loaded.warnings == ()


def test_an_example_shows_the_strategies_it_is_for(project: Path) -> None:
    assert [generator.strategy for generator in spec_of(project).generate] == STRATEGIES[project.name]


def test_an_example_plans_all_its_iterations(project: Path) -> None:
    plan = make_plan(open_project(project / "flywheel.yaml"))

    assert {node.iteration for node in plan.nodes} == set(range(1, spec_of(project).loop.iterations + 1))


def test_programs_that_stand_in_for_models_say_so(project: Path) -> None:
    programs = [teacher for teacher in spec_of(project).teachers.values() if teacher.kind == "python"]

    assert programs
    assert all(teacher.simulated for teacher in programs)


def test_the_rows_are_those_that_make_rows_writes(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed


LESSONS = """SELECT c.generator, d.prompt, d.target FROM dataset d JOIN candidates c USING (candidate_id)
    WHERE d.origin = 'new'"""
REPAIRS = "SELECT request->>'$.seed' AS seed FROM calls WHERE request->>'$.item.step' = 'repair'"


def asked(project: Path, sql: str) -> list[dict[str, Any]]:
    """What the store of a project says."""
    command = [sys.executable, "-c", "from flywheel.cli import main; main()", "query", sql, "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return [dict(row) for row in json.loads(done.stdout)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_turn_accepts_lessons_of_each_generator_and_the_score_rises(project: Path, tiny: str) -> None:
    assert spec_of(project).student.base == tiny
    if project.name == "code" and capability().tier == "none":
        pytest.skip("no sandbox works here: flywheel doctor")

    before, after = score_of(turn_once(project), "holdout")

    kept = asked(project, LESSONS)
    assert {row["generator"] for row in kept} == {generator.name for generator in spec_of(project).generate}
    assert after > before
    if project.name == "star":
        assert not any("result is" in row["prompt"] + row["target"] for row in kept), "a hint in a lesson"
    if project.name == "code":
        seeds = [row["seed"] for row in asked(project, REPAIRS)]
        assert len(set(seeds)) == len(seeds) > 1, "repairs that share a seed err alike"


@pytest.mark.slow
def test_nobody_writes_tests_of_a_problem_that_a_rule_drops(tmp_path: Path, tiny: str) -> None:
    project = copied("code", tmp_path)
    spec = project / "flywheel.yaml"
    spec.write_text(spec.read_text().replace("accept: 300", "accept: 20\n    rounds: 1\n    forbid: [plus]"))
    probes = project / "rows" / "probes.jsonl"
    probes.write_text("".join(probes.read_text().splitlines(keepends=True)[:20]))
    command = [sys.executable, "-c", "from flywheel.cli import main; main()", "apply", "--until", "generate"]
    subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)

    found = asked(project, "SELECT row->>'$.question' AS question, row->>'$.tests' AS tests, status FROM candidates")
    dropped = [row for row in found if row["status"] == "filtered"]
    assert dropped
    assert all("plus" in row["question"] and row["tests"] is None for row in dropped)
    tested = asked(project, "SELECT request->>'$.row.question' AS question FROM calls WHERE teacher = 'tester'")
    assert len(tested) == sum(row["status"] == "parsed" for row in found) > 0
    assert not any("plus" in row["question"] for row in tested)
