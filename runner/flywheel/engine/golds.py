"""What is wrong with the right answers themselves, each with file and line: found before anything is bought or trained.

`gold_faults`: golds that their own task's verifiers refuse for their form, such as a query that does not bind.
`gold_doubts`: golds that run and are doubtful all the same (`verifiers.lint`); they are for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from flywheel.engine.project import Workspace
from flywheel.errors import Fault, FlywheelError, Path_, SpecInvalid
from flywheel.files import write_text
from flywheel.hashing import fingerprint
from flywheel.records import Subject
from flywheel.records.rows import few, read_row_file, target_text
from flywheel.spec.loader import LoadedSpec
from flywheel.spec.models import Spec, Task
from flywheel.spec.outline import judged_columns
from flywheel.spec.verifiers import Verifier
from flywheel.text import one_line


class Gold(NamedTuple):
    """A right answer and where it stands. `place`: of its file, in the spec."""

    place: Path_
    file: str
    line: int
    subject: Subject


def golds(spec: Spec, root: Path) -> Iterator[Gold]:
    """The right answers of every task's probes, seeds, practice and suites, those of one text and row once a file."""
    named: list[tuple[Path_, str, str]] = []
    for name, task in spec.tasks.items():
        keys = ("probes", "seeds", "practice")
        named += [(("tasks", name, key), name, path) for key in keys if (path := getattr(task, key))]
    named += [
        (("evals", name, "data"), suite.task, suite.data)
        for name, suite in spec.evals.items()
        if suite.task and suite.data
    ]
    for place, task_name, path in named:
        target = spec.tasks[task_name].target
        file = read_row_file(root / path)
        for line, row in zip(file.lines, file.rows, strict=True):
            if row.get(target) is not None:
                inputs = {key: value for key, value in row.items() if key != target}
                text = target_text(row[target])
                yield Gold(place, file.file, line, Subject(f"{file.file}:{line}", task_name, inputs, text, text))


class _Asked(NamedTuple):
    """What is asked about golds. `alike`: those of one text, and of one row as far as it is read, together."""

    verifiers: dict[str, Verifier]
    tasks: dict[str, Task]
    alike: dict[tuple[str, ...], list[Gold]]

    def digest(self, root: Path) -> str:
        """Changes with everything that could change an answer."""
        judged_by = {name: verifier.parts(root) for name, verifier in self.verifiers.items()}
        tasks = {name: [task.verify, task.final] for name, task in self.tasks.items()}
        return fingerprint([judged_by, tasks, sorted(self.alike)])


def validated(workspace: Workspace) -> list[Fault]:
    """Warnings. Raises SpecInvalid where a right answer is wrong by its form, VerifierInvalid as `gold_faults`.

    What was right is not asked about again until it, or what judges it, changes.
    """
    asked = _asked(workspace.spec, workspace.root)
    kept = workspace.state / "golds"
    digest = asked.digest(workspace.root)
    if asked.alike and not (kept.is_file() and kept.read_text() == digest):
        if faults := _faults(asked, workspace.root):
            raise SpecInvalid(faults)
        with suppress(OSError, FlywheelError):  # where nothing can be kept, it is asked again
            write_text(kept, digest)
    return list(workspace.warnings)


def gold_faults(loaded: LoadedSpec, root: Path) -> list[Fault]:
    """Golds that a cheap verifier of their own task refuses. Raises VerifierInvalid where one cannot be built."""
    return _faults(_asked(loaded.spec, root), root)


def _asked(spec: Spec, root: Path) -> _Asked:
    chosen, same_as = _cheap(spec)
    tasks = {
        name: task.model_copy(
            update={"verify": list(dict.fromkeys(same_as[verifier] for verifier in task.verify if verifier in same_as))}
        )
        for name, task in spec.tasks.items()
    }
    columns = judged_columns(chosen.values())
    alike: dict[tuple[str, ...], list[Gold]] = {}
    for gold in golds(spec, root) if chosen else ():
        if tasks[gold.subject.task].verify:
            row = [target_text(gold.subject.row.get(column)) for column in columns]
            alike.setdefault((gold.subject.task, gold.subject.answer, *row), []).append(gold)
    return _Asked(chosen, tasks, alike)


def _faults(asked: _Asked, root: Path) -> list[Fault]:
    from flywheel.verifiers import Checker  # here: `validate` has no use for it most of the time

    refused: dict[tuple[Path_, int], tuple[Gold, str]] = {}
    with Checker(asked.verifiers, root, workers=1) as checker:
        subjects = (same[0].subject for same in asked.alike.values())
        for same, verdicts in zip(asked.alike.values(), checker.judge(subjects, asked.tasks), strict=True):
            said = [f"{v.verifier} refuses the gold: {v.reason}" for v in verdicts if v.outcome == "fail"]
            refused |= {(gold.place, gold.line): (gold, reason) for gold in same for reason in said[:1]}
    return few([_fault(gold, reason) for _, (gold, reason) in sorted(refused.items(), key=lambda item: item[0])])


def _cheap(spec: Spec) -> tuple[dict[str, Verifier], dict[str, str]]:
    """The verifiers that take milliseconds a gold, and for each name the one that stands for it: those that ask one
    database whether a query binds are one."""
    found: dict[str, Verifier] = {}
    same_as: dict[str, str] = {}
    for name, verifier in spec.verifiers.items():
        if (form := verifier.form) is not None:
            same_as[name] = next((other for other, known in found.items() if known == form), name)
            found.setdefault(same_as[name], form)
    return found, same_as


def gold_doubts(spec: Spec, root: Path) -> list[Fault]:
    """What `verifiers.lint` says of each gold, as warnings."""
    from flywheel.verifiers.lint import has_lint

    chosen = {name: verifier for name, verifier in spec.verifiers.items() if has_lint(verifier)}
    asked = [
        (name, gold) for gold in golds(spec, root) for name in spec.tasks[gold.subject.task].verify if name in chosen
    ]
    faults: list[Fault] = []
    for confined in (True, False):
        here = [(name, gold) for name, gold in asked if chosen[name].is_confined is confined]
        verifiers = {name: chosen[name] for name, _ in here}
        if here:
            faults += _linted(here, (verifiers, root, confined))
    return few([replace(fault, warning=True) for fault in dict.fromkeys(faults)])


def _linted(asked: Sequence[tuple[str, Gold]], setup: tuple[object, Path, bool]) -> Iterator[Fault]:
    from flywheel.executor import Pool
    from flywheel.verifiers.checker import MEMORY_BYTES

    with Pool("flywheel.verifiers.lint:open_lints", 1, setup=setup, memory_bytes=MEMORY_BYTES) as pool:
        results = pool.map(((name, gold.subject) for name, gold in asked), lambda _: 30.0)
        for (_, gold), result in zip(asked, results, strict=True):
            for said in result.value if result.status == "ok" else ():
                yield _fault(gold, said)


def _fault(gold: Gold, message: str) -> Fault:
    hint = f"Mend the row: {one_line(gold.subject.answer, 100)}"
    return Fault(f"{message}.", gold.place, hint, gold.file, gold.line)
