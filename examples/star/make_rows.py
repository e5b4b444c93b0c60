"""Writes the rows: no two files share a sum. Seeds are worked out; all others have the result alone.
`python make_rows.py`"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tutor import work

SIZES = {"seeds": 40, "train": 2100, "probes": 300, "own": 900, "holdout": 300}


def main() -> None:
    sums = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(7).shuffle(sums)
    for name, size in SIZES.items():
        rows, sums = [row(name, a, b) for a, b in sums[:size]], sums[size:]
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


def row(name: str, a: int, b: int) -> dict[str, str]:
    answer = work(a, b) if name == "seeds" else str(a + b)
    return {"question": f"{a} + {b}", "answer": answer, "carry": "carry" if a % 10 + b % 10 > 9 else "plain"}


if __name__ == "__main__":
    main()
