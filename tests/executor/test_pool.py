from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import executor_jobs
import pytest

from flywheel.executor import Pool, Result, WorkerCrashed
from flywheel.executor.pool import WINDOW


def five_seconds(item: Any) -> float:
    return 5.0


def mapped(function: str, items: list[Any], *, size: int = 2, timeout: float = 5.0, **options: Any) -> list[Result]:
    with Pool(f"executor_jobs:{function}", size, **options) as pool:
        return list(pool.map(items, lambda item: timeout))


def test_order_is_kept_over_many_items() -> None:
    assert [r.value for r in mapped("make_echo", list(range(5_000)))] == list(range(5_000))


def test_setup_reaches_the_factory() -> None:
    assert [r.value for r in mapped("make_adder", [1, 2], setup=10)] == [11, 12]


def test_no_items() -> None:
    assert mapped("make_echo", []) == []


@pytest.mark.slow
def test_a_second_child_is_started_where_what_waits_is_worth_it() -> None:
    with Pool("executor_jobs:make_pid", 2) as pool:
        assert len({r.value for r in pool.map([0.0] * 12, five_seconds)}) == 1
    with Pool("executor_jobs:make_pid", 2) as pool:  # nobody knows beforehand that these take long
        assert len({r.value for r in pool.map([2.0] * 3, five_seconds)}) == 2


def test_all_children_work_and_a_later_map_finds_them_warm() -> None:
    with Pool("executor_jobs:make_pid", 2) as pool:
        warm: set[int] = set()
        deadline = time.monotonic() + 30
        while len(warm) < 2 and time.monotonic() < deadline:  # a loaded machine is slow to start the second
            warm |= {r.value for r in pool.map([0.05] * 40, five_seconds)}
        later = {r.value for r in pool.map([0.05] * 40, five_seconds)}
    assert len(warm) == 2
    assert later == warm


def test_only_the_item_that_hangs_is_timed_out() -> None:
    items = [f"word{n}" for n in range(200)]
    items[50] = items[120] = "hang"
    results = mapped("make_troublesome", items, timeout=0.4)
    assert [n for n, r in enumerate(results) if r.status != "ok"] == [50, 120]
    assert results[50] == Result("timed_out", reason="timed out after 0.4 s")
    assert results[51].value == "WORD51"


def test_each_item_has_its_own_time() -> None:
    with Pool("executor_jobs:make_troublesome", 1) as pool:
        started = time.monotonic()
        results = list(pool.map(["hang a", "hang b"], lambda item: 0.2 if item == "hang a" else 0.6))
    assert [r.reason for r in results] == ["timed out after 0.2 s", "timed out after 0.6 s"]
    assert time.monotonic() - started < 30


def test_code_that_never_yields_is_timed_out() -> None:
    assert [r.status for r in mapped("make_troublesome", ["spin", "a"], timeout=0.4)] == ["timed_out", "ok"]


def test_only_the_item_that_crashes_is_lost() -> None:
    items = [f"word{n}" for n in range(200)]
    items[7] = items[8] = items[199] = "crash"
    results = mapped("make_troublesome", items)
    assert [n for n, r in enumerate(results) if r.status == "crashed"] == [7, 8, 199]
    assert sum(r.status == "ok" for r in results) == 197
    assert results[7].reason == "crashed: killed by SIGSEGV"


@pytest.mark.slow
def test_under_random_trouble_no_item_is_lost_or_moved() -> None:
    random = Random(7)
    trouble = {"crash": "crashed", "hang": "timed_out", "raise": "raised", "exit": "raised"}
    items = [f"{random.choice([*trouble, *['fine'] * 60])} {n}" for n in range(1_500)]
    results = mapped("make_troublesome", items, timeout=0.5)
    assert [r.status for r in results] == [trouble.get(item.split()[0], "ok") for item in items]
    assert [r.value for r in results if r.status == "ok"] == [i.upper() for i in items if i[:4] == "fine"]


def test_a_crash_that_does_not_happen_again_costs_nothing(tmp_path: Path) -> None:
    items = ["a", "unlucky", "b"]
    results = mapped("make_crash_once", items, size=1, setup=str(tmp_path / "crashed"))
    assert [r.value for r in results] == items
    assert (tmp_path / "crashed").exists()


def test_exceptions_exits_and_memory_are_results() -> None:
    results = mapped("make_troublesome", ["raise x", "exit", "eat", "fine"], memory_bytes=1 << 30)
    assert [r.status for r in results] == ["raised", "raised", "raised", "ok"]
    assert [r.reason for r in results[:3]] == ["ValueError: raise x", "SystemExit: 0", "MemoryError"]


def test_a_result_that_cannot_be_sent_costs_itself_alone() -> None:
    results = mapped("make_unpicklable", ["a", "b", "function", "c"] * 20)
    assert [r.value for r in results[:4]] == ["a", "b", None, "c"]
    assert {r.status for r in results[2::4]} == {"raised"}
    assert {r.status for n, r in enumerate(results) if n % 4 != 2} == {"ok"}


def test_large_items_and_results_do_not_deadlock() -> None:
    results = mapped("make_large", [3 << 20] * 6)
    assert {len(r.value) for r in results} == {3 << 20}
    echoed = mapped("make_echo", [b"y" * (1 << 20)] * 20)
    assert {len(r.value) for r in echoed} == {1 << 20}


def test_memory_is_bounded_by_the_window() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(10 * WINDOW):
            taken += 1
            yield n

    with Pool("executor_jobs:make_echo", 2) as pool:
        for given, _ in enumerate(pool.map(items(), five_seconds), start=1):
            assert taken - given <= WINDOW
    assert taken == 10 * WINDOW


def test_a_slow_consumer_times_nobody_out() -> None:
    with Pool("executor_jobs:make_pid", 2) as pool:
        results = []
        for result in pool.map([0.01] * 12, lambda item: 0.3):
            time.sleep(0.1)
            results.append(result.status)
    assert results == ["ok"] * 12


def test_left_halfway_the_pool_starts_clean() -> None:
    with Pool("executor_jobs:make_echo", 2) as pool:
        first = pool.map(range(1_000), five_seconds)
        assert next(first).value == 0
        first.close()  # type: ignore[attr-defined]
        assert [r.value for r in pool.map("abc", five_seconds)] == ["a", "b", "c"]


def test_one_map_at_a_time() -> None:
    with Pool("executor_jobs:make_echo", 1) as pool:
        first = pool.map(range(10), five_seconds)
        next(first)
        with pytest.raises(RuntimeError, match="already mapping"):
            next(pool.map(range(10), five_seconds))
        assert [r.value for r in first] == list(range(1, 10))


def test_setup_that_raises_is_raised_here() -> None:
    with pytest.raises(executor_jobs.OwnError, match=r"^the set-up: 1 wrong$"):
        mapped("fail_to_make", ["a"])


def test_setup_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(WorkerCrashed, match="exited with status 9 while it was set up\nbad library"):
        mapped("die_making", ["a"], log=tmp_path / "pool.log")


def test_error_while_reading_items_passes_through() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    with Pool("executor_jobs:make_echo", 1) as pool, pytest.raises(OSError, match="disk gone"):
        list(pool.map(items(), five_seconds))


def test_overhead_per_item() -> None:
    """About 20 µs on a quiet machine; the bound is that of a machine under load."""
    with Pool("executor_jobs:make_echo", 1) as pool:
        list(pool.map(range(100), five_seconds))
        started = time.process_time()
        list(pool.map(range(5_000), five_seconds))
        assert (time.process_time() - started) / 5_000 < 100e-6
