"""FAULTS.md §8 B 43: True for 1, NaN, -0.0, infinities: by the declared policy."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import pytest

from flywheel.verifiers.equality import Policy

EXACT, CLOSE = Policy(), Policy("close", 1e-6)
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1, 1),
        ("a", "a"),
        (None, None),
        (NAN, NAN),
        (-0.0, 0.0),
        (1e309, INF),
        (10**400, 10**400),
        ([1, (2, "x")], [1, (2, "x")]),
        ({1: [2.5], "a": None}, {"a": None, 1: [2.5]}),
        ({NAN: 1}, {NAN: 1}),
        ({(1, NAN)}, {(1, NAN)}),
        ({1, 2.0}, {2.0, 1}),
        (frozenset({b"x"}), frozenset({b"x"})),
        (complex(NAN, 1), complex(NAN, 1)),
    ],
)
def test_the_same_value_is_the_same_under_both_policies(got: Any, want: Any) -> None:
    assert EXACT.same(got, want)
    assert CLOSE.same(got, want)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (True, 1),
        (0, False),
        (1.0, True),
        ([1, True], [1, 1]),
        ({True: 1}, {1: 1}),
        ({True}, {1}),
        ((1, 2), [1, 2]),
        ([1, 2], (1, 2)),
        ({1}, frozenset({1})),
        ({1}, [1]),
        ("1", 1),
        (b"a", "a"),
        (None, False),
        ("", None),
        (0, None),
        (INF, -INF),
        (NAN, INF),
        (NAN, 0.0),
        (1.1, 1.0),
        ([1], [1, 1]),
        ([], [[]]),
        ({1: 2}, {1: 3}),
        ({1: 2}, {2: 2}),
        ({1, 2}, {1}),
        ({(1, True)}, {(1, 1)}),
        (INF, 10**400),
        (1e300, 10**400),
    ],
)
def test_another_value_is_another_under_both_policies(got: Any, want: Any) -> None:
    assert not EXACT.same(got, want)
    assert not CLOSE.same(got, want)


@pytest.mark.parametrize(
    ("got", "want"),
    [(2, 2.0), (2.0000001, 2), ([1.0], [1]), (1e-9, 0), ({1.0}, {1}), ({1.0: "a"}, {1: "a"}), (2 + 0j, 2)],
)
def test_numbers_are_one_kind_only_where_the_policy_says_close(got: Any, want: Any) -> None:
    assert CLOSE.same(got, want)
    assert not EXACT.same(got, want)


def test_tolerance_is_relative_and_absolute() -> None:
    assert Policy("close", 0.01).same(1009, 1000)
    assert not Policy("close", 0.01).same(1011, 1000)
    assert Policy("close", 0.01).same(0.009, 0)
    assert not Policy("close", 0.0).same(1 + 1e-15, 1)


@pytest.mark.parametrize(
    ("got", "want", "equal"),
    [
        (2, 2.0, True),
        (240.0, 240, True),
        (0, False, True),
        ([1, (2.0,)], [1.0, (2,)], True),
        ({1: "a"}, {1.0: "a"}, True),
        ({1, 2}, {1.0, 2.0}, True),
        ({True: 1}, {1: 1}, True),
        (math.nan, math.nan, True),
        (0.1 + 0.2, 0.3, False),
        ([1], (1,), False),
        ("1", 1, False),
        ({1}, frozenset({1}), False),
        (None, 0, False),
    ],
)
def test_equal_numbers_are_what_python_calls_equal(got: Any, want: Any, equal: bool) -> None:
    assert Policy("equal").same(got, want) is equal


@pytest.mark.parametrize("numbers", ["exact", "close", "equal"])
def test_dictionaries_of_the_library_are_dictionaries(numbers: Any) -> None:
    policy = Policy(numbers)
    assert policy.same({"a": 2}, Counter("aa"))
    assert policy.same(OrderedDict(a=1, b=2), {"b": 2, "a": 1})
    assert policy.same([defaultdict(list, {1: [2]})], [{1: [2]}])
    assert not policy.same({"a": 1}, Counter("aa"))
