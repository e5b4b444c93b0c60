"""budget: lessons are bought where the spec's policy says; by default where the errors are: mass = rate x severity,
with a floor and a cap a mode.
"""

from __future__ import annotations

from typing import Any

from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.policies import Seen, at_edge, edge_rows, shares_of
from flywheel.nodes.lessons.targeting import cannot_pay
from flywheel.plan.shares import whole
from flywheel.records import Counts
from flywheel.spec.strategies import Generator


def budget(ctx: Context) -> NodeResult:
    probed = {
        row["task"]: row["n"]
        for row in ctx.query(
            "SELECT task, count(*) AS n FROM answers WHERE list_contains(?, node) AND outcome != 'unknown' "
            "GROUP BY task",
            [ctx.fingerprints("probe", "mine")],
        )
    }
    failed = {
        (row["task"], row["mode"]): row["n"]
        for row in ctx.query(
            "SELECT task, mode, count(*) AS n FROM failures WHERE list_contains(?, node) GROUP BY task, mode",
            [ctx.fingerprints("diagnose")],
        )
    }
    edges = _edges(ctx)
    rows = [row for generator in ctx.spec.generate for row in _buy(ctx, generator, probed, failed, edges)]
    lessons = {f"{row['generator']}/{row['mode']}": row["lessons"] for row in rows if row["lessons"]}
    policy = {} if ctx.spec.budget.is_default else {"policy": ctx.spec.budget.weights}
    summary = {"lessons": lessons, **policy, **_found_at_edge(edges), **_cannot_pay(ctx, probed, failed)}
    return NodeResult(Counts(len(rows), kept=len(rows)), {"budgets": rows, "edges": edges}, summary)


def _cannot_pay(ctx: Context, probed: dict[str, int], failed: dict[tuple[str, str], int]) -> dict[str, list[str]]:
    """Of generators whose lessons go where the errors are."""
    said = []
    for generator in ctx.spec.generate:
        if generator.source == "errors" and _is_divided(ctx, generator):
            task = ctx.spec.task_of(generator)
            names = [m.name for m in ctx.spec.modes_of(task) if generator.modes is None or m.name in generator.modes]
            failures = {name: failed.get((task, name), 0) for name in names}
            said.append(cannot_pay(generator.name, failures, probed.get(task, 0), generator.accept))
    found = [words for words in said if words]
    return {"cannot_pay": found} if found else {}


def _edges(ctx: Context) -> list[dict[str, Any]]:
    """Of the tasks whose lessons are bought by what the student solves sometimes."""
    if not ctx.spec.budget.samples_student or ctx.node.inputs.get("untargeted"):
        return []
    tasks = {ctx.spec.task_of(generator): None for generator in ctx.spec.generate if _is_divided(ctx, generator)}
    return [row for task in tasks for row in edge_rows(ctx, task)]


def _found_at_edge(edges: list[dict[str, Any]]) -> dict[str, int]:
    return {"at_edge": sum(map(at_edge, edges)), "sampled": len(edges)} if edges else {}


def _is_divided(ctx: Context, generator: Generator) -> bool:
    untargeted = ctx.node.inputs.get("untargeted") and generator.source == "errors"
    return generator.has_modes and not untargeted


def _buy(
    ctx: Context,
    generator: Generator,
    probed: dict[str, int],
    failed: dict[tuple[str, str], int],
    edges: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    task = ctx.spec.task_of(generator)
    if not _is_divided(ctx, generator):
        return [_undivided(ctx, generator, task)]
    modes = [m for m in ctx.spec.modes_of(task) if generator.modes is None or m.name in generator.modes]
    counts = [failed.get((task, mode.name), 0) for mode in modes]
    seen = Seen(ctx, generator, task, modes, counts, probed.get(task, 0), edges)
    if generator.source != "errors":
        shares = {mode.name: 1 / len(modes) for mode in modes}
    else:
        shares = shares_of(seen, ctx.spec.budget.weights)
    known = {mode.name: row for mode, *row in zip(modes, counts, seen.masses, strict=True)}
    severity = {mode.name: mode.severity for mode in modes}
    lessons = whole(list(shares.values()), generator.accept)
    return [
        {
            "node": ctx.node.fingerprint, "generator": generator.name, "task": task, "mode": mode,
            "severity": severity.get(mode, "minor"), "probes": seen.probes, "failures": known.get(mode, [0, 0.0])[0],
            "mass": known.get(mode, [0, 0.0])[1], "share": share, "lessons": number,
        }
        for (mode, share), number in zip(shares.items(), lessons, strict=True)
    ]  # fmt: skip


def _undivided(ctx: Context, generator: Generator, task: str) -> dict[str, Any]:
    """What is not made from failures has no mode; in the control of a comparison, that is everything."""
    return {
        "node": ctx.node.fingerprint, "generator": generator.name, "task": task, "mode": "", "severity": "minor",
        "probes": 0, "failures": 0, "mass": 0.0, "share": 1.0, "lessons": generator.accept,
    }  # fmt: skip
