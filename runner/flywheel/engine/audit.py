"""`flywheel audit`: how often are the verifiers wrong? Asked of cases whose answer is known.

golden       rows of a verifier's `golden` file, which a person labelled: it must say what the person says
seeds        rows that people wrote: their own answer must pass every verifier
corruptions  the same answers made wrong: the task's verifiers together must fail them, and so must each that
             claims to know a right answer from a wrong one (not one that only looks at the form, such as `parses`)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from flywheel.engine.project import Workspace
from flywheel.engine.resources import Resources
from flywheel.errors import UsageError
from flywheel.hashing import seed_from
from flywheel.records import Outcome, Subject, Verdict, row_id
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.models import Spec, Task
from flywheel.store import Store
from flywheel.text import did_you_mean
from flywheel.verifiers import outcome_of
from flywheel.verifiers.agreement import read_cases
from flywheel.verifiers.corruptions import Surroundings, corruptions
from flywheel.verifiers.rates import TOGETHER, Reliability, reliability, together, versions_of

T = TypeVar("T")

#: Wrong decisions kept with their answers, of each source, for people to look at.
SHOWN = 20


@dataclass(frozen=True)
class Probe:
    """A case: what is judged, what must be said of it, where it is from. `verifier`: whose golden case it is."""

    subject: Subject
    expected: Literal["pass", "fail"]
    source: str
    verifier: str | None = None


@dataclass(frozen=True)
class AuditRun:
    """`rows` as stored in table `audits`."""

    rows: list[dict[str, Any]]
    probes: int
    seconds: float

    @property
    def reliability(self) -> list[Reliability]:
        return reliability(self.rows)


def audit(
    project: Workspace,
    verifier: str | None = None,
    limit: int | None = None,
    confirm: Callable[[int], bool] = lambda calls: True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AuditRun | None:
    """Judge known cases and store the rates. `verifier`: only this one, of every task that has it; `limit`: at most so
    many seeds, and golden cases, of each task.

    `confirm(calls)` is asked before teachers that judge are paid; None where it says no. Raises UsageError for an
    unknown verifier or where there is no case, StoreLocked while an apply runs, BudgetStop at a declared limit.
    """
    tasks = _tasks(project.spec, verifier)
    probes = [probe for name, task in tasks.items() for probe in _probes(project, name, task, limit)]
    if not probes:
        raise UsageError(
            "there is nothing to audit with: no task has seeds, no verifier has golden cases. Add tasks.<name>.seeds "
            "or verifiers.<name>.golden."
        )
    if (calls := _calls(project.spec, tasks, probes)) and not confirm(calls):
        return None
    started, at = time.monotonic(), datetime.now(UTC)
    name = at.strftime("audit-%Y%m%d-%H%M%S-%f")[:-3]
    with Store(project.store_path) as store, Resources(project, store, name) as resources:
        resources.take_in_journal()
        try:
            verdicts = _judged(resources, probes, tasks, progress)
        finally:
            resources.take_in_journal()
        rows = _rows(project, tasks, probes, verdicts, whole=verifier is None)
        store.write("audits", [{"audit": name, "audited_at": at, **row} for row in rows])
        store.snapshot(project.state / "snapshot.duckdb")
    return AuditRun(rows, len(probes), time.monotonic() - started)


def _tasks(spec: Spec, verifier: str | None) -> dict[str, Task]:
    if verifier is None:
        return dict(spec.tasks)
    if verifier not in spec.verifiers:
        raise UsageError(f'there is no verifier "{verifier}". {did_you_mean(verifier, spec.verifiers)}')
    found = {name: task for name, task in spec.tasks.items() if verifier in task.verify}
    if not found:
        raise UsageError(f'no task has the verifier "{verifier}". Name it in tasks.<name>.verify.')
    return {name: task.model_copy(update={"verify": [verifier]}) for name, task in found.items()}


def _calls(spec: Spec, tasks: Mapping[str, Task], probes: Sequence[Probe]) -> int:
    """Calls to teachers that may cost money, at most."""
    votes = {
        name: verifier.calls_each
        for name, verifier in spec.verifiers.items()
        if verifier.asks is not None and spec.teachers[verifier.asks].remote
    }
    return sum(votes.get(name, 0) for probe in probes for name in tasks[probe.subject.task].verify)


# --- cases ------------------------------------------------------------------------------------------------------------


def _probes(project: Workspace, name: str, task: Task, limit: int | None) -> list[Probe]:
    spec, found = project.spec, []
    for verifier in task.verify:
        if golden := spec.verifiers[verifier].golden:
            cases = [
                c for c in read_cases(project.root / golden, _users(spec, verifier), "expect") if c.subject.task == name
            ]
            found += [Probe(c.subject, c.expected, "golden", verifier) for c in _some(cases, limit, spec.seed)]
    seeds = read_rows(project.root / task.seeds) if task.seeds else []
    subjects = [_own_answer(name, task, row) for row in seeds]
    around = surroundings(project, name, tuple(subject.answer for subject in subjects))
    for subject in _some(subjects, limit, spec.seed):
        found.append(Probe(subject, "pass", "seeds"))
        for wrong in corruptions(subject.answer, around, task.final, spec.seed):
            corrupted = Subject(
                f"{subject.subject_id}-{wrong.name}", name, subject.row, wrong.answer, subject.reference
            )
            found.append(Probe(corrupted, "fail", wrong.name))
    return found


def _users(spec: Spec, verifier: str) -> dict[str, Task]:
    return {name: task for name, task in spec.tasks.items() if verifier in task.verify}


def _own_answer(name: str, task: Task, row: Mapping[str, Any]) -> Subject:
    inputs, gold = {k: v for k, v in row.items() if k != task.target}, target_text(row[task.target])
    return Subject(row_id(dict(row)), name, inputs, gold, gold)


def _some(items: Sequence[T], limit: int | None, seed: int) -> Sequence[T]:
    if limit is None or limit >= len(items):
        return items
    return random.Random(seed_from(seed, "audit")).sample(list(items), limit)


def surroundings(project: Workspace, task: str, answers: tuple[str, ...]) -> Surroundings:
    """What corruptions of the task's answers may draw from, as its verifiers tell."""
    verifiers = [project.spec.verifiers[name] for name in project.spec.tasks[task].verify]
    labels = [label for verifier in verifiers for label in verifier.labels_in(project.root).declared]
    languages = [verifier.language for verifier in verifiers if verifier.language != "text"]
    return Surroundings(languages[0] if languages else "text", tuple(labels), answers)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _judged(
    resources: Resources, probes: Sequence[Probe], tasks: Mapping[str, Task], progress: Callable[[int, int], None]
) -> list[list[Verdict]]:
    found: list[list[Verdict]] = []
    for verdicts in resources.judge((probe.subject for probe in probes), tasks=tasks):
        found.append(verdicts)
        progress(len(found), len(probes))
    return found


