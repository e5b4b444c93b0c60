"""`flywheel diff A B`: what two iterations were made from, how their models compare on the same items, what each cost.

An iteration's model is the one that it trained; where it trained none, the one that it began with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.plan import changes
from flywheel.records.nodes import Query, finished
from flywheel.report import queries
from flywheel.report.html import render_diff
from flywheel.report.items import page_items
from flywheel.report.scoring import change
from flywheel.stats import wilson
from flywheel.text import listing

Row = dict[str, Any]
Nodes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Diff:
    """Rows as `--json` prints them; shares in [0, 1], differences are B minus A, `seconds` and `usd` in their units."""

    a: int
    b: int
    models: tuple[str, str]
    inputs: list[Row]
    """part, a, b: what their steps read and is not the same."""
    rows: list[Row]
    """mode, teacher, added, removed: training rows that only B, or only A, has."""
    scores: list[Row]
    """suite, items, a, b, difference, low, high, fixed, broken; on items that both models have a verdict for."""
    modes: list[Row]
    """suite, mode, items, a, b, difference, low, high: share of the items that fail in this way."""
    moved: list[Row]
    """suite, item_id, movement (fixed, broken), a, b: the answers."""
    cost: list[Row]
    """iteration, usd, tokens, calls, seconds."""


@dataclass(frozen=True)
class DiffSide:
    """One iteration's steps in its store, and the arm that its model was there."""

    query: Query
    nodes: Nodes
    arm: str


def diff(project: Workspace, query: Query, a: int, b: int, other: tuple[Workspace, Query] | None = None) -> Diff:
    """Compare two iterations of the plan, or `a` with iteration `b` of an `other` project. Raises UsageError where one
    is not evaluated yet."""
    one, two = sides(project, query, a, b, other)
    pairs = [pair for pair in _pairs(one, two) if "unknown" not in (pair["outcome_a"], pair["outcome_b"])]
    return Diff(
        a,
        b,
        (_model(one), _model(two)),
        _inputs(one, two),
        _rows(one, two),
        [_score(suite, found) for suite, found in _by(pairs, "suite").items()],
        _modes(pairs),
        [_moved(pair) for pair in pairs if pair["a"] != pair["b"]],
        [_cost(side, n) for n, side in ((a, one), (b, two))],
    )


def sides(
    project: Workspace, query: Query, a: int, b: int, other: tuple[Workspace, Query] | None = None
) -> tuple[DiffSide, DiffSide]:
    """Both sides of a comparison. Raises UsageError where one is not evaluated yet."""
    if other is None:
        chain = make_plan(project, max(a, b), query).chain()
        return _side(query, chain, a), _side(query, chain, b)
    theirs, asked = other
    return (
        _side(query, make_plan(project, a, query).chain(), a),
        _side(asked, make_plan(theirs, b, asked).chain(), b),
    )


def _side(query: Query, chain: Mapping[int, Nodes], iteration: int) -> DiffSide:
    nodes = _finished(query, chain, iteration)
    return DiffSide(query, nodes, _arm(query, nodes))


def diff_page(project: Workspace, query: Query, found: Diff, other: tuple[Workspace, Query] | None = None) -> str:
    """A comparison as one page, with every item that both models answered."""
    one, two = sides(project, query, found.a, found.b, other)
    theirs = f" of {other[0].root.name}" if other else ""
    labels = (f"Iteration {found.a}", f"Iteration {found.b}{theirs}")
    targets = {name: project.spec.tasks[suite.task].target for name, suite in project.spec.evals.items() if suite.task}
    return render_diff(project.spec.name, labels, asdict(found), list(page_items(_pairs(one, two), targets, {})))


def _finished(query: Query, chain: Mapping[int, Nodes], iteration: int) -> Nodes:
    nodes = chain.get(iteration, {})
    evaluated = [node for n in chain.values() for node in n.get("evaluate", ())]
    have = sorted({record.iteration for record in finished(query, evaluated)})
    if iteration not in have:
        known = listing(map(str, have), str(iteration)) or "none"
        raise UsageError(
            f"iteration {iteration} of this spec is not evaluated yet; these are: {known}. Run `flywheel apply"
            f" --iterations {max(1, iteration)}`."
        )
    return nodes


def _arm(query: Query, nodes: Nodes) -> str:
    arms = query("SELECT DISTINCT arm FROM scores WHERE list_contains(?, node)", [list(nodes["evaluate"])])
    return "candidate" if any(row["arm"] == "candidate" for row in arms) else "incumbent"


def _model(side: DiffSide) -> str:
    rows = side.query(
        "SELECT DISTINCT model_id FROM scores WHERE list_contains(?, node) AND arm = ?",
        [list(side.nodes["evaluate"]), side.arm],
    )
    return str(rows[0]["model_id"]) if rows else ""


# --- what they were made from -------------------------------------------------------------------------------


def _inputs(one: DiffSide, two: DiffSide) -> list[Row]:
    before, now = _read(one), _read(two)
    parts = {(step, part) for step, part in {*before, *now} if before.get((step, part)) != now.get((step, part))}
    shared = {step for step, _ in before} & {step for step, _ in now}
    found = [(step, part) for step, part in parts if step in shared]
    read = ({part: side[step, part] for step, part in found if (step, part) in side} for side in (before, now))
    return [{"part": part, "a": a, "b": b} for part, a, b in changes(*read)]


