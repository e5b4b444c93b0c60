"""Untrusted Python, contained: a ladder of tiers, a fork server for each, and sessions to call into.

None of it stops an exploit of the kernel, which is shared; docs/sandbox.md says what each tier stops.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from flywheel.sandbox.box import Session
from flywheel.sandbox.outcome import Capability, Limits, Ran, SandboxUnavailable, SessionEnded, Tier
from flywheel.sandbox.probe import capability
from flywheel.sandbox.sandbox import Sandbox

__all__ = [
    "Capability",
    "Limits",
    "Ran",
    "Sandbox",
    "SandboxUnavailable",
    "Session",
    "SessionEnded",
    "Tier",
    "capability",
    "confine",
]


def confine(read: Sequence[Path] = (), memory_bytes: int | None = None) -> Tier:
    """What `containment.confine` does, on Linux; elsewhere nothing, which is the tier "none"."""
    if sys.platform != "linux":
        return "none"
    from flywheel.sandbox import containment  # here: it is of Linux alone

    return containment.confine(read, memory_bytes)
