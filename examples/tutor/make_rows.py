"""Writes the rows: no two files share a sum. Seeds are explained, and so are probes and holdout; `own` is not.
`python make_rows.py`"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tutoring import SAYINGS, explained, pupil

SIZES = {"seeds": 40, "probes": 200, "own": 400, "holdout": 300}


def main() -> None:
    rng = random.Random(7)
    sums = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    rng.shuffle(sums)
    for name, size in SIZES.items():
        rows: list[dict[str, str]] = []
        while len(rows) < size:
            a, b = sums.pop()
            saying = list(SAYINGS)[len(rows) % len(SAYINGS)]
            if row := pupil(a, b, saying):
                rows.append(row if name == "own" else {**row, "answer": explained(a, b, saying)})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
