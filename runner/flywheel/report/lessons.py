"""Where lessons go and what they cost: funnel, verifiers, training, time and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

from flywheel.report import queries
from flywheel.report.facts import ReportFacts
from flywheel.report.model import (
    Costs,
    Funnel,
    Loss,
    LossPoint,
    MixRow,
    NodeCost,
    Stage,
    Training,
    Verifiers,
    VerifierUse,
)
from flywheel.report.scoring import Chain, Query, Row, decoded, keyed
from flywheel.report.words import shown

#: Points of a loss curve that a page can show.
CURVE_POINTS = 240

StageName = Literal["generated", "parsed", "fitting", "verified", "chosen", "curated", "trained"]
STAGES: tuple[StageName, ...] = get_args(StageName)


def funnel(query: Query, nodes: queries.Nodes, facts: ReportFacts, taught: Sequence[Row]) -> Funnel:
    """Generated → parsed → fitting → verified → chosen → curated → trained, with the recorded reason for every row
    lost; what verifiers failed in the order in which they looked. `taught`: rows of `queries.taught`."""
    losses_sql, asked_sql = queries.losses_on_the_way(nodes), queries.asked(nodes)
    counts, asked = {name: sum(row[name] for row in taught) for name in STAGES}, query(asked_sql, ())
    losses = _losses(query(losses_sql, ()))
    order = verifier_order(facts)
    by_cascade = sorted(losses.get("verified", ()), key=lambda loss: order.get(loss.cause.split(": ")[0], len(order)))
    losses["verified"] = tuple(by_cascade)
    left_out = counts["curated"] - counts["trained"]
    if left_out > 0:
        losses["trained"] = (Loss(cause="left out of the mix", rows=left_out, reasons=()),)
    stages = (Stage(name=name, rows=counts[name], losses=losses.get(name, ())) for name in STAGES)
    return Funnel(
        wanted=sum(int(row["wanted"]) for row in asked),
        calls=sum(row["calls"] or 0 for row in asked),
        calls_cached=sum(row["cached"] or 0 for row in asked),
        calls_failed=_faults(asked),
        stages=tuple(stages),
        query=queries.taught(nodes),
        losses_query=losses_sql,
        asked_query=asked_sql,
    )


def verifier_order(facts: ReportFacts) -> dict[str, int]:
    names = dict.fromkeys(name for task in facts.tasks for name, _ in task.verify)
    return {name: place for place, name in enumerate(names)}


def _faults(asked: list[Row]) -> tuple[tuple[str, int], ...]:
    total: Counter[str] = Counter()
    for row in asked:
        total.update(decoded(row["failed"]) or {})
    return tuple((shown(fault, 60), number) for fault, number in total.most_common())


def _losses(rows: list[Row]) -> dict[str, tuple[Loss, ...]]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["stage"], row["cause"]), []).append(row)
    by_stage: dict[str, tuple[Loss, ...]] = {}
    for (stage, cause), found in grouped.items():
        reasons = tuple((shown(r["reason"], 160), r["lessons"]) for r in found if r["reason"])
        loss = Loss(cause=shown(cause, 80), rows=int(found[0]["total"]), reasons=reasons)
        by_stage[stage] = (*by_stage.get(stage, ()), loss)
    return by_stage


def verifiers(query: Query, nodes: queries.Nodes, facts: ReportFacts) -> Verifiers:
    """In the order of the cascade, task by task."""
    sql, order = queries.verifiers(nodes), verifier_order(facts)
    rows = (VerifierUse(name=row.pop("verifier"), **row) for row in query(sql, ()))
    cascade = sorted(rows, key=lambda use: (use.task, order.get(use.name, len(order)), use.name, use.version))
    return Verifiers(rows=tuple(cascade), query=sql)


def _thinned(points: list[Any], limit: int) -> list[Any]:
    """Evenly spaced, first and last kept."""
    if len(points) <= limit:
        return points
    return [points[round(i * (len(points) - 1) / (limit - 1))] for i in range(limit)]


def training(query: Query, nodes: queries.Nodes) -> Training:
    curve_sql, mix_sql = queries.loss_curve(nodes), queries.dataset(nodes, "mode")
    adapter = next(iter(query(queries.trained_on_lessons(nodes), ())), None)
    curve = _thinned(query(curve_sql, ()), CURVE_POINTS)
    counts = ("new", "replay", "seed")
    notes = next((decoded(row["notes"]) for row in query(queries.training_notes(nodes), ())), None) or []
    mix = (MixRow(mode=r["mode"], **{k: r[k] for k in counts}) for r in query(mix_sql, ()))
    numbers = adapter or {"rows": 0, "left_out": 0, "steps": 0, "tokens": 0}
    return Training(
        trained=bool(query(queries.adapters(nodes), ())),
        **{key: numbers[key] or 0 for key in ("rows", "left_out", "steps", "tokens")},
        losses=tuple(LossPoint(step=row["step"], loss=row["loss"]) for row in curve),
        mix=tuple(mix),
        notes=tuple(shown(str(note), 300) for note in notes),
        losses_query=curve_sql,
        mix_query=mix_sql,
    )


def costs(query: Query, chain: Chain, iteration: int) -> Costs:
    """Time, tokens and money of each node of the iteration, as they were when it ran, also where reused; beside those
    of the iteration before."""
    nodes, earlier = chain[iteration], chain.get(iteration - 1, {})
    sql, calls_sql, before_sql = (
        queries.node_costs(nodes), queries.calls(nodes, "once.node"), queries.calls(earlier, "once.node")
    )  # fmt: skip
    calls, calls_before = keyed(query(calls_sql, ()), "node"), keyed(query(before_sql, ()), "node")
    before = {_role(row["name"]): row for row in query(queries.node_costs(earlier), ())} if earlier else {}
    rows = []
    for row in query(sql, ()):
        last = before.get(_role(row["name"]), {})
        rows.append(_node_cost(row, calls.get(row["node"], {}), last, calls_before.get(last.get("node", ""), {})))
    return Costs(
        nodes=tuple(rows),
        seconds=sum(row.seconds for row in rows),
        seconds_before=sum(row["seconds"] or 0.0 for row in before.values()) if before else None,
        usd=sum(row["usd"] for row in calls.values()),
        usd_before=sum(row["usd"] for row in calls_before.values()) if before else None,
        tokens=int(sum(row["tokens"] for row in calls.values())),
        tokens_before=int(sum(row["tokens"] for row in calls_before.values())) if before else None,
        query=sql,
        calls_query=calls_sql,
        calls_before_query=before_sql,
    )


def _role(name: str) -> str:
    """What a step is in any iteration: `i2.generate.targeted.r1` → `generate.targeted.r1`."""
    return name.partition(".")[2] if name.startswith("i") and name[1:2].isdigit() else name


def _node_cost(row: Row, calls: Row, last: Row, calls_before: Row) -> NodeCost:
    return NodeCost(
        name=shown(row["name"], 120),
        kind=row["kind"],
        seconds=row["seconds"] or 0.0,
        seconds_before=last.get("seconds"),
        **{key: row[key] or 0 for key in ("rows_in", "kept", "rejected", "failed")},
        tokens=int(calls.get("tokens", 0)),
        usd=calls.get("usd", 0.0),
        usd_before=calls_before.get("usd", 0.0) if last else None,
    )


def settings_of(adapter: Row) -> tuple[tuple[str, str], ...]:
    """The training settings as (name, value) texts."""
    settings = decoded(adapter.get("settings")) or {}
    return tuple((str(key), shown(str(value), 160)) for key, value in sorted(settings.items()))
