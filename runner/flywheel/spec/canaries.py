"""Canary rows (`train.canaries`): a row of a task, and the answer or pattern of a cheat that its verifiers let pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.normal import normalised
from flywheel.records import Row
from flywheel.spec.confinement import Problem
from flywheel.spec.models import Task
from flywheel.text import did_you_mean, matches

#: What a canary has beside the columns of its row.
OWN = ("task", "cheat", "cheat_pattern")


@dataclass(frozen=True)
class Canary:
    """`row`: its columns without the target. `line`: where it stands in its file."""

    line: int
    task: str
    row: Row
    cheat: str | None
    pattern: str | None

    def takes(self, answer: str) -> bool:
        """Whether an answer is the cheat: its text, or one in which the pattern is found."""
        if self.cheat is not None:
            return normalised(answer) == normalised(self.cheat)
        return bool(matches(str(self.pattern), answer))


def canary_problem(row: Row, tasks: Mapping[str, Task]) -> Problem | None:
    """What is wrong with a line of the file, and what to do; None where nothing is."""
    if len(tasks) > 1 and row.get("task") not in tasks:
        return "does not say of which task it is.", f'Add "task": one of {", ".join(tasks)}.'
    if "task" in row and row["task"] not in tasks:
        return f'is of no task: "{row["task"]}".', did_you_mean(str(row["task"]), tasks)
    given = [key for key in OWN[1:] if row.get(key) is not None]
    if len(given) != 1:
        return "needs one of cheat (an answer) and cheat_pattern.", 'For example: "cheat": "SELECT 1".'
    if not isinstance(row[given[0]], str) or not row[given[0]].strip():
        return f"{given[0]} must be a text.", 'For example: "cheat": "SELECT 1".'
    return _pattern_problem(row.get("cheat_pattern"))


def _pattern_problem(pattern: str | None) -> Problem | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        return f"cheat_pattern is no regular expression: {error}.", r"For example: '(?i)^select \*'."
    return None


def canary_of(row: Row, line: int, tasks: Mapping[str, Task]) -> Canary:
    """A line in which nothing is wrong."""
    task = str(row.get("task") or next(iter(tasks)))
    inputs = {column: value for column, value in row.items() if column not in (*OWN, tasks[task].target)}
    return Canary(line, task, inputs, row.get("cheat"), row.get("cheat_pattern"))
