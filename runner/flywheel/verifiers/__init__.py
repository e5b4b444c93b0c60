"""Who says whether an answer is right: sql, math, json_schema, exact, regex, label, python, code, command."""

from flywheel.verifiers.checker import Checker, outcome_of
from flywheel.verifiers.finding import VerifierInvalid
from flywheel.verifiers.kinds import parts, version_of

__all__ = ["Checker", "VerifierInvalid", "outcome_of", "parts", "version_of"]
