"""Child processes, killable: one long-lived Worker for models, a Pool for many small untrusted items."""

from flywheel.executor.faults import WorkerCancelled, WorkerCrashed, WorkerError, WorkerTimeout
from flywheel.executor.pool import Pool, Result
from flywheel.executor.worker import Worker

__all__ = ["Pool", "Result", "Worker", "WorkerCancelled", "WorkerCrashed", "WorkerError", "WorkerTimeout"]
