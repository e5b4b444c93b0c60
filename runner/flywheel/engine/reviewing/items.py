"""What waits for a person: rows of the `human` strategy's queue, answers for a judge's calibration, rows without a
right answer, and promoted iterations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.engine.history import open_lookup
from flywheel.engine.planning import make_plan, waiting
from flywheel.engine.project import Workspace, open_project
from flywheel.errors import StoreError, UsageError
from flywheel.hashing import seed_from
from flywheel.nodes.lessons.queue import FOLDER, OWN, queued_rows
from flywheel.records import Row, row_id
from flywheel.records.nodes import Query
from flywheel.records.reviews import item_name
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.data import CASE_LABELS, gold_column
from flywheel.spec.models import Spec

#: Answers of the student that are shown for a judge's calibration; 20 are needed.
CASES = 40
#: More answers than this are written, not chosen.
MOST_CHOICES = 12


@dataclass(frozen=True)
class ReviewItem:
    """One thing that a person is asked. `name` is what its reviews carry."""

    name: str
    group: str
    """What it belongs to, in words."""
    question: Row
    """The row as the student sees it."""
    aside: Row
    """What helps, and is no part of the question: what the student said, why that is wrong."""
    choices: tuple[str, ...] = ()
    """The answers that there are; empty where one is written."""
    place: Row | None = None
    """Of a case: the row that goes into the file, without its label."""


@dataclass(frozen=True)
class ReviewTable:
    """A file of rows, some without a right answer. `target`: the column that lacks it."""

    path: Path
    target: str

    @property
    def name(self) -> str:
        return self.path.name

    def item_of(self, row: Row) -> str:
        return item_name("gold", self.name, row_id({k: v for k, v in row.items() if k != self.target}))


@dataclass(frozen=True)
class ReviewDesk:
    """Where reviews come from and go to. `spec`: the project's file, None where only `tables` are reviewed."""

    root: Path
    spec: Path | None
    tables: tuple[ReviewTable, ...] = ()

    @property
    def state(self) -> Path:
        return self.root / ".flywheel"

    def items(self, spoken: Collection[str] = ()) -> list[ReviewItem]:
        """All that waits, or waited, and can be spoken of; `spoken` names what was. Raises SpecInvalid where spec or
        rows cannot be read."""
        found = [item for table in self.tables for item in _golds(table)]
        if self.spec is None:
            return found
        project = open_project(self.spec)
        return [*found, *_lessons(project), *_cases(project, spoken)]


def tables_of(paths: list[Path], target: str | None) -> tuple[ReviewTable, ...]:
    """Files for `--rows`. Raises UsageError for one that is missing, or cannot be written back, or without a target."""
    if paths and not target:
        raise UsageError("--rows needs --target: the column that right answers go into.")
    for path in paths:
        if not path.is_file():
            raise UsageError(f"--rows {path}: there is no such file.")
        if path.suffix != ".jsonl":
            raise UsageError(f"--rows {path}: right answers can be written back into JSON lines only (.jsonl).")
    if len({path.name for path in paths}) < len(paths):
        raise UsageError("--rows: two files have one name; review them one after the other.")
    return tuple(ReviewTable(path, target or "") for path in paths)


def _golds(table: ReviewTable) -> list[ReviewItem]:
    rows = read_rows(table.path)
    known = sorted({target_text(row[table.target]) for row in rows if has_answer(row, table.target)})
    choices = tuple(known) if 2 <= len(known) <= MOST_CHOICES and 2 * len(known) <= len(rows) else ()
    return [
        ReviewItem(
            table.item_of(row), f"Right answers for {table.name}",
            {k: v for k, v in row.items() if k != table.target}, {}, choices,
        )
        for row in rows
        if not has_answer(row, table.target)
    ]  # fmt: skip


def has_answer(row: Row, target: str) -> bool:
    value = row.get(target)
    return value is not None and target_text(value).strip() != ""


# --- lessons ----------------------------------------------------------------------------------------------------------


def _lessons(project: Workspace) -> list[ReviewItem]:
    """Rows of the queues that the file has no answer for."""
    found = {}
    for generator in project.spec.generate:
        path = project.root / FOLDER / f"{generator.name}.jsonl"
        if not path.is_file():
            continue
        task = project.spec.task_of(generator)
        target = project.spec.tasks[task].target
        for row in queued_rows(path):
            if row.get("id") and not has_answer(row, target):
                name = item_name("lesson", generator.name, str(row["id"]))
                found[name] = _lesson(name, f"Lessons of {generator.name}", row, target, choices_of(project, task))
    return list(found.values())


