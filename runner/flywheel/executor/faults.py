"""How a call into a child process can go wrong, as one small tree.

WorkerError            the function raised; `trace` holds the child's traceback
├── WorkerTimeout      no result in time; the child was killed
├── WorkerCrashed      the child died (out of memory, segmentation fault, `os._exit`)
└── WorkerCancelled    `cancel` was called from another thread
"""

from __future__ import annotations

from flywheel.errors import FlywheelError


class WorkerError(FlywheelError):
    """A call into a child process failed. `trace` is the child's traceback where there is one."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class WorkerTimeout(WorkerError):
    pass


class WorkerCrashed(WorkerError):
    pass


class WorkerCancelled(WorkerError):
    pass
