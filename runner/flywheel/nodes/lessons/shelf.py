"""Sequences that need not fit into memory: lessons whose texts lie in a file, and what is chosen or made of them."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def joined(one: Sequence[Value], other: Sequence[Value]) -> View[Value]:
    """The values of one, then those of the other."""
    first = len(one)
    return View(first + len(other), lambda place: one[place] if place < first else other[place - first])


class Shelf(View[Value]):
    """Named tuples of one kind that lie in a file without a name in `folder`, in the order in which they came: 8 bytes of
    memory each."""

    def __init__(self, folder: Path, make: Callable[[Any], Value], values: Iterable[Value]) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends = array("Q", [0])
        self._make = make
        for value in values:
            self._ends.append(self._ends[-1] + self._file.write(pickle.dumps(tuple(value))))
        self._file.flush()
        self._last = -1, None
        super().__init__(len(self._ends) - 1, self._read)

    def _read(self, place: int) -> Value:
        if self._last[0] != place:
            start = self._ends[place]
            self._file.seek(start)
            self._last = place, self._make(pickle.loads(self._file.read(self._ends[place + 1] - start)))
        return self._last[1]
