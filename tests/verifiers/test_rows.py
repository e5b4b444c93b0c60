from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.verifiers.rows import Table, cell, difference

NAN = math.nan


def table(*rows: tuple[Any, ...]) -> Table:
    return Table(len(rows[0]) if rows else 1, [tuple(map(cell, row)) for row in rows])


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ([(1,)], [(1.0,)]),
        ([(Decimal("1.50"),)], [(1.5,)]),
        ([(0.1 + 0.2,)], [(0.3,)]),
        ([(None, "a")], [(None, "a")]),
        ([(NAN,)], [(NAN,)]),
        ([(-0.0,)], [(0,)]),
        ([(1, "b"), (2, "a")], [(2, "a"), (1, "b")]),
        ([(0.1 + 0.2, 2.0), (0.3, 5.0)], [(0.3, 5.0), (0.3, 2.0)]),
        ([([1, 2.0],)], [([1.0, 2],)]),
        ([(10**9 + 2, 0.1 + 0.2), (10**9 + 1, 0.3)], [(10**9 + 1, 0.1 + 0.2), (10**9 + 2, 0.3)]),
        ([(math.inf, 0.1 + 0.2), (1, 1.0)], [(1.0, 1), (math.inf, 0.3)]),
        ([({"x": 1},)], [({"x": 1},)]),
        ([(True,)], [(True,)]),
        ([(b"x",)], [(b"x",)]),
    ],
)
def test_same(answer: list[Any], gold: list[Any]) -> None:
    assert difference(table(*answer), table(*gold), ordered=False) is None


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ([("Berlin", 3)], [("Berlin", 4)], "other rows: first difference (Berlin, 3) instead of (Berlin, 4)"),
        ([(1,)], [(1,), (1,)], "1 row instead of 2"),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], "other rows: first difference (1) instead of (2)"),
        ([(1, 2)], [(2, 1)], "other rows: first difference (1, 2) instead of (2, 1)"),
        ([(1, 2)], [(1,)], "2 columns instead of 1"),
        ([(True,)], [(1,)], "other rows: first difference (true) instead of (1)"),
        ([(10**12,)], [(10**12 + 1,)], "other rows: first difference (1000000000000) instead of"),
        ([(math.inf,)], [(-math.inf,)], "other rows"),
        ([(None,)], [(0,)], "other rows: first difference (NULL) instead of (0)"),
        ([("1",)], [(1,)], "other rows: first difference (text '1') instead of (integer 1)"),
        ([("a", "1")], [("a", 1)], "other rows: first difference (a, text '1') instead of (a, integer 1)"),
        ([("a ",)], [("a",)], "other rows: first difference (text 'a ') instead of (text 'a')"),
        ([(1.0000001,)], [(1,)], "other rows: first difference (1.0000001) instead of (1)"),
        ([({"x": 1},)], [({"y": 1},)], "other rows"),
        ([(datetime.date(2024, 1, 1),)], [("2024-01-01",)], "other rows"),
        ([("a\x1b[31m",)], [("b",)], "other rows: first difference (a\\x1b[31m) instead of (b)"),
    ],
)
def test_different(answer: list[Any], gold: list[Any], reason: str) -> None:
    found = difference(table(*answer), table(*gold), ordered=False)
    assert found is not None
    assert found.startswith(reason)


def test_order_counts_where_the_gold_orders() -> None:
    answer, gold = table((1,), (2,)), table((2,), (1,))
    assert difference(answer, gold, ordered=True) == "other order: first difference (1) instead of (2)"
    assert difference(answer, gold, ordered=False) is None


def test_a_cut_answer() -> None:
    answer = Table(1, [(1,), (2,)], cut=True)
    assert difference(answer, table((1,), (2,)), ordered=False) == "more than 2 rows instead of 2"


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(-5, 5).map(lambda x: round(x, 1)),
    st.sampled_from(["", "a", "NULL"]),
    st.lists(st.integers(0, 2), max_size=2),
)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6)


@given(ROWS, st.randoms(use_true_random=False))
def test_any_shuffle_is_the_same(rows: list[Any], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert difference(table(*shuffled), table(*rows), ordered=False) is None


@given(ROWS, CELLS, st.randoms(use_true_random=False))
def test_one_changed_cell_is_seen(rows: list[Any], value: Any, random: Any) -> None:
    place = random.randrange(len(rows))
    changed = [*rows]
    changed[place] = (rows[place][0], "changed")
    assert difference(table(*changed), table(*rows), ordered=False) is not None
