"""Whether lessons become alike, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from flywheel.nodes.lessons.watch import Watch
from flywheel.report.collapse import warnings

SEEDS = ["an old rose", "the wide sea"]


def watch(*lessons: tuple[str, str], human: int = 0, seeds: Sequence[str] = SEEDS) -> dict[str, float]:
    sample = [({"text": text}, answer) for text, answer in lessons]
    return Watch(Counter(new=len(lessons), seed=human), sample).measured(seeds)


VARIED = (("an old rose", "red"), ("the wide sea", "blue"))
ALIKE = (("an old rose", "red"), ("an old rose", "red"))


def test_varied_lessons_have_all_pairs_once_and_a_bit_of_entropy() -> None:
    assert watch(*VARIED, human=2) == {"real": 0.5, "distinct": 1.0, "entropy": 1.0, "length": 3.5, "tail": 1.0}


def test_lessons_that_are_alike_have_half_and_none() -> None:
    found = watch(*ALIKE)
    assert (found["real"], found["distinct"], found["entropy"], found["tail"]) == (0.0, 0.5, 0.0, 0.5)


def test_without_lessons_or_seeds_nothing_is_made_up() -> None:
    assert watch(human=3) == {}
    assert "tail" not in watch(("a rose", "red"), seeds=())


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, ()),
        ({"real": 0.09}, ("real",)),
        ({"distinct": 0.79}, ("distinct",)),
        ({"entropy": 1.5, "tail": 0.7}, ("entropy", "tail")),
        ({"length": 14.0}, ()),
        ({"length": 16.0}, ("length",)),
        ({"length": 6.0}, ("length",)),
    ],
)
def test_a_figure_beyond_its_limit_is_named(now: dict[str, float], said: tuple[str, ...]) -> None:
    first = {"real": 0.2, "distinct": 1.0, "entropy": 2.0, "length": 10.0, "tail": 1.0}
    assert warnings(first | now, first) == said
