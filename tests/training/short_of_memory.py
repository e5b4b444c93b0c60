"""`short_of_memory.py BYTES ROWS RANK -m MODULE FOLDER`: a launched training on a machine that has so many bytes, with
memory for so many rows in the process of that rank (0 rows: for all)."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from small_memory import Small

from flywheel.student import memory
from flywheel.training import lora, objectives

free, rows, rank = map(int, sys.argv[1:4])
memory._free = lambda: free
if rows and int(os.environ.get("RANK", 0)) == rank:
    lora.target_losses = objectives.target_losses = Small(rows)

sys.argv = sys.argv[5:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
