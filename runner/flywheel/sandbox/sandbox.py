"""The sandbox as others use it: in the best tier that works here."""

from __future__ import annotations

from flywheel.sandbox.box import Box
from flywheel.sandbox.outcome import MEND, SandboxUnavailable, Tier
from flywheel.sandbox.probe import capability


class Sandbox(Box):
    """Runs untrusted Python, contained. Any number of threads may use it; close it, or use it in a `with`.

    `tier` None takes the best tier that works here. `workers` is the number of zygotes, not of programs at a time:
    each program that runs has a process of its own. Raises SandboxUnavailable where no tier works and `unsafe`
    does not allow to run without one.
    """

    def __init__(self, unsafe: bool = False, workers: int = 2, tier: Tier | None = None) -> None:
        chosen: Tier = tier or capability().tier
        if chosen == "none" and not unsafe:
            reasons = "; ".join(f"{name}: {why}" for name, why in capability().refused)
            raise SandboxUnavailable(f"no sandbox works on this machine ({reasons or 'none was asked for'}). {MEND}")
        super().__init__(chosen, workers)
