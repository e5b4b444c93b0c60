"""Writes the rows: no two files share a question. `python make_rows.py`"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

DIGITS = 8
SIZES = {"holdout": 200, "probes": 40, "lessons": 40, "practice": 1000}


def main() -> None:
    questions = drawn(random.Random(7), sum(SIZES.values()))
    for name, size in SIZES.items():
        write(name, (row(next(questions), answered=name != "practice") for _ in range(size)))


def drawn(rng: random.Random, wanted: int) -> Iterator[str]:
    """So many different rows of digits."""
    found: dict[str, None] = {}
    while len(found) < wanted:
        found[" ".join(str(rng.randrange(10)) for _ in range(DIGITS))] = None
    return iter(found)


def row(numbers: str, answered: bool) -> dict[str, str]:
    return {"numbers": numbers, "ordered": " ".join(sorted(numbers.split()))} if answered else {"numbers": numbers}


def write(name: str, rows: Iterable[dict[str, str]]) -> None:
    (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
