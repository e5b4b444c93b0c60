"""The plan: what would happen, and why. Pure: files' hashes and history are handed in."""

from flywheel.plan.changes import changes
from flywheel.plan.compiler import compile_plan
from flywheel.plan.model import Estimate, Plan, PlanNode, Status
from flywheel.plan.parts import ProjectFacts
from flywheel.plan.verbs import VERBS, Verb

__all__ = ["VERBS", "Estimate", "Plan", "PlanNode", "ProjectFacts", "Status", "Verb", "changes", "compile_plan"]
