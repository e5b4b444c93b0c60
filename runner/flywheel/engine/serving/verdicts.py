"""What verifiers say of live answers while a promotion is under test: beside the server, after an answer is in the log.

An answer that `traffic.match` makes a row of a task is judged by those of the task's verifiers that need no known
answer and ask no teacher, in a child process that may be killed. What they said is kept in
`.flywheel/canary/<former>-<new>.verdicts.jsonl`, a JSON object an answer, and nothing of the answer itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from flywheel.engine.project import Workspace
from flywheel.errors import FlywheelError
from flywheel.nodes.context import columns_of_task
from flywheel.nodes.measuring.production import whole_rows
from flywheel.records import Row, Subject
from flywheel.records.rows import read_rows
from flywheel.records.traffic import LoggedExchange
from flywheel.spec.models import Task
from flywheel.traffic.matching import Matched, row_of
from flywheel.traffic.served import ServedLogs
from flywheel.verifiers import Checker, outcome_of

LiveOutcome = Literal["pass", "fail", "unknown", "none"]
"""`none`: the answer is no row of a task that a verifier could judge."""

#: Answers judged between two looks at a trial.
JUDGED_AT_ONCE = 256


@dataclass(frozen=True)
class LiveTask:
    """A task of whose rows verifiers can speak without a known answer."""

    name: str
    task: Task
    columns: Sequence[str]
    like: Sequence[Row]

    def subject(self, project: Workspace, found: LoggedExchange) -> Subject | None:
        match = project.spec.traffic.match[self.name]
        row = row_of(self.name, match, found.name, found.messages, found.row)
        if row is None or found.answer is None or found.flags:
            return None
        asked = whole_rows([Matched(found.source_id, row, found.answer, found.model)], self.columns, self.like)
        return Subject(found.source_id, self.name, asked[0].row, found.answer, None) if asked else None


def live_tasks(project: Workspace) -> list[LiveTask]:
    """Those of `traffic.match`; none where each of their verifiers needs a known answer or asks a teacher."""
    spec = project.spec
    found = []
    for name in spec.traffic.match:
        task = spec.tasks[name]
        free = [v for v in task.verify if not spec.verifiers[v].needs_reference and spec.verifiers[v].asks is None]
        if free:
            rows = read_rows(project.root / task.probes) if task.probes is not None else []
            columns = columns_of_task(spec, project.root, name)
            found.append(LiveTask(name, task.model_copy(update={"verify": free}), columns, rows))
    return found


def verdicts_of(file: Path) -> dict[str, LiveOutcome]:
    """Receipt → outcome. A line that is not whole was cut off with its server: that answer is judged again."""
    found: dict[str, LiveOutcome] = {}
    for line in file.read_bytes().splitlines() if file.is_file() else ():
        try:
            said = json.loads(line)
            if said["outcome"] in get_args(LiveOutcome):
                found[said["receipt"]] = said["outcome"]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def judge_waiting(
    project: Workspace,
    tasks: Sequence[LiveTask],
    answers: Iterable[Mapping[str, Any]],
    file: Path,
    is_over: Callable[[], bool],
) -> str:
    """Judge answers that have no verdict yet, at most `JUDGED_AT_ONCE`, as they are in the log, until `is_over`. What
    cannot be judged at all is unknown; then why is given back, else nothing. Raises OSError where the disk is full."""
    known = verdicts_of(file)
    waiting = list(islice((one for one in answers if one["id"] not in known), JUDGED_AT_ONCE))
    if not waiting:
        return ""
    found: dict[str, LiveOutcome] = {}
    problem = ""
    try:
        found.update(_judged(project, tasks, waiting, is_over))
    except FlywheelError as error:
        problem = str(error)
        found |= {one["id"]: "unknown" for one in waiting if one["id"] not in found}
    _keep(file, found)
    return problem


def _judged(
    project: Workspace, tasks: Sequence[LiveTask], answers: Sequence[Mapping[str, Any]], is_over: Callable[[], bool]
) -> Iterator[tuple[str, LiveOutcome]]:
    """One at a time: the server does not end later than one verdict takes."""
    spec, verify = project.spec, {one.name: one.task for one in tasks}
    with Checker(spec.verifiers, project.root, 1, unsafe=spec.allow_unsafe_execution) as checker:
        for answer in answers:
            if is_over():
                return
            [exchange] = ServedLogs(project.spec.traffic.columns).found(dict(answer))
            assert isinstance(exchange, LoggedExchange)
            subjects = [subject for task in tasks if (subject := task.subject(project, exchange)) is not None]
            said = [outcome_of(verdicts) for verdicts in checker.judge(subjects, verify)]
            yield answer["id"], next((one for one in ("fail", "unknown", "pass") if one in said), "none")


def _keep(file: Path, found: Mapping[str, LiveOutcome]) -> None:
    """A line that a killed server left half written is ended first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"receipt": receipt, "outcome": said}) + "\n" for receipt, said in found.items())
    with file.open("ab+") as handle:
        handle.seek(max(0, handle.seek(0, os.SEEK_END) - 1))
        handle.write((b"\n" if handle.read(1) not in (b"", b"\n") else b"") + lines.encode())
        handle.flush()
        os.fsync(handle.fileno())
