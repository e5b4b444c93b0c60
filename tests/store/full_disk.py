"""Writes to a store until the disk is full, then says how that went; runs on a disk of a few megabytes."""

import random
import sys
from pathlib import Path

from flywheel.errors import StoreError
from flywheel.store import Store

folder = Path(sys.argv[1])
written = 0
with Store(folder / "flywheel.duckdb") as store:
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * int(sys.argv[2]))
    try:
        for number in range(2_000):
            text = random.Random(number).randbytes(20_000).hex()  # nothing to compress
            store.write("losses", [{"node": text, "step": number}])
            written = number + 1
    except StoreError as error:
        print("refused:", str(error).replace("\n", " "))
    ballast.unlink()
    store.write("losses", [{"node": "after", "step": -1}])
    steps = [row["step"] for row in store.query("SELECT step FROM losses ORDER BY step")]
    print("kept:", steps[: written + 1] == [-1, *range(written)], written, len(steps))
with Store(folder / "flywheel.duckdb") as store:
    print("opens:", len(store.query("SELECT step FROM losses")) >= written + 1)
