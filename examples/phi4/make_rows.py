"""Writes the rows: no two files share an instruction or a formula. `organic` has questions as people ask them, without
answers, every tenth unclear; `formulas` answers without questions. `python make_rows.py`"""

from __future__ import annotations

import json
import random
from pathlib import Path

from words import UNCLEAR, Steps, drawn, formula, said

SIZES = {"seeds": 30, "probes": 200, "practice": 300, "formulas": 500, "organic": 700, "holdout": 300}


def main() -> None:
    rng = random.Random(7)
    taken: set[str] = set()
    for name, size in SIZES.items():
        rows = []
        for number in range(size):
            steps = fresh(rng, taken)
            if name == "formulas":
                rows.append({"question": None, "formula": formula(steps)})
            elif name == "organic":
                rows.append({"question": unclear(rng) if number % 10 == 0 else said(steps, rng)})
            else:
                rows.append({"question": said(steps, rng), "formula": formula(steps), "steps": str(len(steps))})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


def fresh(rng: random.Random, taken: set[str]) -> Steps:
    while formula(steps := drawn(rng)) in taken:
        pass
    taken.add(formula(steps))
    return steps


def unclear(rng: random.Random) -> str:
    return f"{said(drawn(rng, 1), rng)}, then {UNCLEAR.format(n=rng.randint(2, 4), m=rng.randint(2, 4))}"


if __name__ == "__main__":
    main()
