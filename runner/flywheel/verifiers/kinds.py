"""The kinds of verifiers: one small record each, in one explicit table.

A further kind is a model in `spec.models`, a function that builds its check in the child, and a line here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from flywheel.hashing import canonical, fingerprint, hash_file, short
from flywheel.spec.databases import database_files, databases_digest
from flywheel.spec.models import JudgeVerifier, SqlVerifier, Verifier
from flywheel.verifiers.code import open_code, patience
from flywheel.verifiers.command import open_command, program_files
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
    confined: bool = True
    """The check needs nothing but `files`, to be built and to judge: its child gives up everything else. False for a
    check that runs other people's code, or has a sandbox of its own."""
    programs: Callable[[Any, Path], Mapping[str, str]] = lambda spec, root: {}
    """Like `files`, where only the project's folder tells whether they are files."""
    found: Callable[[Any, Path], Mapping[str, str]] = lambda spec, root: {}
    """Part → value that only the project's folder or this machine tells. Raises OSError."""
    reads: Callable[[Any, Path], Sequence[str]] = lambda spec, root: ()
    """Further files, relative to the project, that a confined check reads."""
    reaches_out: Callable[[Any], bool] = lambda spec: False
    """Whether it talks to a server, so that its child cannot be confined after all."""
    patience: Callable[[Any], float] = lambda spec: spec.timeout_seconds
    """Seconds after which the child is killed and the verdict unknown."""


def _asks_a_teacher(spec: Any, root: Path) -> Check:
    raise VerifierInvalid("a judge asks a teacher, which no child process can: verifiers.rubric asks it")


def _databases(spec: SqlVerifier, root: Path) -> Mapping[str, str]:
    if spec.engine == "duckdb":
        return {"duckdb": package_version("duckdb"), "sqlglot": package_version("sqlglot")}
    if spec.engine == "postgres":
        return {"psycopg": installed_version("psycopg")}
    found = {"sqlite": sqlite3.sqlite_version, "sqlglot": package_version("sqlglot")}
    return found if spec.database is None else {**found, "databases": databases_digest(spec, root)}


def installed_version(package: str) -> str:
    """Empty where it is not installed, which the check itself then says."""
    try:
        return package_version(package)
    except PackageNotFoundError:
        return ""


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
        files=lambda spec: {} if spec.setup is None else {"setup": spec.setup},
        found=_databases,
        reads=database_files,
        reaches_out=lambda spec: spec.engine == "postgres",
        implementation=3,  # engines, rules, rows that the gold selects
    ),
    "python": Kind(
        open_python,
        lambda spec: spec.needs_reference,
        files=lambda spec: {"function": spec.function.partition(":")[0]},
        confined=False,
    ),
    # Its programs run in sandboxes of its own, so its child is not confined; and it keeps its own time (a program that
    # is too slow is wrong), so the pool must wait for `patience`, not for `timeout_seconds`.
    "code": Kind(open_code, lambda spec: False, confined=False, patience=patience),
    "command": Kind(open_command, lambda spec: spec.needs_reference, programs=program_files, confined=False),
    "judge": Kind(
        _asks_a_teacher,
        lambda spec: spec.compare == "pair",
        files=lambda spec: {"rubric": spec.rubric, **({"calibration": spec.calibration} if spec.calibration else {})},
    ),
}


def needs_reference(spec: Verifier) -> bool:
    """Whether the verifier compares with a known right answer; without one its verdict is unknown."""
    return KINDS[spec.kind].needs_reference(spec)


def parts(
    name: str, spec: Verifier, root: Path, teachers: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """Everything that can change the verdicts of the verifier called `name`, for fingerprints.

    `teachers`: parameters of each teacher (`teachers.parameters`), where a judge's are among them. Raises
    VerifierInvalid where a file that it names cannot be read.
    """
    kind = KINDS[spec.kind]
    settings = spec.model_dump(mode="json", exclude={"golden"})  # auditing a verifier changes no verdict
    found = {"spec": canonical(settings), "implementation": str(kind.implementation)}
    if isinstance(spec, JudgeVerifier) and teachers is not None:
        found["teacher"] = canonical(dict(teachers[spec.teacher]))
    for package in kind.packages:
        found[package] = package_version(package)
    for part, file in {**kind.files(spec), **kind.programs(spec, root)}.items():
        try:
            found[part] = hash_file(root / file)
        except OSError as error:
            raise VerifierInvalid(f"verifiers.{name}: cannot read {file}: {error.strerror}") from error
    try:
        return {**found, **kind.found(spec, root)}
    except OSError as error:
        raise VerifierInvalid(f"verifiers.{name}: cannot read {error.filename}: {error.strerror}") from error


def is_confined(spec: Verifier) -> bool:
    """Whether the child that judges by it can do nothing but compute and read the verifier's files."""
    kind = KINDS[spec.kind]
    return kind.confined and not kind.reaches_out(spec)


def version_of(name: str, spec: Verifier, root: Path, teachers: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The short fingerprint of the verifier's parts: the `version` of its verdicts."""
    return short(fingerprint(parts(name, spec, root, teachers)))
