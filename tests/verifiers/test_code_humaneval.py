"""HumanEval: every canonical solution passes, and none does after one semantic mutation.

The mutations are those of `flywheel.verifiers.mutants`: comparisons swapped, constants off by one, arithmetic and
boolean operators swapped, conditions negated, statements dropped; returns replaced where nothing else is left. For each
problem the first mutant is taken that the official tests (`exec`, exit status) reject. For 156 of 164 that is the first
of all; for the eight in LATER the earlier ones are equivalent to the solution, or the problem's own tests miss them.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from coding import TASKS

from flywheel.records import Subject, Verdict
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers import Checker
from flywheel.verifiers.mutants import mutants
from flywheel.verifiers.programs import assemble

#: Problem → how many mutants pass the official tests before the first that does not.
LATER = {81: 1, 96: 1, 99: 2, 124: 1, 127: 5, 131: 1, 134: 1, 151: 1, 154: 1}
REPOSITORY = Path(__file__).parents[2]

Judged = Callable[[Callable[[dict[str, Any]], str]], list[Verdict]]


@pytest.fixture(scope="module")
def problems() -> list[dict[str, Any]]:
    folder = Path(os.environ.get("FLYWHEEL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / "humaneval" / "HumanEval.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no HumanEval at {path}; name its folder in FLYWHEEL_TEST_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def judged(problems: list[dict[str, Any]]) -> Judged:
    spec = CodeVerifier(kind="code", tests="test", prefix="prompt", entry_point="entry_point", timeout_seconds=2.0)

    def judge_all(answer_to: Callable[[dict[str, Any]], str]) -> list[Verdict]:
        subjects = [Subject(row["task_id"], "t", row, answer_to(row)) for row in problems]
        with Checker({"code": spec}, REPOSITORY) as judge:
            return [said[0] for said in judge.judge(subjects, TASKS)]

    return judge_all


def mutated(row: dict[str, Any]) -> str:
    program = assemble(row["canonical_solution"], row["prompt"], row["entry_point"])
    before = LATER.get(int(row["task_id"].partition("/")[2]), 0)
    return next(islice(mutants(program, before + 1), before, None))


@pytest.mark.slow
def test_every_canonical_solution_passes(judged: Judged) -> None:
    verdicts = judged(lambda row: str(row["canonical_solution"]))
    assert [v for v in verdicts if v.outcome != "pass"] == []
    assert len(verdicts) == 164


@pytest.mark.slow
def test_no_mutated_solution_passes(judged: Judged) -> None:
    verdicts = judged(mutated)
    assert Counter(v.outcome for v in verdicts) == {"fail": 164}


@pytest.mark.slow
def test_a_solution_in_a_fence_with_its_signature_passes_too(judged: Judged) -> None:
    verdicts = judged(lambda row: f"Sure!\n```python\n{row['prompt']}{row['canonical_solution']}\n```\nDone.")
    assert Counter(v.outcome for v in verdicts) == {"pass": 164}
