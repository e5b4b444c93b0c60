"""`flywheel compare --curve`: how many lessons does either side need for what the other one has with all of its own?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flywheel.errors import UsageError
from flywheel.gate.arms import Arms, arms_of
from flywheel.gate.comparisons import score_interval
from flywheel.records.decision import PairedItem
from flywheel.records.nodes import Query, finished
from flywheel.spec.models import Spec
from flywheel.stats import Needed, lessons_needed, two_way

Row = dict[str, Any]
Scores = Mapping[str, Mapping[str, Row]]
"""Suite → item → its row of `scores`."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Part:
    """One training on some of a loop's lessons."""

    lessons: int
    scores: Scores


@dataclass(frozen=True)
class Point:
    """Mean score in [0, 1] over items (and seeds) after so many lessons, with its 95% interval."""

    lessons: float
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Both sides on one suite, on the items that every model was judged on; points by rising lessons."""

    suite: str
    items: int
    seeds: int
    targeted: tuple[Point, ...]
    untargeted: tuple[Point, ...]
    targeted_needs: Needed
    """Lessons for the untargeted side's last score."""
    untargeted_needs: Needed


def refuse_curve(spec: Spec, iteration: int, arm: str) -> None:
    """Raises UsageError where the last training of a loop, in this iteration, does not hold all that it learned."""
    if iteration == 0:
        raise UsageError(
            f"there is no curve: the {arm} loop trained nothing. No lesson survived; `flywheel report` says why."
        )
    if spec.train.rounds:
        raise UsageError(
            f"there is no curve with train.method: {spec.train.method}: its model learns from more than lessons. "
            "Compare without --curve, or with train.method: sft."
        )
    if spec.train.init == "incumbent" and iteration > 1:
        raise UsageError(
            "there is no curve with train.init: incumbent: the last training holds only the last iteration's lessons. "
            "Write `flywheel compare --curve --iterations 1`, or set train.init: base."
        )


def parts_of(query: Query, nodes: Mapping[str, Sequence[str]]) -> list[Part]:
    """What the iteration with these `nodes` (verb → fingerprints) was measured at, the fewest lessons first."""
    found = []
    for record in finished(query, nodes["curve"]):
        scores: dict[str, dict[str, Row]] = {}
        for row in query("SELECT * FROM scores WHERE node = ?", [record.node]):
            scores.setdefault(row["suite"], {})[row["item_id"]] = row
        found.append(Part(int(record.summary["lessons"]), scores))
    return sorted(found, key=lambda part: part.lessons)


def curves_of(spec: Spec, seeds: Sequence[tuple[Sequence[Part], Sequence[Part]]]) -> list[Curve]:
    """A curve of each target suite that every model was judged on; `seeds`: (targeted, untargeted) parts of each."""
    targets = [name for name, suite in spec.evals.items() if suite.role == "target"]
    return [found for name in targets if (found := _curve(name, seeds, spec.seed)) is not None]


def _curve(suite: str, seeds: Sequence[tuple[Sequence[Part], Sequence[Part]]], seed: int) -> Curve | None:
    tables = [part.scores.get(suite, {}) for pair in seeds for parts in pair for part in parts]
    judged = [{item for item, row in table.items() if row["score"] is not None} for table in tables]
    if not (items := set.intersection(*judged)):
        return None
    sides = [[[_arms(part.scores[suite], items) for part in pair[side]] for pair in seeds] for side in (0, 1)]
    sizes = sides[0][0][0].sizes
    lessons = [_mean_lessons([pair[side] for pair in seeds]) for side in (0, 1)]
    ours, control = ([[arms.summed(arms.candidate) for arms in parts] for parts in side] for side in sides)
    return Curve(
        suite, len(items), len(seeds),
        _points(sides[0], lessons[0]),
        _points(sides[1], lessons[1]),
        lessons_needed(ours, lessons[0], control, sizes, seed),
        lessons_needed(control, lessons[1], ours, sizes, seed),
    )  # fmt: skip


def _arms(scores: Mapping[str, Row], items: set[str]) -> Arms:
    rows = ((item, scores[item]) for item in items)
    return arms_of((PairedItem(i, row["score"], row["score"], cluster=row["cluster"]) for i, row in rows), None)


def _mean_lessons(seeds: Sequence[Sequence[Part]]) -> list[float]:
    """Seeds may differ a little where later iterations buy by what the model then fails at."""
    return [sum(part.lessons for part in parts) / len(parts) for parts in zip(*seeds, strict=True)]


def _points(seeds: Sequence[Sequence[Arms]], lessons: Sequence[float]) -> tuple[Point, ...]:
    return tuple(_point(arms, number) for arms, number in zip(zip(*seeds, strict=True), lessons, strict=True))


def _point(seeds: Sequence[Arms], lessons: float) -> Point:
    first = seeds[0]
    score = sum(sum(arms.candidate) for arms in seeds) / (len(seeds) * first.n)
    if len(seeds) > 1 and len(first.clusters) > 1:
        found = two_way([arms.summed(arms.candidate) for arms in seeds], first.sizes, CONFIDENCE)
        return Point(lessons, score, max(0.0, found.low), found.high)
    return Point(lessons, score, *score_interval(first, CONFIDENCE, 0))


def curve_json(curve: Curve) -> dict[str, Any]:
    """JSON has no infinity: null is "not reached"."""
    found = asdict(curve)
    for side in ("targeted_needs", "untargeted_needs"):
        found[side] = {name: None if math.isinf(value) else value for name, value in found[side].items()}
    return found
