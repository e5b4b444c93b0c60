"""Which lessons get the places that the budget bought, and of which the student's loss is asked for that."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flywheel.nodes.lessons.lesson import Lesson
from flywheel.nodes.lessons.ranking import Standing, as_ranks, columns_of, over_quota, score_bounds, standings_of


def lesson(name: str, question: str = "q", mode: str = "m", grade: float | None = None) -> Lesson:
    return Lesson(name, name, "task", mode, "teacher", "g", {"question": question}, "answer", grade)


# --- scores -----------------------------------------------------------------------------------------------------------


def test_a_rare_wording_stands_before_a_common_one_and_difficulty_may_turn_that() -> None:
    lessons = [lesson("a", "one two"), lesson("b", "one two"), lesson("c", "seven eight")]

    common, _, rare = score_bounds(columns_of(lessons), 0.25).tolist()

    assert (common, rare) == ([0.0, 0.25], [0.75, 1.0])
    common, _, rare = score_bounds(columns_of(lessons), 0.75).tolist()
    assert common[1] > rare[0]


def test_a_grade_weighs_as_much_as_rarity_and_difficulty_together() -> None:
    lessons = [lesson("a", "one two", grade=1.0), lesson("b", "seven eight", grade=0.0)]

    assert score_bounds(columns_of(lessons), 0.5).tolist() == [[0.5, 0.75], [0.25, 0.5]]


# --- standings --------------------------------------------------------------------------------------------------------

pools = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.floats(0, 1)), max_size=14)


@given(pools, st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.fixed_dictionaries({m: st.integers(0, 6) for m in "xyz"}))
def test_who_is_safe_or_lost_would_be_with_every_difficulty_known(
    pool: list[tuple[str, float, float]], width: float, bought: dict[str, int]
) -> None:
    """The hardness of the others is drawn, too: it must not matter."""
    lessons = [lesson(f"{i:02}", mode=mode) for i, (mode, _, _) in enumerate(pool)]
    columns = columns_of(lessons)
    bounds = np.array([(low, low + width) for _, low, _ in pool]).reshape(-1, 2)
    quota = {("g", mode): number for mode, number in bought.items()}
    scores = [low + hard * width for _, low, hard in pool]
    everything = sorted(range(len(pool)), key=lambda i: (-scores[i], lessons[i].lesson_id))

    standings = standings_of(columns, bounds, quota)
    thrifty = sorted(range(len(pool)), key=lambda i: (standings[i], -scores[i], lessons[i].lesson_id))

    kept = [{place for place, _ in over_quota(columns, order, quota)} for order in (everything, thrifty)]
    assert kept[0] == kept[1]
    if width == 0:
        assert Standing.CONTESTED not in standings


def test_where_all_find_a_place_nothing_is_contested() -> None:
    columns, bounds = columns_of([lesson(name) for name in "abc"]), np.array([(0.0, 1.0)] * 3)

    assert standings_of(columns, bounds, {("g", "m"): 3}).tolist() == [Standing.SAFE] * 3
    assert standings_of(columns, bounds, {("g", "m"): 2}).tolist() == [Standing.CONTESTED] * 3
    assert standings_of(columns, bounds, {}).tolist() == [Standing.LOST] * 3


def test_ranks_are_spread_over_zero_to_one() -> None:
    assert as_ranks([3.0, 1.0, 2.0]).tolist() == [1.0, 0.0, 0.5]
    assert as_ranks([7.0]).tolist() == [0.0]
