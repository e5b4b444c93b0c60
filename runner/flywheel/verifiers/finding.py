"""What a check says, and how a check that cannot be built says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flywheel.answers import Language, extract_answer
from flywheel.errors import FlywheelError
from flywheel.records import Outcome, Subject
from flywheel.text import one_line


@dataclass(frozen=True)
class Finding:
    outcome: Outcome
    reason: str = ""
    score: float | None = None
    """How good, in [0, 1], where that is more than right or wrong."""


PASS = Finding("pass")

Check = Callable[[Subject], Finding]
"""Judges one answer. What it raises becomes "unknown"; it runs in a child process that may be killed."""


class VerifierInvalid(FlywheelError):
    """A verifier cannot be built: a file that it names is missing or wrong."""


def said_by(returned: Any) -> Finding:
    """What a check in the project's own code returned: True or False, or with a reason (bool, str)."""
    match returned:
        case Finding():
            return returned
        case bool():
            return Finding("pass" if returned else "fail")
        case (bool() as passed, str() as reason):
            return Finding("pass" if passed else "fail", reason)
    return unknown(f"returned {one_line(repr(returned), 60)}; return True, False or (bool, reason)")


def read(subject: Subject, language: Language) -> Subject:
    """The subject with the answer that stands in what was written, and its reference likewise."""
    reference = None if subject.reference is None else extract_answer(subject.reference, language)
    return replace(subject, answer=extract_answer(subject.answer, language), reference=reference)


def fail(reason: str) -> Finding:
    return Finding("fail", reason)


def unknown(reason: str) -> Finding:
    return Finding("unknown", reason)
