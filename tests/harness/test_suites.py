"""lm-eval on a tiny student: our own suites, and tasks and groups by name from a project's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import NodeFailed
from flywheel.harness import Evaluated, EvaluationJob, Item, SuiteJob, evaluate
from flywheel.harness.scoring import item_score, pass_at_k
from flywheel.harness.texts import item_texts
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import Arm, load_base
from flywheel.student.sampling import generate
from flywheel.student.work import Asking

ITEMS = tuple(Item(f"item{i}", f"thing {i} is", {"text": f"thing {i}"}, "red") for i in range(6))
LONG = Item("long", "thing " * 100, {"text": "long"}, "red")  # 600 tokens; the mini students have 512


def run(student: Path, *suites: SuiteJob, system: str | None = None, batch_size: int = 4) -> Evaluated:
    arm = Arm(str(student), None, "float32", "cpu", "hash")
    return evaluate(EvaluationJob(arm, Asking(Chat(system), 6, batch_size), suites, 1), lambda message: None)


def answers(student: Path, suite: SuiteJob, **options: Any) -> list[list[str]]:
    return [[answer.text for answer in item.answers] for item in run(student, suite, **options).suites[suite.name]]


@pytest.fixture
def named(tmp_path: Path, lm_eval_tasks: Callable[[Path], None]) -> Path:
    lm_eval_tasks(tmp_path)
    return tmp_path


# --- our own suites ---------------------------------------------------------------------------------------------------


def test_each_item_is_answered_once_and_its_cost_is_known(mini_student: Path) -> None:
    found = run(mini_student, SuiteJob("holdout", "task", ITEMS)).suites["holdout"]

    assert [item.item_id for item in found] == [item.item_id for item in ITEMS]
    assert all(item.gold == "red" and item.score is None and not item.problem for item in found)
    assert all(item.prompt_tokens == len(item.asked) for item in found), "a token a byte"
    for item in found:
        (answer,) = item.answers
        assert answer.tokens is not None
        assert answer.seconds is not None
        assert answer.tokens <= 6
        assert answer.seconds > 0
        assert answer.truncated == (answer.tokens == 6)


def bare(found: Evaluated) -> dict[str, Any]:
    """Without the time that answers took."""
    return {
        name: [replace(item, answers=tuple(replace(a, seconds=None) for a in item.answers)) for item in items]
        for name, items in found.suites.items()
    }


@pytest.mark.parametrize("of", [1, 2, 5])
def test_parts_of_an_evaluation_are_together_the_evaluation(mini_student: Path, named: Path, of: int) -> None:
    suites = (
        SuiteJob("holdout", "task", (*ITEMS, LONG)),
        SuiteJob("sampled", "task", ITEMS[:3], repeats=3),
        *(SuiteJob(name, lm_eval=name, include_path=str(named)) for name in ("colours", "looks")),
    )
    job = EvaluationJob(Arm(str(mini_student), None, "float32", "cpu", "hash"), Asking(Chat(), 6, 2), suites, 1)

    parts = job.parts(of)
    found = job.joined([evaluate(part, lambda message: None) for part in parts])
    whole = evaluate(job, lambda message: None)

    assert len(parts) == of
    assert bare(found) == bare(whole)
    assert found.settings == whole.settings
    assert all(found.suites.values())


def test_parts_that_ran_on_other_devices_are_no_evaluation(mini_student: Path) -> None:
    job = EvaluationJob(Arm(str(mini_student), None, "float32", "cpu", "hash"), Asking(Chat(), 6, 2), (), 1)
    with pytest.raises(NodeFailed, match=r"'cpu'.* and .*'cuda'.*of one kind, or set executor\.students: 0"):
        job.joined([Evaluated({}, {"device": "cpu"}), Evaluated({}, {"device": "cuda"})])


def test_the_answers_are_those_that_the_student_gives_when_probed(mini_student: Path) -> None:
    found = answers(mini_student, SuiteJob("holdout", "task", ITEMS))

    loaded = load_base(Arm(str(mini_student), None, "float32", "cpu", "hash"))
    prompts = [(item.item_id, item.prompt) for item in ITEMS]
    own = generate(loaded, prompts, chat=Chat(), max_new_tokens=6, batch_size=4)
    assert found == [[answer.text] for answer in own]


def test_a_chat_student_reads_its_template_with_the_system_message(chat_student: Path) -> None:
    suite = SuiteJob("holdout", "task", ITEMS[:2])
    found = run(chat_student, suite, system="Be brief.")

    tokenizer = load_base(Arm(str(chat_student), None, "float32", "cpu", "hash")).tokenizer
    assert [item.asked for item in found.suites["holdout"]] == [
        Prompter(tokenizer, Chat("Be brief.")).text(item.prompt) for item in ITEMS[:2]
    ]
    assert found.settings["chat_template"]
    assert found.settings["system"] == "Be brief."


def test_shots_come_before_the_question_as_text_or_as_turns(mini_student: Path, chat_student: Path) -> None:
    item = replace(ITEMS[0], shots=(("thing 7 is", "blue"), ("colour:\n", "red")))
    suite = SuiteJob("holdout", "task", (item,))

    plain = run(mini_student, suite).suites["holdout"][0].asked
    chat = run(chat_student, suite).suites["holdout"][0].asked

    assert plain == "thing 7 is blue\n\ncolour:\nred\n\nthing 0 is"
    assert chat.count("<|im_start|>user") == 3
    assert chat.index("assistant\nblue<|im_end|>") < chat.index("thing 0 is")


def test_a_prompt_that_does_not_fit_is_not_cut_and_not_asked(mini_student: Path) -> None:
    long, fits = run(mini_student, SuiteJob("holdout", "task", (LONG, ITEMS[0]))).suites["holdout"]

    assert long.answers == ()
    assert long.prompt_tokens == 600
    assert long.problem == "a prompt of 600 tokens and 6 of answer do not fit the model's 512"
    assert len(fits.answers) == 1
    assert fits.problem == ""


def test_two_suites_with_the_same_item_ids_are_kept_apart(mini_student: Path) -> None:
    found = run(mini_student, SuiteJob("a", "task", ITEMS[:2]), SuiteJob("b", "task", ITEMS[:3])).suites

    assert {name: len(items) for name, items in found.items()} == {"a": 2, "b": 3}


def test_repeats_are_sampled_differ_and_do_not_depend_on_the_batch(mini_student: Path) -> None:
    suite = SuiteJob("holdout", "task", ITEMS, repeats=3, temperature=1.5)

    first, second = (answers(mini_student, suite, batch_size=size) for size in (4, 7))

    assert first == second
    assert all(len(set(sampled)) > 1 for sampled in first)


# --- lm-eval's own tasks ----------------------------------------------------------------------------------------------


def test_a_task_of_the_projects_folder_is_run_by_its_name(mini_student: Path, named: Path) -> None:
    found = run(mini_student, SuiteJob("own", lm_eval="colours", include_path=str(named))).suites["own"]

    assert [item.item_id for item in found] == [f"colours/{i}" for i in range(5)]
    assert all(item.score in (0.0, 1.0) for item in found)
    assert all(item.prompt_tokens for item in found)


def test_a_group_gives_the_items_of_each_of_its_tasks_once(mini_student: Path, named: Path) -> None:
    found = run(mini_student, SuiteJob("own", lm_eval="looks", include_path=str(named))).suites["own"]

    assert [item.row["subtask"] for item in found] == ["colours"] * 5 + ["shapes"] * 5
    assert len({item.item_id for item in found}) == 10


def test_shots_template_and_system_prompt_reach_a_named_task(chat_student: Path, named: Path) -> None:
    suite = SuiteJob("own", lm_eval="shapes", include_path=str(named), num_fewshot=2)

    asked = run(chat_student, suite, system="Be brief.").suites["own"][0].asked

    assert asked.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert asked.count("<|im_start|>assistant\nround<|im_end|>") == 2
    assert asked.endswith("<|im_start|>assistant\n")


def test_a_limit_takes_a_seeded_sample_and_a_smaller_one_is_part_of_it(mini_student: Path, named: Path) -> None:
    suite = SuiteJob("own", lm_eval="colours", include_path=str(named), limit=3)

    three, two = ([item.item_id for item in run(mini_student, replace(suite, limit=n)).suites["own"]] for n in (3, 2))

    assert len(three) == 3
    assert set(two) < set(three)
    assert three != ["colours/0", "colours/1", "colours/2"], "a sample, not the head"


def test_a_named_tasks_long_prompt_is_named_and_left_unscored(mini_student: Path, named: Path) -> None:
    rows = [{"question": text, "answer": 0, "shape": "round"} for text in (LONG.prompt, "thing 1 is")]
    (named / "rows.json").write_text("\n".join(json.dumps(row) for row in rows))

    for task in ("colours", "shapes"):
        long, fits = run(mini_student, SuiteJob("own", lm_eval=task, include_path=str(named))).suites["own"]
        assert long.score is None
        assert "do not fit the model's 512" in long.problem
        assert fits.score is not None


def test_a_metric_that_is_not_there_is_named_with_those_that_are(mini_student: Path, named: Path) -> None:
    with pytest.raises(NodeFailed, match=r"evals\.own\.metric to one of: acc"):
        run(mini_student, SuiteJob("own", lm_eval="colours", include_path=str(named), metric="bleu"))


def test_a_filter_that_is_not_there_is_named_with_those_that_are(mini_student: Path, named: Path) -> None:
    with pytest.raises(NodeFailed, match=r"with one of: strict, loose"):
        run(mini_student, SuiteJob("own", lm_eval="shapes", include_path=str(named), metric="exact_match,none"))


@pytest.mark.slow  # lm-eval reads all of its thousands of task files to be sure
def test_an_unknown_task_is_a_clear_error(mini_student: Path, named: Path) -> None:
    with pytest.raises(NodeFailed, match="no_such_task"):
        run(mini_student, SuiteJob("own", lm_eval="no_such_task", include_path=str(named)))


def test_the_texts_of_a_named_task_are_those_that_are_asked(named: Path) -> None:
    texts = item_texts(("looks", str(named)), lambda message: None)

    assert [question for _, question, _ in texts] == [f"thing {i} is" for i in range(5)] * 2
    assert (texts[0][0], texts[5][0]) == ("colours/0", "shapes/0")


# --- scores -----------------------------------------------------------------------------------------------------------


def test_an_items_score_is_the_share_of_right_answers_that_could_be_judged() -> None:
    assert item_score(["pass", "fail", "unknown"]) == 0.5
    assert item_score(["unknown"]) is None
    assert item_score(["pass", "unknown"], pass_at=2) is None


def test_pass_at_k_is_the_share_of_all_choices_that_hold_a_right_one() -> None:
    from itertools import combinations

    for right in range(6):
        chosen = list(combinations([i < right for i in range(5)], 3))
        assert pass_at_k(5, right, 3) == pytest.approx(sum(map(any, chosen)) / len(chosen))
