"""report: one page an iteration, from the store's rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flywheel.files import copy_folder, write_folder
from flywheel.hashing import hash_file, short
from flywheel.nodes.context import Context, NodeResult
from flywheel.nodes.lessons.allocation import Paid, thompson_shares
from flywheel.prompting.artefacts import task_reading
from flywheel.records import Counts
from flywheel.records.live import live_tests
from flywheel.records.nodes import finished
from flywheel.spec.models import Suite
from flywheel.spec.strategies import Generator
from flywheel.text import one_line
from flywheel.verifiers.rates import together, versions_of

if TYPE_CHECKING:
    from flywheel.report import GeneratorFact, ReportFacts, SuiteFact, TaskFact
    from flywheel.report.model import Area


def report(ctx: Context) -> NodeResult:
    from flywheel.report import assemble, items, queries, render, render_junit, render_summary

    chain = [ctx.chain[n] for n in sorted(ctx.chain) if n <= ctx.node.iteration]
    page = assemble(ctx.query, ctx.node.iteration, chain, facts_of(ctx))
    rows = items.item_rows(ctx.query, chain[-1], page.items.total)
    past = items.pasts(ctx.query, dict(enumerate(chain, start=1)), [row["item_id"] for row in rows])
    data = ctx.columns_of(queries.item_data(chain[-1]))
    files: dict[str, str | bytes] = {
        "index.html": render(page, items.page_items(rows, dict(page.items.targets), past)),
        "items.csv": items.csv_bytes(data),
        "items.parquet": items.parquet_bytes(data),
        "report.json": page.model_dump_json(indent=1),
        "summary.md": render_summary(page),
        "junit.xml": render_junit(page),
    }
    write_folder(ctx.artifact, files)
    copy_folder(ctx.artifact, ctx.root / "reports" / f"iter-{ctx.node.iteration:03d}")
    return NodeResult(
        Counts(1, 1),
        summary={
            "path": f"reports/iter-{ctx.node.iteration:03d}/index.html",
            "artifact": ctx.artifact.relative_to(ctx.root).as_posix(),
            "hash": hash_file(ctx.artifact / "report.json"),
        },
    )


def facts_of(ctx: Context) -> ReportFacts:
    from flywheel.report import JudgeFact, ModeFact, ReportFacts, TeacherFact

    spec = ctx.spec
    return ReportFacts(
        name=spec.name,
        description=spec.description,
        seed=spec.seed,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=ctx.command,
        spec_text=ctx.spec_text,
        spec_hash=ctx.spec_hash,
        suites=tuple(_suite(ctx, name, suite) for name, suite in spec.evals.items()),
        teachers=tuple(
            TeacherFact(name, teacher.kind, teacher.is_simulated, _styles(teacher.style))
            for name, teacher in spec.teachers.items()
        ),
        taxonomy=tuple(ModeFact(m.name, m.severity, m.description, m.task or "") for m in spec.taxonomy),
        versions=dict(ctx.versions),
        changed=(*_started(ctx), *_changed(ctx)),
        live=tuple(live_tests(ctx.state / "canary")),
        generators=_generators(ctx),
        tasks=_tasks(ctx),
        judges=tuple(
            JudgeFact(name, verifier.asks, verifier.agreement_needed)
            for name, verifier in spec.verifiers.items()
            if verifier.asks is not None
        ),
        base_id=ctx.base().model_id,
        approve=spec.deploy.approve,
        iterations=max(ctx.chain),
        human_usd_per_example=spec.loop.human_usd_per_example,
        human_minutes_per_example=spec.loop.human_minutes_per_example,
        method=spec.train.method,
        rounds=spec.train.rounds,
    )


#: Of a suite, the keys that say what is asked, and how often.
_ASKED = {"task", "data", "repeats", "pass_at", "temperature", "stop"}


def _suite(ctx: Context, name: str, suite: Suite) -> SuiteFact:
    from flywheel.report import SuiteFact

    if suite.task is None:
        return SuiteFact(name, suite.role)
    asked = suite.model_dump(mode="json", include=_ASKED, exclude_defaults=True)
    asks = ", ".join(f"{k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in asked.items())
    target, shots = ctx.spec.tasks[suite.task].target, ctx.spec.shots_of(suite)
    return SuiteFact(name, suite.role, target, suite.task, asks, suite.limit, shots)


def _styles(style: str | list[str]) -> str:
    return style if isinstance(style, str) else "; ".join(style)


def _tasks(ctx: Context) -> tuple[TaskFact, ...]:
    from flywheel.report import TaskFact

    versions = versions_of(ctx.spec, ctx.root, ctx.teacher_parameters)
    return tuple(
        TaskFact(
            name,
            tuple((v, versions[v]) for v in task.verify),
            together(task.verify, versions),
            task_reading(ctx.spec, ctx.root, name),
            task.seeds is not None,
        )
        for name, task in ctx.spec.tasks.items()
    )


# --- who was asked, and who would be next -------------------------------------------------------------------


def _generators(ctx: Context) -> tuple[GeneratorFact, ...]:
    from flywheel.report import GeneratorFact

    paid = _paid(ctx)
    found = []
    for generator in ctx.spec.generate:
        weights = generator.weights
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        tried = {name: paid.get((generator.name, name), Paid()) for name in weights}
        asked = any(record.tried for record in tried.values())
        bandit = thompson_shares(tried, ctx.spec.seed) if asked else {}
        found.append(GeneratorFact(generator.name, generator.strategy, shares, bandit, _allocation(generator)))
    return tuple(found)


def _paid(ctx: Context) -> dict[tuple[str, str], Paid]:
    """(generator, teacher) → what its candidates of this iteration came to."""
    nodes = ctx.fingerprints("generate")
    rows = ctx.query(
        """WITH spent AS (SELECT key, round(sum(usd), 9) AS usd FROM calls GROUP BY key),
           made AS (SELECT *, count(*) OVER (PARTITION BY call_key) AS n FROM candidates WHERE list_contains(?, node))
           SELECT m.generator, m.teacher, count(*) AS tried, count(*) FILTER (j.outcome = 'pass') AS accepted,
               coalesce(round(sum(spent.usd / m.n), 9), 0) AS usd
           FROM made m LEFT JOIN judged j ON j.candidate_id = m.candidate_id AND list_contains(?, j.node)
           LEFT JOIN spent ON spent.key = m.call_key GROUP BY ALL""",
        [nodes, ctx.fingerprints("verify")],
    )
    return {(r["generator"], r["teacher"]): Paid(r["tried"], r["accepted"], r["usd"]) for r in rows}


def _allocation(generator: Generator) -> str:
    return "bandit" if generator.learns_who_pays else "weights"


# --- what changed -------------------------------------------------------------------------------------------


def _started(ctx: Context) -> list[tuple[Area, str]]:
    """How the iteration before ended, and which model this one therefore began with."""
    if ctx.node.iteration == 1:
        return []
    before = ctx.query(
        "SELECT outcome, candidate_id FROM decisions WHERE list_contains(?, node)", [ctx.earlier("gate")[-1:]]
    )[0]
    promoted = before["candidate_id"] is not None and before["candidate_id"] == ctx.incumbent().model_id
    starts = "the model that it promoted" if promoted else "the same incumbent as before"
    said = f"Iteration {ctx.node.iteration - 1} ended in “{before['outcome']}”; this one starts from {starts}."
    return [("start", said)]


def _changed(ctx: Context) -> list[tuple[Area, str]]:
    """What the steps read now and did not before: in the iteration before, and when this one last ran otherwise."""
    now = _inputs(ctx, ctx.fingerprints(*ctx.chain[ctx.node.iteration]))
    found: list[tuple[Area, str]] = []
    if ctx.node.iteration > 1:
        earlier = ctx.chain[ctx.node.iteration - 1]
        found = _differences(_inputs(ctx, ctx.fingerprints(*earlier, iteration=ctx.node.iteration - 1)), now)
    last, versions = _last_time(ctx)
    since = "since it last ran"
    found += [(area, f"{text} ({since})") for area, text in _differences(_inputs(ctx, last), now)]
    found += [
        ("versions", f"{package}: {versions[package]} → {version} ({since})")
        for package, version in ctx.versions.items()
        if versions.get(package, version) != version
    ]
    return found


def _inputs(ctx: Context, nodes: Sequence[str]) -> dict[tuple[str, str], Any]:
    """(step, part) → what it read. A step is the same in all iterations: `generate.targeted.r1`."""
    return {
        (record.step, part): value
        for record in ctx.finished(nodes)
        for part, value in record.inputs.items()
        if part != "seed"
    }


def _last_time(ctx: Context) -> tuple[list[str], dict[str, str]]:
    """The newest record of each of this iteration's steps that is none of this plan's; and that run's versions."""
    mine = ctx.finished(ctx.fingerprints(*ctx.chain[ctx.node.iteration]))
    names, nodes = {record.name for record in mine}, {record.node for record in mine}
    others = [r for r in finished(ctx.query) if r.name in names and r.node not in nodes]
    newest = list({record.name: record for record in others}.values())  # they come in the order in which they began
    last = max(newest, key=lambda record: record.started_at, default=None)
    runs = ctx.query("SELECT versions FROM runs WHERE run_id = ?", [last.run_id]) if last else []
    return [record.node for record in newest], dict(runs[0]["versions"] or {}) if runs else {}


def _differences(before: Mapping[tuple[str, str], Any], now: Mapping[tuple[str, str], Any]) -> list[tuple[Area, str]]:
    """Each part that differs in some step of both, once."""
    steps = {step for step, _ in before} & {step for step, _ in now}
    parts = {
        part: (before.get((step, part)), now.get((step, part)))
        for step, part in {*before, *now}
        if step in steps and before.get((step, part)) != now.get((step, part))
    }
    return [(_area(part), _difference(part, *parts[part])) for part in sorted(parts)]


def _difference(part: str, old: Any, new: Any) -> str:
    if part.startswith("file "):
        name = part.removeprefix("file ")
        return f"{name}: new" if old is None else f"{name}: gone" if new is None else f"{name}: other contents"
    return f"{part}: {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    return short(value) if isinstance(value, str) and len(value) == 64 else one_line(str(value), 80)


def _area(part: str) -> Area:
    if part.startswith("file ") and part.endswith((".jsonl", ".csv", ".parquet")):
        return "data"
    return "teachers" if part.startswith("teachers.") else "spec"
