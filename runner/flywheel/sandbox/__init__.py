"""Untrusted Python, contained: a ladder of tiers, a fork server for each, and sessions to call into.

None of it stops an exploit of the kernel, which is shared; docs/sandbox.md says what each tier stops.
"""

from flywheel.sandbox.box import Session
from flywheel.sandbox.containment import confine
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
