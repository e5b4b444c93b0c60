"""`flywheel diff A B`: what two iterations were made from, how their models compare on the same items, what each cost.

An iteration's model is the one that it trained; where it trained none, the one that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.records.nodes import Query, finished
from flywheel.report import queries
from flywheel.report.scoring import change
from flywheel.stats import wilson

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


def diff(project: Workspace, query: Query, a: int, b: int) -> Diff:
    """Compare two iterations of the plan. Raises UsageError where one is not evaluated yet."""
    chain = make_plan(project, max(a, b), query).chain()
    one, two = _finished(query, chain, a), _finished(query, chain, b)
    arms = _arm(query, one), _arm(query, two)
    pairs = _pairs(query, (one, two), arms)
    return Diff(
        a,
        b,
        (_model(query, one, arms[0]), _model(query, two, arms[1])),
        _inputs(query, one, two),
        _rows(query, one, two),
        [_score(suite, found) for suite, found in _by(pairs, "suite").items()],
        _modes(pairs),
        [_moved(pair) for pair in pairs if pair["a"] != pair["b"]],
        [_cost(query, n, nodes) for n, nodes in ((a, one), (b, two))],
    )


def _finished(query: Query, chain: Mapping[int, Nodes], iteration: int) -> Nodes:
    nodes = chain.get(iteration, {})
    evaluated = [node for n in chain.values() for node in n.get("evaluate", ())]
    have = sorted({record.iteration for record in finished(query, evaluated)})
    if iteration not in have:
        known = ", ".join(map(str, have)) or "none"
        raise UsageError(
            f"iteration {iteration} of this spec is not evaluated yet; these are: {known}. Run `flywheel apply"
            f" --iterations {max(1, iteration)}`."
        )
    return nodes


def _arm(query: Query, nodes: Nodes) -> str:
    arms = query("SELECT DISTINCT arm FROM scores WHERE list_contains(?, node)", [list(nodes["evaluate"])])
    return "candidate" if any(row["arm"] == "candidate" for row in arms) else "incumbent"


def _model(query: Query, nodes: Nodes, arm: str) -> str:
    rows = query(
        "SELECT DISTINCT model_id FROM scores WHERE list_contains(?, node) AND arm = ?", [list(nodes["evaluate"]), arm]
    )
    return str(rows[0]["model_id"]) if rows else ""


# --- what they were made from -------------------------------------------------------------------------------


def _inputs(query: Query, one: Nodes, two: Nodes) -> list[Row]:
    before, now = _read(query, one), _read(query, two)
    parts = {(step, part) for step, part in {*before, *now} if before.get((step, part)) != now.get((step, part))}
    shared = {step for step, _ in before} & {step for step, _ in now}
    found = {part: (before.get((step, part)), now.get((step, part))) for step, part in parts if step in shared}
    return [{"part": part, "a": found[part][0], "b": found[part][1]} for part in sorted(found)]


def _read(query: Query, nodes: Nodes) -> dict[tuple[str, str], Any]:
    """(step, part) → what it read; seeds differ from iteration to iteration as they should."""
    records = finished(query, [node for found in nodes.values() for node in found])
    return {(record.step, part): value for record in records for part, value in record.inputs.items() if part != "seed"}


def _rows(query: Query, one: Nodes, two: Nodes) -> list[Row]:
    return query(
        """WITH one AS (SELECT DISTINCT lesson_id, mode, teacher FROM dataset WHERE list_contains(?, node)),
               two AS (SELECT DISTINCT lesson_id, mode, teacher FROM dataset WHERE list_contains(?, node)),
               moved AS (
                   SELECT mode, teacher, 1 AS added, 0 AS removed FROM two ANTI JOIN one USING (lesson_id)
                   UNION ALL
                   SELECT mode, teacher, 0, 1 FROM one ANTI JOIN two USING (lesson_id))
           SELECT coalesce(mode, '') AS mode, coalesce(teacher, '') AS teacher, CAST(sum(added) AS BIGINT) AS added,
               CAST(sum(removed) AS BIGINT) AS removed
           FROM moved GROUP BY ALL ORDER BY ALL""",
        [list(one.get("curate", ())), list(two.get("curate", ()))],
    )


# --- how they compare ---------------------------------------------------------------------------------------


def _pairs(query: Query, sides: tuple[Nodes, Nodes], arms: tuple[str, str]) -> list[Row]:
    """Each item that both models were judged on: scores, modes and answers of both."""
    return query(
        """SELECT a.suite, a.item_id, a.score AS a, b.score AS b, a.mode AS mode_a, b.mode AS mode_b,
               a.answer AS answer_a, b.answer AS answer_b
           FROM scores a JOIN scores b USING (suite, item_id)
           WHERE list_contains(?, a.node) AND a.arm = ? AND list_contains(?, b.node) AND b.arm = ?
               AND a.outcome <> 'unknown' AND b.outcome <> 'unknown' ORDER BY a.suite, a.item_id""",
        [list(sides[0]["evaluate"]), arms[0], list(sides[1]["evaluate"]), arms[1]],
    )


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


def _cost(query: Query, iteration: int, nodes: Nodes) -> Row:
    calls = query(queries.calls(nodes, "once.node"))
    steps = query(queries.node_costs(nodes))
    return {
        "iteration": iteration,
        "usd": sum(row["usd"] for row in calls),
        "tokens": int(sum(row["tokens"] for row in calls)),
        "calls": sum(row["calls"] for row in calls),
        "seconds": sum(row["seconds"] or 0.0 for row in steps),
    }
