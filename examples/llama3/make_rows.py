"""Writes seeds, probes and holdout, with tests. No two files share a question. `python make_rows.py`

`wording`: one of the two that the teacher uses, or a third that it never writes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from teachers import cases, problem

SIZES = {"holdout": {"known": 160, "new": 80}, "probes": {"known": 120}, "seeds": {"known": 24}}
WORDINGS = {"known": slice(0, 2), "new": slice(2, 3)}


def main() -> None:
    rng, taken = random.Random(7), set[str]()
    for name, sizes in SIZES.items():
        rows = [row for wording, size in sizes.items() for row in fresh(rng, wording, size, taken)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


def fresh(rng: random.Random, wording: str, size: int, taken: set[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(rows) < size:
        row = problem(rng, WORDINGS[wording])
        if row["question"] not in taken:
            taken.add(row["question"])
            tests = cases(rng, row["kind"], row["code"], 4)
            rows.append({**row, "wording": wording, "tests": tests})
    return rows


if __name__ == "__main__":
    main()
