"""Solved examples before each question: `student.shots`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from flywheel.prompting.templates import render
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.models import Spec, Task
from flywheel.text import gap


def shots_of(spec: Spec, root: Path) -> dict[str, str]:
    """Task → what stands before each of its questions: its first `student.shots` seeds, solved; empty without any."""
    return {name: _solved(task, root, spec.student.shots) for name, task in spec.tasks.items()}


def _solved(task: Task, root: Path, number: int) -> str:
    """Between question and answer, and between one and the next, as lm-eval puts them."""
    if not number or task.seeds is None:
        return ""
    found = []
    for row in islice(read_rows(root / task.seeds), number):
        answer = target_text(row[task.target])
        asked = render(root / task.prompt, root, {"row": {k: v for k, v in row.items() if k != task.target}})
        found.append(f"{asked}{gap(asked, answer)}{answer}\n\n")
    return "".join(found)
