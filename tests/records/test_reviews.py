"""When words settle what people were asked."""

from __future__ import annotations

from flywheel.records.reviews import Review, Settled, last_words, settled


def said(*words: tuple[str, str | None], needed: int = 1) -> Settled:
    reviews = [Review(str(i), "x", person, value, needed=needed) for i, (person, value) in enumerate(words)]
    return settled(last_words(reviews).get("x", {}))


def test_one_word_settles_where_one_is_needed() -> None:
    assert said(("ada", "red")) == Settled("settled", "red")
    assert said() == Settled("open")


def test_the_last_word_of_a_person_counts_in_whatever_case_the_name_is_written() -> None:
    assert said(("ada", "red"), ("Ada", "blue")) == Settled("settled", "blue")
    assert said(("ada", "red"), ("ADA", "red"), needed=2) == Settled("open")


def test_more_than_half_must_agree() -> None:
    assert said(("a", "red"), ("b", "blue"), needed=2) == Settled("disputed")
    assert said(("a", "red"), ("b", "blue"), ("c", "red"), needed=2) == Settled("settled", "red")
    assert said(("a", "red"), ("b", "blue"), ("b", "red"), needed=2) == Settled("settled", "red")


def test_that_there_is_no_right_answer_is_a_word_too() -> None:
    assert said(("a", None), ("b", None), needed=2) == Settled("settled", None)
    assert said(("a", None), ("b", "None"), needed=2) == Settled("disputed")
