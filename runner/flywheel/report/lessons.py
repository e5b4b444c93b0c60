"""Where lessons come from and what they cost: funnel, teachers, verifiers, training, time and money."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from flywheel.report import queries
from flywheel.report.facts import Facts, TeacherFact
from flywheel.report.model import (
    Costs,
    Funnel,
    Loss,
    LossPoint,
    MixRow,
    NodeCost,
    Stage,
    Teacher,
    Teachers,
    Training,
    Verifiers,
    VerifierUse,
)
from flywheel.report.scoring import Chain, Query, Row, rate
from flywheel.report.words import shown

#: Points of a loss curve that a page can show.
CURVE_POINTS = 240

StageName = Literal["generated", "parsed", "verified", "curated", "trained"]
STAGES: tuple[StageName, ...] = get_args(StageName)


def funnel(query: Query, nodes: queries.Nodes) -> Funnel:
    """Generated → parsed → verified → curated → trained, with the recorded reason for every row lost."""
    sql, losses_sql = queries.lessons(nodes), queries.losses_on_the_way(nodes)
    counts = query(sql, ())[0]
    losses = _losses(query(losses_sql, ()))
    left_out = counts["curated"] - counts["trained"]
    if left_out > 0:
        losses["trained"] = (Loss(cause="left out of the mix", rows=left_out, reasons=()),)
    stages = (Stage(name=name, rows=counts[name], losses=losses.get(name, ())) for name in STAGES)
    return Funnel(stages=tuple(stages), query=sql, losses_query=losses_sql)


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


def _keyed(rows: list[Row], column: str) -> dict[str, Row]:
    return {row[column]: row for row in rows if row[column] is not None}


def teachers(query: Query, nodes: queries.Nodes, facts: Facts) -> Teachers:
    """What each teacher cost and what of it was kept. Declared teachers that were not asked have zeros."""
    lessons_sql = queries.lessons(nodes, "teacher")
    calls_sql, dataset_sql = queries.calls(nodes, "teacher"), queries.dataset(nodes, "teacher")
    lessons, calls = _keyed(query(lessons_sql, ()), "teacher"), _keyed(query(calls_sql, ()), "teacher")
    trained_on = query(dataset_sql, ())
    total, shares = sum(row["lessons"] for row in trained_on), _keyed(trained_on, "teacher")
    known = {teacher.name: teacher for teacher in facts.teachers}
    names = [*known, *sorted((lessons.keys() | calls.keys()) - known.keys())]
    rows = tuple(
        _teacher(
            known.get(name, TeacherFact(name, "unknown")),
            lessons.get(name, {}),
            calls.get(name, {}),
            shares.get(name, {}),
            total,
        )
        for name in names
    )
    return Teachers(rows=rows, lessons_query=lessons_sql, calls_query=calls_sql, dataset_query=dataset_sql)


def _teacher(fact: TeacherFact, lessons: Row, calls: Row, share: Row, total: int) -> Teacher:
    candidates, accepted = lessons.get("generated", 0), lessons.get("verified", 0)
    usd = calls.get("usd", 0.0)
    return Teacher(
        name=fact.name,
        kind=fact.kind,
        simulated=fact.simulated,
        style=shown(fact.style, 160),
        calls=calls.get("calls", 0),
        failed_calls=calls.get("failed", 0),
        candidates=candidates,
        accepted=accepted,
        acceptance=rate(accepted, candidates),
        trained=lessons.get("trained", 0),
        dataset_share=share.get("lessons", 0) / total if total else None,
        tokens=int(calls.get("tokens", 0)),
        usd=usd,
        usd_per_accepted=usd / accepted if accepted else None,
    )


def verifiers(query: Query, nodes: queries.Nodes) -> Verifiers:
    sql = queries.verifiers(nodes)
    rows = (VerifierUse(name=row.pop("verifier"), **row) for row in query(sql, ()))
    return Verifiers(rows=tuple(rows), query=sql)


def _thinned(points: list[Any], limit: int) -> list[Any]:
    """Evenly spaced, first and last kept."""
    if len(points) <= limit:
        return points
    return [points[round(i * (len(points) - 1) / (limit - 1))] for i in range(limit)]


def training(query: Query, nodes: queries.Nodes) -> Training:
    curve_sql, mix_sql = queries.loss_curve(nodes), queries.dataset(nodes, "mode")
    adapter = next(iter(query(queries.adapters(nodes), ())), None)
    curve = _thinned(query(curve_sql, ()), CURVE_POINTS)
    counts = ("new", "replay", "seed")
    mix = (MixRow(mode=r["mode"] or "(none)", **{k: r[k] for k in counts}) for r in query(mix_sql, ()))
    numbers = adapter or {"rows": 0, "left_out": 0, "steps": 0, "tokens": 0}
    return Training(
        trained=adapter is not None,
        **{key: numbers[key] or 0 for key in ("rows", "left_out", "steps", "tokens")},
        losses=tuple(LossPoint(step=row["step"], loss=row["loss"]) for row in curve),
        mix=tuple(mix),
        losses_query=curve_sql,
        mix_query=mix_sql,
    )


def costs(query: Query, chain: Chain, iteration: int) -> Costs:
    """Time, tokens and money of each node of the iteration, as they were when it ran, also where reused."""
    nodes = chain[iteration]
    sql, calls_sql = queries.node_costs(nodes), queries.calls(nodes, "once.node")
    calls = _keyed(query(calls_sql, ()), "node")
    rows = tuple(_node_cost(row, calls.get(row["node"], {})) for row in query(sql, ()))
    before = query(queries.node_costs(chain[iteration - 1]), ()) if iteration - 1 in chain else []
    return Costs(
        nodes=rows,
        seconds=sum(row.seconds for row in rows),
        seconds_before=sum(row["seconds"] or 0.0 for row in before) if before else None,
        usd=sum(row["usd"] for row in calls.values()),
        tokens=int(sum(row["tokens"] for row in calls.values())),
        query=sql,
        calls_query=calls_sql,
    )


def _node_cost(row: Row, calls: Row) -> NodeCost:
    return NodeCost(
        name=row["name"],
        kind=row["kind"],
        seconds=row["seconds"] or 0.0,
        **{key: row[key] or 0 for key in ("rows_in", "kept", "rejected", "failed")},
        tokens=int(calls.get("tokens", 0)),
        usd=calls.get("usd", 0.0),
    )


def settings_of(adapter: Row) -> tuple[tuple[str, str], ...]:
    """The training settings as (name, value) texts."""
    recorded = adapter.get("settings")
    settings = json.loads(recorded) if isinstance(recorded, str) else recorded or {}
    return tuple((str(key), shown(str(value), 160)) for key, value in sorted(settings.items()))
