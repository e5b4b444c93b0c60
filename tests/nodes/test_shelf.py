"""Sequences whose values are read when they are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.nodes.lessons.lesson import Lesson
from flywheel.nodes.lessons.shelf import AT_A_TIME, Shelf, chosen, joined


def lesson(number: int) -> Lesson:
    return Lesson(f"l{number}", None, "t", "m", None, "g", {"q": "é\ud800" * number}, "x" * number, number / 7)


@pytest.mark.parametrize("size", [0, 1, AT_A_TIME, AT_A_TIME + 3])
def test_lessons_come_back_as_they_were_by_place_and_in_order(tmp_path: Path, size: int) -> None:
    lessons = [lesson(number) for number in range(size)]

    shelf = Shelf(tmp_path, iter(lessons), Lesson._make)

    assert list(shelf) == lessons == [shelf[place] for place in range(size)]
    assert all(isinstance(one, Lesson) for one in shelf)
    assert list(shelf[-2:]) == lessons[-2:]
    assert list(tmp_path.iterdir()) == []  # the file has no name: nothing is left of it
    with pytest.raises(IndexError):
        shelf[size]


def test_two_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, (str(number) for number in range(2 * AT_A_TIME)))

    assert [(one, shelf[-1 - place]) for place, one in enumerate(shelf)] == [
        (str(number), str(2 * AT_A_TIME - 1 - number)) for number in range(2 * AT_A_TIME)
    ]


def test_what_is_chosen_and_joined_keeps_its_order(tmp_path: Path) -> None:
    shelf, more = Shelf(tmp_path, "abcd"), ["e", "f"]

    both = joined(chosen(shelf, [3, 1]), more)

    assert list(both) == ["d", "b", "e", "f"] == [both[place] for place in range(4)]
    assert list(chosen(both, [2, 0])) == ["e", "d"]
