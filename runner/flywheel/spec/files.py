"""Paths in a spec: inside the project, there, and readable. No spec reaches out of its folder."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.records.rows import shown
from flywheel.spec.bases import base_problem
from flywheel.spec.document import Document
from flywheel.spec.models import JsonSchemaVerifier, Spec
from flywheel.spec.outline import Outline, files_of, functions_of, outline_of
from flywheel.text import did_you_mean, one_line

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def spec_files(spec: Spec) -> list[tuple[Path_, str]]:
    """Every file that the spec names: (place in the spec, path relative to the project), in the spec's order.

    Of `file.py:function` the file. `student.base` is not among them: see `flywheel.spec.bases`.
    """
    return files_of(outline_of(spec))


def confined(root: Path, name: str) -> Path:
    """The absolute path of `name` in the project at `root`; it need not exist.

    Raises `SpecInvalid` where the name leads out of the project or is no portable file name.
    """
    if problem := _confinement_problem(root, name):
        raise SpecInvalid([Fault(f'"{one_line(name, 80)}" {problem[0]}', hint=problem[1])])
    return (root / name).resolve()


def file_faults(document: Document, root: Path, outline: Outline) -> tuple[list[Fault], dict[Path_, Path]]:
    """Faults of the paths in the spec, and the good ones: place → path that can be read."""
    faults: list[Fault] = []
    good: dict[Path_, Path] = {}
    for place, name in files_of(outline):
        if problem := _confinement_problem(root, name) or _reading_problem(root, name):
            faults.append(document.fault(place, f'"{one_line(name, 80)}" {problem[0]}', problem[1]))
        else:
            good[place] = root / name
    faults += _base_faults(document, root, outline)
    faults += _deploy_faults(document, root, outline)
    faults += [f for place, function in functions_of(outline) for f in _function(document, good, place, function)]
    faults += _schema_files(outline, good)
    return faults, good


_Problem = tuple[str, str]


def _confinement_problem(root: Path, name: str) -> _Problem | None:
    """Message and hint where `name` is not a portable path inside `root`."""
    inside = "Name a file inside the project, relative to the spec."
    if not name.strip():
        return "names no file.", inside
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "holds a control character.", inside
    if name.startswith(("/", "\\", "~")) or _DRIVE.match(name):
        return "is not relative to the project.", inside
    if "\\" in name:
        return "holds a backslash.", "Separate folders by /."
    parts = PurePosixPath(name).parts
    if ".." in parts:
        return "leads out of its folder (..).", inside
    if any(len(part.encode(errors="replace")) > 255 for part in parts) or len(name) > 1024:
        return "is too long for a file name.", inside
    if reserved := next((part for part in parts if _RESERVED.fullmatch(part)), ""):
        return f'holds "{reserved}", a device on some systems.', "Rename it."
    return _link_problem(root, name)


def _link_problem(root: Path, name: str) -> _Problem | None:
    try:
        inside = (root / name).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # before Python 3.13, a circle of links is a RuntimeError
        return "is a link that leads nowhere.", "Copy the file into the project."
    return None if inside else ("is a link that leads out of the project.", "Copy the file into the project.")


def _reading_problem(root: Path, name: str) -> _Problem | None:
    path = root / name
    if not path.exists():
        return "does not exist.", _near_file(root, name)
    if not path.is_file():
        return f"is {'a folder' if path.is_dir() else 'not a regular file'}.", "Name a file."
    if not os.access(path, os.R_OK):
        return "cannot be read: permission denied.", f"chmod +r {name}"
    return None


def _near_file(root: Path, name: str) -> str:
    """The nearest file in the same folder, or the folder that is missing."""
    folder = (root / name).parent
    if not folder.is_dir():
        return f"There is no folder {PurePosixPath(name).parent}."
    near = did_you_mean(Path(name).name, (p.name for p in folder.iterdir() if p.is_file()))
    parent = PurePosixPath(name).parent
    if not near.startswith("Did") or parent == PurePosixPath("."):
        return near
    return near.replace('"', f'"{parent}/', 1)


def _base_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    if problem := base_problem(root, outline.student.base, outline.student.revision):
        yield document.fault(("student", "base"), *problem)


def _deploy_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    """The deployed model gets a folder of its own: nothing that the spec reads may be overwritten."""
    name, place = outline.deploy.path, ("deploy", "path")
    problem = _confinement_problem(root, name)
    if problem is None and (root / name).exists() and not (root / name).is_dir():
        problem = ("is a file.", "Name a folder.")
    if problem is None:
        target = PurePosixPath(name)
        reads = next((f for _, f in files_of(outline) if PurePosixPath(f).is_relative_to(target)), None)
        if target.parts[:1] in ((), (".flywheel",)) or reads:
            problem = (f"holds {reads or 'the project itself'}.", "Name a folder of its own: deploy.")
    if problem:
        yield document.fault(place, f'"{one_line(name, 80)}" {problem[0]}', problem[1])


def _function(document: Document, good: dict[Path_, Path], place: Path_, function: str) -> Iterator[Fault]:
    """The function must be defined in its file; the file is parsed, not run."""
    file, _, name = function.rpartition(":")
    if not file or not _IDENTIFIER.fullmatch(name):
        message = f'"{one_line(function, 80)}" names no function.'
        yield document.fault(place, message, "Write file.py:function.")
        return
    if place not in good:
        return
    try:
        known = _top_level_names(ast.parse(good[place].read_bytes()))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 0
        yield Fault(f"not Python: {getattr(error, 'msg', error)}.", place, file=shown(good[place]), line=line)
        return
    if name not in known:
        message = f'no function "{name}" in {shown(good[place])}.'
        yield document.fault(place, message, did_you_mean(name, known))


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _schema_files(outline: Outline, good: dict[Path_, Path]) -> Iterator[Fault]:
    """A JSON Schema must be JSON; whether it is a schema is for the verifier to say."""
    for name, verifier in outline.verifiers.items():
        place: Path_ = ("verifiers", name, "schema")
        if not isinstance(verifier, JsonSchemaVerifier) or place not in good:
            continue
        file = shown(good[place])
        try:
            json.loads(good[place].read_bytes())
        except json.JSONDecodeError as error:
            yield Fault(f"not JSON: {error.msg}.", place, file=file, line=error.lineno, column=error.colno)
        except (ValueError, RecursionError) as error:
            yield Fault(f"not JSON that can be read: {one_line(str(error))}.", place, file=file)
