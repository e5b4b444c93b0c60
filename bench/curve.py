"""Does the interval of `stats.lessons_needed` cover? Simulated curves of which the truth is known.

    python bench/curve.py [--runs 500]

Both arms' scores rise with the logarithm of lessons; the better one needs a known part of the other's lessons for the
other's last score. Items differ in difficulty, are answered by both arms, and every training shifts its own
score. A limit that says "not reached" or "so many or fewer" covers what lies beyond it.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from flywheel.stats import lessons_needed, wilson

LESSONS = (60, 120, 240, 480)
#: Score with all lessons, and what a doubling of them brings.
END, DOUBLING = 0.7, 0.08


def truth(lessons: float, ratio: float) -> float:
    """The score of an arm for which `ratio` x 480 lessons are worth the 480 of the control."""
    return END + DOUBLING * math.log2(lessons / (480 * ratio))


def drawn(rng: np.random.Generator, ratio: float, spread: np.ndarray, seeds: int, noise: float) -> np.ndarray:
    """Scores [seed, size, item] of one arm."""
    found = np.empty((seeds, len(LESSONS), len(spread)))
    for s in range(seeds):
        for k, lessons in enumerate(LESSONS):
            chance = np.clip(truth(lessons, ratio) + spread + rng.normal(0, noise), 0, 1)
            found[s, k] = rng.random(len(spread)) < chance
    return found


def covered(ratio: float, items: int, seeds: int, noise: float, runs: int) -> tuple[int, float]:
    """Runs whose interval holds the truth, and the median width as a ratio of its limits."""
    hits, widths = 0, []
    for run in range(runs):
        rng = np.random.default_rng(run)
        spread = rng.uniform(-0.2, 0.2, items)
        ours, control = (drawn(rng, each, spread, seeds, noise) for each in (ratio, 1.0))
        found = lessons_needed(ours.tolist(), LESSONS, control.tolist(), [1] * items, run)
        hits += (found.low <= 480 * ratio or found.low == LESSONS[0]) and found.high >= 480 * ratio
        widths.append(min(found.high, 2 * LESSONS[-1]) / found.low)
    return hits, float(np.median(widths))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    print("| lessons needed / the control's | items | seeds | points by seed | covers | high / low, median |")
    print("|---|---|---|---|---|---|")
    for ratio in (0.5, 0.8):
        for items in (200, 600):
            for seeds, noise in ((1, 0.0), (2, 0.02), (3, 0.02), (5, 0.02)):
                hits, width = covered(ratio, items, seeds, noise, runs)
                low, high = wilson(hits, runs)
                rate = f"{hits / runs:.1%} ({low:.1%} to {high:.1%})"
                print(f"| {ratio} | {items} | {seeds} | {100 * noise:g} | {rate} | {width:.1f} |", flush=True)


if __name__ == "__main__":
    main()
