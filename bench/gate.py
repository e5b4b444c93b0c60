"""Is the gate right? Simulated models with known quality meet the real `decide`.

    python bench/gate.py            prints the measured tables
    python bench/gate.py --write    also puts them into docs/gate.md, and the picture into docs/gate.svg

A model of quality q answers item i rightly when q + easiness(i) + noise > 0: items differ in easiness, so two
equal models agree on most items and differ, by chance, on the rest. All runs are seeded.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flywheel.gate import decide
from flywheel.gate.grounds import Grounds
from flywheel.nodes.measuring.stages import SHARES
from flywheel.records.decision import PairedItem, Staging
from flywheel.spec.models import GateRule
from flywheel.stats import (
    alpha_at,
    bootstrap_p,
    items_needed,
    mcnemar_p,
    noninferiority_p,
    power,
    sign_flip_p,
    studentised_p,
    wilson,
)

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

ALPHA = 0.05
RUNS = 4_000
LOOKS = 10
ITEMS = 400
ACCURACY = 0.7
#: Spread of easiness against the noise of one answer: equal models then differ on about 15% of the items.
SPREAD = 2.6
DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


# --- models and items --------------------------------------------------------------------------------------


def easiness(rng: np.random.Generator, runs: int, items: int) -> NDArray[np.float64]:
    return rng.normal(0, SPREAD, (runs, items))


def answers(rng: np.random.Generator, ease: NDArray[np.float64], accuracy: float) -> Bools:
    """Which items a model of this accuracy (over all items there could be) answers rightly."""
    quality = NormalDist().inv_cdf(accuracy) * math.sqrt(1 + SPREAD**2)
    return quality + ease + rng.normal(size=ease.shape) > 0


def changes(rng: np.random.Generator, runs: int, items: int, gain: float, changed: float) -> tuple[Ints, Ints]:
    """Fixed and broken items per run where a share `changed` of the items changes and the gain is known."""
    shares = [(changed + gain) / 2, (changed - gain) / 2, 1 - changed]
    counts = rng.multinomial(items, shares, runs)
    return counts[:, 0], counts[:, 1]


# --- rules of promotion ------------------------------------------------------------------------------------


@cache
def suite_of(fixed: int, broken: int) -> tuple[PairedItem, ...]:
    """The changed items and one unchanged: with `better_by: 0` more unchanged ones alter nothing (tested)."""
    pairs = [(0.0, 1.0)] * fixed + [(1.0, 0.0)] * broken + [(1.0, 1.0)]
    return tuple(PairedItem(str(i), a, b) for i, (a, b) in enumerate(pairs))


def outcomes(tables: Sequence[tuple[int, int]], look: int) -> list[str]:
    """What the real gate says of each suite, with one `better_by: 0` a suite; tables of fixed and broken."""
    suites = {f"s{i}": suite_of(*counts) for i, counts in enumerate(tables)}
    rules = [GateRule(suite=name, better_by=0.0, confidence=1 - ALPHA) for name in suites]
    return [rule.outcome for rule in decide(rules, suites, [], look, seed=0).rules]


@cache
def gate_promotes(fixed: int, broken: int, look: int) -> bool:
    return outcomes([(fixed, broken)], look) == ["holds"]


@cache
def mcnemar_promotes(fixed: int, broken: int) -> bool:
    return mcnemar_p(fixed, broken) <= ALPHA


def unpaired_promotes(before: Ints, after: Ints, items: int) -> Bools:
    """Two-proportion z-test, pooled, one-sided: it ignores that both models answered the same items."""
    pooled = (before + after) / (2 * items)
    error = np.sqrt(np.maximum(2 * pooled * (1 - pooled) / items, 1e-12))
    z = (after - before) / items / error
    return np.asarray(z > NormalDist().inv_cdf(1 - ALPHA))


def each(promotes: Callable[..., bool], fixed: Ints, broken: Ints, *rest: float) -> Bools:
    return np.array([promotes(int(f), int(b), *rest) for f, b in zip(fixed, broken, strict=True)])


@dataclass(frozen=True)
class Share:
    """How often something happened, in how many runs."""

    hits: int
    runs: int

    @property
    def value(self) -> float:
        return self.hits / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.runs)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def share(happened: Bools) -> Share:
    return Share(int(happened.sum()), len(happened))


# --- one holdout, looked at again and again ----------------------------------------------------------------


NAIVE, UNPAIRED, MCNEMAR, GATE = (
    "score is higher",
    "unpaired z-test, 0.05 at each look",
    "paired (McNemar), 0.05 at each look",
    "the gate, better_by 0",
)


def compare(before: Bools, after: Bools, look: int) -> dict[str, Bools]:
    """For each way to decide, which runs promote; arrays are (runs, items)."""
    items = before.shape[1]
    fixed, broken = (~before & after).sum(axis=1), (before & ~after).sum(axis=1)
    return {
        NAIVE: fixed > broken,
        UNPAIRED: unpaired_promotes(before.sum(axis=1), after.sum(axis=1), items),
        MCNEMAR: each(mcnemar_promotes, fixed, broken),
        GATE: each(gate_promotes, fixed, broken, look),
    }


def equal_models(runs: int, looks: int, seed: int) -> dict[str, list[Share]]:
    """Candidates just as good as the incumbent: how often one was promoted by look 1, 2, … on one holdout."""
    rng = np.random.default_rng(seed)
    ease = easiness(rng, runs, ITEMS)
    incumbent = answers(rng, ease, ACCURACY)
    ever: dict[str, Bools] = {}
    curves: dict[str, list[Share]] = {}
    for look in range(1, looks + 1):
        for way, promoted in compare(incumbent, answers(rng, ease, ACCURACY), look).items():
            ever[way] = ever.get(way, np.zeros(runs, dtype=bool)) | promoted
            curves.setdefault(way, []).append(share(ever[way]))
    return curves


def against(runs: int, items: int, gain: float, seed: int) -> dict[str, Share]:
    """A candidate that is `gain` better (or worse), one look."""
    rng = np.random.default_rng(seed)
    ease = easiness(rng, runs, items)
    ways = compare(answers(rng, ease, ACCURACY), answers(rng, ease, ACCURACY + gain), 1)
    return {way: share(promoted) for way, promoted in ways.items()}


def mixed_chain(runs: int, looks: int, seed: int) -> dict[str, Share]:
    """Ten iterations on one holdout, a promoted candidate becoming the incumbent, as the loop does it.

    Each candidate is as good as its incumbent, two points worse or five points better, a third of the time
    each. A false promotion is one of a candidate that is not better.
    """
    rng = np.random.default_rng(seed)
    ease = easiness(rng, runs, ITEMS)
    false = np.zeros(runs, dtype=bool)
    promotions = np.zeros(runs, dtype=int)
    quality = np.full(runs, 0.5)
    incumbent = answers_by_run(rng, ease, quality)
    for look in range(1, looks + 1):
        gain = rng.choice([0.0, -0.02, 0.05], runs)
        candidate = answers_by_run(rng, ease, quality + gain)
        fixed, broken = (~incumbent & candidate).sum(axis=1), (incumbent & ~candidate).sum(axis=1)
        promoted = each(gate_promotes, fixed, broken, look)
        false |= promoted & (gain <= 0)
        promotions += promoted
        quality = np.where(promoted, quality + gain, quality)
        incumbent = np.where(promoted[:, None], candidate, incumbent)
    return {"false": share(false), "any": share(promotions > 0)}


def answers_by_run(rng: np.random.Generator, ease: NDArray[np.float64], accuracy: NDArray[np.float64]) -> Bools:
    """`answers` with one accuracy a run."""
    inverse = np.array([NormalDist().inv_cdf(a) for a in accuracy]) * math.sqrt(1 + SPREAD**2)
    return inverse[:, None] + ease + rng.normal(size=ease.shape) > 0


# --- power -------------------------------------------------------------------------------------------------

GAINS = (0.02, 0.05, 0.10)
SIZES = (50, 100, 200, 400, 800, 1600)
CHANGED = 0.15


@dataclass(frozen=True)
class Power:
    gain: float
    items: int
    gate: Share
    unpaired: Share
    expected: float


def power_curve(runs: int, seed: int) -> list[Power]:
    """How often the gate (first look, better_by 0) finds a true gain, where 15% of the items change."""
    rng = np.random.default_rng(seed)
    return [power_at(rng, runs, gain, items) for gain in GAINS for items in SIZES]


def power_at(rng: np.random.Generator, runs: int, gain: float, items: int) -> Power:
    fixed, broken = changes(rng, runs, items, gain, CHANGED)
    stayed = rng.binomial(items - fixed - broken, ACCURACY)
    found = share(each(gate_promotes, fixed, broken, 1))
    unpaired = share(unpaired_promotes(stayed + broken, stayed + fixed, items))
    return Power(gain, items, found, unpaired, power(items, gain, CHANGED, alpha_at(1, ALPHA)))


def advised(runs: int, seed: int, gains: Sequence[float] = GAINS) -> list[tuple[float, int, Share]]:
    """The power at just the number of items that `items_needed` advises for 80%."""
    rng = np.random.default_rng(seed)
    rows = []
    for gain in gains:
        items = items_needed(gain, CHANGED, alpha_at(1, ALPHA))
        fixed, broken = changes(rng, runs, items, gain, CHANGED)
        rows.append((gain, items, share(each(gate_promotes, fixed, broken, 1))))
    return rows


# --- clusters and graded scores ----------------------------------------------------------------------------


def cluster_differences(rng: np.random.Generator, clusters: int, size: int, loss: float) -> NDArray[np.int64]:
    """Per-item differences (-1, 0, 1): two fifths of the items change, and a cluster leans one way."""
    lean = rng.choice([0.1, 0.9], (clusters, 1))
    rises = rng.random((clusters, size)) < lean
    changed = rng.random((clusters, size)) < 0.4
    moved = np.where(rises, 1, -1) * changed
    unlucky = rng.random((clusters, size)) < loss
    return np.where(unlucky & (moved > -1), moved - 1, moved)


def clustered_items(differences: NDArray[np.int64]) -> list[PairedItem]:
    return [
        PairedItem(f"{g}.{i}", float(d < 0), float(d > 0), cluster=str(g))
        for g, row in enumerate(differences)
        for i, d in enumerate(row)
    ]


def clustered(runs: int, clusters: int, size: int, seed: int) -> tuple[Share, Share]:
    """Equal models on clustered items, one look: false promotions with the clusters told and untold."""
    rng = np.random.default_rng(seed)
    told, untold = [], []
    rule = GateRule(suite="holdout", better_by=0.0, confidence=1 - ALPHA)
    for _ in range(runs):
        differences = cluster_differences(rng, clusters, size, loss=0.0)
        items = clustered_items(differences)
        told.append(decide([rule], {"holdout": items}, [], 1, seed=0).outcome == "promote")
        fixed, broken = int((differences > 0).sum()), int((differences < 0).sum())
        untold.append(gate_promotes(fixed, broken, 1))
    return share(np.array(told)), share(np.array(untold))


def clustered_guard(runs: int, clusters: int, size: int, seed: int) -> Share:
    """A candidate that loses just the margin on clustered items: how often the guard lets it pass."""
    rng = np.random.default_rng(seed)
    # One item in five is broken already and cannot be lost again.
    rule = GateRule(suite="guard", not_worse_than=0.05 * 0.8, confidence=1 - ALPHA)
    passed = []
    for _ in range(runs):
        items = clustered_items(cluster_differences(rng, clusters, size, loss=0.05))
        passed.append(decide([rule], {"guard": items}, [], 1, seed=0).outcome == "promote")
    return share(np.array(passed))


def graded(runs: int, items: int, seed: int) -> tuple[Share, Share]:
    """Graded scores with skewed differences: false gains under equality, and guards passed at the margin."""
    rng = np.random.default_rng(seed)
    alpha, margin, draws = alpha_at(1, ALPHA), 0.03, 1_000
    better, passed = [], []
    for run in range(runs):
        differences = rng.beta(2, 5, items) - 2 / 7
        better.append(sign_flip_p(differences.tolist(), run, draws) <= alpha)
        shifted = (differences - margin).tolist()
        passed.append(bootstrap_p(shifted, [1] * items, run, -margin, draws) <= alpha)
    return share(np.array(better)), share(np.array(passed))


# --- what answers cost -------------------------------------------------------------------------------------

LIMIT_RATE = 0.05
#: Spread of the logarithm of a length: the longest of a hundred answers is then about ten times the median.
LENGTH_SPREAD = 0.8


@cache
def rate_passes(shown: int, items: int, most: float) -> bool:
    costs = [PairedItem(str(i), 0.0, float(i < shown)) for i in range(items)]
    rule = GateRule(suite="s", measure="refusals", at_most=most, confidence=1 - ALPHA)
    return decide([rule], {}, [], 1, seed=0, measures={("s", "refusals"): costs}).outcome == "promote"


def rate_at(runs: int, items: int, true: float, seed: int) -> Share:
    """How often `at_most` lets a true rate of refusals pass a limit of `LIMIT_RATE`."""
    shown = np.random.default_rng(seed).binomial(items, true, runs)
    return share(np.array([rate_passes(int(k), items, LIMIT_RATE) for k in shown]))


def length_at(runs: int, items: int, true: float, seed: int) -> Share:
    """How often `at_most` lets skewed lengths of this true mean pass a limit of 1."""
    rng = np.random.default_rng(seed)
    alpha, passed = alpha_at(1, ALPHA), []
    for run in range(runs):
        lengths = true * rng.lognormal(-(LENGTH_SPREAD**2) / 2, LENGTH_SPREAD, items)
        passed.append(studentised_p(lengths.tolist(), [1] * items, run, 1.0, 1_000) <= alpha)
    return share(np.array(passed))


def _cost_table(runs: int) -> str:
    rows = [
        [items, rate_at(runs, items, 0.05, 21), rate_at(runs, items, 0.02, 22), length_at(runs, items, 1.0, 23),
         length_at(runs, items, 0.8, 24)]
        for items in (100, 200, 400)
    ]  # fmt: skip
    head = [
        "items", "refusals at most 5%: true 5% passes", "… true 2% passes", "mean length at most 1: true 1 passes",
        "… true 0.8 passes",
    ]  # fmt: skip
    return table(head, rows)


# --- stop when decided -------------------------------------------------------------------------------------

STOPPED = (0.0, 0.02, 0.05, 0.10)
STAGE_ENDS = tuple(round(ITEMS * each) for each in SHARES)


@cache
def at_stage(rule: GateRule, fixed: int, broken: int, stage: int) -> tuple[bool, bool]:
    """Whether evaluation ends after this stage, and whether the rule holds, by the gate itself."""
    staging = Staging(STAGE_ENDS, stage)
    same = [PairedItem(f"same{i}", 1.0, 1.0) for i in range(staging.used - fixed - broken)]
    items = [*suite_of(fixed, broken)[:-1], *same]
    grounds = Grounds([rule], {rule.suite: items}, stages={rule.suite: staging})
    return bool(grounds.settled()), grounds.decide().rules[0].outcome == "holds"


@dataclass(frozen=True)
class Stopped:
    """With stopping when decided, and without."""

    holds: Share
    whole: Share
    used: float
    """Mean share of the items."""


def stopped(runs: int, rule: GateRule, gain: float, seed: int) -> Stopped:
    """One look at items of which 15% change: how often the rule holds, and on how many of the items."""
    rng = np.random.default_rng(seed)
    sizes = np.diff([0, *STAGE_ENDS])
    parts = [changes(rng, runs, int(size), gain, CHANGED) for size in sizes]
    fixed, broken = (np.cumsum([part[arm] for part in parts], axis=0) for arm in (0, 1))
    last, holds, whole = [], [], []
    for run in range(runs):
        seen = (
            (k, at_stage(rule, int(fixed[k - 1, run]), int(broken[k - 1, run]), k))
            for k in range(1, len(STAGE_ENDS) + 1)
        )
        stage, (_, held) = next((k, found) for k, found in seen if found[0])
        last.append(STAGE_ENDS[stage - 1])
        holds.append(held)
        whole.append(holds_whole(rule, int(fixed[-1, run]), int(broken[-1, run])))
    return Stopped(share(np.array(holds)), share(np.array(whole)), float(np.mean(last)) / ITEMS)


@cache
def holds_whole(rule: GateRule, fixed: int, broken: int) -> bool:
    same = [PairedItem(f"same{i}", 1.0, 1.0) for i in range(ITEMS - fixed - broken)]
    found = Grounds([rule], {rule.suite: [*suite_of(fixed, broken)[:-1], *same]}).decide()
    return found.rules[0].outcome == "holds"


def _stopped_table(runs: int) -> str:
    better = GateRule(suite="holdout", better_by=0.0, confidence=1 - ALPHA)
    guard = GateRule(suite="guard", not_worse_than=0.05, confidence=1 - ALPHA)
    cases = [(better, gain) for gain in (-0.02, *STOPPED)] + [(guard, gain) for gain in (-0.05, 0.0, 0.02)]
    rows = []
    for rule, gain in cases:
        found = stopped(runs, rule, gain, 13)
        name = "`better_by: 0`" if rule is better else "`not_worse_than: 0.05`"
        rows.append([name, f"{100 * gain:+.0f} points", found.whole, found.holds, f"{100 * found.used:.0f}%"])
    return table(["rule", "truth", "holds, all items", "holds, stopped when decided", "items used"], rows)


# --- several rules, and guards -----------------------------------------------------------------------------


def many_rules(runs: int, seed: int) -> tuple[Share, Share]:
    """Three suites, one look. First: only one candidate's rule is untrue, how often is it promoted?
    Second: all three gains are untrue, how often does at least one line of the report claim a gain?"""
    rng = np.random.default_rng(seed)
    gains = [changes(rng, runs, ITEMS, 0.10, CHANGED) for _ in range(2)]
    nulls = [changes(rng, runs, ITEMS, 0.0, CHANGED) for _ in range(3)]
    mixed = [outcomes([*_row(gains, i), *_row(nulls[:1], i)], 1) for i in range(runs)]
    untrue = [outcomes(_row(nulls, i), 1) for i in range(runs)]
    promoted = np.array([row == ["holds"] * 3 for row in mixed])
    return share(promoted), share(np.array(["holds" in row for row in untrue]))


def _row(tables: Sequence[tuple[Ints, Ints]], run: int) -> list[tuple[int, int]]:
    return [(int(fixed[run]), int(broken[run])) for fixed, broken in tables]


def most_broken(items: int, margin: float, look: int) -> int | None:
    """The most broken items (none fixed) with which a guard still holds; None if not even with none."""
    alpha = alpha_at(look, ALPHA)
    held = [k for k in range(items) if noninferiority_p(0, k, items, margin) <= alpha]
    return max(held, default=None)


def guard_passes(runs: int, items: int, margin: float, look: int, changed: float, seed: int) -> Share:
    """How often an equally good candidate passes a guard, where a share of its items changes either way."""
    fixed, broken = changes(np.random.default_rng(seed), runs, items, 0.0, changed)

    @cache
    def passes(fixed: int, broken: int) -> bool:
        return noninferiority_p(fixed, broken, items, margin) <= alpha_at(look, ALPHA)

    return share(each(passes, fixed, broken))


# --- tables ------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _false_promotions(curves: dict[str, list[Share]], worse: Sequence[dict[str, Share]]) -> str:
    rows = [[way, curve[0], curve[-1], *(w[way] for w in worse)] for way, curve in curves.items()]
    head = [
        "promote when",
        "equal, one look",
        "equal, ten looks",
        "2 points worse, 100 items",
        "…, 500 items",
    ]
    return table(head, rows)


def _power_table(points: Sequence[Power]) -> str:
    rows = [[f"{100 * p.gain:.0f} points", p.items, p.gate, f"{100 * p.expected:.1f}%", p.unpaired] for p in points]
    return table(["true gain", "items", "the gate finds it", "`stats.power`", "unpaired z-test"], rows)


def _guard_table(runs: int) -> str:
    rows = []
    for items in (100, 200, 300, 400, 600):
        for margin in (0.02, 0.03, 0.05):
            allowed = [most_broken(items, margin, look) for look in (1, 2, 3)]
            chance = [guard_passes(runs, items, margin, look, 0.02, 7) for look in (1, 2, 3)]
            cells = ["never" if a is None else a for a in allowed]
            rows.append([items, margin, *cells, *(f"{100 * c.value:.0f}%" for c in chance)])
    head = [
        "items",
        "margin",
        "broken allowed, look 1",
        "look 2",
        "look 3",
        "equal model passes, look 1",
        "2",
        "3",
    ]
    return table(head, rows)


def _other_table(runs: int) -> str:
    told, untold = clustered(runs, 50, 10, seed=3)
    few, few_untold = clustered(runs, 12, 20, seed=4)
    one_false, any_claim = many_rules(runs, seed=6)
    better, passed = graded(runs, 100, seed=5)
    chain = mixed_chain(runs, LOOKS, seed=8)
    rows = [
        ["equal models, 50 clusters of 10 items, clusters told", told],
        ["… the same items, clusters not told", untold],
        ["equal models, 12 clusters of 20 items, clusters told", few],
        ["… the same items, clusters not told", few_untold],
        ["guard on 50 clusters of 10, true loss = margin, passes", clustered_guard(runs, 50, 10, seed=9)],
        ["guard on 20 clusters of 10, true loss = margin, passes", clustered_guard(runs, 20, 10, seed=10)],
        ["equal models, 100 graded scores (skewed), gain claimed", better],
        ["guard on 100 graded scores, true loss = margin, passes", passed],
        ["three better_by rules, two true and one untrue, promoted", one_false],
        ["three untrue better_by rules, any line claims a gain", any_claim],
        [
            "ten iterations, promoted ones become incumbent: any candidate promoted that is not better",
            chain["false"],
        ],
        ["… any candidate promoted at all", chain["any"]],
    ]
    return table(["simulation", "share of runs"], rows)


def _advised_table(rows: Sequence[tuple[float, int, Share]]) -> str:
    return table(
        ["true gain", "items advised for 80%", "the gate finds it"],
        [[f"{100 * gain:.0f} points", items, found] for gain, items, found in rows],
    )


# --- picture -----------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, PLOT = 920, 330, 52, 44, 300
INK, PAPER, GRID = "#1f2937", "#ffffff", "#d1d5db"
COLOURS = ("#b91c1c", "#b45309", "#6d28d9", "#047857")


@dataclass(frozen=True)
class Line:
    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    """x and y as shares of the plot, from bottom left."""


def picture(curves: dict[str, list[Share]], points: Sequence[Power]) -> str:
    """Two plots side by side: false promotions over looks, and power against items."""
    body = _text(LEFT, 20, "An equal model promoted, by look", bold=True)
    body += _plot(LEFT, _false_lines(curves), [str(k) for k in range(1, LOOKS + 1)], "looks at one holdout", 0.05)
    right = LEFT + PLOT + 190
    body += _text(right, 20, "A true gain found by the gate, first look", bold=True)
    body += _plot(right, _power_lines(points), [str(n) for n in SIZES], "items in the holdout", 0.8)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="False promotions over looks, and power against items" '
        f'font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>\n{body}</svg>\n'
    )


def _false_lines(curves: dict[str, list[Share]]) -> list[Line]:
    short = {NAIVE: "score higher", UNPAIRED: "unpaired", MCNEMAR: "paired, no spending", GATE: "the gate"}
    return [
        Line(short[way], colour, [(i / (LOOKS - 1), s.value) for i, s in enumerate(curves[way])])
        for way, colour in zip(short, COLOURS, strict=True)
    ]


def _power_lines(points: Sequence[Power]) -> list[Line]:
    return [
        Line(
            f"{100 * gain:.0f} points",
            colour,
            [(i / (len(SIZES) - 1), p.gate.value) for i, p in enumerate(p for p in points if p.gain == gain)],
        )
        for gain, colour in zip(GAINS, COLOURS[1:], strict=True)
    ]


def _plot(left: float, lines: Sequence[Line], ticks: Sequence[str], name: str, mark: float) -> str:
    """One plot; the dashed line at `mark` is the level to compare with."""
    height = HEIGHT - TOP - 56
    out = ""
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        out += f'<path d="M{left} {TOP + height * (1 - level):.1f}h{PLOT}" stroke="{GRID}"/>\n'
    for level in (mark, 0.25, 0.5, 1.0):
        out += _text(left - 6, TOP + height * (1 - level) + 4, f"{100 * level:.0f}%", "end")
    for i, tick in enumerate(ticks):
        out += _text(left + PLOT * i / (len(ticks) - 1), TOP + height + 18, tick, "middle")
    out += _text(left + PLOT / 2, TOP + height + 38, name, "middle")
    dashed = f'stroke="{INK}" stroke-dasharray="4 3"'
    out += f'<path d="M{left} {TOP + height * (1 - mark):.1f}h{PLOT}" {dashed}/>\n'
    return out + "".join(_curve(left, height, line) for line in lines) + _names(left, height, lines)


def _curve(left: float, height: float, line: Line) -> str:
    path = "L".join(f"{left + PLOT * x:.1f} {TOP + height * (1 - y):.1f}" for x, y in line.points)
    return f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>\n'


def _names(left: float, height: float, lines: Sequence[Line]) -> str:
    """Each curve's name at its end, far enough below the one above to be read."""
    out, free = "", 0.0
    for line in sorted(lines, key=lambda line: line.points[-1][1], reverse=True):
        y = max(TOP + height * (1 - line.points[-1][1]), free)
        out += _text(left + PLOT + 8, y + 4, line.label, colour=line.colour)
        free = y + 15
    return out


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{words}</text>\n'


