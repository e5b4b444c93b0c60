"""Whether lessons become alike, in figures."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from flywheel.nodes.lessons.watch import WINDOW, Watch
from flywheel.report.collapse import warnings

WORDS = [f"word{n}" for n in range(40)]
SEEDS = ["an old rose", "the wide sea"]


def watch(lessons: Sequence[tuple[str, str]], human: int = 0, seeds: Sequence[str] = SEEDS) -> dict[str, float]:
    sample = [({"text": text}, answer) for text, answer in lessons]
    return Watch(human, len(lessons) + human, sample).measured(seeds)


VARIED = [(f"an old rose {n}", "red") if n % 2 else (f"the wide sea {n}", "blue") for n in range(WINDOW)]
ALIKE = [("an old rose", "red")] * WINDOW


def test_varied_lessons_have_more_pairs_and_a_bit_of_entropy() -> None:
    found = watch(VARIED, human=WINDOW)
    assert found["distinct"] == pytest.approx((4 + 2 * WINDOW) / (4 * WINDOW))
    assert found["entropy"] == pytest.approx(1.0, abs=0.01)
    assert found["length"] == pytest.approx(3.5, abs=0.1)
    assert (found["real"], found["tail"]) == (0.5, 1.0)


def test_lessons_that_are_alike_have_few_and_none() -> None:
    found = watch(ALIKE)
    assert found["distinct"] == pytest.approx(3 / (3 * WINDOW))
    assert (found["real"], found["entropy"], found["tail"]) == (0.0, 0.0, 0.5)


def test_more_lessons_of_the_same_kind_are_as_varied() -> None:
    """The share of new word pairs falls with the number of lessons alone: a growing data set is no collapse."""
    rng = random.Random(7)
    drawn = [(f"{rng.choice(WORDS)} {rng.choice(WORDS)}", rng.choice(WORDS)) for _ in range(30 * WINDOW)]
    few, many = watch(drawn[: 2 * WINDOW]), watch(drawn)
    assert many["distinct"] == pytest.approx(few["distinct"], rel=0.05)
    assert many["entropy"] == pytest.approx(few["entropy"], rel=0.05)


def test_fewer_lessons_than_a_window_are_not_compared() -> None:
    found = watch(VARIED[:-1])
    assert found.keys() == {"real", "length", "tail"}
    assert warnings(found, watch(VARIED)) == ("real",)


def test_without_lessons_or_seeds_nothing_is_made_up() -> None:
    assert watch([], human=3) == {}
    assert "tail" not in watch([("a rose", "red")], seeds=())


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
