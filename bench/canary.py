"""Does a live stream, split at random between two models, show what is so? `flywheel.stats.stream_evidence` simulated.

    python bench/canary.py            prints the measured tables
    python bench/canary.py --write    also puts them into docs/gate.md

Each unit goes to the new model with chance `share`, is lost with its model's rate, and is looked at when it is there:
every run is looked at after every unit. All runs are seeded.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flywheel.stats import stream_evidence, wilson

Ints = NDArray[np.int64]

ALPHA = 0.05
RUNS = 2_000
UNITS = 10_000
#: Longer streams for how many units a finding needs, and fewer of them.
LONG_UNITS = 40_000
LONG_RUNS = 400
#: Units of all runs that are held in memory at a time.
BLOCK = 1_000_000
SHARES = (0.1, 0.5)
RATES = (0.1, 0.3)
MARGIN = 0.05
DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- canary: begin -->", "<!-- canary: end -->"


def streams(runs: int, units: int, share: float, rates: tuple[float, float], seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Blocks of runs: losses of the new model and of the former after each unit, (runs, units) each."""
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // units)
    for start in range(0, runs, step):
        shape = (min(step, runs - start), units)
        is_new = rng.random(shape) < share
        is_lost = rng.random(shape) < np.where(is_new, rates[0], rates[1])
        yield (is_lost & is_new).cumsum(axis=1), (is_lost & ~is_new).cumsum(axis=1)


def first_shown(
    runs: int, units: int, share: float, rates: tuple[float, float], seed: int, margin: float, harmless: bool = False
) -> Ints:
    """For each run, after how many units a loss above `margin` was shown (or that there is none); -1 for never."""
    counted = np.arange(1, units + 1)
    found = []
    for new, former in streams(runs, units, share, rates, seed):
        if harmless:
            evidence = stream_evidence(former, new, counted, 1 - share, -margin)
        else:
            evidence = stream_evidence(new, former, counted, share, margin)
        shown = evidence >= -math.log(ALPHA)
        found.append(np.where(shown.any(axis=1), shown.argmax(axis=1) + 1, -1))
    return np.concatenate(found)


def often(first: Ints) -> str:
    hits = int((first > 0).sum())
    low, high = wilson(hits, len(first))
    return f"{100 * hits / len(first):.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def needed(first: Ints, quantile: float, units: int) -> str:
    """Units by which this share of all runs had shown it."""
    found = np.quantile(np.where(first > 0, first, units + 1), quantile, method="inverted_cdf")
    return f"{found:,.0f}" if found <= units else f"over {units:,}"


# --- tables -----------------------------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def wrong_table(runs: int, units: int) -> str:
    """What is untrue and was said all the same."""
    rows: list[list[object]] = []
    for share in SHARES:
        for rate in RATES:
            worse = (rate + MARGIN, rate)
            equal = first_shown(runs, units, share, (rate, rate), 1, 0.0)
            edge = first_shown(runs, units, share, worse, 2, MARGIN)
            harmless = first_shown(runs, units, share, worse, 3, MARGIN, harmless=True)
            rows.append([share, rate, often(equal), often(edge), often(harmless)])
    head = ["share", "former loses", "equal: a loss is shown", "5 points: more than 5 shown", "5 points: under 5 shown"]
    return table(head, rows)


def needed_table(runs: int, units: int) -> str:
    """Units that a finding needs: half of the runs had it by then, and four in five."""
    rows: list[list[object]] = []
    for share in SHARES:
        for rate in RATES:
            for said, loss, margin, harmless in (
                ("a loss", 0.05, 0.0, False),
                ("a loss", 0.10, 0.0, False),
                ("more than 5 points", 0.10, MARGIN, False),
                ("under 5 points", 0.0, MARGIN, True),
            ):
                first = first_shown(runs, units, share, (rate + loss, rate), 4, margin, harmless)
                cells = [needed(first, 0.5, units), needed(first, 0.8, units)]
                rows.append([share, rate, f"{100 * loss:.0f} points", said, *cells])
    return table(["share", "former loses", "true loss", "shown is", "units, half of the runs", "four in five"], rows)


def measure(runs: int, units: int, long_runs: int, long_units: int) -> str:
    """The measured block of docs/gate.md."""
    return "\n\n".join(
        [
            f"By `python bench/canary.py`, alpha {ALPHA}, looked at after every unit. Wrong within {units:,} units, "
            f"{runs:,} runs; in brackets the 95% interval of the simulation:",
            wrong_table(runs, units),
            f"How many units a finding needs, {long_runs:,} runs of {long_units:,} units:",
            needed_table(long_runs, long_units),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="update docs/gate.md")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--long-runs", type=int, default=LONG_RUNS)
    parser.add_argument("--long-units", type=int, default=LONG_UNITS)
    options = parser.parse_args()
    started = time.perf_counter()
    block = measure(options.runs, options.units, options.long_runs, options.long_units)
    print(block)
    print(f"\n{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if options.write:
        page = DOCS / "gate.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
