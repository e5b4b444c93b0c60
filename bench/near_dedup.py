"""Near-duplicates a second, recall and precision: ours beside plain MinHash in Python and exact sets.

    python bench/near_dedup.py [--size 100000] [--rounds 1]

A tenth of the rows repeat an earlier one with up to 8 words changed that turn nothing (`bench/adversarial_pairs.py` has
those that do). The plain MinHash (a row at a time: 64 hashes in
numpy, 16 bands in dictionaries, the usual library's way) runs on the first 1,000 rows. Truth: exact Jaccard by Python
sets, of every planted pair, of every pair that was reported, and of 20 rows against 5,000 earlier ones.
"""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
from measuring import footer, options, peak_mb, questions, rate_table, timed

from flywheel.store.similarity import near_duplicates
from flywheel.store.telling import Telling
from flywheel.text import normalised

PLAIN_ROWS = 1_000
SAMPLE = 20


def planted(size: int, seed: int) -> tuple[list[str], dict[int, int]]:
    """Rows, and which of them (the last tenth) was made from which."""
    rng = random.Random(seed)
    rows = questions(size - size // 10, seed)
    telling = Telling()  # a made-up word may be a number or a negation of some language: the other bench has those
    words = [word for row in rows[:200] for word in row.split() if not telling[word]]
    origin = {}
    for place in range(len(rows), size):
        origin[place] = rng.randrange(size - size // 10)
        known = rows[origin[place]].split()
        copy = list(known)
        for _ in range(rng.randint(0, 8)):
            at, word = rng.randrange(len(copy)), rng.choice(words)
            if not telling[copy[at]] and word not in known:  # a word that moves says something else
                copy[at] = word
        rows.append(" ".join(copy))
    return rows, origin


def shingles(text: str) -> set[str]:
    folded = normalised(text)
    return {folded[i : i + 3] for i in range(max(len(folded) - 2, 1))}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def plain_minhash(rows: list[str], threshold: float) -> dict[int, int]:
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 2**31, 64, dtype=np.uint64) | np.uint64(1)
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    sets, found = [], {}
    for place, row in enumerate(rows):
        sets.append(shingles(row))
        codes = np.array([hash(s) & 0xFFFFFFFF for s in sets[-1]], np.uint64)
        least = (np.outer(factors, codes) % np.uint64((1 << 61) - 1)).min(axis=1)
        keys = [(band, least[4 * band : 4 * band + 4].tobytes()) for band in range(16)]
        near = {other for key in keys for other in bands[key] if other not in found}
        for other in sorted(near):
            if len(sets[-1] & sets[other]) / len(sets[-1] | sets[other]) >= threshold:
                found[place] = other
                break
        for key in keys:
            bands[key].append(place)
    return found


def quality(
    rows: list[str], origin: dict[int, int], found: dict[int, tuple[int, float]], threshold: float
) -> tuple[float, float, int]:
    """Recall over planted rows at or above the threshold, precision, and how many of a sample of others were missed."""
    true = [later for later, earlier in origin.items() if jaccard(rows[later], rows[earlier]) >= threshold]
    recall = sum(later in found for later in true) / max(len(true), 1)
    right = sum(jaccard(rows[later], rows[earlier]) >= threshold for later, (earlier, _) in found.items())
    sample = random.Random(1).sample(range(len(rows) - len(origin)), min(SAMPLE, len(rows) - len(origin)))
    missed = sum(
        later not in found and any(jaccard(rows[later], rows[i]) >= threshold for i in range(min(later, 5_000)))
        for later in sample
    )
    return recall, right / max(len(found), 1), missed


def main() -> None:
    given = options(__doc__, 100_000, 1)
    for size in sorted({min(10_000, given.size), given.size}):
        rows, origin = planted(size, seed=1)
        before = peak_mb()
        for threshold in (0.7, 0.9):
            few = rows[:PLAIN_ROWS]
            plain = [timed(lambda few=few, t=threshold: plain_minhash(few, t))[0] for _ in range(given.rounds)]
            ours = [timed(lambda rows=rows, t=threshold: near_duplicates(rows, t)) for _ in range(given.rounds)]
            times = {
                f"plain MinHash, {len(few):,} rows": sorted(plain, key=lambda t: t.wall)[given.rounds // 2],
                "flywheel": sorted((t for t, _ in ours), key=lambda t: t.wall)[given.rounds // 2],
            }
            recall, precision, missed = quality(rows, origin, ours[0][1], threshold)
            print(f"\n{size:,} rows, Jaccard {threshold}")
            print(rate_table(times, dict(zip(times, (len(few), size), strict=True)), "rows"))
            print(
                f"recall {recall:.4f}, precision {precision:.4f}; missed in {SAMPLE} rows that nobody planted: {missed}"
            )
        print(f"memory before {before:,} MB; {footer()}")


if __name__ == "__main__":
    main()
