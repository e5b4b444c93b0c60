"""Values cross with their exact types, and nothing else crosses."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.sandbox.values import MAX_DEPTH, NotPlain, decode, encode, from_json, to_json

KEYS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)
PLAIN = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
        | st.dictionaries(KEYS | st.tuples(KEYS, KEYS), inner)
    ),
    max_leaves=20,
)


def crossed(value: Any) -> Any:
    return decode(from_json(to_json(encode(value)).encode("ascii"), 1 << 24))


def typed(value: Any) -> Any:
    """The value with the type of every part; sets in an order."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, sorted(((typed(k), typed(v)) for k, v in value.items()), key=repr)
    if isinstance(value, (set, frozenset)):
        return kind, sorted((typed(v) for v in value), key=repr)
    if isinstance(value, (list, tuple)):
        return kind, [typed(v) for v in value]
    return kind, repr(value)


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_every_plain_value_comes_back_with_its_types(value: Any) -> None:
    assert typed(crossed(value)) == typed(value)


@pytest.mark.parametrize("value", [-(2**63), 2**63, -0.0, math.inf, -math.inf, "\ud800", "\0", complex(-0.0, math.inf)])
def test_the_edges_come_back(value: Any) -> None:
    assert repr(crossed(value)) == repr(value) if not isinstance(value, int) else crossed(value) == value


def test_an_integer_too_long_for_decimal_digits_comes_back() -> None:
    assert crossed(10**5000) == 10**5000


def test_nan_comes_back() -> None:
    assert math.isnan(crossed(math.nan))


def test_true_is_not_one_and_one_is_not_one_point_nought() -> None:
    assert [type(v) for v in crossed([True, 1, 1.0])] == [bool, int, float]


class _AlwaysEqual(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class _Lying(Counter):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(b=1, a=[2]), {"b": 1, "a": [2]}),
        (defaultdict(list, {1: [2]}), {1: [2]}),
        ([Counter("a")], [{"a": 1}]),
    ],
)
def test_dictionaries_of_the_library_cross_as_dictionaries(value: Any, plain: Any) -> None:
    assert typed(crossed(value)) == typed(plain)


@pytest.mark.parametrize("kind", [int, float, str, list, type(None), type])
def test_builtin_types_cross_by_name(kind: type) -> None:
    assert crossed([kind, {kind: 1}]) == [kind, {kind: 1}]


@pytest.mark.parametrize(
    "value",
    [
        _AlwaysEqual(1),
        deque([1]),
        _Lying(a=1),
        (n for n in []),
        object(),
        _AlwaysEqual,
        print,
        [[object()]],
        {1: print},
    ],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(NotPlain, match="is not a plain value"):
        encode(value)


def test_deep_and_cyclic_values_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    cycle: list[Any] = []
    cycle.append(cycle)
    for value in (deep, cycle):
        with pytest.raises(NotPlain, match="nested"):
            encode(value)


@pytest.mark.parametrize(
    "forged",
    [
        {"int": "zz"},
        {"int": 3},
        {"float": "1.0"},
        {"bytes": "x"},
        {"set": [[1]]},
        {"dict": [[1]]},
        {"dict": [[[1], 2]]},
        {"complex": [1]},
        {"complex": ["a", "b"]},
        {"tuple": 1},
        {"class": "os.system"},
        {"type": "module"},
        {"type": ["int"]},
        {"int": "1", "float": "nan"},
        {},
    ],
)
def test_what_encode_does_not_write_is_not_read(forged: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(forged)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{}{}", b"", b"nul", b"\xff", b'"' + b"x" * 2000 + b'"'])
def test_documents_that_are_deep_large_or_broken_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(data, 1000 if data.startswith(b'"') else 1 << 20)


def test_a_value_nested_too_deeply_for_us_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        decode(json.loads("[" * 500 + "]" * 500))


def test_keys_that_collide_are_refused_in_bounded_time() -> None:
    """The hash of an integer is its rest by 2**61 - 1: every multiple falls into one place."""
    import time

    keys = [encode(i * (2**61 - 1)) for i in range(1, 40_000)]
    started = time.process_time()
    for tagged in ({"set": keys}, {"frozenset": keys}, {"dict": [[key, 1] for key in keys]}):
        with pytest.raises(ValueError, match="collide"):
            decode(tagged)
    assert time.process_time() - started < 20  # a hundred times as long without the bound

    honest = set(range(100_000))
    assert decode(encode(honest)) == honest
