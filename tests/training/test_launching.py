"""A training by a command: what becomes of it, of what the command says, and of what it started."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from test_lora import job, losses, quiet
from test_preference import job as preference_job
from test_preference import taught

from flywheel.errors import NodeFailed
from flywheel.executor import Worker, WorkerCrashed
from flywheel.student.loading import Arm, _kept, load
from flywheel.training import TrainingJob, TrainingResult, prefer, train
from flywheel.training.launched import _claim
from flywheel.training.launching import lack, launch

__all__ = ["taught"]

TORCHRUN = "torchrun --nproc-per-node 2"
SHORT = f"{TORCHRUN} {shlex.quote(str(Path(__file__).with_name('short_of_memory.py')))}"
RESULT = TrainingResult("hash", 20, 0, 752, 10, 5.2, [{"step": 1, "loss": 5.2}], ("a note",), {"computed_on": "paper"})

# A stand-in for a launcher: it does with the job's folder what its first argument says.
STAND_IN = """
import json, os, sys
from pathlib import Path
what, module, folder = sys.argv[1], sys.argv[-2], Path(sys.argv[-1])
job = json.loads((folder / "job.json").read_text())["job"]
print("Loading weights: 100%")
print(json.dumps({"progress": {"done": 1, "total": 10}}))
print("about to fail", file=sys.stderr)
if what == "learns":
    (folder / "result.json").write_text(os.environ["RESULT"])
if what == "fails":
    (folder / "failed.1.json").write_text(json.dumps({"message": "the lessons are too long", "again": False}))
if what == "again" and not (folder.parent / "once").exists():
    (folder.parent / "once").touch()
    (folder / "failed.1.json").write_text(json.dumps({"message": "too much at a time", "again": True}))
elif what == "again":
    (folder / "result.json").write_text(os.environ["RESULT"])
sys.exit(3)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command, with a word to come that says what it does."""
    program = tmp_path / "a launcher.py"
    program.write_text(STAND_IN)
    monkeypatch.setenv("RESULT", json.dumps(asdict(RESULT)))
    return f"python {shlex.quote(str(program))}"


def run(command: str, folder: Path, seen: list[dict[str, Any]] | None = None) -> TrainingResult:
    it = replace(job(folder / "student", folder / "adapter"), launch=command)
    return train(it, quiet if seen is None else seen.append)


def test_the_result_is_the_commands_and_so_is_progress(stand_in: str, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    assert run(f"{stand_in} learns", tmp_path, seen) == RESULT

    assert seen == [{"done": 1, "total": 10}]
    assert not (tmp_path / "adapter.job").exists()


def test_a_fault_of_the_training_is_said_in_its_own_words(stand_in: str, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"^the lessons are too long$"):
        run(f"{stand_in} fails", tmp_path)


def test_a_training_that_wants_smaller_parts_begins_again(stand_in: str, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    assert run(f"{stand_in} again", tmp_path, seen) == RESULT

    assert len(seen) == 2


@pytest.mark.parametrize("said", ["about to fail", "Loading weights: 100%", "exited with status 3", "a launcher.py"])
def test_a_command_that_leaves_nothing_is_quoted(stand_in: str, tmp_path: Path, said: str) -> None:
    with pytest.raises(NodeFailed) as found:
        run(f"{stand_in} nothing", tmp_path)

    assert said in str(found.value)


ENDLESS = """
import json, os, time
print(json.dumps({"progress": {"pid": os.getpid()}}), flush=True)
time.sleep(600)
"""


def test_what_the_listener_raises_ends_the_command(tmp_path: Path) -> None:
    program = tmp_path / "endless.py"
    program.write_text(ENDLESS)
    seen: list[int] = []

    def stop(message: dict[str, Any]) -> None:
        seen.append(message["pid"])
        raise KeyboardInterrupt

    it = job(tmp_path, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        launch(f"python {program}", it, it.arm, it.out, stop)

    assert not _lives(seen[0])


REPORTS = """
import time
from flywheel.training.launched import _progress
report = _progress()
for step in range(600):
    report({"done": step})
    time.sleep(0.1)