# --- main --------------------------------------------------------------------------------------------------


def measure(runs: int) -> tuple[str, str]:
    """The measured block of docs/gate.md, and the picture."""
    curves = equal_models(runs, LOOKS, seed=1)
    worse = [against(runs, items, -0.02, seed=2) for items in (100, 500)]
    points = power_curve(runs, seed=11)
    parts = [
        f"{runs:,} runs each, by `python bench/gate.py`; in brackets the 95% interval of the simulation. One look "
        f"is the first, whose level is {100 * alpha_at(1, ALPHA):.2f}%.",
        "### False promotions\n\n" + _false_promotions(curves, worse),
        f"### Power, where {100 * CHANGED:.0f}% of the items change\n\n" + _power_table(points),
        "### Is the advice on items right?\n\n" + _advised_table(advised(runs, seed=12)),
        "### How large a guard must be\n\n" + _guard_table(runs),
        "### What answers cost (`at_most`)\n\n" + _cost_table(runs),
        f"### Stopped when decided, {ITEMS} items planned\n\n" + _stopped_table(runs),
        "### Clusters, graded scores, several rules, the whole loop\n\n" + _other_table(runs),
    ]
    return "\n\n".join(parts), picture(curves, points)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="update docs/gate.md and docs/gate.svg")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    started = time.perf_counter()
    block, svg = measure(options.runs)
    print(block)
    print(f"\n{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if options.write:
        page = DOCS / "gate.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END)[1]}")
        (DOCS / "gate.svg").write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
