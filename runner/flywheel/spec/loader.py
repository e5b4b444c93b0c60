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
from flywheel.spec.addresses import address_problem, has_user, literal_problem
from flywheel.spec.data import data_faults
from flywheel.spec.document import Document, Place, read_document
from flywheel.spec.files import file_faults
from flywheel.spec.kinds import Family, Kind
from flywheel.spec.models import Spec
from flywheel.spec.outline import asked_teachers, outline_of, outline_of_tree
from flywheel.spec.references import reference_faults
from flywheel.spec.serving import serving_faults, serving_warnings
from flywheel.spec.targets import TARGETS
from flywheel.spec.teachers import TEACHERS, Teacher
from flywheel.spec.verifiers import VERIFIERS
from flywheel.spec.wording import SINGLE, schema_faults
from flywheel.text import one_line


@dataclass(frozen=True)
class LoadedSpec:
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


def load(path: Path) -> LoadedSpec:
    """The spec at `path`, with every file that it names checked.

    Raises `SpecInvalid` with all faults at once; where the text is not YAML, with those of the YAML alone.
    """
    document = read_document(path)
    root = path.absolute().parent
    try:
        spec = Spec.model_validate(document.tree, by_alias=True, by_name=False, context={"root": root})
        faults: list[Fault] = []
        outline = outline_of(spec)
    except ValidationError as error:
        spec = None
        faults = schema_faults(document, error)
        outline = outline_of_tree(document.tree, [fault.path for fault in faults], root)
    faults += _version_faults(document)
    faults += _environment_faults(document)
    faults += _case_faults(document)
    faults += _not_derived(reference_faults(document, outline), faults)
    faults += serving_faults(document, root, outline)
    of_files, good = file_faults(document, root, outline)
    faults += of_files
    faults += data_faults(document, root, outline, good)
    errors = [fault for fault in faults if not fault.warning]
    if spec is None or errors:
        raise SpecInvalid(_in_order(document, errors))
    faults += serving_warnings(document, root, spec)
    return LoadedSpec(spec, root, document, tuple(_in_order(document, faults)))


def _not_derived(found: list[Fault], of_schema: list[Fault]) -> list[Fault]:
    """Without those of an entry as a whole where a key in it has a fault: what seems missing may be that key."""
    above = {fault.path[:length] for fault in of_schema for length in range(2, len(fault.path))}
    return [fault for fault in found if fault.path not in above]


def _version_faults(document: Document) -> list[Fault]:
    """`true` and `1.0` equal 1 for a literal; they are no version all the same."""
    if type(document.tree.get("version")) in (bool, float):
        return [document.fault(("version",), "expected a whole number.", "Write version: 1.")]
    return []


_NAMED = ("tasks", "teachers", "verifiers", "evals")


def _case_faults(document: Document) -> Iterator[Fault]:
    """Names become columns of SQL and folders, which may tell no letter case."""
    for section in _NAMED:
        names = document.tree.get(section)
        first: dict[str, str] = {}
        for name in names if isinstance(names, dict) else ():
            twin = first.setdefault(name.casefold(), name)
            if twin != name:
                message = f'"{one_line(name, 60)}" and "{one_line(twin, 60)}" differ in letter case only.'
                yield document.key_fault((section, name), message, "Give one of them another name.")


def _in_order(document: Document, faults: list[Fault]) -> list[Fault]:
    """Those of the YAML from top to bottom, then those of other files."""
    of_yaml = document.source.file
    return sorted(dict.fromkeys(faults), key=lambda f: (f.file != of_yaml, f.file, f.line, f.column))


def missing_env(loaded: LoadedSpec, environ: Mapping[str, str] | None = None) -> list[Fault]:
    """A fault for each unset variable that a verifier or a teacher in use refers to, judges and those that stand in
    included: ask before money is spent."""
    known = os.environ if environ is None else environ
    used = set(asked_teachers(loaded.spec))
    faults: list[Fault] = []
    for name, teacher in loaded.spec.teachers.items():
        if name in used:
            faults += _unset(loaded, ("teachers", name), teacher, known)
            faults += _address_faults(loaded, name, teacher, known)
    for name, verifier in loaded.spec.verifiers.items():
        faults += _unset(loaded, ("verifiers", name), verifier, known)
    faults += _unset(loaded, ("deploy",), loaded.spec.deploy, known)
    return faults


def _unset(loaded: LoadedSpec, place: Path_, kind: Kind, known: Mapping[str, str]) -> Iterator[Fault]:
    for key in kind.variables:
        for variable in secrets.names(getattr(kind, key) or ""):
            if not known.get(variable):
                yield _missing(loaded, (*place, key), variable)


def _address_faults(loaded: LoadedSpec, name: str, teacher: Teacher, known: Mapping[str, str]) -> Iterator[Fault]:
    """Where variables make an address, and all are set: what it comes to, which is never repeated."""
    variables = secrets.names(teacher.address or "")
    if not teacher.address or not all(known.get(v) for v in variables):
        return
    address = secrets.resolve_env(teacher.address, known)
    place: Path_ = ("teachers", name, "api_base")
    if variables and (problem := address_problem(address)):
        yield loaded.fault(place, f"the address that {', '.join(variables)} gives {problem[0]}", problem[1])
    elif has_user(address) and teacher.key_reference:
        yield loaded.fault(place, "holds a user beside an api_key, and a request carries one of them.", "Drop one.")


def _missing(loaded: LoadedSpec, path: Path_, variable: str) -> Fault:
    fault = secrets.missing_variable(variable)
    return loaded.fault(path, fault.message, fault.hint)


# --- ${env:NAME} --------------------------------------------------------------------------------------------

_WITH_VARIABLES: Mapping[str, Family] = {"teachers": TEACHERS, "verifiers": VERIFIERS, "deploy": TARGETS}
_SECRETS = ("api_key", "secret")
_ADDRESSES = ("api_base", "url", "check_url")


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
    section = str(path[0])
    single = section in SINGLE
    family = _WITH_VARIABLES.get(section) if len(path) == (2 if single else 3) else None
    entry = document.tree[section] if single or family is None else document.tree[section][path[1]]
    key = path[-1] if family is not None and path[-1] in family.variables_of(entry) else ""
    if key in _SECRETS and not secrets.REFERENCE.fullmatch(text):
        message = "a literal key does not belong in a file."
        yield document.fault(path, message, "Write ${env:NAME} and set the variable NAME.")
    elif secrets.looks_like_key(text):
        yield document.fault(path, "this looks like a secret key.", "Write ${env:NAME} in api_key.")
    elif key not in _SECRETS and secrets.ANY_REFERENCE.search(secrets.REFERENCE.sub("", text)):
        yield document.fault(path, "not a reference to a variable.", "Write ${env:NAME}.")
    elif key in _ADDRESSES and (problem := literal_problem(text)):
        yield document.fault(path, f"the address {problem[0]}", problem[1])
    elif key == "" and secrets.names(text):
        yield document.fault(path, "variables are read only in keys, addresses and dsn.", "Write the value itself.")
