"""What identifies a teacher: everything that can change its answer, and nothing that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.errors import Fault, SpecInvalid
from flywheel.hashing import hash_file
from flywheel.spec.models import DatasetTeacher, LitellmTeacher, PythonTeacher, Teacher
from flywheel.text import did_you_mean

_PACE = frozenset(
    {"concurrency", "timeout_seconds", "max_retries", "max_calls", "max_usd", "api_key", "rpm", "tpm", "fallback"}
)
_PRICE = frozenset({"usd_per_million_input", "usd_per_million_output", "usd_per_million_cached"})


def parameters(name: str, spec: Teacher, root: Path) -> dict[str, Any]:
    """For `LessonRequest.parameters` and fingerprints: model and sampling settings, hashes of the files it uses.

    Limits, prices and the key are left out; `api_base` stays as written, references unresolved. Raises
    `SpecInvalid` when a file is missing or outside `root`.
    """
    values = {k: v for k, v in spec.model_dump().items() if k not in _PACE | _PRICE}
    if isinstance(spec, PythonTeacher):
        values["file_hash"] = hash_file(
            project_file(function_file(spec.function), root, ("teachers", name, "function"))
        )
    elif isinstance(spec, DatasetTeacher):
        values["file_hash"] = hash_file(project_file(spec.path, root, ("teachers", name, "path")))
    elif isinstance(spec, LitellmTeacher):
        values = {k: v for k, v in values.items() if v is not None}
    return values


def function_file(function: str) -> str:
    return function.rpartition(":")[0]


def project_file(name: str, root: Path, path: tuple[str | int, ...]) -> Path:
    """The file `name` under `root`. Raises `SpecInvalid` when it is not there or lies outside."""
    base = root.resolve()
    file = (base / name).resolve()
    if not file.is_relative_to(base):
        raise SpecInvalid([Fault(f'"{name}" lies outside the project.', path, "Move it into the project's folder.")])
    if not file.is_file():
        near = did_you_mean(file.name, (p.name for p in file.parent.glob("*")))
        raise SpecInvalid([Fault(f'there is no file "{name}".', path, near)])
    return file
