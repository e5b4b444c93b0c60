"""report: one page an iteration, from the store's rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flywheel.files import copy_folder, write_folder
from flywheel.hashing import hash_file
from flywheel.nodes.context import Context, Result
from flywheel.records import Counts

if TYPE_CHECKING:
    from flywheel.report import Facts


def report(ctx: Context) -> Result:
    from flywheel.report import assemble, render, render_junit, render_summary

    chain = [ctx.chain[n] for n in sorted(ctx.chain) if n <= ctx.node.iteration]
    page = assemble(ctx.query, ctx.node.iteration, chain, facts_of(ctx))
    files = {
        "index.html": render(page),
        "report.json": page.model_dump_json(indent=1),
        "summary.md": render_summary(page),
        "junit.xml": render_junit(page),
    }
    write_folder(ctx.artifact, files)
    copy_folder(ctx.artifact, ctx.root / "reports" / f"iter-{ctx.node.iteration:03d}")
    return Result(
        Counts(1, 1),
        summary={
            "path": f"reports/iter-{ctx.node.iteration:03d}/index.html",
            "artifact": ctx.artifact.relative_to(ctx.root).as_posix(),
            "hash": hash_file(ctx.artifact / "report.json"),
        },
    )


def facts_of(ctx: Context) -> Facts:
    from flywheel.report import Facts, ModeFact, SuiteFact, TeacherFact

    spec = ctx.spec
    return Facts(
        name=spec.name,
        description=spec.description,
        seed=spec.seed,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=ctx.command,
        spec_text=ctx.spec_text,
        spec_hash=ctx.spec_hash,
        suites=tuple(
            SuiteFact(name, suite.role, spec.tasks[suite.task].target if suite.task else "")
            for name, suite in spec.evals.items()
        ),
        teachers=tuple(
            TeacherFact(name, teacher.kind, bool(getattr(teacher, "simulated", False)), teacher.style)
            for name, teacher in spec.teachers.items()
        ),
        taxonomy=tuple(ModeFact(m.name, m.severity, m.description) for m in spec.taxonomy),
        versions=dict(ctx.versions),
        changed=tuple(_changed(ctx)),
    )


def _changed(ctx: Context) -> list[str]:
    """What is different from the iteration before, in words: the model it started from, and parts of the spec."""
    if ctx.node.iteration == 1:
        return []
    before = _inputs(ctx, ctx.node.iteration - 1)
    now = _inputs(ctx, ctx.node.iteration)
    words = [
        f"{part}: {before.get(part)} → {now.get(part)}"
        for part in sorted(before.keys() | now.keys())
        if before.get(part) != now.get(part) and part != "seed"
    ]
    decision = ctx.query("SELECT outcome FROM decisions WHERE list_contains(?, node)", [ctx.earlier("gate")[-1:]])
    starts = "the model that it promoted" if decision[0]["outcome"] == "promote" else "the same incumbent as before"
    return [
        f"Iteration {ctx.node.iteration - 1} ended in “{decision[0]['outcome']}”; this one starts from {starts}.",
        *words,
    ]


def _inputs(ctx: Context, iteration: int) -> dict[str, Any]:
    kinds = ("probe", "diagnose", "budget", "curate", "train", "evaluate", "gate")
    fingerprints = ctx.fingerprints(*kinds, iteration=iteration)
    rows = ctx.query("SELECT inputs FROM nodes WHERE list_contains(?, node) AND status = 'done'", [fingerprints])
    return {part: value for row in rows for part, value in row["inputs"].items()}
