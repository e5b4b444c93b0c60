"""`from flywheel import Project`: the same wheel from Python, and the model that came of it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import flywheel
from flywheel import Project
from flywheel.errors import FlywheelError, PlanMoved, SpecInvalid, StoreError, Tampered, UsageError
from flywheel.report.notebook import project_html
from mini_domain import Domain, write_empty_student

SKY, ROSE = {"text": "old sky 1"}, {"text": "old rose 2"}


@pytest.fixture
def project(applied: Domain) -> Project:
    """Iteration 1 is deployed: it knows what is blue."""
    return Project.open(applied.root)


# --- the package ------------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import __future__, sys, typing; before = set(sys.modules); import flywheel; "
        "print(*sorted(set(sys.modules) - before))"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.split() == ["flywheel"]


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert flywheel.__version__ == version("flywheel-loop")
    assert set(dir(flywheel)) == {"Project", "__version__"}
    with pytest.raises(AttributeError, match="nothing"):
        flywheel.nothing  # noqa: B018


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (Path(flywheel.__file__).parent / "py.typed").is_file()


def test_a_notebook_shows_what_was_decided_and_is_deployed(project: Project) -> None:
    shown = project._repr_html_()
    assert f"{project.status()['deployments'][-1]['model_id'][:12]} is deployed; the last run: done" in shown
    assert "<td>promote</td>" in shown
    assert f'<a href="{(project.reports()[1] / "index.html").as_uri()}">1</a>' in shown


def test_a_notebook_shows_a_project_that_has_not_run_and_escapes_what_others_wrote(domain: Domain) -> None:
    assert Project.open(domain.root)._repr_html_() == f"<div><b>{domain.root.name}</b>: no run yet</div>"
    decision = {"iteration": 1, "outcome": "reject", "explanation": "<script>"}
    status = {"decisions": [decision], "deployments": [], "run": {"status": "done"}}
    assert "&lt;script&gt;" in project_html("<b>", status, {})


# --- open, validate, plan, apply --------------------------------------------------------------------------------------


def test_a_project_is_opened_by_its_folder_or_its_spec(domain: Domain) -> None:
    assert Project.open(domain.root).file == Project.open(domain.root / "flywheel.yaml").file
    assert Project.open(str(domain.root)).root == domain.root


def test_what_is_no_project_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="flywheel init"):
        Project.open(tmp_path)


def test_validate_raises_every_fault_with_its_place(domain: Domain) -> None:
    project = Project.open(domain.root)
    assert project.validate() == []
    domain.edit(lambda spec: spec["train"].update(rnk=8)).edit(lambda spec: spec.update(lop={}))

    with pytest.raises(SpecInvalid) as caught:
        project.validate()

    assert {fault.path for fault in caught.value.faults} == {("train", "rnk"), ("lop",)}
    assert all(fault.line for fault in caught.value.faults)


def test_a_plan_is_applied_and_then_there_is_nothing_to_do(domain: Domain) -> None:
    project = Project.open(domain.root)
    seen: list[str] = []

    outcome = project.apply(project.plan(), on_event=lambda event: seen.append(event["event"]))

    assert (outcome.exit_code, outcome.promoted) == (0, [1])
    assert (seen[0], seen[-1]) == ("run_started", "run_ended")
    assert not project.plan().pending
    assert project.apply().ran == 0
    assert project.spec.name == "colours"


def test_a_plan_that_moved_is_refused(domain: Domain) -> None:
    project = Project.open(domain.root)
    plan = project.plan()
    domain.edit(lambda spec: spec["train"].update(rank=8))

    with pytest.raises(PlanMoved, match="out of date"):
        project.apply(plan)


def test_a_plan_that_is_not_confirmed_runs_nothing(domain: Domain) -> None:
    asked = []

    outcome = Project.open(domain.root).apply(confirm=lambda plan: bool(asked.append(plan)))

    assert outcome.ran == 0
    assert [len(plan.pending) > 0 for plan in asked] == [True]
    assert not domain.calls()


# --- what happened ----------------------------------------------------------------------------------------------------


def test_the_store_is_asked_with_parameters_and_cannot_be_written(project: Project) -> None:
    rows = project.query("SELECT outcome FROM decisions WHERE iteration = ?", [1])

    assert rows == [{"outcome": "promote"}]
    with pytest.raises(UsageError, match="SHOW TABLES"):
        project.query("DELETE FROM decisions")


def test_before_the_first_run_there_is_neither_store_nor_report_nor_model(domain: Domain) -> None:
    project = Project.open(domain.root)

    with pytest.raises(StoreError, match="no store yet"):
        project.query("SELECT 1")
    with pytest.raises(UsageError, match="no report yet"):
        project.report()
    with pytest.raises(UsageError, match="nothing is deployed yet"):
        project.ask("colour", SKY)
    with pytest.raises(StoreError, match="no store yet"):
        project.ask("colour", SKY, iteration=1)
    assert project.status()["run"] is None
    assert project.reports() == {}


def test_a_report_is_read_as_its_schema_says(project: Project) -> None:
    assert list(project.reports()) == [1, 2]
    assert (project.reports()[1] / "index.html").is_file()
    assert project.report(1)["verdict"]["outcome"] == "promote"
    assert project.report()["iteration"] == 2
    with pytest.raises(UsageError, match="There are: 1, 2"):
        project.report(9)


# --- the model --------------------------------------------------------------------------------------------------------


def test_the_deployed_model_answers_and_the_base_did_not_know(project: Project) -> None:
    deployed = project.query("SELECT model_id FROM deployments")[0]["model_id"]
    with project:
        answers = project.answers("colour", [SKY, ROSE])
        base = project.ask("colour", SKY, iteration=0)
        first = project.ask("colour", SKY, iteration=1)

    assert [answer.answer for answer in answers] == ["blue", "red"]
    assert {answer.model_id for answer in answers} == {first.model_id} == {deployed}
    assert (base.answer, base.outcome) == ("red", None)
    assert base.model_id != deployed


def test_the_right_answer_may_be_in_the_row_and_the_student_does_not_see_it(project: Project) -> None:
    prompt = project.root / "prompts" / "colour.md"
    prompt.write_text("{% for column in row %} {{ row[column] }}{% endfor %}\ncolour:")

    assert project.ask("colour", {**ROSE, "label": " sky "}).answer == "red"
    assert project.ask("colour", {**ROSE, "other": " sky "}).answer == "blue"


def test_the_verifiers_speak_where_they_are_asked(project: Project) -> None:
    right, wrong = project.answers("colour", [SKY, {"text": "old sapphires 1"}], judge=True)

    assert right.outcome == "pass"
    assert {said.verifier: said.outcome for said in right.verdicts} == {"known": "pass", "right": "pass"}
    assert wrong.outcome == "pass"


def test_a_verifier_that_compares_says_unknown_without_a_right_answer(applied: Domain) -> None:
    applied.edit(lambda spec: spec["verifiers"].update(same={"kind": "exact"}))
    applied.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("same"))
    applied.edit(lambda spec: spec["generate"][0].update(teachers={"careful": 1.0}, second_opinion=["careless"]))
    project = Project.open(applied.root)

    without, given = project.answers("colour", [SKY, {**SKY, "label": "red"}], judge=True)

    assert (without.outcome, given.outcome) == ("unknown", "fail")


def test_what_is_read_as_the_answer_is_what_the_task_says(applied: Domain) -> None:
    applied.edit(lambda spec: spec["tasks"]["colour"].update(final="(b)l"))

    answer = Project.open(applied.root).ask("colour", SKY)

    assert (answer.text, answer.answer) == ("blue", "b")


@pytest.mark.parametrize(
    ("task", "row", "iteration", "words"),
    [
        ("color", SKY, None, 'Did you mean "colour"'),
        ("colour", {"txt": "sky"}, None, r"row 1 \(it has txt\) cannot be asked about: prompts/colour.md:1"),
        ("colour", {}, None, "no column"),
        ("colour", SKY, 2, "iteration 2 has trained no model. Iterations with a model: 1"),
    ],
)
def test_what_cannot_be_asked_is_named(
    project: Project, task: str, row: dict, iteration: int | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        project.ask(task, row, iteration=iteration)


def test_an_adapter_that_changed_does_not_answer(project: Project) -> None:
    config = project.root / "deploy" / "current" / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 5'))

    with pytest.raises(Tampered, match="adapter has changed"):
        project.ask("colour", SKY)


def test_a_model_of_another_base_does_not_answer(project: Project) -> None:
    write_empty_student(project.root / "student", "other weights")

    with pytest.raises(FlywheelError, match="another base"):
        project.ask("colour", SKY)


def test_rollback_with_nowhere_to_go_is_said(project: Project) -> None:
    with pytest.raises(UsageError, match="no model was in service"):
        project.rollback()


@pytest.mark.slow
def test_a_real_model_answers_as_it_was_measured(real_domain: Domain) -> None:
    """In the real worker: the base, asked again, gives the answers that the store has of it."""
    real_domain.edit(lambda spec: spec["loop"].update(iterations=1))
    real_domain.apply()
    measured = real_domain.query('SELECT "row", answer FROM answers ORDER BY answer_id LIMIT 4')

    with Project.open(real_domain.root) as project:
        answers = project.answers("colour", [row["row"] for row in measured], iteration=0)

    assert [answer.text for answer in answers] == [row["answer"] for row in measured]
