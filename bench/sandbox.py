"""Short programs a second, contained, in each tier that this machine has, beside a plain `subprocess`.

Interleaved rounds, medians. `p50` is of one program alone, from the call to its result.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flywheel.sandbox import Limits, Sandbox
from flywheel.sandbox.outcome import TIERS
from flywheel.sandbox.probe import refusal

PROGRAM = """
import collections, heapq, itertools, math, re

def has_close_elements(numbers, threshold):
    ordered = sorted(numbers)
    return any(b - a < threshold for a, b in zip(ordered, ordered[1:]))

print(has_close_elements([1.0, 2.8, 3.0, 4.0, 5.0, 2.0], 0.3))
"""


def plain() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"True\n"


def contained(sandbox: Sandbox) -> Callable[[], None]:
    def once() -> None:
        ran = sandbox.run(PROGRAM, limits=Limits(seconds=30))
        assert ran.stdout == b"True\n", ran

    return once


def alone(once: Callable[[], None], n: int) -> tuple[float, list[float]]:
    """Programs a second, one after the other, and the seconds of each."""
    times = []
    began = time.perf_counter()
    for _ in range(n):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return n / (time.perf_counter() - began), times


def together(once: Callable[[], None], n: int, threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for done in [pool.submit(once) for _ in range(n)]:
            done.result()
        return n / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=300, help="programs a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sandboxes = {tier: Sandbox(tier=tier) for tier in TIERS[:-1] if not refusal(tier)}
    ways = {"plain subprocess": plain, **{tier: contained(sandbox) for tier, sandbox in sandboxes.items()}}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for once in ways.values():
        together(once, 4, 2)
    for _ in range(arguments.rounds):
        for name, once in ways.items():
            rate, times = alone(once, arguments.size)
            found[name].append((rate, together(once, arguments.size, 2), statistics.median(times)))
    print(f"{'':18} {'1 worker/s':>11} {'2 workers/s':>12} {'p50 ms':>8}")
    for name, rounds in found.items():
        one, two, p50 = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:18} {one:11.0f} {two:12.0f} {p50 * 1000:8.1f}")
    for sandbox in sandboxes.values():
        sandbox.close()


if __name__ == "__main__":
    main()
