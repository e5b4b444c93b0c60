"""Cut banking77 into the rows of this project: seeds, probes, lessons, holdout, labels.

    python prepare.py [--data DIR] [--out DIR] [--holdout N] [--probes N]

Seeds, probes and lessons come from the train split, the holdout from the test split. `--data` is the folder that holds
`banking77/train.csv` and `banking77/test.csv`; without it FLYWHEEL_TEST_DATA names it, or it is the first
`shared/data` beside a folder above this one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from flywheel.text import normalised

HERE = Path(__file__).parent
SEED = 7
SEEDS_EACH = 1  # rows of each category

Row = dict[str, str]


def data_folder() -> Path:
    """The folder that holds the data sets. Raises SystemExit where there is none."""
    if named := os.environ.get("FLYWHEEL_TEST_DATA"):
        return Path(named)
    found = (above / "shared" / "data" for above in HERE.resolve().parents)
    folder = next((path for path in found if path.is_dir()), None)
    if folder is None:
        raise SystemExit("banking77 is not here: name its folder with --data or FLYWHEEL_TEST_DATA.")
    return folder


def read(path: Path, seen: set[str]) -> list[Row]:
    """The rows of a split, without those whose text (whatever its case and signs) was `seen` before."""
    rows = []
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            text = " ".join(row["text"].split())
            if (key := normalised(text)) not in seen:
                seen.add(key)
                rows.append({"text": text, "category": row["category"]})
    return rows


def cut(data: Path, holdout: int, probes: int) -> Mapping[str, list[Row]]:
    """The rows by file: seeds and probes hold each category equally often, the holdout is a random sample."""
    rng = random.Random(SEED)
    seen: set[str] = set()
    test = read(data / "banking77" / "test.csv", seen)
    by_category: dict[str, list[Row]] = defaultdict(list)
    train = read(data / "banking77" / "train.csv", seen)
    rng.shuffle(train)
    for row in train:
        by_category[row["category"]].append(row)
    groups = [by_category[category] for category in sorted(by_category)]
    first, last = SEEDS_EACH, SEEDS_EACH + probes
    return {
        "holdout": rng.sample(test, min(holdout, len(test))),
        "seeds": [row for group in groups for row in group[:first]],
        "probes": [row for group in groups for row in group[first:last]],
        "lessons": [row for group in groups for row in group[last:]],
    }


def write(path: Path, lines: Iterable[str]) -> None:
    """Write a file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main() -> None:
    """Write `data/` and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "data")
    parser.add_argument("--holdout", type=int, default=500, help="rows of the test split")
    parser.add_argument("--probes", type=int, default=6, help="rows of each category")
    options = parser.parse_args()
    files = cut(options.data or data_folder(), options.holdout, options.probes)
    for name, rows in files.items():
        write(options.out / f"{name}.jsonl", (json.dumps(row, ensure_ascii=False) for row in rows))
    labels = sorted({row["category"] for row in files["seeds"]})
    write(options.out / "labels.txt", labels)
    print(", ".join(f"{name} {len(rows):,}" for name, rows in files.items()), f"rows; {len(labels)} labels")


if __name__ == "__main__":
    main()