"""


def test_a_process_whose_progress_nobody_reads_any_more_fails() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", REPORTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline()) == {"progress": {"done": 0}}
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == 1
    assert "BrokenPipeError" in said


def test_a_launcher_that_numbers_nobody_starts_one_process_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _claim(tmp_path)
    with pytest.raises(NodeFailed, match=r"several processes without numbers .* `srun torchrun …`"):
        _claim(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    _claim(tmp_path)


def test_a_program_that_is_not_here_is_named_with_the_nearest_that_is(tmp_path: Path) -> None:
    assert lack("torchrun --nproc-per-node 4") is None, "it lies beside this Python"
    assert lack(f"{sys.executable} -u") is None
    assert lack("torchrnu --nproc-per-node 4") == ('no program "torchrnu" is here.', 'Did you mean "torchrun"?')
    assert lack("/nowhere/launch") == ('no program "/nowhere/launch" is here.', "Install it, or remove train.launch.")
    with pytest.raises(NodeFailed, match=r'^train\.launch: no program "torchrnu" is here\. Did you mean "torchrun"\?$'):
        run("torchrnu", tmp_path)


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


# --- by torchrun, which takes some seconds to start ---


@pytest.fixture(scope="module")
def alone(mini_student: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(job(mini_student, tmp_path_factory.mktemp("alone") / "adapter", dropout=0.0), quiet)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "notes"),
    [
        (TORCHRUN, []),
        (
            f"{SHORT} {1 << 20} 1 1",
            [
                "the student's weights are spread over 2 processes: they do not fit one device",
                "memory ran out at step 1: half as many rows go through the model at a time, and activations are "
                "computed twice",
            ],
        ),
    ],
)
def test_a_launched_training_learns_what_one_here_does(
    mini_student: Path, tmp_path: Path, alone: TrainingResult, command: str, notes: list[str]
) -> None:
    load(job(mini_student, tmp_path / "a").arm)
    seen: list[dict[str, Any]] = []

    found = train(replace(job(mini_student, tmp_path / "a", dropout=0.0), launch=command), seen.append)

    assert losses(found) == pytest.approx(losses(alone), abs=1e-5)
    assert [message["done"] for message in seen][-11:] == list(range(11))
    assert [*found.notes] == [*notes, *alone.notes]
    assert ", 2 processes" in found.settings["computed_on"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not _kept, "the model that was here before made room"


@pytest.mark.slow
def test_judged_answers_teach_by_a_command_too(taught: Arm, tmp_path: Path) -> None:
    one = prefer(preference_job(taught, tmp_path / "one", "kto"), quiet)
    it = preference_job(taught, tmp_path / "a", "kto")

    found = prefer(replace(it, training=replace(it.training, launch=TORCHRUN)), quiet)

    assert losses(found) == pytest.approx(losses(one), abs=1e-5)


@pytest.mark.slow
def test_faults_of_a_launched_training_are_those_of_one_here(mini_student: Path, tmp_path: Path) -> None:
    it = replace(job(mini_student, tmp_path / "a", max_length=16), rows=(("word " * 40, "red"),), launch="python")

    with pytest.raises(NodeFailed, match=r"^none of the 1 lessons fits train\.max_length: 16 tokens\. Raise it\.$"):
        train(it, quiet)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a launcher outlives its parent")
@pytest.mark.parametrize("gently", [True, False])
def test_nothing_that_was_launched_outlives_the_worker_and_the_next_goes_on(
    mini_student: Path, tmp_path: Path, gently: bool
) -> None:
    it = replace(job(mini_student, tmp_path / "a", dropout=0.0, epochs=400), launch=TORCHRUN, checkpoint_seconds=0.0)
    going, steps = threading.Event(), []

    def watch(message: dict[str, Any]) -> None:
        steps.append(message["done"])
        if message["done"] == 3:
            going.set()

    with Worker(tmp_path / "log") as worker:
        failed: list[BaseException] = []
        call = threading.Thread(target=_called, args=(worker, it, watch, failed))
        call.start()
        assert going.wait(120)
        started = _of(tmp_path / "a.job")
        if gently:
            worker.cancel()
        else:  # as when the kernel takes the worker alone
            os.kill(worker._process._popen.pid, signal.SIGKILL)  # type: ignore[union-attr]
        call.join(60)

    assert len(started) >= 3, "a launcher and two processes"
    assert isinstance(failed[0], WorkerCrashed) == (not gently)
    until = time.monotonic() + 30
    while any(map(_lives, started)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in started if _lives(pid)]
    assert (tmp_path / "a.part" / "checkpoint.pt").exists()


def _called(worker: Worker, it: TrainingJob, watch: Any, failed: list[BaseException]) -> None:
    try:
        worker.call("flywheel.training:train", it, on_progress=watch)
    except BaseException as error:
        failed.append(error)


def _of(folder: Path) -> list[int]:
    """Processes that were started with the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(folder).encode() in words:
                found.append(int(entry.name))
    return found
