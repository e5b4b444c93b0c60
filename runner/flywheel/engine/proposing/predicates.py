"""The predicate that tells a group from the other failures, found on one half of them and measured on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from flywheel.engine.proposing.tells import Tell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

#: Tells of a group that are tried, by how well each alone tells it.
_TRIED = 24
#: What a longer predicate must add to F1, and what one must reach to be proposed: on the half that it was found on.
_WORTH, _ENOUGH = 0.1, 0.6


@dataclass(frozen=True)
class Discerned:
    """A predicate, and what it does among the failures that it was not found on: of `said` that it names, `right` are
    of the group, which has `there`."""

    tells: tuple[Tell, ...]
    found_precision: float
    """On the half that it was found on."""
    right: int
    said: int
    there: int

    @property
    def when(self) -> str:
        return " AND ".join(tell.when for tell in self.tells)


def telling(
    group: Collection[int], shown: Sequence[Mapping[str, Tell]], holds: Mapping[str, Bools], found_on: Bools
) -> Discerned | None:
    """The best predicate of one or two tells; None where none tells the group well enough.

    `shown`: of each failure its tells by SQL. `holds`: for each SQL, of which failures it is true. `found_on`: the half
    that it may be found on.
    """
    import numpy as np

    inside = np.zeros(len(shown), bool)
    inside[list(group)] = True
    best = max(_candidates(inside, shown, holds, found_on), default=None)
    if best is None or best[0] < _ENOUGH:
        return None
    tells = best[2]
    named = np.logical_and.reduce([holds[tell.when] for tell in tells])
    on_it, off_it = named & found_on, named & ~found_on
    precision = float((on_it & inside).sum() / on_it.sum())
    return Discerned(tells, precision, int((off_it & inside).sum()), int(off_it.sum()), int((inside & ~found_on).sum()))


def _candidates(
    inside: Bools, shown: Sequence[Mapping[str, Tell]], holds: Mapping[str, Bools], found_on: Bools
) -> Iterator[tuple[float, float, tuple[Tell, ...]]]:
    """(F1 less the price of length, whether it says how the answer is wrong, tells); at least one must say that."""
    places = (inside & found_on).nonzero()[0].tolist()
    seen = Counter(tell for place in places for tell in shown[place].values())
    scored = sorted(
        ((_f1(holds[tell.when], inside, found_on), tell) for tell, count in seen.items() if count > 1),
        key=lambda one: (-one[0], not one[1].of_answer, len(one[1].when), one[1]),
    )[:_TRIED]
    for f1, tell in scored:
        if tell.of_answer:
            yield f1, 1.0, (tell,)
    for (_, one), (_, two) in combinations(scored, 2):
        if one.of_answer or two.of_answer:
            f1 = _f1(holds[one.when] & holds[two.when], inside, found_on)
            yield f1 - _WORTH, (one.of_answer + two.of_answer) / 2, (one, two)


def _f1(named: Bools, inside: Bools, among: Bools) -> float:
    right = int((named & inside & among).sum())
    return 2 * right / max(1, int((named & among).sum()) + int((inside & among).sum()))
