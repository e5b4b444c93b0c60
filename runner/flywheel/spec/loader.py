"""`load`: from a YAML file to a valid spec, or to every fault that it has.

text ─► document (YAML faults stop here) ─► spec (schema faults) ─► references, files, data
                                                 └─ what is well-formed is checked all the same ─┘
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flywheel.errors import Fault, Path_, SpecInvalid
from flywheel.spec import secrets
from flywheel.spec.data import data_faults
from flywheel.spec.databases import database_faults
from flywheel.spec.document import Document, Place, read_document
from flywheel.spec.files import file_faults
from flywheel.spec.models import LitellmTeacher, Spec, SqlVerifier
from flywheel.spec.outline import asked_teachers, outline_of, outline_of_tree
from flywheel.spec.references import reference_faults
from flywheel.spec.wording import schema_faults


@dataclass(frozen=True)
class Loaded:
    """A valid spec with its file."""

    spec: Spec
    root: Path
    """The project: the absolute folder of the YAML. Every path of the spec is relative to it."""
    document: Document
    warnings: tuple[Fault, ...]

    @property
    def text(self) -> str:
        return self.document.source.text

    @property
    def places(self) -> dict[Path_, Place]:
        """Path in the spec → (line, column), 1-based."""
        return self.document.places

    def fault(self, path: Path_, message: str, hint: str = "") -> Fault:
        """A fault of the value at `path`, with file, line, column and source line."""
        return self.document.fault(path, message, hint)


def load(path: Path) -> Loaded:
    """The spec at `path`, with every file that it names checked.

    Raises `SpecInvalid` with all faults at once; where the text is not YAML, with those of the YAML alone.
    """
    document = read_document(path)
    root = path.absolute().parent
    try:
        spec = Spec.model_validate(document.tree, by_alias=True, by_name=False)
        faults: list[Fault] = []
        outline = outline_of(spec)
    except ValidationError as error:
        spec = None
        faults = schema_faults(document, error)
        outline = outline_of_tree(document.tree, [fault.path for fault in faults])
    faults += _version_faults(document)
    faults += _environment_faults(document)
    faults += _not_derived(reference_faults(document, outline), faults)
    of_files, good = file_faults(document, root, outline)
    faults += of_files
    faults += database_faults(document, root, outline)
    faults += data_faults(document, outline, good, root)
    errors = [fault for fault in faults if not fault.warning]
    if spec is None or errors:
        raise SpecInvalid(_in_order(document, errors))
    return Loaded(spec, root, document, tuple(_in_order(document, faults)))


def _not_derived(found: list[Fault], of_schema: list[Fault]) -> list[Fault]:
    """Without those of an entry as a whole where a key in it has a fault: what seems missing may be that key."""
    above = {fault.path[:length] for fault in of_schema for length in range(2, len(fault.path))}
    return [fault for fault in found if fault.path not in above]


def _version_faults(document: Document) -> list[Fault]:
    """`true` and `1.0` equal 1 for a literal; they are no version all the same."""
    if type(document.tree.get("version")) in (bool, float):
        return [document.fault(("version",), "expected a whole number.", "Write version: 1.")]
    return []


def _in_order(document: Document, faults: list[Fault]) -> list[Fault]:
    """Those of the YAML from top to bottom, then those of other files."""
    of_yaml = document.source.file
    return sorted(dict.fromkeys(faults), key=lambda f: (f.file != of_yaml, f.file, f.line, f.column))


def missing_env(loaded: Loaded, environ: Mapping[str, str] | None = None) -> list[Fault]:
    """A fault for each unset variable that a teacher in use refers to, judges and those that stand in included: ask
    before money is spent."""
    known = os.environ if environ is None else environ
    used = set(asked_teachers(loaded.spec))
    faults = []
    for name, teacher in loaded.spec.teachers.items():
        if name in used and isinstance(teacher, LitellmTeacher):
            for key in _WITH_REFERENCES:
                missing = [v for v in secrets.names(getattr(teacher, key) or "") if not known.get(v)]
                faults += [_missing(loaded, ("teachers", name, key), variable) for variable in missing]
    for name, verifier in loaded.spec.verifiers.items():
        if isinstance(verifier, SqlVerifier):
            missing = [v for v in secrets.names(verifier.dsn or "") if not known.get(v)]
            faults += [_missing(loaded, ("verifiers", name, "dsn"), variable) for variable in missing]
    return faults


def _missing(loaded: Loaded, path: Path_, variable: str) -> Fault:
    fault = secrets.missing_variable(variable)
    return loaded.fault(path, fault.message, fault.hint)


# --- ${env:NAME} --------------------------------------------------------------------------------------------

_WITH_REFERENCES = ("api_key", "api_base")
_SECTIONS_WITH_REFERENCES = {"teachers": _WITH_REFERENCES, "verifiers": ("dsn",)}


def _environment_faults(document: Document) -> list[Fault]:
    return [fault for path, text in _texts(document.tree, ()) for fault in _environment(document, path, text)]


def _texts(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*path, key))


def _environment(document: Document, path: Path_, text: str) -> Iterator[Fault]:
    """The value is never repeated: it may be the secret."""
    allowed = _SECTIONS_WITH_REFERENCES.get(str(path[0]), ()) if len(path) == 3 else ()
    key = path[-1] if path[-1] in allowed else ""
    if key == "api_key" and not secrets.REFERENCE.fullmatch(text):
        message = "a literal key does not belong in a file."
        yield document.fault(path, message, "Write ${env:NAME} and set the variable NAME.")
    elif secrets.looks_like_key(text):
        yield document.fault(path, "this looks like a secret key.", "Write ${env:NAME} in api_key.")
    elif key != "api_key" and secrets.ANY_REFERENCE.search(secrets.REFERENCE.sub("", text)):
        yield document.fault(path, "not a reference to a variable.", "Write ${env:NAME}.")
    elif key == "" and secrets.names(text):
        places = "api_key, api_base and dsn"
        yield document.fault(path, f"variables are read only in {places}.", "Write the value itself.")
