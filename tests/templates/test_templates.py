"""The domains of `flywheel init` that need nothing but YAML, prompts and rows."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.project import open_project
from flywheel.engine.templates import TEMPLATES, copy_template, template_names
from flywheel.errors import UsageError
from flywheel.records.rows import read_rows
from flywheel.spec.models import Spec
from flywheel.text import normalised

from .conftest import REPOSITORY, load_script, score_of, turn_once

YAML_ALONE = ["arithmetic", "emails", "intents"]
QUESTION = {"arithmetic": "question", "emails": "email", "intents": "message"}


@pytest.fixture(params=YAML_ALONE)
def template(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(template: str, tmp_path: Path) -> Path:
    copy_template(template, tmp_path)
    return tmp_path


def spec_of(project: Path) -> Spec:
    return open_project(project / "flywheel.yaml").spec


def files_of(template: str) -> list[str]:
    return sorted(path.stem for path in (TEMPLATES / template / "rows").iterdir())


def questions(template: str, file: str) -> list[str]:
    rows = read_rows(TEMPLATES / template / "rows" / f"{file}.jsonl")
    return [normalised(row[QUESTION[template]]) for row in rows]


def test_all_are_offered() -> None:
    assert set(YAML_ALONE) <= set(template_names())


def test_init_writes_a_project_that_is_valid_without_warnings(project: Path) -> None:
    opened = open_project(project / "flywheel.yaml")

    assert opened.warnings == ()


def test_a_project_holds_no_code_and_calls_nobody(project: Path) -> None:
    assert not list(project.rglob("*.py"))
    assert {teacher.kind for teacher in spec_of(project).teachers.values()} == {"dataset", "student"}


def test_recorded_lessons_are_declared_as_simulated(project: Path) -> None:
    recorded = [t for t in spec_of(project).teachers.values() if t.kind == "dataset"]

    assert recorded
    assert all(teacher.simulated for teacher in recorded)


def test_at_least_four_error_modes_are_named(project: Path) -> None:
    assert len([mode for mode in spec_of(project).taxonomy if mode.name != "other"]) >= 4


def test_init_into_a_folder_in_use_writes_nothing(template: str, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text("mine")

    with pytest.raises(UsageError, match="exists already"):
        copy_template(template, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["flywheel.yaml"]


def test_no_question_is_asked_twice_in_any_file(template: str) -> None:
    asked = {file: questions(template, file) for file in files_of(template)}

    for file, found in asked.items():
        assert len(set(found)) == len(found), file
    for one, other in combinations(asked, 2):
        assert not set(asked[one]) & set(asked[other]), (one, other)


def test_a_third_of_the_holdout_has_wordings_that_no_lesson_has(template: str) -> None:
    def wordings(file: str) -> list[Any]:
        return [row["wording"] for row in read_rows(TEMPLATES / template / "rows" / f"{file}.jsonl")]

    assert wordings("holdout").count("fresh") * 3 >= len(wordings("holdout"))
    assert not any(wordings(file).count("fresh") for file in files_of(template) if file != "holdout")


def test_the_rows_are_what_the_script_writes(template: str, tmp_path: Path) -> None:
    load_script(REPOSITORY / "scripts" / "make_template_rows.py").write_rows(template, tmp_path)

    for file in files_of(template):
        name = f"{template}/rows/{file}.jsonl"
        assert (tmp_path / name).read_bytes() == (TEMPLATES / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_turn_makes_the_student_better_on_unseen_rows(project: Path, tiny: str) -> None:
    assert spec_of(project).student.base == tiny

    before, after = score_of(turn_once(project), "holdout")

    assert after >= before + 0.1
