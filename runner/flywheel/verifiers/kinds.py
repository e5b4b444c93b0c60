"""The kinds of verifiers: one small record each, in one explicit table.

A further kind is a model in `spec.models`, a function that builds its check in the child, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from flywheel.hashing import canonical, fingerprint, hash_file, short
from flywheel.spec.models import Verifier
from flywheel.verifiers.documents import open_json_schema
from flywheel.verifiers.finding import Check, VerifierInvalid
from flywheel.verifiers.functions import open_python
from flywheel.verifiers.maths import open_math
from flywheel.verifiers.sql import open_sql
from flywheel.verifiers.words import open_exact, open_label, open_regex


@dataclass(frozen=True)
class Kind:
    """`open` builds the check, in the child. `implementation` rises when a verdict could differ."""

    open: Callable[[Any, Path], Check]
    needs_reference: Callable[[Any], bool]
    files: Callable[[Any], Mapping[str, str]] = lambda spec: {}
    """Part → file, relative to the project, that the check reads."""
    packages: tuple[str, ...] = ()
    """Packages whose version can change a verdict."""
    implementation: int = 1


KINDS: Mapping[str, Kind] = {
    "exact": Kind(open_exact, lambda spec: True),
    "regex": Kind(open_regex, lambda spec: False),
    "label": Kind(
        open_label,
        lambda spec: False,
        files=lambda spec: {"labels": spec.labels} if isinstance(spec.labels, str) else {},
    ),
    "json_schema": Kind(
        open_json_schema,
        lambda spec: spec.compare == "fields",
        files=lambda spec: {"schema": spec.schema_file},
        packages=("jsonschema-rs",),
    ),
    "math": Kind(open_math, lambda spec: True, packages=("math-verify", "sympy")),
    "sql": Kind(
        open_sql,
        lambda spec: spec.check == "same_rows",
        files=lambda spec: {"setup": spec.setup},
        packages=("duckdb",),
    ),
    "python": Kind(
        open_python,
        lambda spec: spec.needs_reference,
        files=lambda spec: {"function": spec.function.partition(":")[0]},
    ),
}


def needs_reference(spec: Verifier) -> bool:
    """Whether the verifier compares with a known right answer; without one its verdict is unknown."""
    return KINDS[spec.kind].needs_reference(spec)


def parts(name: str, spec: Verifier, root: Path) -> dict[str, str]:
    """Everything that can change the verdicts of the verifier called `name`, for fingerprints.

    Raises VerifierInvalid where a file that it names cannot be read.
    """
    kind = KINDS[spec.kind]
    found = {"spec": canonical(spec.model_dump(mode="json")), "implementation": str(kind.implementation)}
    for package in kind.packages:
        found[package] = package_version(package)
    for part, file in kind.files(spec).items():
        try:
            found[part] = hash_file(root / file)
        except OSError as error:
            raise VerifierInvalid(f"verifiers.{name}: cannot read {file}: {error.strerror}") from error
    return found


def version_of(name: str, spec: Verifier, root: Path) -> str:
    """The short fingerprint of the verifier's parts: the `version` of its verdicts."""
    return short(fingerprint(parts(name, spec, root)))
