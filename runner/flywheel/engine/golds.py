"""What is wrong with the right answers themselves, each with file and line: found before anything is bought or trained.

`gold_faults`: golds that their own task's verifiers refuse, a query that does not bind, a label that is not declared.
`gold_doubts`: golds that run and are doubtful all the same (`verifiers.lint`); they are for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import Fault, Path_
from flywheel.executor import Pool
from flywheel.records import Subject
from flywheel.records.rows import MAX_FAULTS, read_row_file, target_text
from flywheel.spec.loader import Loaded
from flywheel.spec.models import LabelVerifier, Spec, SqlVerifier, Verifier
from flywheel.spec.outline import judged_columns
from flywheel.text import one_line, plural
from flywheel.verifiers import Judge
from flywheel.verifiers.judge import MEMORY_BYTES
from flywheel.verifiers.kinds import is_confined


class Gold(NamedTuple):
    """A right answer and where it stands. `place`: of its file, in the spec."""

    place: Path_
    file: str
    line: int
    subject: Subject


def golds(spec: Spec, root: Path) -> Iterator[Gold]:
    """The right answers of every task's probes, seeds and suites, those of one text and row once a file."""
    named: list[tuple[Path_, str, str]] = []
    for name, task in spec.tasks.items():
        named += [(("tasks", name, key), name, path) for key in ("probes", "seeds") if (path := getattr(task, key))]
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


def gold_faults(loaded: Loaded, root: Path) -> list[Fault]:
    """Golds that a cheap verifier of their own task refuses. Raises VerifierInvalid where one cannot be built."""
    chosen, same_as = _cheap(loaded.spec)
    tasks = {
        name: task.model_copy(
            update={"verify": list(dict.fromkeys(same_as[verifier] for verifier in task.verify if verifier in same_as))}
        )
        for name, task in loaded.spec.tasks.items()
    }
    found = [gold for gold in golds(loaded.spec, root) if tasks[gold.subject.task].verify]
    if not found:
        return []
    columns = judged_columns(chosen.values())
    alike: dict[tuple[str, ...], list[Gold]] = {}
    for gold in found:  # a text that stands in many rows is asked about once
        row = [target_text(gold.subject.row.get(column)) for column in columns]
        alike.setdefault((gold.subject.task, gold.subject.answer, *row), []).append(gold)
    refused: dict[tuple[Path_, int], str] = {}
    with Judge(chosen, root, workers=1) as judge:
        asked = (same[0].subject for same in alike.values())
        for same, verdicts in zip(alike.values(), judge.judge(asked, tasks), strict=True):
            said = [f"{v.verifier} refuses the gold: {v.reason}" for v in verdicts if v.outcome == "fail"]
            refused |= {(gold.place, gold.line): reason for gold in same for reason in said[:1]}
    wrong = ((gold, refused.get((gold.place, gold.line))) for gold in found)
    return _cut([_fault(gold, reason) for gold, reason in wrong if reason is not None])


def _cheap(spec: Spec) -> tuple[dict[str, Verifier], dict[str, str]]:
    """The verifiers that take milliseconds a gold, and for each name the one that stands for it: those that ask one
    database whether a query binds are one."""
    found: dict[str, Verifier] = {}
    same_as: dict[str, str] = {}
    for name, verifier in spec.verifiers.items():
        if isinstance(verifier, SqlVerifier) and verifier.engine != "postgres":
            asks = {key: getattr(verifier, key) for key in ("engine", "setup", "database", "timeout_seconds")}
            binds = SqlVerifier(kind="sql", check="parses", **asks)
            same_as[name] = next((other for other, known in found.items() if known == binds), name)
            found.setdefault(same_as[name], binds)
        elif isinstance(verifier, LabelVerifier):
            found[name], same_as[name] = verifier, name
    return found, same_as


def gold_doubts(spec: Spec, root: Path) -> list[Fault]:
    """What `verifiers.lint` says of each gold, as warnings."""
    chosen = {name: verifier for name, verifier in spec.verifiers.items() if isinstance(verifier, SqlVerifier)}
    asked = [
        (name, gold) for gold in golds(spec, root) for name in spec.tasks[gold.subject.task].verify if name in chosen
    ]
    faults: list[Fault] = []
    for confined in (True, False):
        here = [(name, gold) for name, gold in asked if is_confined(chosen[name]) is confined]
        verifiers = {name: chosen[name] for name, _ in here}
        if here:
            faults += _linted(here, (verifiers, root, confined))
    return _cut([replace(fault, warning=True) for fault in dict.fromkeys(faults)])


def _linted(asked: Sequence[tuple[str, Gold]], setup: tuple[object, Path, bool]) -> Iterator[Fault]:
    with Pool("flywheel.verifiers.lint:open_lints", 1, setup=setup, memory_bytes=MEMORY_BYTES) as pool:
        results = pool.map(((name, gold.subject) for name, gold in asked), lambda _: 30.0)
        for (_, gold), result in zip(asked, results, strict=True):
            for said in result.value if result.status == "ok" else ():
                yield _fault(gold, said)


def _fault(gold: Gold, message: str) -> Fault:
    hint = f"Mend the row: {one_line(gold.subject.answer, 100)}"
    return Fault(f"{message}.", gold.place, hint, gold.file, gold.line)


def _cut(faults: list[Fault]) -> list[Fault]:
    rest = faults[MAX_FAULTS:]
    return [*faults[:MAX_FAULTS], *([Fault(f"and {plural(len(rest), 'more fault')}.", rest[0].path)] if rest else [])]
