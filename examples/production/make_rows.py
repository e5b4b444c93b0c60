"""Writes rows/. `python make_rows.py`

`wording`: as the team imagined messages, or live, as people write. The live half of the holdout stands for a week of
messages that somebody labelled by hand; no probe and no seed is like it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from teachers import IMAGINED, LIVE, said

WORDINGS = {"imagined": IMAGINED, "live": LIVE}


def fresh(rng: random.Random, wording: str, taken: set[str]) -> Iterator[dict[str, str]]:
    """Rows of all intents in turn, each message once."""
    for intent in cycle(WORDINGS[wording]):
        message = said(rng, rng.choice(WORDINGS[wording][intent]))
        if message not in taken:
            taken.add(message)
            yield {"message": message, "intent": intent, "wording": wording}


def main() -> None:
    rng, taken = random.Random(7), set[str]()
    imagined, live = fresh(rng, "imagined", taken), fresh(rng, "live", taken)
    files = {
        "seeds": list(islice(imagined, 24)),
        "probes": list(islice(imagined, 120)),
        "holdout": [*islice(imagined, 120), *islice(live, 120)],
        "guard": list(islice(imagined, 120)),
    }
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
