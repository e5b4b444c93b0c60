"""What identifies a teacher: everything that can change its answer, and nothing that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.hashing import hash_file
from flywheel.project_code import CodeInvalid, project_file
from flywheel.spec.teachers import Teacher


def parameters(name: str, spec: Teacher, root: Path) -> dict[str, Any]:
    """For `LessonRequest.parameters` and fingerprints: model and sampling settings, hashes of the files it uses.

    Limits, prices and the key are left out; `api_base` stays as written, references unresolved. Raises
    `SpecInvalid` when a file is missing or outside `root`.
    """
    values = spec.identity()
    for key, file in spec.files.items():
        with at_its_place(("teachers", name, key)):
            values["file_hash"] = hash_file(project_file(file, root))
    if spec.origin is not None:
        values["code"] = spec.origin.digest
    return values


@contextmanager
def at_its_place(place: Path_) -> Iterator[None]:
    """Raises as `SpecInvalid`, with the place in the spec, what is wrong with the project's code or file."""
    try:
        yield
    except CodeInvalid as error:
        raise SpecInvalid([Fault(error.message, place, error.hint)]) from error
