"""How each budget policy divides lessons, and from which probe rows. A policy's facts are its class in
`spec.policies`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, pvariance
from typing import Any

from flywheel.hashing import seed_from
from flywheel.nodes.context import Context
from flywheel.plan.shares import spread
from flywheel.records import Generation, Subject
from flywheel.spec.base import SEVERITY_WEIGHT
from flywheel.spec.models import ErrorMode
from flywheel.spec.policies import POLICIES
from flywheel.spec.strategies import Generator
from flywheel.student.work import AnswerJob
from flywheel.verifiers import outcome_of

SAMPLES = 8
"""Of the student on each probe row, to find the edge of what it can."""
TEMPERATURE = 0.8
EDGE = (0.2, 0.8)
"""Shares of right samples between which a row is at the edge."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What the policies look at: the modes of one generator's task, and their failures among the probes."""

    ctx: Context
    generator: Generator
    task: str
    modes: Sequence[ErrorMode]
    counts: Sequence[int]
    probes: int
    edges: Sequence[Row] = field(default=(), repr=False)
    """Rows of table `edges`."""

    @property
    def masses(self) -> list[float]:
        """Observed error mass of each mode: its rate among the probes, weighted by severity."""
        return [
            SEVERITY_WEIGHT[mode.severity] * count / self.probes if self.probes else 0.0
            for count, mode in zip(self.counts, self.modes, strict=True)
        ]

    def over_modes(self, masses: list[float]) -> dict[str, float]:
        shares = spread(masses, self.generator.floor, self.generator.cap)
        return {mode.name: share for mode, share in zip(self.modes, shares, strict=True)} if any(shares) else {}


def shares_of(seen: Seen, weights: Mapping[str, float]) -> dict[str, float]:
    """Mode, or what stands in its place, → share of the lessons. What a policy finds nothing for goes by error mass;
    all zero where nothing failed and no policy buys otherwise."""
    found = {mode.name: 0.0 for mode in seen.modes}
    for name, weight in weights.items():
        for mode, share in (DIVIDE[name](seen) or _error_mass(seen)).items():
            found[mode] = found.get(mode, 0.0) + weight * share
    return found


def _error_mass(seen: Seen) -> dict[str, float]:
    return seen.over_modes(seen.masses)


def _per_lesson(seen: Seen) -> dict[str, float]:
    falls = shrunk(_falls(seen))
    mean = fmean(falls.values()) if falls else 0.0
    return seen.over_modes(
        [
            SEVERITY_WEIGHT[mode.severity] * max(0.0, falls.get(mode.name, mean)) if count else 0.0
            for mode, count in zip(seen.modes, seen.counts, strict=True)
        ]
    )


def _confusion(seen: Seen) -> dict[str, float]:
    return _from_rows(seen, "confusion", confused(seen.ctx, seen.task))


def _edge(seen: Seen) -> dict[str, float]:
    return _from_rows(seen, "edge", [row for row in seen.edges if row["task"] == seen.task and at_edge(row)])


def _uniform(seen: Seen) -> dict[str, float]:
    return _from_rows(seen, "uniform", range(seen.probes))


def _from_rows(seen: Seen, name: str, rows: Sequence[Any]) -> dict[str, float]:
    """A generator that is held to some modes makes nothing from other rows."""
    made_from = POLICIES[name].made_from
    return {made_from: 1.0} if made_from is not None and rows and seen.generator.modes is None else {}


DIVIDE: Mapping[str, Callable[[Seen], dict[str, float]]] = {
    "error_mass": _error_mass,
    "per_lesson": _per_lesson,
    "confusion": _confusion,
    "edge": _edge,
    "uniform": _uniform,
}
"""What runs each policy: shares that sum to 1, or nothing."""


# --- what a lesson has brought ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fall:
    """Of a mode's rate over earlier iterations: how far it fell, with what variance, after so many lessons."""

    fall: float
    variance: float
    lessons: int

    def __add__(self, other: Fall) -> Fall:
        return Fall(self.fall + other.fall, self.variance + other.variance, self.lessons + other.lessons)


def shrunk(falls: Mapping[str, Fall]) -> dict[str, float]:
    """Mode → fall of its rate per lesson: each mode's own, drawn to that of all the more the less is known of it
    (normal empirical Bayes; Efron & Morris 1975)."""
    known = {mode: each for mode, each in falls.items() if each.lessons}
    if not known:
        return {}
    every = sum(each.fall for each in known.values()) / sum(each.lessons for each in known.values())
    own = {mode: each.fall / each.lessons for mode, each in known.items()}
    error = {mode: each.variance / each.lessons**2 for mode, each in known.items()}
    between = max(0.0, pvariance(own.values()) - fmean(error.values()))
    weight = {mode: between / total if (total := between + error[mode]) else 0.0 for mode in known}
    return {mode: every + weight[mode] * (own[mode] - every) for mode in known}


def _falls(seen: Seen) -> dict[str, Fall]:
    """By mode, of iterations after which another model was probed: a rejected training has no rate."""
    turns = [*(_turn(seen.ctx, seen.task, n) for n in range(1, seen.ctx.node.iteration)), _now(seen)]
    found: dict[str, Fall] = {}
    for (model, before), (later, after) in pairwise(turns):
        for mode in before.keys() & after.keys() if model != later else ():
            old, new = before[mode], after[mode]
            if old["lessons"] and old["probes"] and new["probes"]:
                found[mode] = found.get(mode, Fall(0.0, 0.0, 0)) + _fall(old, new)
    return found


