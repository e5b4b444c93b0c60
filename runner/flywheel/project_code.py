"""Code of the project's own: `file.py:name`, and how it is loaded. It is trusted like the spec."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.hashing import fingerprint, hash_file, short
from flywheel.text import did_you_mean


class CodeInvalid(FlywheelError):
    """What `file.py:name` stands for cannot be had. `hint`: the nearest right thing."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message} {hint}".rstrip())


def split(reference: str) -> tuple[str, str]:
    """`file.py:name` → (file, name), and ("", text) where there is no colon. A file's own name may hold colons."""
    file, _, name = reference.rpartition(":")
    return file, name


def project_file(name: str, root: Path) -> Path:
    """The file `name` under `root`. Raises CodeInvalid where it is not there or lies outside."""
    base = root.resolve()
    file = (base / name).resolve()
    if not file.is_relative_to(base):
        raise CodeInvalid(f'"{name}" lies outside the project.', "Move it into the project's folder.")
    if not file.is_file():
        near = did_you_mean(file.name, (path.name for path in file.parent.glob("*")))
        raise CodeInvalid(f'there is no file "{name}".', near)
    return file


def load(reference: str, root: Path) -> Any:
    """What `file.py:name` names in the project at `root`; a file is loaded once a content. Raises CodeInvalid,
    whatever loading it raises."""
    file_name, name = split(reference)
    file = project_file(file_name, root)
    module = _module(file)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise CodeInvalid(f'{file.name} has no function or class "{name}".', did_you_mean(name, known))
    return found


def _module(file: Path) -> ModuleType:
    # By place and content: what a module keeps beside its file belongs to one project.
    name = f"flywheel_project_{file.stem}_{short(fingerprint([str(file), hash_file(file)]))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CodeInvalid(f"{file.name} is not a Python file.", "Name it *.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pydantic look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise CodeInvalid(f"{file.name} cannot be loaded: {where(error)}") from error
    return module


#: Where Python and what was installed with us lie.
_LIBRARIES = sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"]


def where(error: BaseException) -> str:
    """`file.py:12: ValueError: …`: the innermost place in somebody's own code, else the innermost in a file."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    frames = [frame for frame in found if not frame.filename.startswith(_LIBRARIES)] or found
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {said}" if frames else said
