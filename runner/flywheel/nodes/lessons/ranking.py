"""In which order lessons fill the places that the budget bought, and which find none.

How hard a lesson is for the student costs a pass of the student over it, so it is looked at only where the place of a
lesson hangs on it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from flywheel.nodes.context import Context
from flywheel.nodes.lessons.lesson import Lesson
from flywheel.student.work import LossJob
from flywheel.text import normalised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Quota = Mapping[tuple[str, str], int]
"""(generator, mode) → lessons that the budget bought."""


class Standing(IntEnum):
    """What is known of a lesson's place before its difficulty is; in the order of ranks."""

    SAFE = 0
    CONTESTED = 1
    LOST = 2


def quota_of(ctx: Context) -> Quota:
    rows = ctx.query(
        "SELECT generator, mode, lessons FROM budgets WHERE list_contains(?, node)", [ctx.fingerprints("budget")]
    )
    return {(row["generator"], row["mode"]): row["lessons"] for row in rows}


@dataclass(frozen=True)
class RankedBy:
    """What lessons are ranked by. `names`: (generator, mode) by number; `group`: the number of each lesson's; `grade`:
    NaN where nobody graded; `rarity`: of its wording."""

    names: Sequence[tuple[str, str]]
    group: NDArray[np.intp]
    lesson_id: NDArray[np.str_]
    grade: NDArray[np.float64]
    rarity: NDArray[np.float64]


def columns_of(lessons: Sequence[Lesson]) -> RankedBy:
    import numpy as np

    names: dict[tuple[str, str], int] = {}
    groups, grades, ids, bags = array("q"), array("d"), [], _Bags()
    for lesson in lessons:
        groups.append(names.setdefault((lesson.generator, lesson.mode or ""), len(names)))
        grades.append(math.nan if lesson.grade is None else lesson.grade)
        ids.append(lesson.lesson_id)
        bags.add(lesson.whole)
    rarity = np.fromiter(bags.rarity(), np.float64)
    return RankedBy(list(names), np.array(groups, np.intp), np.array(ids, np.str_), np.array(grades), rarity)


def ranked(ctx: Context, lessons: Sequence[Lesson], quota: Quota) -> tuple[list[int], dict[int, float], RankedBy]:
    """Places, the best first, and the difficulty of those whose place hangs on it."""
    import numpy as np

    columns = columns_of(lessons)
    bounds = score_bounds(columns, ctx.spec.curate.rank.difficulty)
    standings = standings_of(columns, bounds, quota)
    contested = np.flatnonzero(standings == Standing.CONTESTED)
    losses = _difficulty(ctx, [lessons[place] for place in contested.tolist()])
    scores = bounds[:, 0].copy()
    scores[contested] += as_ranks(losses) * (bounds[contested, 1] - bounds[contested, 0])
    order = np.lexsort((columns.lesson_id, -scores, standings))
    return order.tolist(), dict(zip(contested.tolist(), losses, strict=True)), columns


def score_bounds(columns: RankedBy, weight: float) -> NDArray[np.float64]:
    """The least and the greatest score of each lesson, as it is the easiest or the hardest of all: (lessons, 2).

    `weight` on difficulty against rarity of wording, both as ranks in [0, 1]. A grade, where a judge gave one, weighs
    as much as the two together.
    """
    import numpy as np

    low = (1 - weight) * as_ranks(columns.rarity)
    bounds = np.stack((low, low + weight), axis=1)
    grades = columns.grade[:, None]
    return np.where(np.isnan(grades), bounds, (bounds + grades) / 2)


def standings_of(columns: RankedBy, bounds: NDArray[np.float64], quota: Quota) -> NDArray[np.int8]:
    """Safe where a lesson has a place though it be the easiest and all others the hardest, lost the other way round."""
    import numpy as np

    standings = np.full(len(bounds), Standing.SAFE, np.int8)
    for number, name in enumerate(columns.names):
        places, most = np.flatnonzero(columns.group == number), quota.get(name, 0)
        if len(places) > most:
            worst, best = _keys(bounds[places], columns.lesson_id[places])
            beaten = np.searchsorted(np.sort(best), worst, side="right") > most  # counts the lesson itself
            lost = np.searchsorted(np.sort(worst), best, side="left") >= most
            standings[places] = np.where(beaten, np.where(lost, Standing.LOST, Standing.CONTESTED), Standing.SAFE)
    return standings


def _keys(bounds: NDArray[np.float64], ids: NDArray[np.str_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers that are ordered as (-score, lesson id) is, of each lesson at its least and at its greatest score."""
    import numpy as np

    scores, names = -bounds.T.ravel(), np.tile(ids, 2)
    order = np.lexsort((names, scores))
    steps = (scores[order][1:] != scores[order][:-1]) | (names[order][1:] != names[order][:-1])
    keys = np.empty(len(order), np.intp)
    keys[order] = np.concatenate(([0], steps.cumsum()))
    return keys[: len(ids)], keys[len(ids) :]


def over_quota(columns: RankedBy, ranked: Sequence[int], quota: Quota) -> Iterator[tuple[int, int]]:
    """Places beyond what the budget bought for their generator and mode, and how many that is."""
    most = [quota.get(name, 0) for name in columns.names]
    taken = [0] * len(most)
    groups = columns.group.tolist()
    for place in ranked:
        group = groups[place]
        if taken[group] >= most[group]:
            yield place, most[group]
        taken[group] += 1


def _difficulty(ctx: Context, lessons: Sequence[Lesson]) -> list[float]:
    """The incumbent's loss on each lesson, in nats a token: what it knows already teaches little."""
    if not lessons:
        return []
    pairs = tuple((ctx.prompt(lesson.task, lesson.row), lesson.target) for lesson in lessons)
    job = LossJob(ctx.incumbent().arm, ctx.asking, pairs)
    found: list[float] = ctx.compute("flywheel.student.work:losses", job, lambda m: ctx.progress(**m, what="ranked"))
    return found


class _Bags:
    """The different words of texts as numbers: sets of them would be most of what curation holds in memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words, self._sizes = array("I"), array("I")

    def add(self, text: str) -> None:
        numbers = self._numbers
        bag = {numbers.setdefault(word, len(numbers)) for word in normalised(text).split()}
        self._sizes.append(len(bag))
        self._words.extend(bag)

    def rarity(self) -> Iterator[float]:
        """Mean inverse document frequency of each text's words: high for wordings that few others use."""
        import numpy as np

        frequency = np.bincount(np.frombuffer(self._words, np.uint32)) if self._words else np.empty(0)
        rare = [math.log(len(self._sizes) / count) for count in frequency]
        start = 0
        for size in self._sizes:
            bag = self._words[start : start + size]
            # fsum: a plain sum would hang on the order of the set, which differs from process to process.
            yield math.fsum(map(rare.__getitem__, bag)) / size if size else 0.0
            start += size


def as_ranks(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in ascending order, spread over [0, 1]."""
    import numpy as np

    ranks = np.empty(len(values))
    ranks[np.argsort(np.asarray(values, np.float64), kind="stable")] = np.arange(len(values)) / max(1, len(values) - 1)
    return ranks