def _lesson(name: str, group: str, row: Row, target: str, choices: tuple[str, ...]) -> ReviewItem:
    question = {k: v for k, v in row.items() if k not in (*OWN, target)}
    words = {"error mode": row.get("mode"), "the student said": row.get("answer_of_student"), "why": row.get("reason")}
    return ReviewItem(name, group, question, {k: v for k, v in words.items() if v not in (None, "")}, choices)


def choices_of(project: Workspace, task: str) -> tuple[str, ...]:
    """The labels that the task's verifiers declare, where they are few."""
    names = project.spec.tasks[task].verify
    labels = [label for name in names for label in project.spec.verifiers[name].labels_in(project.root).declared]
    found = tuple(dict.fromkeys(labels))
    return found if 2 <= len(found) <= MOST_CHOICES else ()


# --- a judge's calibration --------------------------------------------------------------------------------------------


def _cases(project: Workspace, spoken: Collection[str]) -> list[ReviewItem]:
    """Answers of the student for each judge that has a file of cases: some that are not in it, in a seeded order, and
    all of which somebody has spoken."""
    judges = {name: found.cases_of_people for name, found in project.spec.verifiers.items() if found.cases_of_people}
    if not judges:
        return []
    with suppress(StoreError), open_lookup(project.state) as query:
        return [item for name, path in judges.items() for item in _some(project, query, name, path, spoken)]
    return []


def _some(project: Workspace, query: Query, verifier: str, path: str, spoken: Collection[str]) -> list[ReviewItem]:
    known = in_file(project.root / path, verifier)
    fresh = [item for item in _answers(project.spec, query, verifier) if item.name not in known]
    fresh.sort(key=lambda item: (item.name not in spoken, seed_from(project.spec.seed, item.name)))
    return fresh[: max(CASES, sum(item.name in spoken for item in fresh))]


def in_file(path: Path, verifier: str) -> set[str]:
    """Names of the cases that a judge's file has."""
    rows = read_rows(path) if path.is_file() else []
    label = CASE_LABELS["calibration"]
    return {item_name("case", verifier, row_id({k: v for k, v in row.items() if k != label})) for row in rows}


def _answers(spec: Spec, query: Query, verifier: str) -> list[ReviewItem]:
    tasks = [name for name, task in spec.tasks.items() if verifier in task.verify]
    rows = query(
        """SELECT DISTINCT task, "row", gold, answer FROM answers WHERE list_contains(?, task) AND answer <> ''""",
        [tasks],
    )
    return [_case(spec, verifier, row, len(tasks) > 1) for row in rows]


def _case(spec: Spec, verifier: str, answer: Mapping[str, Any], several: bool) -> ReviewItem:
    target, label = spec.tasks[answer["task"]].target, CASE_LABELS["calibration"]
    question = {k: v for k, v in answer["row"].items() if k != target}
    gold = {} if answer["gold"] is None else {gold_column(target, label): answer["gold"]}
    place = {**({"task": answer["task"]} if several else {}), **question, "answer": answer["answer"], **gold}
    shown = {"answer to judge": answer["answer"], **({"right answer": answer["gold"]} if gold else {})}
    name = item_name("case", verifier, row_id(place))
    return ReviewItem(name, f"Cases for {verifier}", question, shown, ("pass", "fail"), place)


# --- approvals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WaitingApproval:
    """A promoted iteration of which nobody has spoken."""

    iteration: int
    explanation: str
    report: str


def approvals_wanted(project: Workspace) -> list[WaitingApproval]:
    """Oldest first; none where the spec asks nobody."""
    if not project.store_path.exists():
        return []
    with open_lookup(project.state) as query:
        plan = make_plan(project, None, query)
        numbers = waiting(project, plan, query)
        chain = plan.chain()
        return [_waiting(query, number, chain[number]["gate"][-1]) for number in sorted(numbers)]


def _waiting(query: Query, iteration: int, gate: str) -> WaitingApproval:
    explanation = query("SELECT explanation FROM decisions WHERE node = ?", [gate])[-1]["explanation"]
    return WaitingApproval(iteration, explanation, f"reports/iter-{iteration:03d}/index.html")
