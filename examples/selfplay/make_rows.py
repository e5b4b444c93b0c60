"""Writes the rows: no two files share a position. `python make_rows.py`"""

from __future__ import annotations

import json
import random
from pathlib import Path

from nim import LARGEST, Heaps, moves, wins, written

SIZES = {"holdout": 100, "probes": 60}


def main() -> None:
    everything = [(a, b) for a in range(LARGEST + 1) for b in range(LARGEST + 1) if a + b]
    random.Random(7).shuffle(everything)
    # Where the heaps are equal no move wins: nothing to be measured by, and a position to begin from all the same.
    won = [heaps for heaps in everything if not wins(heaps)]
    for name, size in SIZES.items():
        write(name, [{"heaps": written(heaps), "leave": written(best(heaps))} for heaps in won[:size]])
        won = won[size:]
    write("openings", [{"heaps": written(heaps)} for heaps in everything if heaps in won or wins(heaps)])


def best(heaps: Heaps) -> Heaps:
    return next(left for left in moves(heaps) if wins(left))


def write(name: str, rows: list[dict[str, str]]) -> None:
    (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
