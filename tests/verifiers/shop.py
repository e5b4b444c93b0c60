"""A small shop for these tests: a project folder with a database script, and one-line subjects and judges."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers import Checker

SCRIPT = """
CREATE TABLE city (id INTEGER, name VARCHAR, population DOUBLE, capital BOOLEAN);
INSERT INTO city VALUES (1, 'Berlin', 3.7, true), (2, 'Rome', 2.8, true), (3, 'Turin', 0.8, false),
    (4, 'Bonn', NULL, false), (5, 'Rome', 0.1, false);
CREATE TABLE visit (city_id INTEGER, day DATE, price DECIMAL(6,2));
INSERT INTO visit VALUES (1, '2024-01-01', 10.50), (1, '2024-01-02', 4.50), (2, '2024-01-02', 7.00);
CREATE SEQUENCE ticket;
CREATE MACRO larger_than(least) AS TABLE SELECT name FROM city WHERE population > least;
"""


def write_project(root: Path) -> Path:
    (root / "shop.sql").write_text(SCRIPT, encoding="utf-8")
    return root


def subject(answer: str, reference: str | None = None, task: str = "t", **row: object) -> Subject:
    return Subject("s1", task, dict(row), answer, reference)


def tasks(**verify: list[str]) -> dict[str, Task]:
    """Tasks with these verifiers and nothing else of interest."""
    return {name: Task(prompt="p.md", target="y", verify=names) for name, names in verify.items()}


def memory_of_judging(verifier: SqlVerifier, root: Path, subjects: Sequence[Subject]) -> int:
    """Bytes that the largest child took which judged the subjects of task "t". In a process of its own: of this one's
    children others, of earlier tests, may have been larger.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_memory_of_judging, verifier, root, subjects).result()


def _memory_of_judging(verifier: SqlVerifier, root: Path, subjects: Sequence[Subject]) -> int:
    with Checker({"judge": verifier}, root) as checker:
        list(checker.judge(subjects, tasks(t=["judge"])))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
