"""Sequences that need not fit into memory: lessons whose texts lie in a file, and what is chosen or made of them."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class View(Sequence[Value], Generic[Value]):
    """`size` values, each of which `get` makes of its place when it is looked at."""

    def __init__(self, size: int, get: Callable[[int], Value]) -> None:
        self._size, self._get = size, get

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> Value: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Value]: ...
    def __getitem__(self, place: int | slice) -> Value | Sequence[Value]:
        if isinstance(place, slice):
            return chosen(self, range(self._size)[place])
        return self._get(range(self._size)[place])

    def __iter__(self) -> Iterator[Value]:
        return map(self._get, range(self._size))


def chosen(values: Sequence[Value], places: Sequence[int]) -> View[Value]:
    """The values at these places, in this order."""
    return View(len(places), lambda place: values[places[place]])


class _Mapped(View[Value]):
    def __init__(self, values: Sequence[Any], function: Callable[[Any], Value]) -> None:
        self._values, self._function = values, function
        super().__init__(len(values), lambda place: function(values[place]))

    def __iter__(self) -> Iterator[Value]:
        return map(self._function, self._values)


def mapped(values: Sequence[Any], function: Callable[[Any], Value]) -> View[Value]:
    """What the function makes of each."""
    return _Mapped(values, function)


class _Joined(View[Value]):
    def __init__(self, one: Sequence[Value], other: Sequence[Value]) -> None:
        self._parts, first = (one, other), len(one)
        super().__init__(
            first + len(other), lambda place: one[place] if place < first else other[place - first]
        )  # fmt: skip

    def __iter__(self) -> Iterator[Value]:
        return chain(*self._parts)


def joined(one: Sequence[Value], other: Sequence[Value]) -> View[Value]:
    """The values of one, then those of the other."""
    return _Joined(one, other)


#: Values that are read together when all are.
AT_A_TIME = 256


class Shelf(View[Value]):
    """Values that lie in a file without a name in `folder`, in the order in which they came: 8 bytes of memory each.
    `make`: what makes a value of a plain tuple, where it is another kind of tuple."""

    def __init__(self, folder: Path, values: Iterable[Value], make: Callable[[Any], Value] | None = None) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends = array("Q", [0])
        self._make = make
        end = 0
        for value in values:
            plain: Any = value
            end += self._file.write(pickle.dumps(plain if make is None else tuple(plain)))
            self._ends.append(end)
        self._file.flush()
        super().__init__(len(self._ends) - 1, self._read)

    def _read(self, place: int) -> Value:
        return self._value(self._bytes(place, place + 1))

    def _bytes(self, first: int, last: int) -> bytes:
        self._file.seek(self._ends[first])
        return self._file.read(self._ends[last] - self._ends[first])

    def _value(self, packed: bytes | memoryview) -> Value:
        found: Any = pickle.loads(packed)
        return found if self._make is None else self._make(found)

    def __iter__(self) -> Iterator[Value]:
        for first in range(0, len(self), AT_A_TIME):
            ends = self._ends[first : first + AT_A_TIME + 1]
            block, start = memoryview(self._bytes(first, first + len(ends) - 1)), ends[0]
            for one, other in pairwise(ends):
                yield self._value(block[one - start : other - start])