def _read(side: DiffSide) -> dict[tuple[str, str], Any]:
    """(step, part) → what it read; seeds differ from iteration to iteration as they should."""
    records = finished(side.query, [node for found in side.nodes.values() for node in found])
    return {(record.step, part): value for record in records for part, value in record.inputs.items() if part != "seed"}


def _rows(one: DiffSide, two: DiffSide) -> list[Row]:
    before, now = _lessons(one), _lessons(two)
    added = Counter(of for lesson, of in now.items() if lesson not in before)
    removed = Counter(of for lesson, of in before.items() if lesson not in now)
    return [
        {"mode": mode, "teacher": teacher, "added": added[mode, teacher], "removed": removed[mode, teacher]}
        for mode, teacher in sorted({*added, *removed})
    ]


def _lessons(side: DiffSide) -> dict[str, tuple[str, str]]:
    """Training row → mode and teacher."""
    rows = side.query(
        "SELECT DISTINCT lesson_id, mode, teacher FROM dataset WHERE list_contains(?, node)",
        [list(side.nodes.get("curate", ()))],
    )
    return {row["lesson_id"]: (row["mode"] or "", row["teacher"] or "") for row in rows}


# --- how they compare ---------------------------------------------------------------------------------------


def _pairs(one: DiffSide, two: DiffSide) -> list[Row]:
    """Each item that both models answered, with both sides' columns and how it moved."""
    theirs = {(row["suite"], row["item_id"]): row for row in _answers(two)}
    found = []
    for row in _answers(one):
        if other := theirs.get((row["suite"], row["item_id"])):
            shared = {name: row[name] for name in ("suite", "item_id", "question", "gold", "slices")}
            arms = {f"{name}_{side}": arm[name] for side, arm in (("a", row), ("b", other)) for name in _ARM}
            scores = {"a": row["score"], "b": other["score"]}
            found.append({**shared, **arms, **scores, "movement": _movement(row["outcome"], other["outcome"])})
    return found


_ARM = ("outcome", "score", "mode", "answer", "verdicts")


def _answers(side: DiffSide) -> list[Row]:
    return side.query(
        """SELECT suite, item_id, s.row AS question, gold, slices, outcome, score, mode, answer, verdicts FROM scores s
           WHERE list_contains(?, node) AND arm = ? ORDER BY suite, item_id""",
        [list(side.nodes["evaluate"]), side.arm],
    )


def _movement(before: str, after: str) -> str:
    if "unknown" in (before, after):
        return "unknown"
    if before == after:
        return "still_right" if after == "pass" else "still_wrong"
    return "fixed" if after == "pass" else "broken"


def _by(pairs: Sequence[Row], key: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for pair in pairs:
        found.setdefault(pair[key], []).append(pair)
    return found


def _score(suite: str, pairs: Sequence[Row]) -> Row:
    gained = sum(max(p["b"] - p["a"], 0) for p in pairs)
    lost = sum(max(p["a"] - p["b"], 0) for p in pairs)
    moves = {"fixed": sum(p["b"] > p["a"] for p in pairs), "broken": sum(p["b"] < p["a"] for p in pairs)}
    sums = sum(p["a"] for p in pairs), sum(p["b"] for p in pairs)
    return {"suite": suite, "items": len(pairs), **_paired(sums, gained, lost, len(pairs)), **moves}


def _modes(pairs: Sequence[Row]) -> list[Row]:
    found = []
    for suite, rows in _by(pairs, "suite").items():
        for mode in sorted({p[side] for p in rows for side in ("mode_a", "mode_b") if p[side]}):
            caught = sum(p["mode_b"] == mode and p["mode_a"] != mode for p in rows)
            cured = sum(p["mode_a"] == mode and p["mode_b"] != mode for p in rows)
            sums = sum(p["mode_a"] == mode for p in rows), sum(p["mode_b"] == mode for p in rows)
            found.append({"suite": suite, "mode": mode, "items": len(rows), **_paired(sums, caught, cured, len(rows))})
    return found


def _paired(sums: tuple[float, float], gained: float, lost: float, items: int) -> Row:
    """Shares of both sides with Wilson's intervals, and their paired difference with Tango's."""
    moved = change(gained, lost, items)
    assert moved is not None  # there is no suite without an item
    return {
        "a": sums[0] / items,
        "a_interval": list(wilson(sums[0], items)),
        "b": sums[1] / items,
        "b_interval": list(wilson(sums[1], items)),
        "difference": moved.value,
        "low": moved.low,
        "high": moved.high,
    }


def _moved(pair: Row) -> Row:
    movement = "fixed" if pair["b"] > pair["a"] else "broken"
    names = {"suite": pair["suite"], "item_id": pair["item_id"], "movement": movement}
    return {**names, "a": pair["answer_a"], "b": pair["answer_b"], "mode_a": pair["mode_a"], "mode_b": pair["mode_b"]}


# --- what they cost -----------------------------------------------------------------------------------------


def _cost(side: DiffSide, iteration: int) -> Row:
    calls = side.query(queries.calls(side.nodes, "once.node"))
    steps = side.query(queries.node_costs(side.nodes))
    return {
        "iteration": iteration,
        "usd": sum(row["usd"] for row in calls),
        "tokens": int(sum(row["tokens"] for row in calls)),
        "calls": sum(row["calls"] for row in calls),
        "seconds": sum(row["seconds"] or 0.0 for row in steps),
    }
