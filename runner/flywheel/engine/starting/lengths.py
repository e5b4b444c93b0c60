"""Which rows the built-in student can read and answer: prompt and answer share its few positions."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.student import BUILTIN
from flywheel.student.lengths import context_in, lengths_in

BUILTIN_BASE = "builtin:tiny"
#: Tokens that a prompt has beside its text.
AROUND = 8
STEP = 16


@dataclass(frozen=True)
class Fit:
    """`max_new_tokens` for a student, and whether each row can be asked with it and answered in full."""

    max_new_tokens: int
    fits: tuple[bool, ...]


def fitted(base: str, prompts: Sequence[str], answers: Sequence[str]) -> Fit:
    """Answers as long as lets most rows fit. A student of another size is taken to read all, with two bytes a token
    at the least."""
    if base not in BUILTIN:
        longest = max(math.ceil(len(answer.encode()) / 2) for answer in answers)
        return Fit(_rounded(longest), (True,) * len(answers))
    folder = BUILTIN[base]
    positions, lengths = context_in(folder), lengths_in(folder, [*prompts, *answers])
    assert positions is not None
    assert lengths is not None
    asked = [length + AROUND for length in lengths[: len(prompts)]]
    said = [_rounded(length + 1) for length in lengths[len(prompts) :]]
    limit = _limit(asked, said, positions)
    return Fit(limit, tuple(a + limit <= positions and s <= limit for a, s in zip(asked, said, strict=True)))


def _rounded(tokens: int) -> int:
    return math.ceil(tokens / STEP) * STEP


def _limit(asked: Sequence[int], said: Sequence[int], positions: int) -> int:
    """The length of answers with which most rows fit; the shortest of those. A higher one costs long prompts, a lower
    one long answers."""
    rows = sorted(zip(said, asked, strict=True))
    best, most, prompts, place = STEP, -1, list[int](), 0
    for limit in sorted(set(said)):
        while place < len(rows) and rows[place][0] <= limit:
            insort(prompts, rows[place][1])
            place += 1
        if (fitting := bisect_right(prompts, positions - limit)) > most:
            best, most = limit, fitting
    return best