def _fall(old: Row, new: Row) -> Fall:
    rates = [(row["failures"] / row["probes"], row["probes"]) for row in (old, new)]
    # With one more of either kind, so that a rate of none is not certainty.
    errors = [(rate * n + 1) * (n - rate * n + 1) / ((n + 2) ** 2 * (n + 3)) for rate, n in rates]
    return Fall(rates[0][0] - rates[1][0], sum(errors), int(old["lessons"]))


def _turn(ctx: Context, task: str, iteration: int) -> tuple[str, dict[str, Row]]:
    """The model that an iteration probed, and of each mode its failures, the probes and the lessons bought."""
    rows = ctx.query(
        """SELECT mode, max(failures) AS failures, max(probes) AS probes, sum(lessons) AS lessons FROM budgets
           WHERE list_contains(?, node) AND task = ? GROUP BY mode""",
        [ctx.fingerprints("budget", iteration=iteration), task],
    )
    return _probed(ctx, task, iteration), {row["mode"]: row for row in rows}


def _now(seen: Seen) -> tuple[str, dict[str, Row]]:
    rows = {
        mode.name: {"failures": count, "probes": seen.probes, "lessons": 0}
        for mode, count in zip(seen.modes, seen.counts, strict=True)
    }
    return _probed(seen.ctx, seen.task, seen.ctx.node.iteration), rows


def _probed(ctx: Context, task: str, iteration: int) -> str:
    rows = ctx.query(
        "SELECT model_id FROM answers WHERE list_contains(?, node) AND task = ? LIMIT 1",
        [ctx.fingerprints("probe", iteration=iteration), task],
    )
    return rows[0]["model_id"] if rows else ""


# --- which rows -------------------------------------------------------------------------------------------------------


def confused(ctx: Context, task: str) -> list[str]:
    """Ids of answers to probe rows, for lessons about labels that are taken for each other: each failure that says
    another row's label, and beside it a row of that label."""
    rows = ctx.query(
        "SELECT answer_id, gold, trim(answer) AS said, outcome FROM answers WHERE list_contains(?, node) AND task = ? "
        "ORDER BY row_id, answer, answer_id",
        [ctx.fingerprints("probe"), task],
    )
    labels = {row["gold"] for row in rows}
    failed = [row for row in rows if row["outcome"] == "fail" and row["said"] in labels - {row["gold"]}]
    pairs = Counter(frozenset((row["gold"], row["said"])) for row in failed)
    often = {pair for pair, count in pairs.items() if count > 1} or set(pairs)
    found: list[str] = []
    for row in failed:
        if frozenset((row["gold"], row["said"])) in often:
            others = (o["answer_id"] for o in rows if o["gold"] == row["said"] and o["answer_id"] not in found)
            found += [row["answer_id"], *[next(others, row["answer_id"])]]
    return list(dict.fromkeys(found))


def edge_rows(ctx: Context, task: str) -> list[Row]:
    """Rows of table `edges`: how many of the student's samples of each probe row are right."""
    probed = ctx.query(
        """SELECT answer_id, "row", gold FROM answers WHERE list_contains(?, node) AND task = ? AND outcome != 'unknown'
           ORDER BY answer_id""",
        [ctx.fingerprints("probe"), task],
    )
    target = ctx.spec.tasks[task].target
    inputs = {row["answer_id"]: {k: v for k, v in row["row"].items() if k != target} for row in probed}
    places = [(row, n) for row in probed for n in range(SAMPLES)]
    prompts = {answer_id: ctx.prompt(task, row) for answer_id, row in inputs.items()}
    answers = _sampled(ctx, task, [(f"{r['answer_id']}.{n}", prompts[r["answer_id"]]) for r, n in places])
    subjects = [
        Subject(answer.prompt_id, task, inputs[row["answer_id"]], answer.text, row["gold"])
        for (row, _), answer in zip(places, answers, strict=True)
    ]
    passed = Counter(
        row["answer_id"]
        for (row, _), verdicts in zip(places, ctx.judge(subjects), strict=True)
        if outcome_of(verdicts) == "pass"
    )
    return [
        {
            "node": ctx.node.fingerprint, "task": task, "answer_id": row["answer_id"], "samples": SAMPLES,
            "passed": passed[row["answer_id"]],
        }
        for row in probed
    ]  # fmt: skip


def _sampled(ctx: Context, task: str, prompts: Sequence[tuple[str, str]]) -> list[Generation]:
    seeds = tuple(seed_from(ctx.seed(), name) for name, _ in prompts)
    job = AnswerJob(
        ctx.incumbent().arm, ctx.asking_many, tuple(prompts), temperature=TEMPERATURE, seeds=seeds,
        stop=tuple(ctx.spec.tasks[task].stop),
    )  # fmt: skip
    found: list[Generation] = ctx.compute(
        "flywheel.student.work:answer", job, lambda message: ctx.progress(**message, what="samples")
    )
    return found


def at_edge(row: Row) -> bool:
    return EDGE[0] <= int(row["passed"]) / int(row["samples"]) <= EDGE[1]
