"""lm-eval on a tiny student: our own suites, and tasks by name from a project's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import NodeFailed
from flywheel.harness import Item, SuiteJob, evaluate
from flywheel.harness.texts import item_texts
from flywheel.records import Outcome, Subject, Verdict
from flywheel.student.loading import Arm, load_base
from flywheel.student.sampling import generate

ITEMS = tuple(Item(f"item{i}", f"thing {i} is", {"text": f"thing {i}"}, "red") for i in range(6))

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: ["red", "blue"]
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""


def by_length(subject: Subject) -> tuple[Outcome, list[Verdict]]:
    """Even items pass, the third cannot be judged."""
    number = int(subject.subject_id.removeprefix("item"))
    outcome: Outcome = "unknown" if number == 3 else "pass" if number % 2 == 0 else "fail"
    return outcome, [Verdict(subject.subject_id, "v", "1", outcome)]


def run(student: Path, *suites: SuiteJob, judge: Any = by_length) -> Any:
    arm = Arm(str(student), None, "float32", "cpu", "hash")
    return evaluate(
        arm, suites, judge, system=None, max_new_tokens=6, batch_size=4, seed=1, progress=lambda message: None
    )


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A folder with an lm-eval task called `colours`."""
    rows = [{"question": f"thing {i} is", "answer": i % 2} for i in range(5)]
    (tmp_path / "rows.json").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "colours.yaml").write_text(TASK.format(name="colours", data=tmp_path / "rows.json"))
    return tmp_path


def test_each_item_is_answered_and_judged(mini_student: Path) -> None:
    found = run(mini_student, SuiteJob("holdout", "task", ITEMS))["holdout"]

    assert [item.item_id for item in found] == [item.item_id for item in ITEMS]
    assert [item.score for item in found] == [1.0, 0.0, 1.0, None, 1.0, 0.0]
    assert all(item.gold == "red" for item in found)


def test_the_answers_are_those_that_the_student_gives_when_probed(mini_student: Path) -> None:
    found = run(mini_student, SuiteJob("holdout", "task", ITEMS))["holdout"]

    loaded = load_base(Arm(str(mini_student), None, "float32", "cpu", "hash"))
    prompts = [(item.item_id, item.prompt) for item in ITEMS]
    own = generate(loaded, prompts, system=None, max_new_tokens=6, batch_size=4)
    assert [item.answer for item in found] == [answer.text for answer in own]


def test_two_suites_with_the_same_item_ids_are_kept_apart(mini_student: Path) -> None:
    found = run(mini_student, SuiteJob("a", "task", ITEMS[:2]), SuiteJob("b", "task", ITEMS[:3]))

    assert {name: len(items) for name, items in found.items()} == {"a": 2, "b": 3}


def test_a_task_of_the_projects_folder_is_run_by_its_name(mini_student: Path, named: Path) -> None:
    found = run(mini_student, SuiteJob("own", lm_eval="colours", include_path=str(named)))["own"]

    assert len(found) == 5
    assert all(item.score in (0.0, 1.0) for item in found)
    assert all((item.outcome == "pass") == (item.score == 1.0) for item in found)


def test_a_limit_takes_that_many_items(mini_student: Path, named: Path) -> None:
    found = run(mini_student, SuiteJob("own", lm_eval="colours", include_path=str(named), limit=2))["own"]

    assert len(found) == 2


def test_a_metric_that_is_not_there_is_named_with_those_that_are(mini_student: Path, named: Path) -> None:
    with pytest.raises(NodeFailed, match=r"evals\.own\.metric to one of: acc"):
        run(mini_student, SuiteJob("own", lm_eval="colours", include_path=str(named), metric="bleu"))


@pytest.mark.slow  # lm-eval reads all of its thousands of task files to be sure
def test_an_unknown_task_is_a_clear_error(mini_student: Path, named: Path) -> None:
    with pytest.raises(NodeFailed, match="no_such_task"):
        run(mini_student, SuiteJob("own", lm_eval="no_such_task", include_path=str(named)))


def test_the_texts_of_a_named_task_are_those_that_are_asked(named: Path) -> None:
    texts = item_texts(("colours", str(named)), lambda message: None)

    assert [question for _, question, _ in texts] == [f"thing {i} is" for i in range(5)]
    assert texts[0][0] == "colours/0"
