"""examples/production: once round through production, with real processes and a real client of OpenAI's."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.engine.serving.log import read_served

from ..templates.conftest import score_of, tiny
from .test_examples import asked, copied

__all__ = ["tiny"]  # a fixture

REQUESTS = 500


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied("production", tmp_path)


def test_the_example_is_valid_and_looks_at_what_the_server_logged(project: Path) -> None:
    workspace = open_project(project / "flywheel.yaml")

    assert workspace.loaded.warnings == ()
    assert make_plan(workspace).of("mine")
    assert workspace.spec.deploy.canary is not None
    assert all(teacher.simulated for teacher in workspace.spec.teachers.values())


def test_the_rows_are_those_that_make_rows_writes(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed


def test_no_row_that_is_measured_is_like_one_that_is_shown(project: Path) -> None:
    rows = {path.stem: [json.loads(line) for line in path.open()] for path in (project / "rows").iterdir()}

    messages = [row["message"] for found in rows.values() for row in found]
    assert len(set(messages)) == len(messages)
    assert {row["wording"] for row in rows["seeds"] + rows["probes"]} == {"imagined"}


# --- the round ----------------------------------------------------------------------------------------------------


def flywheel(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from flywheel.cli import main; main()", *arguments]


def turned(project: Path, *arguments: str) -> None:
    done = subprocess.run(flywheel(*arguments), cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def serving(project: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """A server of the project: its address, and what it has said."""
    log = project / "serve.log"
    with log.open("w") as said:
        process = subprocess.Popen(flywheel("serve", "--port", "0"), cwd=project, stdout=said, stderr=said)
    try:
        wait_for(lambda: "serving " in log.read_text() or process.poll() is not None, 300)
        yield log.read_text().split("/v1")[0].split(" at ")[1], log.read_text
    finally:
        process.terminate()
        assert process.wait(120) == 0, log.read_text()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def crowd_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's own people."""
    monkeypatch.syspath_prepend(str(project))
    for name in ("people", "teachers"):  # other projects have theirs
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    return importlib.import_module("people").Crowd


@contextmanager
def meanwhile(crowd: Any) -> Iterator[None]:
    """They go on asking."""
    thread = threading.Thread(target=crowd.ask, args=(10**9,))
    thread.start()
    try:
        yield
    finally:
        crowd.over.set()
        thread.join()


def deployed(project: Path) -> str:
    return (project / "deploy" / "current").resolve().name


def report_of(project: Path, iteration: int) -> dict[str, Any]:
    return dict(json.loads((project / "reports" / f"iter-{iteration:03d}" / "report.json").read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("tiny")
def test_once_round_through_production(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Crowd = crowd_of(project, monkeypatch)
    turned(project, "apply")
    first = deployed(project)

    with serving(project) as (address, said):
        early = Crowd(address, seed=1)
        early.ask(REQUESTS)
        late = Crowd(address, seed=2, pause=0.2)
        with meanwhile(late):
            turned(project, "watch", "--new", str(REQUESTS), "--once")
            wait_for(lambda: "canary: " in said() and any((project / ".flywheel/canary").glob("*.json")), 900)
            after = len(late.answers)
            wait_for(lambda: len(late.answers) > after + 50, 300)

    second = deployed(project)
    print(json.dumps([early.told(), late.told()], indent=1), said())
    assert early.faults == late.faults == [], "no request was dropped"
    assert len(early.answers) == REQUESTS
    assert set(early.answers.values()) == {first}
    assert set(late.answers.values()) == {first, second}
    assert second != first
    assert set(list(late.answers.values())[-20:]) == {second}, "the canary found that it stays"
    assert_logged(project, [early, late])
    [ending] = [json.loads(path.read_text()) for path in (project / ".flywheel/canary").glob("*.json")]
    assert (ending["ending"], ending["former_id"], ending["model_id"]) == ("kept", first, second)
    assert_learned(project, early)


def assert_logged(project: Path, crowds: list[Any]) -> None:
    """What anybody was told is in the log, once, and nothing else."""
    files = (project / ".flywheel/served").glob("*.jsonl")
    records = [record for path in files for record in read_served(path).records]
    answers = [(record["id"], record["model_id"]) for record in records if record["kind"] == "answer"]
    words = [(record["id"], record["receipt"]) for record in records if record["kind"] == "feedback"]
    assert sorted(answers) == sorted(pair for crowd in crowds for pair in crowd.answers.items())
    assert sorted(words) == sorted(pair for crowd in crowds for pair in crowd.words.items())


def assert_learned(project: Path, early: Any) -> None:
    """From what people said was wrong came lessons, and a model that understands them."""
    failures = """SELECT count(*) AS n FROM failures f JOIN nodes USING (node) WHERE name = 'i2.diagnose'"""
    [found] = asked(project, failures)
    assert found["n"] > 0
    live = "SELECT count(*) AS n FROM answers WHERE source_id IS NOT NULL AND outcome = 'fail'"
    [wrong] = asked(project, live)
    assert wrong["n"] > 0
    before, after = score_of(report_of(project, 2), "holdout")
    assert after > before + 0.2
