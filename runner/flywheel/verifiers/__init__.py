"""Who says whether an answer is right: sql, math, json_schema, exact, regex, label, python, code, command."""

from flywheel.verifiers.finding import VerifierInvalid
from flywheel.verifiers.judge import Judge, outcome_of
from flywheel.verifiers.kinds import needs_reference, parts, version_of

__all__ = ["Judge", "VerifierInvalid", "needs_reference", "outcome_of", "parts", "version_of"]
