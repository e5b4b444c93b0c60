"""Decontamination, 13-grams of words: ours beside Python sets, with what was missed and what was too much.

    python bench/decontamination.py [--size 100000] [--rounds 3]

1,319 eval items against the lessons; one lesson in a hundred carries 13 to 20 words of an item.
"""

from __future__ import annotations

import random

from measuring import footer, interleaved, options, questions, rate_table

from flywheel.store.similarity import contaminated
from flywheel.text import normalised

ITEMS, NGRAM = 1_319, 13


def grams(text: str) -> set[tuple[str, ...]]:
    words = normalised(text).split()
    return {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}


def by_sets(lessons: list[tuple[str, str]], items: list[tuple[str, str, str, str]]) -> set[int]:
    known = set().union(*(grams(whole) for *_, whole in items))
    return {index for index, (_, whole) in enumerate(lessons) if not known.isdisjoint(grams(whole))}


def rows(size: int) -> tuple[list[tuple[str, str]], list[tuple[str, str, str, str]]]:
    rng = random.Random(3)
    asked = questions(ITEMS, seed=1)
    lessons = questions(size, seed=2)
    for index in range(0, size, 100):
        words = rng.choice(asked).split()
        length = rng.randint(NGRAM, 20)
        start = rng.randrange(len(words) - length + 1)
        lessons[index] += " " + " ".join(words[start : start + length])
    return [(q, f"{q} the answer is {i}") for i, q in enumerate(lessons)], [
        ("holdout", str(i), q, q) for i, q in enumerate(asked)
    ]


def main() -> None:
    given = options(__doc__, 100_000, 3)
    lessons, items = rows(given.size)
    found: dict[str, set[int]] = {}

    def keep(name: str, indices: set[int]) -> None:
        found[name] = indices

    times = interleaved(
        {
            "python sets": lambda: keep("sets", by_sets(lessons, items)),
            "flywheel": lambda: keep("ours", set(contaminated(lessons, items, NGRAM))),
        },
        given.rounds,
    )
    print(rate_table(times, dict.fromkeys(times, given.size), "rows"))
    missed, extra = len(found["sets"] - found["ours"]), len(found["ours"] - found["sets"])
    print(f"contaminated {len(found['sets']):,}; missed {missed}, extra {extra}")
    print(footer())


if __name__ == "__main__":
    main()
