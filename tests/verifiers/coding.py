"""For the tests of the code check: a small function, subjects, and what runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers.code import open_code
from flywheel.verifiers.finding import Check

ADD = "def add(a, b):\n    return a + b\n"
TASKS = {"t": Task(prompt="p", target="answer", verify=["code"])}


def check_of(**settings: Any) -> Check:
    return open_code(CodeVerifier(kind="code", entry_point="entry", **settings), Path())


def code_subject(answer: str, tests: Any, trusted: bool = True, **row: Any) -> Subject:
    return Subject("s", "t", {"tests": tests, "entry": "add", **row}, answer, trusted=trusted)


def descendants() -> set[int]:
    """Processes that this one started, and theirs."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_mine(int(entry.name))}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_mine(pid: int) -> bool:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
        if pid == os.getpid():
            return True
    return False
