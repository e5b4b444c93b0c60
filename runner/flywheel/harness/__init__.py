"""The ruler: lm-eval's own evaluation on our suites, and on its own tasks by name. Only this room imports it."""

from flywheel.harness.evaluation import evaluate
from flywheel.harness.suites import Answer, Evaluated, EvaluationJob, Item, Measured, SuiteJob

__all__ = ["Answer", "Evaluated", "EvaluationJob", "Item", "Measured", "SuiteJob", "evaluate"]
