"""Runs that are cut off: what was paid for is kept, and the end is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mini_domain import Domain

RUNS = [*range(2), *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 25))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """The same domain, never interrupted."""
    domain = _slowed(Domain.written(tmp_path_factory.mktemp("whole") / "project"))
    assert domain.run("apply").returncode == 0
    return domain


def _slowed(domain: Domain) -> Domain:
    """Teachers take a moment, so that there is something to interrupt."""
    for teacher in domain.spec["teachers"].values():
        teacher["options"]["pause"] = 0.15
        teacher["concurrency"] = 1
    domain.save()
    return domain


@pytest.fixture
def slowed(tmp_path: Path) -> Domain:
    return _slowed(Domain.written(tmp_path / "project"))


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def events(domain: Domain) -> str:
    return "".join(path.read_text() for path in sorted((domain.root / ".flywheel" / "runs").glob("*/events.jsonl")))


@pytest.mark.parametrize("number", RUNS)
def test_a_killed_run_ends_like_one_that_was_not_and_repeats_no_answered_call(
    slowed: Domain, whole: Domain, number: int
) -> None:
    rng = random.Random(number)
    process = slowed.start("apply")
    wait_for((slowed.root / ".flywheel" / "runs").exists, process)
    time.sleep(rng.uniform(0, 3.5))
    process.kill()
    process.communicate()
    known = slowed.calls()

    finished = slowed.run("apply")

    assert finished.returncode == 0, finished.stderr
    assert slowed.outcome() == whole.outcome()
    asked_again = [call for call in slowed.calls("asked")[len(known) :] if call in known[:-2]]
    assert asked_again == [], "only the answer on its way at the kill may be asked for again"


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_what_was_answered_is_not_asked_again(slowed: Domain, whole: Domain) -> None:
    process = slowed.start("apply")
    wait_for(lambda: len(slowed.calls()) >= 2, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert slowed.query("SELECT status FROM runs WHERE ended_at IS NOT NULL") == [{"status": "interrupted"}]
    answered = slowed.calls()

    assert slowed.run("apply").returncode == 0
    assert set(slowed.calls("asked")[len(answered) :]).isdisjoint(answered)
    assert slowed.outcome() == whole.outcome()


@pytest.mark.slow
def test_the_second_of_two_applies_names_the_first_and_exits_75(slowed: Domain) -> None:
    first = slowed.start("apply")
    wait_for(lambda: len(slowed.calls("asked")) >= 1, first)

    second = slowed.run("apply")

    assert second.returncode == 75
    assert f"process {first.pid}" in second.stderr
    assert first.communicate(timeout=120)[0]
    assert first.returncode == 0


@pytest.mark.slow
def test_status_tells_what_a_running_apply_does(slowed: Domain) -> None:
    slowed.edit(lambda spec: spec["teachers"]["careful"]["options"].update(pause=20))
    process = slowed.start("apply")
    wait_for(lambda: len(slowed.calls("asked")) >= 1, process)

    looked = slowed.run("status")

    assert looked.returncode == 0, looked.stderr
    assert "generate.targeted" in looked.stdout
    process.kill()
    process.communicate()


@pytest.mark.parametrize("until", ["i1.report", "i1.deploy"])
@pytest.mark.slow
def test_a_kill_while_files_are_put_in_place_leaves_old_or_new(slowed: Domain, whole: Domain, until: str) -> None:
    process = slowed.start("apply")
    wait_for(lambda: f'"node": "{until}"' in events(slowed), process)
    time.sleep(random.Random(until).uniform(0, 0.05))
    process.kill()
    process.communicate()

    for link in (slowed.root / "deploy").glob("current"):
        assert (link / "manifest.json").exists()
        assert (link / "adapter_model.safetensors").exists()
    for page in (slowed.root / "reports").glob("iter-001"):
        assert {path.name for path in page.iterdir()} >= {"index.html", "report.json"}
    assert slowed.run("apply").returncode in (0, 3)
    assert slowed.outcome() == whole.outcome()
    assert os.readlink(slowed.root / "deploy" / "current") == os.readlink(whole.root / "deploy" / "current")
