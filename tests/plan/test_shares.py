"""Dividing a whole: sums, floors, caps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.plan.shares import spread, whole

MASSES = st.lists(st.one_of(st.just(0.0), st.floats(0.001, 100)), min_size=1, max_size=12)
SHARES = st.floats(0, 1)


@given(MASSES, SHARES, SHARES)
def test_shares_sum_to_one_where_anything_failed(masses: list[float], floor: float, cap: float) -> None:
    shares = spread(masses, floor, cap)

    assert sum(shares) == pytest.approx(1 if any(masses) else 0)
    assert all(share == 0 for share, mass in zip(shares, masses, strict=True) if mass == 0)


@given(MASSES, st.floats(0, 0.2), st.floats(0.3, 1))
def test_floor_and_cap_hold_where_they_can(masses: list[float], floor: float, cap: float) -> None:
    alive = sum(mass > 0 for mass in masses)

    for share, mass in zip(spread(masses, floor, cap), masses, strict=True):
        if mass > 0:
            assert share >= min(floor, 1 / alive) - 1e-9
            assert share <= max(cap, 1 / alive) + 1e-9


@given(MASSES, SHARES, SHARES)
def test_more_mass_never_gets_a_smaller_share(masses: list[float], floor: float, cap: float) -> None:
    ranked = sorted(zip(masses, spread(masses, floor, cap), strict=True))

    assert all(low[1] <= high[1] + 1e-9 for low, high in pairwise(ranked))


@given(MASSES, st.integers(0, 500))
def test_whole_numbers_sum_to_the_total_and_are_near_their_shares(masses: list[float], total: int) -> None:
    shares = spread(masses, 0.0, 1.0)

    numbers = whole(shares, total)

    assert sum(numbers) == (total if any(masses) else 0)
    assert all(abs(number - share * total) < 1 + 1e-6 for number, share in zip(numbers, shares, strict=True))


def test_shares_follow_the_masses_between_floor_and_cap() -> None:
    assert spread([6, 3, 1], 0.02, 0.9) == pytest.approx([0.6, 0.3, 0.1])
    assert spread([97, 2, 1], 0.05, 0.5) == pytest.approx([0.5, 1 / 3, 1 / 6])
    assert whole([0.6, 0.3, 0.1], 5) == [3, 2, 0]
