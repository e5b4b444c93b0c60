"""Cut twelve intents of CLINC150 into the rows of this project: seeds, probes, lessons, holdout, labels.

    python prepare.py [data_full.json] [--out DIR]

`data_full.json`, by default the one beside this script, is CLINC150's own file, from the repository clinc/oos-eval
(CC-BY-3.0). Seeds and lessons come from its train split, probes from its validation split, the holdout from its test
split.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
INTENTS = (
    "account_blocked", "balance", "bill_balance", "bill_due", "freeze_account", "interest_rate", "min_payment",
    "pay_bill", "pin_change", "report_fraud", "spending_history", "transfer",
)  # fmt: skip
#: Rows of each intent, by file: the split and the place in it.
FILES = {
    "seeds": ("train", slice(0, 2)),
    "lessons": ("train", slice(2, None)),
    "probes": ("val", slice(0, 8)),
    "holdout": ("test", slice(0, 10)),
}

Row = dict[str, str]


def cut(data: dict[str, list[list[str]]]) -> dict[str, list[Row]]:
    """The rows by file: each intent equally often."""
    return {
        name: [
            {"text": text, "intent": intent}
            for intent in INTENTS
            for text in [text for text, its in data[split] if its == intent][places]
        ]
        for name, (split, places) in FILES.items()
    }


def write(path: Path, lines: Iterable[str]) -> None:
    """Write a file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main() -> None:
    """Write `data/` and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=HERE / "data_full.json")
    parser.add_argument("--out", type=Path, default=HERE / "data")
    options = parser.parse_args()
    if not options.file.is_file():
        raise SystemExit(f"{options.file} is not here: it is data/data_full.json of the repository clinc/oos-eval.")
    files = cut(json.loads(options.file.read_text(encoding="utf-8")))
    for name, rows in files.items():
        write(options.out / f"{name}.jsonl", (json.dumps(row, ensure_ascii=False) for row in rows))
    write(options.out / "labels.txt", INTENTS)
    print(", ".join(f"{name} {len(rows):,}" for name, rows in files.items()), f"rows; {len(INTENTS)} labels")


if __name__ == "__main__":
    main()
