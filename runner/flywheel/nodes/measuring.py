"""One model on the declared suites: the work in the model worker, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flywheel.harness import Item, ItemResult, SuiteJob
from flywheel.harness import evaluate as run_suites
from flywheel.nodes.context import Context, Model
from flywheel.records import Outcome, Subject, Verdict
from flywheel.spec.models import Suite, Verifier
from flywheel.store.taxonomy import Failed, name_failures
from flywheel.student.loading import Arm
from flywheel.student.work import Asking
from flywheel.verifiers import Judge, outcome_of


@dataclass(frozen=True)
class EvaluationJob:
    """One model on all suites, with the verifiers that judge it."""

    arm: Arm
    asking: Asking
    suites: tuple[SuiteJob, ...]
    verifiers: Mapping[str, Verifier]
    verify: Mapping[str, Sequence[str]]
    root: str
    seed: int


def evaluate_in_worker(job: EvaluationJob, progress: Callable[[dict[str, Any]], None]) -> dict[str, list[ItemResult]]:
    """Runs in the model worker."""
    with Judge(job.verifiers, Path(job.root)) as judges:

        def judge(subject: Subject) -> tuple[Outcome, list[Verdict]]:
            verdicts = next(iter(judges.judge([subject], job.verify)))
            return outcome_of(verdicts), verdicts

        return run_suites(
            job.arm,
            job.suites,
            judge,
            system=job.asking.system,
            max_new_tokens=job.asking.max_new_tokens,
            batch_size=job.asking.batch_size,
            seed=job.seed,
            progress=progress,
        )


def suite_jobs(ctx: Context) -> list[SuiteJob]:
    return [_job(ctx, name, suite) for name, suite in ctx.spec.evals.items()]


def _job(ctx: Context, name: str, suite: Suite) -> SuiteJob:
    if suite.lm_eval is not None:
        return SuiteJob(
            name, lm_eval=suite.lm_eval, metric=suite.metric, limit=suite.limit, num_fewshot=suite.num_fewshot,
            include_path=str(ctx.root / "evals"),
        )  # fmt: skip
    assert suite.task is not None
    assert suite.data is not None
    task = suite.task
    rows = ctx.task_rows(task, suite.data)[: suite.limit]
    items = tuple(Item(row.row_id, ctx.prompt(task, row.inputs), row.inputs, row.gold) for row in rows)
    return SuiteJob(name, task=task, items=items)


def scored(ctx: Context, arm: str, model: Model, suites: Sequence[SuiteJob]) -> list[dict[str, Any]]:
    """A row of `scores` for each item."""
    job = EvaluationJob(
        arm=model.arm,
        asking=ctx.asking,
        suites=tuple(suites),
        verifiers=ctx.spec.verifiers,
        verify={name: task.verify for name, task in ctx.spec.tasks.items()},
        root=str(ctx.root),
        seed=ctx.seed(),
    )
    results: dict[str, list[ItemResult]] = ctx.compute(
        "flywheel.nodes.measuring:evaluate_in_worker", job, lambda m: ctx.progress(**m, what=arm)
    )
    return [row for suite, items in results.items() for row in _rows(ctx, arm, model, suite, items)]


def _rows(ctx: Context, arm: str, model: Model, name: str, items: Iterable[ItemResult]) -> list[dict[str, Any]]:
    suite = ctx.spec.evals[name]
    modes = _modes(ctx, suite, list(items))
    severity = {mode.name: mode.severity for mode in ctx.spec.taxonomy}
    return [
        {
            "node": ctx.node.fingerprint, "suite": name, "arm": arm, "model_id": model.model_id,
            "item_id": item.item_id, "row": item.row, "gold": item.gold, "answer": item.answer,
            "outcome": item.outcome, "score": item.score, "mode": mode, "severity": severity.get(mode or ""),
            "verdicts": [asdict(verdict) | {"seconds": 0.0} for verdict in item.verdicts],
            "slices": {column: item.row.get(column) for column in suite.slices},
            "cluster": item.row.get("cluster"),
        }
        for item, mode in zip(items, modes, strict=True)
    ]  # fmt: skip


def _modes(ctx: Context, suite: Suite, items: Sequence[ItemResult]) -> list[str | None]:
    """The error mode of each failed item, None for the others."""
    if suite.task is None:
        return [None] * len(items)
    wrong = [item for item in items if item.outcome == "fail"]
    failed = [Failed(item.row, item.answer, item.gold, item.verdicts) for item in wrong]
    names = name_failures(failed, ctx.spec.modes_of(suite.task), ctx.spec.tasks[suite.task].verify)
    by_item = {item.item_id: name for item, name in zip(wrong, names, strict=True)}
    return [by_item.get(item.item_id) for item in items]
