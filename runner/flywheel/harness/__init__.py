"""The ruler: lm-eval's own `simple_evaluate` on our suites, and on its own tasks by name. Only this room imports it."""

from flywheel.harness.suites import Item, ItemResult, SuiteJob, evaluate

__all__ = ["Item", "ItemResult", "SuiteJob", "evaluate"]
