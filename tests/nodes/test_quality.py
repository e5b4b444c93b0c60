"""Answers that verifiers may pass and nobody should learn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flywheel.nodes.context import Context
from flywheel.nodes.lessons.acceptance import select
from flywheel.nodes.lessons.curation import Remembered, _duplicates, _flaw
from flywheel.nodes.lessons.lesson import Lesson
from flywheel.spec.models import Curate, Dedup
from flywheel.spec.strategies import Generator


def lesson(question: str, target: str) -> Lesson:
    return Lesson("id", "candidate", "task", "mode", "teacher", "generator", {"question": question}, target)


@pytest.mark.parametrize(
    ("question", "target", "flaw"),
    [
        ("How many orders are there?", "how many orders are there", "repeats the question"),
        ("Explain it.", "It works as follows:", "cut off"),
        ("Explain it.", "It is very, very good and…", "cut off"),
        ("Explain it.", "it is the the the the the the end", "6 times in a row"),
    ],
)
def test_a_flawed_answer_is_named(question: str, target: str, flaw: str) -> None:
    assert flaw in _flaw(lesson(question, target))


@pytest.mark.parametrize("target", ["SELECT COUNT(*) FROM orders", "42", "no no no", "card", "12:30"])
def test_an_honest_answer_has_no_flaw(target: str) -> None:
    assert _flaw(lesson("How many orders are there?", target)) == ""


def test_a_copied_word_is_an_answer() -> None:
    assert _flaw(lesson("red", "red")) == ""


# --- answers to one question ------------------------------------------------------------------------------------------


def duplicates(most: int, lessons: list[tuple[str, str]], history: list[tuple[str, str]] = ()) -> list[str]:
    """The reason for each lesson, "" where it stays."""
    made = [Lesson(f"l{i}", str(i), "t", None, None, "g", {"q": q}, a) for i, (q, a) in enumerate([*history, *lessons])]
    ctx = cast(Context, SimpleNamespace(spec=SimpleNamespace(curate=Curate(dedup=Dedup(answers_per_question=most)))))
    found = _duplicates(ctx, made[len(history) :], Remembered(made[: len(history)]))
    return [found[place].reason if place in found else "" for place in range(len(lessons))]


def test_one_answer_to_a_question_stays_unless_more_are_wanted() -> None:
    asked = [("What is it?", "one way"), ("what is it", "another way"), ("What is it?", "One way."), ("Other?", "x")]

    assert duplicates(1, asked) == ["", "has another answer than l0", "repeats l0", ""]
    assert duplicates(2, asked) == ["", "", "repeats l0", ""]


def test_answers_beyond_the_number_wanted_fall_out_and_those_of_earlier_iterations_count() -> None:
    asked = [("q?", f"way {letter}") for letter in "bcd"]

    assert duplicates(3, asked, [("q?", "way a")]) == ["", "", "is answer 4 or later to the question of l0"]


@pytest.mark.parametrize(("wanted", "left"), [(1, [1]), (2, [1, 3]), (9, [1, 3])])
def test_a_strategy_that_samples_hands_on_the_best_different_answers(wanted: int, left: list[int]) -> None:
    rows: list[dict[str, Any]] = [
        {"group_id": "g", "target": target} for target in ("wrong", "one way", "One way.", "other way")
    ]
    judged: list[dict[str, Any]] = [
        {"outcome": outcome, "score": score}
        for outcome, score in [("fail", 0.0), ("pass", 0.9), ("pass", 0.8), ("pass", 0.1)]
    ]
    generator = cast(Generator, SimpleNamespace(too_easy_from=None))

    select(generator, rows, judged, wanted)

    assert [i for i, said in enumerate(judged) if said["outcome"] == "pass"] == left
    assert [i for i, said in enumerate(judged) if said["outcome"] == "spare"] == sorted({1, 2, 3} - {*left})
