"""`flywheel track`: iterations as runs of the real trackers, without a network."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine import tracking
from flywheel.engine.tracking import TRACKERS, TrackedRun, track
from flywheel.errors import FlywheelError, UsageError
from mini_domain import Domain


def holdout(domain: Domain, iteration: int) -> float:
    report = json.loads((domain.root / "reports" / f"iter-{iteration:03d}" / "report.json").read_text())
    return next(s["candidate"]["value"] for s in report["scores"]["suites"] if s["suite"] == "holdout")


def losses(domain: Domain, iteration: int) -> int:
    report = json.loads((domain.root / "reports" / f"iter-{iteration:03d}" / "report.json").read_text())
    return len(report["training"]["losses"])


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path),
        "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def test_mlflow_gets_each_iteration_once_with_scores_settings_losses_and_the_report(applied: Domain) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra `track` is not installed")
    sent = track(applied.root, "mlflow")
    assert track(applied.root, "mlflow") == []
    runs = {run.info.run_name: run for run in mlflow.search_runs(experiment_names=["colours"], output_format="list")}
    assert sorted(runs) == [run.name for run in sent] == ["iteration-1", "iteration-2"]
    first = runs["iteration-1"]
    assert first.data.metrics["holdout/candidate"] == holdout(applied, 1)
    assert first.data.params["outcome"] == "promote"
    client = mlflow.MlflowClient()
    assert len(client.get_metric_history(first.info.run_id, "train/loss")) == losses(applied, 1)
    assert [file.path for file in client.list_artifacts(first.info.run_id)] == ["index.html"]


@pytest.mark.slow
def test_wandb_writes_a_run_that_can_be_synced_later(applied: Domain, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra `track` is not installed")
    sent = track(applied.root, "wandb")
    for run in sent:
        (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{run.run_id}/run-{run.run_id}.wandb")
        assert b"holdout/incumbent" in file.read_bytes()


def test_trackio_has_the_final_figures_in_its_database(applied: Domain, tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="the extra `track` is not installed")
    first = track(applied.root, "trackio")[0]
    (file,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = [json.loads(text) for (text,) in database.execute("SELECT metrics FROM metrics ORDER BY id")]
    assert {"holdout/candidate": first.metrics["holdout/candidate"]}.items() <= rows[len(first.losses)].items()


def test_what_failed_is_sent_again_and_what_was_sent_is_not(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[int] = []

    def flaky(run: Any) -> None:
        if run.iteration == 2 and not down.pop():
            raise ConnectionError("no route")
        got.append(run.iteration)

    down = [True, False]
    monkeypatch.setitem(TRACKERS, "json", flaky)
    with pytest.raises(FlywheelError, match="no route"):
        track(applied.root, "json")
    track(applied.root, "json")
    assert got == [1, 2]


def test_a_turned_again_iteration_is_another_run(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "json", lambda run: None)
    before = track(applied.root, "json")
    file = applied.root / "reports" / "iter-002" / "report.json"
    file.write_text(file.read_text().replace("2026", "2027"))
    (again,) = track(applied.root, "json")
    assert again.iteration == 2
    assert again.run_id != before[1].run_id


def test_without_a_report_or_the_package_it_says_what_to_do(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "json", lambda run: None)
    with pytest.raises(UsageError, match="Run `flywheel apply` first"):
        track(domain.root, "json")
    monkeypatch.setattr("flywheel.engine.tracking.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install mlflow-skinny"):
        track(domain.root, "mlflow")


def test_what_a_tracker_says_no_to_is_one_line(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: TrackedRun) -> None:
        raise RuntimeError("No API key\nconfigured")

    monkeypatch.setitem(tracking.TRACKERS, "mlflow", refuse)
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    with pytest.raises(FlywheelError, match="mlflow did not take iteration 1: No API key configured"):
        tracking.track(applied.root, "mlflow")
    assert not (applied.root / ".flywheel" / "tracked" / "mlflow").exists()
