"""Cut GSM8K into the rows of `gsm8k.yaml`: problems with their results, worked solutions, probes, holdout, seeds.

    python prepare.py [--data DIR] [--out DIR]

`--data` is the folder that holds `gsm8k/train.jsonl`; without it FLYWHEEL_TEST_DATA names it, or it is the first
`shared/data` beside a folder above this one. No two files share a problem, but for `problems` and `solutions`: people's
solutions stand in for the chains of a reasoning model, and `solutions` is what that recorded teacher says.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
SEED = 7
SIZES = {"seeds": 20, "probes": 60, "holdout": 150}

Row = dict[str, str]


def data_folder() -> Path:
    """The folder that holds the data sets. Raises SystemExit where there is none."""
    if named := os.environ.get("FLYWHEEL_TEST_DATA"):
        return Path(named)
    found = (above / "shared" / "data" for above in HERE.resolve().parents)
    folder = next((path for path in found if path.is_dir()), None)
    if folder is None:
        raise SystemExit("gsm8k is not here: name its folder with --data or FLYWHEEL_TEST_DATA.")
    return folder


def thought(worked: str) -> str:
    """A solution as a reasoning model writes it: the working in a thought, the result behind it."""
    working, _, result = re.sub(r"<<.*?>>", "", worked).rpartition("\n#### ")
    return f"<think>\n{working.strip()}\n</think>\n\n{result.strip()}"


def result(worked: str) -> str:
    return worked.rpartition("\n#### ")[2].strip()


def cut(rows: list[Row]) -> Mapping[str, list[Row]]:
    """The rows by file; problems are all that is left."""
    random.Random(SEED).shuffle(rows)
    files: dict[str, list[Row]] = {}
    for name, size in SIZES.items():
        files[name], rows = rows[:size], rows[size:]
    files |= {"problems": rows, "solutions": rows}
    worked = {"seeds", "solutions"}
    return {
        name: [
            {"question": r["question"], "answer": (thought if name in worked else result)(r["answer"])} for r in found
        ]
        for name, found in files.items()
    }


def main() -> None:
    """Write `data/` and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "data")
    options = parser.parse_args()
    text = ((options.data or data_folder()) / "gsm8k" / "train.jsonl").read_text(encoding="utf-8")
    files = cut([json.loads(line) for line in text.splitlines()])
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (options.out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    print(", ".join(f"{name} {len(rows):,}" for name, rows in files.items()), "rows")


if __name__ == "__main__":
    main()
