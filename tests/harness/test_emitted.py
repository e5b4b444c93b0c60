"""The suites as stock lm-eval tasks: the files, the commands, and that they give our numbers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.harness import EvaluationJob, Item, Measured, SuiteJob, evaluate
from flywheel.harness.emitted import SuiteJudges, command, emit
from flywheel.harness.scoring import item_score
from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import ExactVerifier, JudgeVerifier, LabelVerifier, PythonVerifier, RegexVerifier, Verifier
from flywheel.student import StudentFiles
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm
from flywheel.student.work import Asking
from flywheel.verifiers import Checker, outcome_of

SUITE = SuiteJob("holdout", "task")
SETTINGS = {"device": "cpu", "dtype": "float32", "batch_size": 4, "chat_template": None, "system": None, "seed": 1}
EXACT = ExactVerifier(kind="exact")
LETTERS = ExactVerifier(kind="exact", ignore_space=False)


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!function", lambda loader, node: f"!{node.value}")


def judging(*verifiers: Verifier, final: str | None = None, pass_at: int | None = None) -> SuiteJudges:
    named = {f"v{i}": verifier for i, verifier in enumerate(verifiers)}
    task = Task(prompt="ask.md", target="label", verify=list(named), final=final)
    return SuiteJudges("task", task, named, pass_at)


def emitted(
    root: Path, by: SuiteJudges, golds: Sequence[str] = ("red", "blue"), suite: SuiteJob = SUITE
) -> dict[str, Any]:
    """The task file, as written for items with these golds."""
    items = [Measured(f"item{i}", {}, gold, (), prompt_tokens=3, asked="a?") for i, gold in enumerate(golds)]
    assert emit(root / "holdout", root, suite, by, items, 6)
    return dict(yaml.load((root / "holdout" / "task.yaml").read_text(), _Loader))


def told(root: Path, arm: Arm, *rest: Any, name: str = "student") -> str:
    """The command for a model whose base is called `name`."""
    return command(root, StudentFiles(name, arm.source, arm.revision, "hash"), arm, *rest)


def inside(root: Path, student: Path) -> Arm:
    """The student, in the project `root`."""
    (root / "student").symlink_to(student)
    return Arm(str(root / "student"), None, "float32", "cpu", "")


def metric_of(task: dict[str, Any]) -> str:
    return str(task["metric_list"][0]["metric"])


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_lm_eval_can_say_itself_needs_nothing_of_ours(tmp_path: Path) -> None:
    by = judging(ExactVerifier(kind="exact", ignore_space=False))
    assert metric_of(emitted(tmp_path, by)) == "exact_match"
    assert sorted(path.name for path in (tmp_path / "holdout").iterdir()) == ["items.jsonl", "task.yaml"]


@pytest.mark.parametrize(
    ("by", "golds"),
    [
        (judging(EXACT), ["red"]),  # we look for where the answer stands
        (judging(EXACT), [""]),
        (judging(ExactVerifier(kind="exact", ignore_space=False, ignore_case=True)), ["red"]),
        (judging(LETTERS), ["2026-01-02", "2026-01-03 10:00:00"]),  # which the JSON reader would make dates of
        (judging(LETTERS, final="#### (.+)"), ["red"]),
        (judging(LETTERS, RegexVerifier(kind="regex", pattern="red|blue")), ["red"]),
        (judging(LabelVerifier(kind="label", labels=["red"])), ["red"]),
    ],
)
def test_what_lm_eval_would_score_otherwise_is_scored_by_our_verifiers(
    tmp_path: Path, by: SuiteJudges, golds: list[str]
) -> None:
    task = emitted(tmp_path, by, golds)

    assert metric_of(task) == "score"
    assert task["process_results"] == "!scoring.process"
    assert (tmp_path / "holdout" / "scoring.py").exists()


def test_answers_stop_where_the_suite_says(tmp_path: Path) -> None:
    task = emitted(tmp_path, judging(EXACT), suite=replace(SUITE, stop=("\n\n", "Question:")))

    assert task["generation_kwargs"]["until"] == ["\n\n", "Question:"]


def test_repeats_are_sampled_and_all_of_them_are_scored(tmp_path: Path) -> None:
    task = emitted(tmp_path, judging(EXACT, pass_at=2), suite=replace(SUITE, repeats=4, temperature=0.7))

    assert (task["repeats"], task["generation_kwargs"]["temperature"]) == (4, 0.7)
    assert task["filter_list"][0]["filter"] == [{"function": "take_first_k", "k": 4}]
    assert json.loads((tmp_path / "holdout" / "judging.json").read_text())["pass_at"] == 2


def test_a_prompt_that_was_not_asked_is_not_in_the_data(tmp_path: Path) -> None:
    items = [
        Measured("short", {}, "red", (), asked="a?"),
        Measured("long", {}, "red", (), problem="too long", asked="a"),
    ]

    assert emit(tmp_path / "holdout", tmp_path, SUITE, judging(EXACT), items, 6)

    lines = [json.loads(line) for line in (tmp_path / "holdout" / "items.jsonl").read_text().splitlines()]
    assert [line["item_id"] for line in lines] == ["short"]


def test_a_suite_that_an_llm_judges_is_not_emitted(tmp_path: Path) -> None:
    by = judging(JudgeVerifier(kind="judge", teacher="gpt", rubric="rubric.md"))

    assert not emit(tmp_path / "holdout", tmp_path, SUITE, by, [Measured("a", {}, "red", (), asked="a?")], 6)
    assert not (tmp_path / "holdout").exists()


# --- commands ---------------------------------------------------------------------------------------------------------


def test_the_command_names_paths_inside_the_project_and_what_both_arms_share(tmp_path: Path) -> None:
    arm = Arm(str(tmp_path / "student"), None, "auto", "auto", "hash", str(tmp_path / ".flywheel" / "adapter"))

    words = told(tmp_path, arm, SUITE, tmp_path / ".flywheel" / "lm_eval", SETTINGS, [])

    assert words == (
        "lm-eval run --model hf --model_args pretrained=student,dtype=float32,peft=.flywheel/adapter "
        "--batch_size 4 --device cpu --seed 1 --include_path .flywheel/lm_eval --tasks flywheel_holdout"
    )


def test_the_command_of_a_named_suite_has_its_shots_sample_and_template(tmp_path: Path) -> None:
    suite = SuiteJob("own", lm_eval="looks", limit=2, num_fewshot=3, include_path=str(tmp_path))
    settings = SETTINGS | {"chat_template": "hash", "system": "Be brief."}

    words = shlex.split(
        told(tmp_path, Arm("hub/id", "c0ffee", "auto", "auto", ""), suite, None, settings, ["a/7", "a/2", "b/0"])
    )

    assert words[5] == "pretrained=hub/id,dtype=float32,revision=c0ffee"
    assert words[words.index("--samples") + 1] == '{"a": [2, 7], "b": [0]}'
    assert words[words.index("--num_fewshot") + 1] == "3"
    assert words[words.index("--system_instruction") + 1] == "Be brief."
    assert "--apply_chat_template" in words


@pytest.mark.parametrize("name", ["builtin:tiny", "my model's last"])
@pytest.mark.parametrize("variables", [{}, {"thinking": "it's $off"}])
def test_a_base_outside_the_project_is_asked_for_and_its_place_is_not_in_the_command(
    tmp_path: Path, name: str, variables: dict[str, str]
) -> None:
    root, place = tmp_path / "project", tmp_path / "else where" / "model"
    arm = Arm(str(place), None, "auto", "auto", "hash", str(root / "adapter"))
    settings = SETTINGS | {"chat_template_kwargs": variables}

    words = told(root, arm, SuiteJob("own", lm_eval="looks"), None, settings, [], name=name)

    assert str(place) not in words
    programs = 'flywheel() { test "$1 $2" = "base $ASKED" && echo "$PLACE"; }; lm-eval() { printf "%s\\n" "$@"; }'
    env = {**os.environ, "PLACE": str(place), "ASKED": name}
    said = subprocess.run(
        ["bash", "-c", f"{programs}; {words}"], env=env, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    model = said[said.index("--model_args") + 1]
    parts = {"pretrained": str(place), "dtype": "float32", "peft": "adapter"}
    if variables:
        assert json.loads(model) == {**parts, "chat_template_args": variables}
    else:
        assert model == ",".join(f"{key}={value}" for key, value in parts.items())


# --- stock lm-eval gives the same number ------------------------------------------------------------------------------


def stock(words: str, root: Path, out: Path) -> dict[str, float]:
    """What the printed command says: "metric,filter" → number."""
    program = str(Path(sys.executable).with_name("lm-eval"))
    done = subprocess.run(
        [program, *shlex.split(words)[1:], "--output_path", str(out)],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.rglob("results*.json")
    (results,) = json.loads(file.read_text())["results"].values()
    return {name: value for name, value in results.items() if isinstance(value, float)}


def half_right(student: Path, items: Sequence[Item]) -> tuple[Item, ...]:
    """The items; of every other one the right answer is what the student says."""
    job = EvaluationJob(Arm(str(student), None, "float32", "cpu", ""), Asking(Chat("Be brief."), 6, 4), (), 1)
    found = evaluate(replace(job, suites=(replace(SUITE, items=tuple(items)),)), lambda _: None).suites["holdout"]
    return tuple(
        replace(item, gold=m.answers[0].text if i % 2 else "red")
        for i, (item, m) in enumerate(zip(items, found, strict=True))
    )


@pytest.mark.slow
def test_the_stock_command_gives_our_number_where_answers_stop_at_a_string(mini_student: Path, tmp_path: Path) -> None:
    """The string is a piece of what the student says."""
    arm, asking = inside(tmp_path, mini_student), Asking(Chat(), 6, 4)
    suite, by = replace(SUITE, items=ITEMS), judging(ExactVerifier(kind="exact", ignore_space=False))
    whole = evaluate(EvaluationJob(arm, asking, (suite,), 1), lambda _: None).suites["holdout"]
    stop = whole[0].answers[0].text[3:6]
    items = tuple(
        replace(item, gold=m.answers[0].text.split(stop)[0] if i % 2 else "red")
        for i, (item, m) in enumerate(zip(ITEMS, whole, strict=True))
    )
    stopping = replace(suite, items=items, stop=(stop,))
    measured = evaluate(EvaluationJob(arm, asking, (stopping,), 1), lambda _: None)
    found = measured.suites["holdout"]
    assert all(stop not in item.answers[0].text for item in found)
    assert [m.answers[0].text for m in found] == [m.answers[0].text.split(stop)[0] for m in whole]
    assert emit(tmp_path / "tasks" / "holdout", tmp_path, stopping, by, found, 6)

    number = stock(told(tmp_path, arm, stopping, tmp_path / "tasks", measured.settings, []), tmp_path, tmp_path / "out")

    assert number["exact_match,none"] == ours(found, by, tmp_path) == 5 / 11


ITEMS = tuple(
    Item(f"item{i}", f"thing {i * i} is{' so' * (i % 4)}", {"text": f"thing {i}"}, "red", (("thing 99 is", "blue"),))
    for i in range(11)
)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["mini_student", "chat_student"])
@pytest.mark.parametrize(
    "verifiers",
    [
        [ExactVerifier(kind="exact", ignore_space=False)],
        [EXACT, PythonVerifier(kind="python", function="check.py:check")],
    ],
)
def test_the_stock_command_gives_exactly_our_number(
    which: str, verifiers: list[Verifier], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Natively, and by our verifiers, one of which cannot judge an item: that one is left out of both means."""
    student = request.getfixturevalue(which)
    (tmp_path / "check.py").write_text(
        "def check(s):\n    assert s['row']['text'] != 'thing 3', 'no idea'\n    return True\n"
    )
    items = half_right(student, ITEMS)
    suite, by = replace(SUITE, items=items), judging(*verifiers)
    arm = inside(tmp_path, student)
    measured = evaluate(EvaluationJob(arm, Asking(Chat("Be brief."), 6, 4), (suite,), 1), lambda _: None)
    assert emit(tmp_path / "tasks" / "holdout", tmp_path, suite, by, measured.suites["holdout"], 6)

    words = told(tmp_path, arm, suite, tmp_path / "tasks", measured.settings, [])
    number = stock(words, tmp_path, tmp_path / "out")

    (name,) = {"exact_match,none", "score,none"} & set(number)
    assert number[name] == ours(measured.suites["holdout"], by, tmp_path)
    assert 0.3 < number[name] < 0.6


