"""What the sandbox is asked and what it answers: limits, tiers, how a program ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from flywheel.errors import FlywheelError

Tier = Literal["namespaces", "landlock", "bubblewrap", "none"]
"""Best first. `none`: a process of its own with rlimits and a wall limit, free to use files and the network."""

TIERS: tuple[Tier, ...] = get_args(Tier)

Status = Literal["ok", "failed", "timeout", "memory", "crash", "output", "infrastructure"]
"""`failed`: the program ended itself, not with 0; `crash`: a signal ended it; `output`: it wrote more than it may;
`infrastructure`: the sandbox itself failed, which says nothing of the program."""

SessionStatus = Status | Literal["forged"]


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 3.0
    """Of wall time, from when the program starts; for a session, of each call."""
    memory_bytes: int = 512 << 20
    """Of address space, the interpreter included (about 40 MB)."""
    output_bytes: int = 64 << 10
    """Of standard output, and of standard error, each; for a session, of each reply."""
    disk_bytes: int = 16 << 20
    """Of the private scratch folder, which only the tier `namespaces` has: elsewhere nothing can be written."""


@dataclass(frozen=True)
class Capability:
    """What this machine can do: the best tier whose canary attacks all failed, and why each better tier is refused."""

    tier: Tier
    refused: tuple[tuple[Tier, str], ...]


@dataclass(frozen=True)
class Ran:
    """How a program ended. `stdout` and `stderr` are cut at the limit and are hostile: escape them where shown."""

    status: Status
    returncode: int | None
    """As Python's subprocess gives it: negative for a signal; None where the sandbox failed."""
    stdout: bytes
    stderr: bytes
    seconds: float
    """Wall time from the start of the program to its end."""
    detail: str


#: What a person can do where a tier does not work.
MEND = (
    "Let unprivileged processes make user namespaces, use Linux 6.2 or later with Landlock, or install bubblewrap; "
    "`flywheel doctor` says what is refused and why. Or accept the risk with `allow_unsafe_execution: true`."
)


class SandboxUnavailable(FlywheelError):
    """No tier works here, or not the one asked for, and unsafe execution was not allowed."""


class SessionEnded(Exception):
    """The contained process is gone, or broke the protocol; the session cannot go on.

    `status` is a `Status`, or `forged` where a reply came that nobody had asked for.
    """

    def __init__(self, status: SessionStatus, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
