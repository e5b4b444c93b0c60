"""The parts of a spec that are well-formed, by section: what cross-references are checked on.

A spec with one wrong number may also name an unknown teacher; both are said at once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flywheel.errors import Path_
from flywheel.spec.kinds import Kind
from flywheel.spec.models import Ablation, ErrorMode, GateRule, Spec, Student, Suite, Task, Train
from flywheel.spec.strategies import AnyGenerator, Generator
from flywheel.spec.targets import AnyDeploy, Deploy, FolderDeploy
from flywheel.spec.teachers import AnyTeacher, Teacher
from flywheel.spec.traffic import Traffic
from flywheel.spec.verifiers import AnyVerifier, Verifier


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
    train: Train
    deploy: Deploy
    traffic: Traffic

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
        train=spec.train,
        deploy=spec.deploy,
        traffic=spec.traffic,
    )


def outline_of_tree(tree: dict[str, Any], faulty: Iterable[Path_], root: Path) -> Outline:
    """What is left of an invalid tree when the keys with faults are taken out. `root`: the project."""
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
        student=_valid(Student, tree.get("student"), root) or Student(),
        tasks=_mapping(Task, tree.get("tasks"), root),
        taxonomy=_listing(ErrorMode, tree.get("taxonomy", [m.model_dump() for m in _DEFAULT_TAXONOMY]), root),
        teachers=_mapping(AnyTeacher, tree.get("teachers"), root),
        verifiers=_mapping(AnyVerifier, tree.get("verifiers"), root),
        generate=_listing(AnyGenerator, tree.get("generate"), root),
        evals=_mapping(Suite, tree.get("evals"), root),
        gate=_listing(GateRule, tree.get("gate"), root),
        ablate=_listing(Ablation, tree.get("ablate"), root),
        names={section: found for section, found in names.items() if found is not None},
        train=_valid(Train, tree.get("train"), root) or Train(),
        deploy=_valid(AnyDeploy, tree.get("deploy"), root) or FolderDeploy(),
        traffic=_valid(Traffic, tree.get("traffic"), root) or Traffic(),
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


def _valid(kind: Any, raw: Any, root: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(raw, by_alias=True, by_name=False, context={"root": root})
    except ValidationError:
        return None  # its faults are reported by the schema


def _mapping(kind: Any, section: Any, root: Path) -> dict[str, Any]:
    items = section.items() if isinstance(section, dict) else ()
    return {name: entry for name, raw in items if (entry := _valid(kind, raw, root)) is not None}


def _listing(kind: Any, section: Any, root: Path) -> dict[int, Any]:
    items = enumerate(section) if isinstance(section, list) else ()
    return {i: entry for i, raw in items if (entry := _valid(kind, raw, root)) is not None}


# --- the files that a spec names ----------------------------------------------------------------------------


def kinds_of(outline: Outline) -> list[tuple[Path_, Kind]]:
    """Every teacher, verifier, generator and the deployment target, with its place."""
    return [
        *((("teachers", name), teacher) for name, teacher in outline.teachers.items()),
        *((("verifiers", name), verifier) for name, verifier in outline.verifiers.items()),
        *((("generate", index), generator) for index, generator in outline.generate.items()),
        (("deploy",), outline.deploy),
    ]


def files_of(outline: Outline) -> list[tuple[Path_, str]]:
    """Every file that is read, with the place that names it; of `file.py:function` the file."""
    found: list[tuple[Path_, str | None]] = []
    for name, task in outline.tasks.items():
        found += [(("tasks", name, key), getattr(task, key)) for key in ("prompt", "probes", "seeds", "practice")]
    for place, kind in kinds_of(outline):
        found += [((*place, key), file) for key, file in kind.files.items()]
    for name, verifier in outline.verifiers.items():
        found.append((("verifiers", name, "golden"), verifier.golden))
    for name, suite in outline.evals.items():
        found.append((("evals", name, "data"), suite.data))
    found.append((("train", "canaries"), outline.train.canaries))
    return [(path, file) for path, file in found if file is not None]


def functions_of(outline: Outline) -> list[tuple[Path_, str]]:
    """Every `file.py:function`, with the place that names it."""
    return [((*place, key), function) for place, kind in kinds_of(outline) for key, function in kind.functions.items()]


def judges_of(spec: Spec, task: str) -> dict[str, Verifier]:
    """The verifiers of the task that ask a teacher, in order."""
    named = ((name, spec.verifiers[name]) for name in spec.tasks[task].verify)
    return {name: verifier for name, verifier in named if verifier.asks is not None}


def asked_by(spec: Spec, generator: Generator) -> list[str]:
    """Every teacher that the generator's lessons need: who writes, answers again or judges, and who stands in."""
    judges = [judge.asks for judge in judges_of(spec, spec.task_of(generator)).values() if judge.asks is not None]
    return with_fallbacks(spec, [*generator.weights, *generator.opinions, *judges])


def asked_teachers(spec: Spec) -> list[str]:
    """Every teacher that may be asked: those of generators, judges of any task, those that answer a suite."""
    of_lessons = [name for generator in spec.generate for name in asked_by(spec, generator)]
    judges = [judge.asks for task in spec.tasks for judge in judges_of(spec, task).values() if judge.asks is not None]
    of_suites = [name for suite in spec.evals.values() for name in suite.teachers]
    return with_fallbacks(spec, [*of_lessons, *judges, *of_suites])


def with_fallbacks(spec: Spec, names: list[str]) -> list[str]:
    """These teachers and all that may stand in for them."""
    found = list(dict.fromkeys(names))
    for name in found:  # grows as it goes
        found += [other for other in spec.teachers[name].fallback if other not in found]
    return found


def judged_columns(verifiers: Iterable[Verifier]) -> list[str]:
    """Columns of a row that verifiers read, whether or not the student sees them."""
    return [column for verifier in verifiers for column in verifier.columns]


def hidden_columns(verifiers: Iterable[Verifier]) -> list[str]:
    """Those of them that the student must not see."""
    return [column for verifier in verifiers for column in verifier.hidden]
