"""What runs each kind of verifier. A kind's keys and facts are its class in `spec.verifiers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flywheel.hashing import fingerprint, short
from flywheel.project_code import where
from flywheel.records import Subject
from flywheel.spec.verifiers import Verifier
from flywheel.verifiers.code import open_code
from flywheel.verifiers.command import open_command
from flywheel.verifiers.documents import open_json_schema
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid, said_by, unknown
from flywheel.verifiers.functions import open_python
from flywheel.verifiers.maths import open_math
from flywheel.verifiers.sql import open_sql
from flywheel.verifiers.words import open_exact, open_label, open_regex

OPEN: Mapping[str, Callable[[Any, Path, bool], Check]] = {
    "exact": open_exact,
    "regex": open_regex,
    "label": open_label,
    "json_schema": open_json_schema,
    "math": open_math,
    "sql": open_sql,
    "python": open_python,
    "code": open_code,
    "command": open_command,
}
"""Builds the check, in the child: (spec, project, whether programs may run where no sandbox works)."""


def open_check(name: str, spec: Verifier, root: Path, unsafe: bool) -> Check:
    """The check of the verifier called `name`. Raises VerifierInvalid where it cannot be built."""
    try:
        found = OPEN[spec.kind](spec, root, unsafe) if spec.origin is None else _strangers(spec, root)
    except (VerifierInvalid, OSError) as error:
        raise VerifierInvalid(f"verifiers.{name}: {error}") from error
    return _with_reference(found) if spec.needs_reference and not spec.sees_form else found


def _with_reference(check: Check) -> Check:
    return lambda subject: check(subject) if subject.reference is not None else unknown("no reference to compare with")


def _strangers(spec: Verifier, root: Path) -> Check:
    """A stranger's check says its own place when it raises."""
    try:
        check = spec.open(root)
    except Exception as error:
        raise VerifierInvalid(f"{spec.kind} cannot be opened: {where(error)}") from error

    def judged(subject: Subject) -> Finding:
        try:
            return said_by(check(subject))
        except Exception as error:
            return unknown(f"raised {where(error)}")

    return judged


def parts(
    name: str, spec: Verifier, root: Path, teachers: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """`Verifier.parts` of the one called `name`. Raises VerifierInvalid where a file that it names cannot be read."""
    try:
        return spec.parts(root, teachers)
    except OSError as error:
        raise VerifierInvalid(
            f"verifiers.{name}: cannot read {_below(root, error.filename)}: {error.strerror}"
        ) from error


def _below(root: Path, file: str) -> str:
    return Path(file).relative_to(root).as_posix() if Path(file).is_relative_to(root) else file


def version_of(name: str, spec: Verifier, root: Path, teachers: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The short fingerprint of the verifier's parts: the `version` of its verdicts."""
    return short(fingerprint(parts(name, spec, root, teachers)))