def _rows(
    project: Workspace,
    tasks: Mapping[str, Task],
    probes: Sequence[Probe],
    verdicts: Sequence[Sequence[Verdict]],
    whole: bool,
) -> list[dict[str, Any]]:
    """One row for each task, verifier and source; with `whole` also for all verifiers of a task together."""
    versions = versions_of(project.spec, project.root, project.teacher_parameters)
    tallies: dict[tuple[str, str, str, str], _Tally] = {}
    for probe, found in zip(probes, verdicts, strict=True):
        task = probe.subject.task
        said = [(v.verifier, v.outcome, v.reason) for v in found if _concerns(project.spec, probe, v.verifier)]
        if whole and _concerns_all(probe, tasks[task]):
            said.insert(0, (TOGETHER, outcome_of(found), _against(found)))
        for verifier, outcome, reason in said:
            tallies.setdefault((task, verifier, probe.source, probe.expected), _Tally()).count(probe, outcome, reason)
    order = {name: [TOGETHER, *task.verify] for name, task in tasks.items()}
    return [
        {
            "task": task, "verifier": name, "source": source, "expected": expected,
            "version": together(tasks[task].verify, versions) if name == TOGETHER else versions[name],
            **tally.columns(),
        }
        for (task, name, source, expected), tally in sorted(
            tallies.items(), key=lambda item: (item[0][0], order[item[0][0]].index(item[0][1]))
        )
    ]  # fmt: skip


def _concerns(spec: Spec, probe: Probe, verifier: str) -> bool:
    """Whether `verifier` alone must say what is expected."""
    if probe.verifier is not None:
        return probe.verifier == verifier
    return probe.expected == "pass" or spec.verifiers[verifier].tells_right_from_wrong


def _concerns_all(probe: Probe, task: Task) -> bool:
    """What one verifier must pass another may fail with good reason; what one must fail the task must."""
    return probe.verifier is None or probe.expected == "fail" or task.verify == [probe.verifier]


def _against(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(f"{v.verifier}: {v.reason}" for v in verdicts if v.outcome != "pass")


class _Tally:
    def __init__(self) -> None:
        self._outcomes: dict[Outcome, int] = {"pass": 0, "fail": 0, "unknown": 0}
        self._wrong: list[dict[str, Any]] = []

    def count(self, probe: Probe, outcome: Outcome, reason: str) -> None:
        self._outcomes[outcome] += 1
        if outcome not in (probe.expected, "unknown") and len(self._wrong) < SHOWN:
            subject = probe.subject
            self._wrong.append(
                {"row": subject.row, "answer": subject.answer, "reference": subject.reference, "reason": reason}
            )

    def columns(self) -> dict[str, Any]:
        counts = self._outcomes
        return {
            "cases": sum(counts.values()), "passed": counts["pass"], "failed": counts["fail"],
            "unknown": counts["unknown"], "wrong": self._wrong,
        }  # fmt: skip
