"""gsm8k's worked answers as the seeds of a domain with the `math` verifier."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from flywheel.engine.project import open_project
from flywheel.engine.templates import copy_template
from flywheel.records import Subject
from flywheel.records.rows import read_rows, target_text
from flywheel.spec.loader import LoadedSpec
from flywheel.verifiers import Checker, outcome_of

ANSWERS = 7_473


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory, data_file: Callable[[str], Path]) -> LoadedSpec:
    """The template `arithmetic` with gsm8k's rows as its seeds."""
    source = data_file("gsm8k/train.jsonl")
    root = tmp_path_factory.mktemp("gsm8k")
    copy_template("arithmetic", root)
    shutil.copyfile(source, root / "rows" / "seeds.jsonl")
    return open_project(root / "flywheel.yaml").loaded


def judged(domain: LoadedSpec, subjects: Iterable[Subject]) -> list[str]:
    with Checker(domain.spec.verifiers, domain.root, workers=1) as judge:
        return [outcome_of(verdicts) for verdicts in judge.judge(subjects, domain.spec.tasks)]


def seeds(domain: LoadedSpec) -> list[tuple[dict[str, str], str]]:
    """The seeds as (row without the target, target)."""
    task = next(iter(domain.spec.tasks.values()))
    assert task.seeds is not None
    rows = read_rows(domain.root / task.seeds)
    return [({"question": row["question"]}, target_text(row[task.target])) for row in rows]


def last_line(answer: str) -> str:
    return answer.rpartition("####")[2].strip()


def test_every_worked_answer_passes_against_its_final_number(domain: LoadedSpec) -> None:
    subjects = [
        Subject(str(i), "solve", row, answer, last_line(answer)) for i, (row, answer) in enumerate(seeds(domain))
    ]

    outcomes = judged(domain, subjects)

    assert outcomes == ["pass"] * ANSWERS


def test_no_worked_answer_passes_against_the_next_number(domain: LoadedSpec) -> None:
    def next_number(answer: str) -> str:
        return str(int(last_line(answer).replace(",", "")) + 1)

    some = seeds(domain)[:500]
    subjects = [Subject(str(i), "solve", row, answer, next_number(answer)) for i, (row, answer) in enumerate(some)]

    outcomes = judged(domain, subjects)

    assert set(outcomes) == {"fail"}
