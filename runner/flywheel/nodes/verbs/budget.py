"""budget: lessons are bought where the errors are: mass = rate x severity, with a floor and a cap a mode."""

from __future__ import annotations

from typing import Any

from flywheel.nodes.context import Context, NodeResult
from flywheel.plan.shares import spread, whole
from flywheel.records import Counts
from flywheel.spec.base import SEVERITY_WEIGHT
from flywheel.spec.models import ErrorMode
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
    rows = [row for generator in ctx.spec.generate for row in _buy(ctx, generator, probed, failed)]
    lessons = {f"{row['generator']}/{row['mode']}": row["lessons"] for row in rows if row["lessons"]}
    return NodeResult(Counts(len(rows), kept=len(rows)), {"budgets": rows}, {"lessons": lessons})


def _buy(
    ctx: Context, generator: Generator, probed: dict[str, int], failed: dict[tuple[str, str], int]
) -> list[dict[str, Any]]:
    task = ctx.spec.task_of(generator)
    untargeted = ctx.node.inputs.get("untargeted") and generator.source == "errors"
    if untargeted or not generator.has_modes:
        return [_undivided(ctx, generator, task)]
    modes = [m for m in ctx.spec.modes_of(task) if generator.modes is None or m.name in generator.modes]
    counts = [failed.get((task, mode.name), 0) for mode in modes]
    probes = probed.get(task, 0)
    masses = [_mass(count, probes, mode) for count, mode in zip(counts, modes, strict=True)]
    if generator.source != "errors":
        shares = [1 / len(modes)] * len(modes)
    else:
        shares = spread(masses, generator.floor, generator.cap)
    lessons = whole(shares, generator.accept)
    return [
        {
            "node": ctx.node.fingerprint, "generator": generator.name, "task": task, "mode": mode.name,
            "severity": mode.severity, "probes": probes, "failures": count, "mass": mass, "share": share,
            "lessons": number,
        }
        for mode, count, mass, share, number in zip(modes, counts, masses, shares, lessons, strict=True)
    ]  # fmt: skip


def _undivided(ctx: Context, generator: Generator, task: str) -> dict[str, Any]:
    """What is not made from failures has no mode; in the control of a comparison, that is everything."""
    return {
        "node": ctx.node.fingerprint, "generator": generator.name, "task": task, "mode": "", "severity": "minor",
        "probes": 0, "failures": 0, "mass": 0.0, "share": 1.0, "lessons": generator.accept,
    }  # fmt: skip


def _mass(failures: int, probes: int, mode: ErrorMode) -> float:
    """Observed error mass: the mode's rate among the probes, weighted by severity."""
    return SEVERITY_WEIGHT[mode.severity] * failures / probes if probes else 0.0
