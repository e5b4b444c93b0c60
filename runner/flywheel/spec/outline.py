"""The parts of a spec that are well-formed, by section: what cross-references are checked on.

A spec with one wrong number may also name an unknown teacher; both are said at once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flywheel.errors import Path_
from flywheel.spec.models import (
    Ablation,
    CodeVerifier,
    CommandVerifier,
    Deploy,
    ErrorMode,
    GateRule,
    Generator,
    JudgeVerifier,
    LabelVerifier,
    Model,
    PythonTeacher,
    PythonVerifier,
    Spec,
    SqlVerifier,
    Student,
    Suite,
    Task,
    Teacher,
    Verifier,
)


@dataclass(frozen=True)
class Outline:
    """Valid entries by name or index; in `names` every declared name of a section, of invalid entries too.

    A section that is missing or misshapen is not in `names`: nothing is said of references into it.
    """

    student: Student
    tasks: dict[str, Task]
    taxonomy: dict[int, ErrorMode]
    teachers: dict[str, Teacher]
    verifiers: dict[str, Verifier]
    generate: dict[int, Generator]
    evals: dict[str, Suite]
    gate: dict[int, GateRule]
    ablate: dict[int, Ablation]
    names: dict[str, list[str]]
    deploy: Deploy

    def whole(self, section: str) -> bool:
        """Whether every entry of the section is valid, so that what is *not* there can be told."""
        return section in self.names and len(self.names[section]) == len(getattr(self, section))

    def task_of(self, task: str | None) -> str | None:
        """The named task, or the only one; None where it cannot be said."""
        tasks = self.names.get("tasks", [])
        return task or (tasks[0] if len(tasks) == 1 else None)

    def modes_of(self, task: str) -> dict[int, ErrorMode]:
        """The modes that can name a failure of the task, in order."""
        return {i: mode for i, mode in self.taxonomy.items() if mode.task in (None, task)}


def outline_of(spec: Spec) -> Outline:
    """The outline of a spec that is valid: everything."""
    return Outline(
        student=spec.student,
        tasks=spec.tasks,
        taxonomy=dict(enumerate(spec.taxonomy)),
        teachers=spec.teachers,
        verifiers=spec.verifiers,
        generate=dict(enumerate(spec.generate)),
        evals=spec.evals,
        gate=dict(enumerate(spec.gate)),
        ablate=dict(enumerate(spec.ablate)),
        names={
            "tasks": list(spec.tasks),
            "taxonomy": [mode.name for mode in spec.taxonomy],
            "teachers": list(spec.teachers),
            "verifiers": list(spec.verifiers),
            "generate": [generator.name for generator in spec.generate],
            "evals": list(spec.evals),
            "gate": [rule.suite for rule in spec.gate],
            "ablate": [ablation.name for ablation in spec.ablate],
        },
        deploy=spec.deploy,
    )


def outline_of_tree(tree: dict[str, Any], faulty: Iterable[Path_]) -> Outline:
    """What is left of an invalid tree when the keys with faults are taken out."""
    tree = copy.deepcopy(tree)
    names = {section: _names(tree.get(section), _LISTS.get(section)) for section in _SECTIONS}
    if "taxonomy" not in tree:
        names["taxonomy"] = [mode.name for mode in _DEFAULT_TAXONOMY]
    for path in faulty:
        _prune(tree, path)
    for entry in tree["generate"] if isinstance(tree.get("generate"), list) else ():
        if isinstance(entry, dict):
            entry.setdefault("accept", 1)  # the one required key that no reference needs
    return Outline(
        student=_valid(Student, tree.get("student")) or Student(),
        tasks=_mapping(Task, tree.get("tasks")),
        taxonomy=_listing(ErrorMode, tree.get("taxonomy", [m.model_dump() for m in _DEFAULT_TAXONOMY])),
        teachers=_mapping(Teacher, tree.get("teachers")),
        verifiers=_mapping(Verifier, tree.get("verifiers")),
        generate=_listing(Generator, tree.get("generate")),
        evals=_mapping(Suite, tree.get("evals")),
        gate=_listing(GateRule, tree.get("gate")),
        ablate=_listing(Ablation, tree.get("ablate")),
        names={section: found for section, found in names.items() if found is not None},
        deploy=_valid(Deploy, tree.get("deploy")) or Deploy(),
    )


#: Sections that are lists, with the key that names an entry; the others are mappings by name.
_LISTS = {"taxonomy": "name", "generate": "name", "gate": "suite", "ablate": "name"}
_SECTIONS = ("tasks", "taxonomy", "teachers", "verifiers", "generate", "evals", "gate", "ablate")
_DEFAULT_TAXONOMY: list[ErrorMode] = Spec.model_fields["taxonomy"].default


def _names(section: Any, key: str | None) -> list[str] | None:
    if isinstance(section, dict) and key is None:
        return list(section)
    if isinstance(section, list) and key is not None:
        return [str(entry.get(key, "")) if isinstance(entry, dict) else "" for entry in section]
    return None


def _prune(tree: dict[str, Any], path: Path_) -> None:
    """Removes the innermost key of `path`, if it is inside an entry of a section."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not path or len(path) < (3 if path[0] in _SECTIONS else 2):
        return
    here: Any = tree
    for part in path[:-1]:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return  # pruned before, with what is around it
    if isinstance(here, dict):
        here.pop(path[-1], None)


