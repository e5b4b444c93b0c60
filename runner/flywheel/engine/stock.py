"""The base as stock tools name it."""

from __future__ import annotations

from pathlib import Path

from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.student.gguf import unpack


def stock_base(project: Workspace, name: str | None = None) -> str:
    """The folder or hub id that transformers loads as the project's base; a GGUF file is unpacked where it was not.

    `name`: the base that is meant, as the spec or a report calls it. Raises UsageError where the project has another.
    """
    student = project.student
    if name not in (None, student.name, student.base):
        raise UsageError(f'the base of {project.file} is "{student.name}", not "{name}". Name its spec with --file.')
    if student.gguf is not None:
        unpack(Path(student.gguf), Path(student.source))
    return student.source
