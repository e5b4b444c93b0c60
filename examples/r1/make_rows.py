"""Writes the rows: no two files share a question. Seeds have their thoughts; all others the result alone.
`python make_rows.py`"""

from __future__ import annotations

import json
import random
from pathlib import Path

from teachers import NAMES, PROBLEMS, THINGS, chain, thought

SIZES = {"seeds": 40, "problems": 1800, "probes": 150, "holdout": 200}
GENERAL = {"requests": 600, "general_probes": 50, "general_holdout": 1000}
Row = dict[str, str]


def main() -> None:
    rng = random.Random(7)
    sums = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    rng.shuffle(sums)
    for name, size in SIZES.items():
        drawn, sums = sums[:size], sums[size:]
        write(name, [problem(rng, a, b, worked=name == "seeds") for a, b in drawn])
    taken: set[str] = set()
    for name, size in GENERAL.items():
        write(name, [plain(rng, taken) for _ in range(size)])


def write(name: str, rows: list[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


def problem(rng: random.Random, a: int, b: int, worked: bool) -> Row:
    question = rng.choice(PROBLEMS).format(name=rng.choice(NAMES), things=rng.choice(THINGS), a=a, b=b)
    answer = thought(chain(a, b), a + b) if worked else str(a + b)
    return {"question": question, "answer": answer, "carry": "carry" if a % 10 + b % 10 > 9 else "plain"}


def plain(rng: random.Random, taken: set[str]) -> Row:
    """What is to be looked up in the question, and needs no thought."""
    while True:
        told = dict(zip(rng.sample(NAMES, 3), rng.sample(range(10, 100), 3), strict=True))
        name = rng.choice(list(told))
        question = ", ".join(f"{who} is {age}" for who, age in told.items()) + f". how old is {name}?"
        if question not in taken:
            taken.add(question)
            return {"question": question, "answer": str(told[name])}


if __name__ == "__main__":
    main()
