"""The plan: what would happen, and why. Pure: files' hashes and history are handed in."""

from flywheel.plan.compiler import IMPLEMENTATION, Facts, compile_plan
from flywheel.plan.model import Estimate, Plan, PlanNode, Status

__all__ = ["IMPLEMENTATION", "Estimate", "Facts", "Plan", "PlanNode", "Status", "compile_plan"]
