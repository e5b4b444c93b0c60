"""Answers that verifiers may pass and nobody should learn."""

from __future__ import annotations

import pytest

from flywheel.nodes.lessons.curation import _flaw
from flywheel.nodes.lessons.lesson import Lesson


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
