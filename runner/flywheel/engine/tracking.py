"""`flywheel track`: finished iterations as runs of an experiment tracker, from their reports.

Which server, which project, online or not: each tracker's own settings say so (`MLFLOW_TRACKING_URI`, `WANDB_MODE`,
`TRACKIO_DIR`, …). A run's name and id come from its report, and what a tracker has got is written down: a second call
sends what is new.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, UsageError
from flywheel.files import write_text
from flywheel.hashing import hash_file
from flywheel.report.model import Report
from flywheel.text import one_line


@dataclass(frozen=True)
class TrackedRun:
    """One iteration. `metrics`: shares in [0, 1], dollars, seconds, counts. `losses`: (step, nats a token)."""

    project: str
    iteration: int
    report_hash: str
    settings: dict[str, str]
    metrics: dict[str, float]
    losses: list[tuple[int, float]]
    page: Path

    @property
    def name(self) -> str:
        return f"iteration-{self.iteration}"

    @property
    def run_id(self) -> str:
        return self.report_hash[:16]


def track(root: Path, tracker: str) -> list[TrackedRun]:
    """Send each iteration that has a report and that this tracker has not got; those that were sent, in order.

    Raises UsageError where there is no report, or the tracker's package is not installed.
    """
    if find_spec(tracker) is None:
        raise UsageError(f"{tracker} is not installed here: pip install {_PACKAGES[tracker]}.")
    log = root / ".flywheel" / "tracked" / tracker
    sent = set(log.read_text().split()) if log.is_file() else set()
    runs = list(_runs(root))
    if not runs:
        raise UsageError("no report yet. Run `flywheel apply` first.")
    new = [run for run in runs if run.report_hash not in sent]
    for run in new:
        try:
            with redirect_stdout(sys.stderr):  # some of them talk
                TRACKERS[tracker](run)
        except Exception as error:  # no key, no server: each has errors of its own
            said = one_line(str(error), 300).rstrip(".")
            raise FlywheelError(
                f"{tracker} did not take iteration {run.iteration}: {said}. What went before is noted: mend it and run "
                "the same again."
            ) from error
        sent.add(run.report_hash)
        write_text(log, "".join(f"{known}\n" for known in sorted(sent)))
    return new


def _runs(root: Path) -> Iterator[TrackedRun]:
    for file in sorted((root / "reports").glob("iter-*/report.json")):
        report = Report.model_validate_json(file.read_text(encoding="utf-8"), strict=False)
        yield TrackedRun(
            report.name,
            report.iteration,
            hash_file(file),
            _settings(report),
            dict(_metrics(report)),
            [(point.step, point.loss) for point in report.training.losses],
            file.with_name("index.html"),
        )


def _settings(report: Report) -> dict[str, str]:
    made = {"outcome": report.verdict.outcome, "candidate": report.verdict.candidate_id, "seed": report.provenance.seed}
    found = {**made, "spec_hash": report.provenance.spec_hash, **dict(report.provenance.hashes)}
    found |= {f"train.{name}": value for name, value in report.provenance.training}
    return {name: str(value) for name, value in found.items()}


def _metrics(report: Report) -> Iterator[tuple[str, float]]:
    for score in report.scores.suites:
        for arm, rate in (("incumbent", score.incumbent), ("candidate", score.candidate)):
            if rate is not None:
                yield f"{score.suite}/{arm}", rate.value
        if score.change is not None:
            yield f"{score.suite}/difference", score.change.value
            yield f"{score.suite}/difference_low", score.change.low
            yield f"{score.suite}/difference_high", score.change.high
    for mode in report.modes.rows:
        for when, rate in (("before", mode.before), ("after", mode.after), ("in_traffic", mode.in_traffic)):
            if rate is not None:
                yield f"mode.{mode.name}/{when}", rate.value
        yield f"mode.{mode.name}/lessons", mode.trained
    yield "train/rows", report.training.rows
    yield "train/tokens", report.training.tokens
    yield "cost/usd", report.costs.usd
    yield "cost/seconds", report.costs.seconds


# --- the trackers -----------------------------------------------------------------------------------------------------


def _mlflow(run: TrackedRun) -> None:
    import mlflow

    mlflow.set_experiment(run.project)
    with mlflow.start_run(run_name=run.name, tags={"flywheel.report": run.report_hash}):
        mlflow.log_params(run.settings)
        mlflow.log_metrics(run.metrics, step=run.iteration)
        for step, loss in run.losses:
            mlflow.log_metric("train/loss", loss, step=step)
        mlflow.log_artifact(str(run.page))


def _wandb(run: TrackedRun) -> None:
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    with wandb.init(
        project=run.project, name=run.name, id=run.run_id, resume="allow", config=run.settings, settings=settings
    ) as sent:
        for step, loss in run.losses:
            sent.log({"train/loss": loss}, step=step)
        sent.summary.update(run.metrics)
        page = wandb.Artifact(f"report-{run.run_id}", type="report")
        page.add_file(str(run.page))
        sent.log_artifact(page)


def _trackio(run: TrackedRun) -> None:
    """Trackio draws series and has no table of final figures: they are the last step of the run."""
    import trackio

    name = f"{run.name}-{run.run_id[:8]}"
    trackio.init(run.project, name, config=run.settings, embed=False, auto_log_cpu=False, auto_log_gpu=False)
    try:
        for step, loss in run.losses:
            trackio.log({"train/loss": loss}, step=step)
        trackio.log(run.metrics, step=run.losses[-1][0] + 1 if run.losses else 0)
    finally:
        trackio.finish()


#: Import name → what sends a run there.
TRACKERS: dict[str, Callable[[TrackedRun], Any]] = {"mlflow": _mlflow, "wandb": _wandb, "trackio": _trackio}
_PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb", "trackio": "trackio"}