def ours(items: Sequence[Measured], by: SuiteJudges, root: Path) -> float:
    subjects = [Subject(m.item_id, "task", m.row, m.answers[0].text, m.gold) for m in items]
    with Checker(by.verifiers, root) as judge:
        scores = [item_score([outcome_of(found)]) for found in judge.judge(subjects, {"task": by.task})]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known)


@pytest.mark.slow
def test_stock_lm_eval_samples_as_many_answers_and_scores_them_all(mini_student: Path, tmp_path: Path) -> None:
    """Its draws are not ours, so the numbers of samples agree only in what is right whatever is drawn."""
    suite = replace(SUITE, items=ITEMS, repeats=3)
    by = judging(PythonVerifier(kind="python", function="check.py:check"), pass_at=2)
    (tmp_path / "check.py").write_text("def check(s):\n    return s['row']['text'] < 'thing 2'\n")
    arm = inside(tmp_path, mini_student)
    measured = evaluate(EvaluationJob(arm, Asking(Chat(), 6, 4), (suite,), 1), lambda _: None)
    assert emit(tmp_path / "tasks" / "holdout", tmp_path, suite, by, measured.suites["holdout"], 6)

    number = stock(told(tmp_path, arm, suite, tmp_path / "tasks", measured.settings, []), tmp_path, tmp_path / "out")

    assert number["score,all"] == 3 / 11  # things 0, 1 and 10


@pytest.mark.slow
def test_the_stock_command_of_a_named_suite_gives_the_same_score(
    chat_student: Path, tmp_path: Path, lm_eval_tasks: Callable[[Path], None]
) -> None:
    lm_eval_tasks(tmp_path / "evals")
    suite = SuiteJob("own", lm_eval="shapes", limit=4, num_fewshot=2, include_path=str(tmp_path / "evals"))
    arm = inside(tmp_path, chat_student)
    measured = evaluate(EvaluationJob(arm, Asking(Chat("Be brief."), 6, 4), (suite,), 1), lambda _: None)
    items = measured.suites["own"]

    words = told(tmp_path, arm, suite, None, measured.settings, [item.item_id for item in items])
    number = stock(words, tmp_path, tmp_path / "out")

    assert number["exact_match,strict"] == sum(item.score or 0.0 for item in items) / len(items)
