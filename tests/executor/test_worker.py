from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import executor_jobs
import pytest

from flywheel.errors import SpecInvalid
from flywheel.executor import Worker, WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout


@pytest.fixture
def worker(tmp_path: Path) -> Any:
    with Worker(tmp_path / "logs" / "worker.log") as made:
        yield made


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def pid_of(worker: Worker) -> int:
    pid: int = worker.call("executor_jobs:about_me", None)["pid"]
    return pid


def test_value_comes_back(worker: Worker) -> None:
    payload = {"rows": [1, 2.5, None, "ü"], "blob": b"\x00"}
    assert worker.call("executor_jobs:echo", payload) == payload


def test_child_keeps_its_state_between_calls(worker: Worker) -> None:
    worker.call("executor_jobs:remember", "a")
    assert worker.call("executor_jobs:remember", "b") == ["a", "b"]


def test_100_mb_go_there_and_back(worker: Worker) -> None:
    payload = os.urandom(1 << 20) * 100
    assert worker.call("executor_jobs:echo", payload) == payload


def test_progress_arrives_in_order(worker: Worker) -> None:
    seen: list[dict[str, Any]] = []
    assert worker.call("executor_jobs:count_up", 100, on_progress=seen.append) == 100
    assert seen == [{"step": n} for n in range(100)]


def test_child_is_bare(tmp_path: Path) -> None:
    with Worker(memory_bytes=1 << 30) as worker:
        me = worker.call("executor_jobs:about_me", None)
    assert me["pid"] != os.getpid()
    assert me["sigint"]
    assert me["address_space"] == 1 << 30
    assert me["descriptors"] <= 5  # three standard ones, the pipe, the listing's own
    assert me["heavy"] == []


def test_foreign_exception_brings_its_traceback(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="raised ValueError: seven is odd") as caught:
        worker.call("executor_jobs:raise_value_error", None)
    assert type(caught.value) is WorkerError
    assert "in raise_value_error" in caught.value.trace
    assert worker.call("executor_jobs:echo", 1) == 1


def test_own_exception_comes_back_as_itself(worker: Worker) -> None:
    with pytest.raises(executor_jobs.OwnError, match=r"^somewhere: 3 wrong$") as caught:
        worker.call("executor_jobs:raise_own", None)
    assert (caught.value.count, caught.value.exit_code) == (3, 7)
    assert "in raise_own" in caught.value.__cause__.trace  # type: ignore[union-attr]


def test_exception_with_a_rich_constructor_survives(worker: Worker) -> None:
    with pytest.raises(SpecInvalid, match=r"gate\[0\]: is wrong") as caught:
        worker.call("executor_jobs:raise_spec_invalid", None)
    assert caught.value.faults[0].path == ("gate", 0)


def test_unknown_function_is_named(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="no attribute 'nope'"):
        worker.call("executor_jobs:nope", None)


def test_result_that_cannot_be_pickled(worker: Worker) -> None:
    with pytest.raises(WorkerError, match=r"raised (PicklingError|AttributeError)"):
        worker.call("executor_jobs:unpicklable", None)


def test_payload_that_cannot_be_pickled_leaves_a_working_worker(worker: Worker) -> None:
    with pytest.raises(Exception, match="pickle"):
        worker.call("executor_jobs:echo", lambda: None)
    assert worker.call("executor_jobs:echo", 1) == 1


def test_timeout_kills_and_the_next_call_starts_anew(worker: Worker) -> None:
    seen: list[dict[str, Any]] = []
    pid_of(worker)
    started = time.monotonic()
    with pytest.raises(WorkerTimeout, match=r"executor_jobs:sleep gave no result within 0.3 s; see .*worker.log"):
        worker.call("executor_jobs:sleep", 60.0, timeout=0.3, on_progress=seen.append)
    assert time.monotonic() - started < 30
    assert wait_until_gone(seen[0]["pid"])
    assert pid_of(worker) != seen[0]["pid"]


