"""Whether two plain values are the same, under a declared policy of types.

Only the standard library is imported here: a referee compares by this very source, inside the sandbox.
"""

from __future__ import annotations

import cmath
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

_NUMBERS = (int, float, complex)
_DICTS = (dict, Counter, defaultdict, OrderedDict)


@dataclass(frozen=True)
class Policy:
    """How values that a program returned are compared.

    Types count: a tuple is no list, a set no frozenset, True is never 1, and with `numbers` "exact" 2 is not 2.0. With
    "close", numbers of any type (not booleans) are equal within `tolerance`, relative or absolute; with "equal" they
    are where Python's == holds, which takes True for 1. Keys of dictionaries and members of sets then match where it
    does. Counter, defaultdict and OrderedDict are dictionaries. NaN equals NaN, 0.0 equals -0.0, infinities only
    themselves; the order of a dictionary does not count.
    """

    numbers: Literal["exact", "close", "equal"] = "exact"
    tolerance: float = 1e-6

    def same(self, got: Any, want: Any) -> bool:
        """Whether `got` is `want`. Both are made of builtin types only (see `flywheel.sandbox`)."""
        if self.numbers == "close" and type(got) in _NUMBERS and type(want) in _NUMBERS:
            return self._close(got, want)
        if self.numbers == "equal" and type(got) in (bool, *_NUMBERS) and type(want) in (bool, *_NUMBERS):
            return bool(got == want) or (got != got and want != want)
        if type(got) in _DICTS and type(want) in _DICTS:
            return self._same_dict(got, want)
        if type(got) is not type(want):
            return False
        if isinstance(want, list | tuple):
            return len(got) == len(want) and all(map(self.same, got, want))
        if isinstance(want, set | frozenset):
            return {self._key(member) for member in got} == {self._key(member) for member in want}
        return bool(got == want) or (got != got and want != want)

    def _close(self, got: complex, want: complex) -> bool:
        if got != got or want != want:
            return got != got and want != want
        try:
            return cmath.isclose(got, want, rel_tol=self.tolerance, abs_tol=self.tolerance)
        except OverflowError:  # an integer beyond every float
            return got == want

    def _same_dict(self, got: dict[Any, Any], want: dict[Any, Any]) -> bool:
        found = {self._key(key): value for key, value in got.items()}
        keys = {self._key(key): value for key, value in want.items()}
        return found.keys() == keys.keys() and all(self.same(found[key], keys[key]) for key in keys)

    def _key(self, value: Any) -> Hashable:
        """The value in a form for which == means the same type too."""
        if isinstance(value, tuple | frozenset):
            return type(value).__name__, type(value)(map(self._key, value))
        if type(value) in _NUMBERS or (self.numbers == "equal" and type(value) is bool):
            kind = type(value).__name__ if self.numbers == "exact" else "number"
            return kind, "nan" if value != value else value
        return type(value).__name__, value