def _valid(kind: Any, raw: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(raw, by_alias=True, by_name=False)
    except ValidationError:
        return None  # its faults are reported by the schema


def _mapping(kind: Any, section: Any) -> dict[str, Any]:
    items = section.items() if isinstance(section, dict) else ()
    return {name: entry for name, raw in items if (entry := _valid(kind, raw)) is not None}


def _listing(kind: Any, section: Any) -> dict[int, Any]:
    items = enumerate(section) if isinstance(section, list) else ()
    return {i: entry for i, raw in items if (entry := _valid(kind, raw)) is not None}


# --- the files that a spec names ----------------------------------------------------------------------------

PROMPT_KEYS = ("prompt", "second_opinion_prompt", "hint_prompt", "tests_prompt", "repair_prompt")
"""Keys of a generator that name a Jinja file."""


def files_of(outline: Outline) -> list[tuple[Path_, str]]:
    """Every file that is read, with the place that names it; of `file.py:function` the file."""
    found: list[tuple[Path_, str | None]] = []
    for name, task in outline.tasks.items():
        found += _named(("tasks", name), task, "prompt", "probes", "seeds")
    for name, teacher in outline.teachers.items():
        found += _named(("teachers", name), teacher, "path", "function")
    for name, verifier in outline.verifiers.items():
        found += _verifier_files(("verifiers", name), verifier)
    for index, generator in outline.generate.items():
        found += _named(("generate", index), generator, *PROMPT_KEYS, "data")
    for name, suite in outline.evals.items():
        found += _named(("evals", name), suite, "data")
    return [(path, file) for path, file in found if file is not None]


def _named(path: Path_, entry: Model, *keys: str) -> list[tuple[Path_, str | None]]:
    values = [(key, getattr(entry, key, None)) for key in keys]
    return [((*path, key), _file(value) if key == "function" else value) for key, value in values]


def _verifier_files(path: Path_, verifier: Verifier) -> list[tuple[Path_, str | None]]:
    if isinstance(verifier, LabelVerifier):
        labels = [((*path, "labels"), verifier.labels)] if isinstance(verifier.labels, str) else []
        return [*labels, *_named(path, verifier, "golden")]
    schema = getattr(verifier, "schema_file", None)
    keys = ("setup", "function", "rubric", "calibration", "golden")
    return [((*path, "schema"), schema), *_named(path, verifier, *keys)]


def _file(function: str | None) -> str | None:
    return None if function is None else function.rpartition(":")[0] or function


def functions_of(outline: Outline) -> list[tuple[Path_, str]]:
    """Every `file.py:function`, with the place that names it."""
    entries = [("teachers", outline.teachers.items()), ("verifiers", outline.verifiers.items())]
    return [
        ((section, name, "function"), entry.function)
        for section, named in entries
        for name, entry in named
        if isinstance(entry, PythonTeacher | PythonVerifier)
    ]


def judges_of(spec: Spec, task: str) -> dict[str, JudgeVerifier]:
    """The verifiers of the task that ask a teacher, in order."""
    named = ((name, spec.verifiers[name]) for name in spec.tasks[task].verify)
    return {name: verifier for name, verifier in named if isinstance(verifier, JudgeVerifier)}


def asked_by(spec: Spec, generator: Generator) -> list[str]:
    """Every teacher that the generator's lessons need: who writes, answers again or judges, and who stands in."""
    judges = judges_of(spec, spec.task_of(generator)).values()
    return with_fallbacks(spec, [*generator.teachers, *generator.second_opinion, *(judge.teacher for judge in judges)])


def asked_teachers(spec: Spec) -> list[str]:
    """Every teacher that may be asked: those of generators, judges of any task, those that answer a suite."""
    of_lessons = [name for generator in spec.generate for name in asked_by(spec, generator)]
    judges = [judge.teacher for task in spec.tasks for judge in judges_of(spec, task).values()]
    of_suites = [name for suite in spec.evals.values() for name in suite.teachers]
    return with_fallbacks(spec, [*of_lessons, *judges, *of_suites])


def with_fallbacks(spec: Spec, names: list[str]) -> list[str]:
    """These teachers and all that may stand in for them."""
    found = list(dict.fromkeys(names))
    for name in found:  # grows as it goes
        found += [other for other in spec.teachers[name].fallback if other not in found]
    return found


def compares(verifier: Verifier) -> bool:
    """Whether the verifier needs a known right answer to judge."""
    if isinstance(verifier, SqlVerifier):
        return verifier.check == "same_rows"
    if isinstance(verifier, PythonVerifier | CommandVerifier):
        return verifier.needs_reference
    return verifier.kind in ("math", "exact", "label") or getattr(verifier, "compare", "none") in ("fields", "pair")


def judged_columns(verifiers: Iterable[Verifier]) -> list[str]:
    """Columns of a row that verifiers read, whether or not the student sees them."""
    read = list(verifiers)
    databases = [v.database for v in read if isinstance(v, SqlVerifier) and v.database is not None]
    return [*hidden_columns(read), *dict.fromkeys(column for path in databases for column in holes(path))]


def hidden_columns(verifiers: Iterable[Verifier]) -> list[str]:
    """Those of them that the student must not see."""
    code = [v for v in verifiers if isinstance(v, CodeVerifier)]
    return [c for v in code for c in (v.tests, v.entry_point, v.prefix) if c is not None]


HOLE = re.compile(r"\{\{\s*row\.([A-Za-z_]\w*)\s*\}\}")


def holes(path: str) -> list[str]:
    """The columns of a row that fill a path such as `databases/{{ row.db_id }}.sqlite`, each once."""
    return list(dict.fromkeys(HOLE.findall(path)))
