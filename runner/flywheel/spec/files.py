"""Paths in a spec: inside the project, there, and readable. No spec reaches out of its folder."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from flywheel import project_code
from flywheel.errors import Fault, Path_
from flywheel.records.rows import shown
from flywheel.spec.bases import base_problem, without_commit
from flywheel.spec.confinement import Problem, confinement_problem
from flywheel.spec.document import Document
from flywheel.spec.models import Spec
from flywheel.spec.outline import Outline, files_of, functions_of, kinds_of, outline_of
from flywheel.text import did_you_mean, one_line

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def spec_files(spec: Spec) -> list[tuple[Path_, str]]:
    """Every file that the spec names: (place in the spec, path relative to the project), in the spec's order.

    Of `file.py:function` the file. `student.base` is not among them: see `flywheel.spec.bases`.
    """
    return files_of(outline_of(spec))


def file_faults(document: Document, root: Path, outline: Outline) -> tuple[list[Fault], dict[Path_, Path]]:
    """Faults of the paths in the spec, and the good ones: place → path that can be read."""
    faults: list[Fault] = []
    good: dict[Path_, Path] = {}
    for place, name in files_of(outline):
        if problem := confinement_problem(root, name) or _reading_problem(root, name):
            faults.append(document.fault(place, f'"{one_line(name, 80)}" {problem[0]}', problem[1]))
        else:
            good[place] = root / name
    faults += _base_faults(document, root, outline)
    faults += _deploy_faults(document, root, outline)
    faults += [f for place, function in functions_of(outline) for f in _function(document, good, place, function)]
    faults += _of_kinds(document, root, outline, good)
    return faults, good


def _reading_problem(root: Path, name: str) -> Problem | None:
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
    named = root, outline.student.base, outline.student.revision
    if problem := base_problem(*named):
        yield document.fault(("student", "base"), *problem)
    elif problem := without_commit(*named):
        yield document.warning(("student", "base"), *problem)


def _deploy_faults(document: Document, root: Path, outline: Outline) -> Iterator[Fault]:
    """The deployed model gets a folder of its own: nothing that the spec reads may be overwritten."""
    name, place = outline.deploy.path, ("deploy", "path")
    problem = confinement_problem(root, name)
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
    file, name = project_code.split(function)
    if not file or not _IDENTIFIER.fullmatch(name):
        message = f'"{one_line(function, 80)}" names no function.'
        yield document.fault(place, message, "Write file.py:function.")
        return
    if place not in good:
        return
    try:
        tree = ast.parse(good[place].read_bytes())
        known = _top_level_names(tree)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 0
        yield Fault(f"not Python: {getattr(error, 'msg', error)}.", place, file=shown(good[place]), line=line)
        return
    if name not in known:
        message = f'no function "{name}" in {shown(good[place])}.'
        yield document.fault(place, message, did_you_mean(name, known))
    for module, line in _missing_modules(tree, good[place].parent):
        message = f'imports "{module}", which is not installed here.'
        yield Fault(message, place, "Install it.", shown(good[place]), line, warning=True)


def _missing_modules(tree: ast.Module, folder: Path) -> Iterator[tuple[str, int]]:
    """Packages that the file needs as soon as it is loaded, with the line: what it only tries is its own business."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = [node.module]
        else:
            continue
        for module in dict.fromkeys(name.partition(".")[0] for name in named):
            beside = (folder / f"{module}.py").is_file() or (folder / module).is_dir()
            if not beside and module not in sys.modules and find_spec(module) is None:
                yield module, node.lineno


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


def _of_kinds(document: Document, root: Path, outline: Outline, good: dict[Path_, Path]) -> Iterator[Fault]:
    """What the kinds find wrong in their own files."""
    for place, kind in kinds_of(outline):
        for below, message, hint in kind.faults_in(root):
            yield document.fault((*place, *below), message, hint)
        readable = {key: good[*place, key] for key in kind.files if (*place, key) in good}
        for key, fault in kind.file_faults(readable):
            at = (*place, key)
            yield replace(fault, path=at) if fault.file else document.fault(at, fault.message, fault.hint)
