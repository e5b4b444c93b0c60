"""The gate: promote, reject or inconclusive, from paired per-item results. Pure."""

from flywheel.gate.decision import decide

__all__ = ["decide"]