@pytest.mark.parametrize(
    ("job", "payload", "cause"),
    [
        ("leave", 3, "its process exited with status 3"),
        ("leave", 0, "its process exited with status 0"),
        ("kill_self", None, r"its process was killed by SIGKILL \(out of memory\?\)"),
        ("read_null", None, r"its process was killed by SIGSEGV(.|\n)*about to read address 0"),
    ],
)
def test_death_is_told_with_cause_and_log(worker: Worker, job: str, payload: Any, cause: str) -> None:
    with pytest.raises(WorkerCrashed, match=cause):
        worker.call(f"executor_jobs:{job}", payload)
    assert worker.call("executor_jobs:echo", 1) == 1


def test_log_tail_is_of_this_child_only(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed):
        worker.call("executor_jobs:read_null", None)
    with pytest.raises(WorkerCrashed) as caught:
        worker.call("executor_jobs:leave", 1)
    assert "address 0" not in str(caught.value)


def test_system_exit_does_not_end_the_child(worker: Worker) -> None:
    pid = pid_of(worker)
    with pytest.raises(WorkerError, match="SystemExit"):
        worker.call("executor_jobs:exit_politely", None)
    assert pid_of(worker) == pid


def test_memory_limit_is_an_error_not_a_death(tmp_path: Path) -> None:
    with Worker(memory_bytes=1 << 30) as worker:
        with pytest.raises(WorkerError, match="MemoryError"):
            worker.call("executor_jobs:eat", 4 << 30)
        assert worker.call("executor_jobs:eat", 1 << 20) == 1 << 20


def test_cancel_from_another_thread(worker: Worker) -> None:
    def cancel_soon(message: dict[str, Any]) -> None:
        threading.Timer(0.05, worker.cancel).start()

    started = time.monotonic()
    with pytest.raises(WorkerCancelled):
        worker.call("executor_jobs:sleep", 60.0, on_progress=cancel_soon)
    assert time.monotonic() - started < 30
    assert worker.call("executor_jobs:echo", 1) == 1


def test_cancel_while_idle_harms_no_later_call(worker: Worker) -> None:
    worker.call("executor_jobs:echo", 1)
    worker.cancel()
    assert worker.call("executor_jobs:echo", 2) == 2


def test_kill_takes_grandchildren_along(worker: Worker) -> None:
    seen: list[dict[str, Any]] = []
    with pytest.raises(WorkerTimeout):
        worker.call("executor_jobs:start_grandchild", None, timeout=1.0, on_progress=seen.append)
    assert wait_until_gone(seen[0]["pid"])


def test_error_in_on_progress_ends_the_call_and_the_child(worker: Worker) -> None:
    def stop(message: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.call("executor_jobs:count_up", 5, on_progress=stop)
    assert worker.call("executor_jobs:echo", 1) == 1


def test_worker_started_in_a_thread_outlives_it(worker: Worker) -> None:
    pids: list[int] = []
    thread = threading.Thread(target=lambda: pids.append(pid_of(worker)))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert pid_of(worker) == pids[0]


def test_threads_take_turns(worker: Worker) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(worker.call("executor_jobs:echo", n))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


def test_close_leaves_no_process(tmp_path: Path) -> None:
    worker = Worker()
    pid = pid_of(worker)
    worker.close()
    assert not is_running(pid)


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from flywheel.executor import Worker
Worker().call("executor_jobs:sleep", 60.0, on_progress=lambda message: print(message["pid"], flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_kill_9_of_the_parent_kills_a_busy_child() -> None:
    jobs = str(Path(__file__).parent)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, jobs], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_until_gone(pid)


def test_what_is_asked_after_the_close_is_refused_and_starts_no_process(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "worker.log")
    worker.close()
    with pytest.raises(WorkerCancelled, match="closed"):
        worker.call("executor_jobs:echo", 1)
