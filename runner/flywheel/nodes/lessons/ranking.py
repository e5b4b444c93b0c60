"""In which order lessons fill the places that the budget bought, and which find none.

How hard a lesson is for the student costs a pass of the student over it, so it is looked at only where the place of a
lesson hangs on it.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from flywheel.nodes.context import Context
from flywheel.nodes.lessons.lesson import Lesson
from flywheel.student.work import LossJob
from flywheel.text import normalised

Quota = Mapping[tuple[str, str], int]
"""(generator, mode) → lessons that the budget bought."""

Bounds = tuple[float, float]
"""The least and the greatest score of a lesson, as it is the easiest or the hardest of all."""


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


def ranked(ctx: Context, lessons: Sequence[Lesson], quota: Quota) -> tuple[list[Lesson], dict[Any, float]]:
    """Best first, and the difficulty (by candidate) of those whose place hangs on it."""
    bounds = score_bounds(lessons, ctx.spec.curate.rank.difficulty)
    standings = standings_of(lessons, bounds, quota)
    contested = [place for place, standing in enumerate(standings) if standing is Standing.CONTESTED]
    losses = _difficulty(ctx, [lessons[place] for place in contested])
    scores = [low for low, _ in bounds]
    for place, hard in zip(contested, as_ranks(losses), strict=True):
        low, high = bounds[place]
        scores[place] = low + hard * (high - low)
    order = sorted(range(len(lessons)), key=lambda i: (standings[i], -scores[i], lessons[i].lesson_id))
    difficulty = {lessons[place].candidate_id: loss for place, loss in zip(contested, losses, strict=True)}
    return [lessons[i] for i in order], difficulty


def score_bounds(lessons: Sequence[Lesson], weight: float) -> list[Bounds]:
    """`weight` on difficulty against rarity of wording, both as ranks in [0, 1].

    A grade, where a judge gave one, weighs as much as the two together.
    """
    rare = as_ranks(_rarity([lesson.whole for lesson in lessons]))
    bounds = [((1 - weight) * r, (1 - weight) * r + weight) for r in rare]
    return [
        (low, high) if lesson.grade is None else ((low + lesson.grade) / 2, (high + lesson.grade) / 2)
        for lesson, (low, high) in zip(lessons, bounds, strict=True)
    ]


def standings_of(lessons: Sequence[Lesson], bounds: Sequence[Bounds], quota: Quota) -> list[Standing]:
    """Safe where a lesson has a place though it be the easiest and all others the hardest, lost the other way round."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, lesson in enumerate(lessons):
        groups[_group(lesson)].append(place)
    standings = [Standing.SAFE] * len(lessons)
    for group, places in groups.items():
        most = quota.get(group, 0)
        worst, best = ({i: (-bounds[i][side], lessons[i].lesson_id) for i in places} for side in (0, 1))
        could_be, will_be = sorted(best.values()), sorted(worst.values())
        for i in places:
            if bisect_right(could_be, worst[i]) > most:  # counts the lesson itself
                standings[i] = Standing.LOST if bisect_left(will_be, best[i]) >= most else Standing.CONTESTED
    return standings


def over_quota(ranked: Sequence[Lesson], quota: Quota) -> Iterator[tuple[Lesson, int]]:
    """Lessons beyond what the budget bought for their generator and mode, and how many that is."""
    taken: Counter[tuple[str, str]] = Counter()
    for lesson in ranked:
        group = _group(lesson)
        if taken[group] >= quota.get(group, 0):
            yield lesson, quota.get(group, 0)
        taken[group] += 1


def _group(lesson: Lesson) -> tuple[str, str]:
    return lesson.generator, lesson.mode or ""


def _difficulty(ctx: Context, lessons: Sequence[Lesson]) -> list[float]:
    """The incumbent's loss on each lesson, in nats a token: what it knows already teaches little."""
    if not lessons:
        return []
    pairs = tuple((ctx.prompt(lesson.task, lesson.row), lesson.target) for lesson in lessons)
    job = LossJob(ctx.incumbent().arm, ctx.asking, pairs)
    found: list[float] = ctx.compute("flywheel.student.work:losses", job, lambda m: ctx.progress(**m, what="ranked"))
    return found


def _rarity(texts: Sequence[str]) -> list[float]:
    """Mean inverse document frequency of a text's words: high for wordings that few others use."""
    numbers: dict[str, int] = {}
    # The words of a text as numbers: sets of them would be most of what curation holds in memory.
    bags = [array("I", {numbers.setdefault(word, len(numbers)) for word in normalised(text).split()}) for text in texts]
    frequency = [0] * len(numbers)
    for bag in bags:
        for number in bag:
            frequency[number] += 1
    rare = [math.log(len(bags) / count) for count in frequency]
    # fsum: a plain sum would hang on the order of the set, which differs from process to process.
    return [math.fsum(map(rare.__getitem__, bag)) / len(bag) if bag else 0.0 for bag in bags]


def as_ranks(values: Sequence[float]) -> list[float]:
    """Places in ascending order, spread over [0, 1]."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0.0] * len(values)
    for place, index in enumerate(order):
        ranks[index] = place / max(1, len(values) - 1)
    return ranks
