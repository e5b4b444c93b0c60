"""Writes probes and holdout; seeds.jsonl was written by hand. `python make_rows.py`

`kind`: one wish, one with a time, or two. `wording`: as people ask in the seeds, as the writer rewords, or as neither.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from teachers import ASKED, DEVICES, OTHERWISE, ROOMS, ask

NOBODYS = {
    "on": ["get the {d} in the {r} running", "make sure the {r} {d} is on"],
    "off": ["make sure the {r} {d} is off", "the {d} in the {r} must be off"],
}
STARTS = ["good evening", "listen", "it is late", "I am back", "before you go", "sorry to ask", "quick one", "morning"]
ENDS = ["that is all", "we have guests", "the baby sleeps", "I am busy", "no rush", "do it now", "it is a holiday"]


def row(rng: random.Random, wording: str) -> dict[str, str]:
    patterns = {"seeds": ASKED, "writer": OTHERWISE, "nobody": NOBODYS}[wording]
    kind = rng.choice(["one", "time", "two"])
    actions = [(rng.choice(["on", "off"]), rng.choice(DEVICES), rng.choice(ROOMS)) for _ in range(1 + (kind == "two"))]
    hour = f" at {rng.randint(1, 12)}" if kind == "time" else ""
    wishes = [ask(rng, patterns, action) + hour for action in actions]
    text = ", ".join([rng.choice(STARTS), ", then ".join(wishes), rng.choice(ENDS)])
    command = "; ".join(" ".join(action) + hour for action in actions)
    return {"request": text, "command": command, "kind": kind, "wording": wording}


def main() -> None:
    rng = random.Random(7)
    probes = [row(rng, wording) for wording in ["seeds", "writer"] for _ in range(120)]
    taken = {probe["request"] for probe in probes}
    holdout = [row(rng, wording) for wording in ["seeds", "writer", "nobody"] for _ in range(100)]
    holdout = [item for item in holdout if item["request"] not in taken]
    for name, rows in (("probes", probes), ("holdout", holdout)):
        text = "".join(json.dumps(item) + "\n" for item in rows)
        (Path(__file__).parent / "rows" / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
