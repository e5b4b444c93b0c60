"""A machine with little memory, for trainings."""

from __future__ import annotations

from typing import Any

from flywheel.student.sampling import target_losses


class Small:
    """Memory for so many rows: more raise what torch raises."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, torch: Any, loaded: Any, rows: Any) -> Any:
        if len(rows) > self.rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return target_losses(torch, loaded, rows)
