"""The only room that knows both the plan and the store: planning, applying, looking back."""

from flywheel.engine.apply import ApplyOutcome, apply
from flywheel.engine.history import Lookup, open_lookup
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Project, open_project

__all__ = ["ApplyOutcome", "Lookup", "Project", "apply", "make_plan", "open_lookup", "open_project"]
