"""The python check: a function in the project says whether an answer is right."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.answers import without_thoughts
from flywheel.records import Subject
from flywheel.spec.models import PythonVerifier
from flywheel.text import did_you_mean, one_line
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid, unknown


def open_python(spec: PythonVerifier, root: Path) -> Check:
    function = load_function(spec.function, root)

    def check(subject: Subject) -> Finding:
        answer = without_thoughts(subject.answer)
        said = function({"row": subject.row, "answer": answer, "reference": subject.reference})
        match said:
            case bool():
                return Finding("pass" if said else "fail")
            case (bool() as passed, str() as reason):
                return Finding("pass" if passed else "fail", reason)
        return unknown(f"returned {one_line(repr(said), 60)}; return True, False or (bool, reason)")

    return check


def load_function(function: str, root: Path) -> Callable[[dict[str, Any]], Any]:
    """The function that `file.py:function` names. Raises VerifierInvalid, whatever loading it raises."""
    file, _, name = function.partition(":")
    path = root / file
    spec = importlib.util.spec_from_file_location(f"flywheel_project.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise VerifierInvalid(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise VerifierInvalid(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    found: Any = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise VerifierInvalid(f"{file} has no function {name}. {did_you_mean(name, known)}".rstrip())
    loaded: Callable[[dict[str, Any]], Any] = found
    return loaded
