"""The report's tests stand on the store of a real run; `turned_wheel` says of which."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flywheel.report import GeneratorFact, Report, ReportFacts, TeacherFact, assemble
from flywheel.report.model import Artefact, ArtefactCount, Baseline, Change, Rate, WithShots
from flywheel.store.database import rows_of

sys.path.insert(0, str(Path(__file__).parents[1] / "teachers"))
sys.path.insert(0, str(Path(__file__).parent))

from turned_wheel import Turned, turned

Query = Callable[..., list[dict[str, Any]]]
Turns = Sequence[dict[str, list[str]]]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Turned:
    return turned(tmp_path_factory.mktemp("turned") / "project")


@pytest.fixture(scope="session")
def shared(wheel: Turned) -> Iterator[duckdb.DuckDBPyConnection]:
    """The copy that the last command left: the store itself is for those who open it as `flywheel query` does."""
    with duckdb.connect(wheel.domain.root / ".flywheel" / "snapshot.duckdb") as connection:
        yield connection


@pytest.fixture
def db(shared: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store, to be changed at will: what a test does to it is rolled back."""
    shared.begin()
    yield shared
    shared.rollback()


@pytest.fixture(scope="session")
def shared_query(shared: duckdb.DuckDBPyConnection) -> Query:
    """For tests that only read."""
    return partial(rows_of, shared)


@pytest.fixture
def query(db: duckdb.DuckDBPyConnection) -> Query:
    return partial(rows_of, db)


@pytest.fixture(scope="session")
def turns(wheel: Turned) -> Turns:
    """Of every iteration the nodes of each kind."""
    return wheel.chains[4]


@pytest.fixture(scope="session")
def facts(wheel: Turned) -> ReportFacts:
    """What the engine knew in the first iteration."""
    return wheel.facts[1]


@pytest.fixture(scope="session")
def pages(wheel: Turned, shared_query: Query) -> dict[int, Report]:
    return {n: assemble(shared_query, n, wheel.chains[n], wheel.facts[n]) for n in wheel.facts}


@pytest.fixture(scope="session")
def promoted(pages: dict[int, Report]) -> Report:
    return pages[1]


@pytest.fixture(scope="session")
def rejected(pages: dict[int, Report]) -> Report:
    return pages[2]


@pytest.fixture(scope="session")
def untrained(pages: dict[int, Report]) -> Report:
    return pages[4]


@pytest.fixture(scope="session")
def doubtful(promoted: Report) -> Report:
    """The first iteration, had its base been asked unfairly: long words in the banner, and a table of gains."""
    rate, change = Rate(value=0.5, low=0.4, high=0.6), Change(value=0.1, low=-0.1, high=0.2)
    text = "The base was never told the labels: prompts/" + "a_long_name_without_a_blank_" * 8 + " names none. " * 9
    counts = (ArtefactCount(suite="holdout", hits=57, wrong=60),)
    artefact = Artefact(task="colour", cause="untold", counts=counts, text=text, remedy=HOSTILE)
    shots = WithShots(
        suite="holdout", shown="holdout_shots", shots=5, items=100, candidate=rate, without=rate, with_shots=rate,
        over_without=change, over_with_shots=change, text=HOSTILE, query="SELECT 1",
    )  # fmt: skip
    advice = "add to evals: holdout_shots: {data: " + "evals/holdout" * 30 + "}."
    baseline = Baseline(artefacts=(artefact,), shots=(shots,), advice=advice)
    return promoted.model_copy(update={"baseline": baseline})


HOSTILE = "<script>alert(1)</script></style><img src=x onerror=alert(2)>\u202etxt\x1b[31m&#106;avascript:alert(3)\u2028"

#: Where a model, a teacher or a spec can put text.
OPEN = {
    "scores": ("answer", "gold", "mode"),
    "candidates": ("problem", "generator", "teacher", "mode", "task"),
    "calls": ("teacher",),
    "budgets": ("mode",),
    "audits": ("source", "expected"),
    "calibrations": ("teacher",),
    "approvals": ("person", "note"),
    "ablations": ("name", "without", "suite"),
    "runs": ("sandbox",),
    "judged": ("reason", "verifier"),
    "curation": ("stage", "reason"),
    "failures": ("mode",),
    "dataset": ("mode", "teacher"),
    "verdicts": ("verifier", "version"),
    "nodes": ("name",),
    "decisions": ("explanation",),
    "deployments": ("model_id", "action"),
    "adapters": ("dataset_hash",),
}


@pytest.fixture(scope="session")
def hostile(shared: duckdb.DuckDBPyConnection, promoted: Report, turns: Turns, facts: ReportFacts) -> Report:
    """The first iteration with hostile text everywhere, and a megabyte in every answer that is shown."""
    shown = [example.item_id for example in promoted.examples.rows]
    shared.begin()
    for table, columns in OPEN.items():
        for column in columns:
            shared.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", [HOSTILE])
    shared.execute("UPDATE scores SET answer = answer || repeat('y', 1000000) WHERE item_id IN ?", [shown])
    shared.execute("UPDATE scores SET arm = arm || ? WHERE starts_with(arm, 'teacher')", [HOSTILE])
    shared.execute('UPDATE scores SET "row" = json_object(?, ?)', [HOSTILE, HOSTILE])
    shared.execute("UPDATE audits SET wrong = json_array(json_object('answer', ?, 'reason', ?))", [HOSTILE, HOSTILE])
    shared.execute("UPDATE calibrations SET confusion = json_object('problem', ?)", [HOSTILE])
    told = {"x": HOSTILE, HOSTILE: HOSTILE}
    summary = {"settings": told, "measured_before": [HOSTILE], "noise": {HOSTILE: {"items": 1, "differ": 1}},
               "too_long": {HOSTILE: 1}, "ran_on": {HOSTILE: {HOSTILE: 1}},
               "labels": {HOSTILE: {HOSTILE: {HOSTILE: {"gold": 1, "said": 0, "right": 0}}}},
               "lm_eval_commands": {HOSTILE: told}}  # fmt: skip
    shared.execute("UPDATE nodes SET summary = ? WHERE kind = 'evaluate'", [json.dumps(summary)])
    shared.execute("UPDATE nodes SET summary = json_merge_patch(summary, ?) WHERE kind = 'generate'",
                   [json.dumps({"calls_failed": {HOSTILE: 3}, "allocation": {HOSTILE: 1.0}})])  # fmt: skip
    shared.execute("UPDATE scores SET slices = json_object('wording', ?), item_id = item_id || ?", [HOSTILE, HOSTILE])
    facts = replace(
        facts,
        name=HOSTILE,
        description=HOSTILE,
        command=HOSTILE,
        generated_at=HOSTILE,
        changed=(("spec", HOSTILE),),
        generators=(GeneratorFact(HOSTILE, HOSTILE, {HOSTILE: 1.0}, {HOSTILE: 1.0}, HOSTILE),),
        teachers=(TeacherFact(HOSTILE, HOSTILE, True, HOSTILE),),
        versions={HOSTILE: HOSTILE},
        spec_text=HOSTILE * 90_000,
    )
    report = assemble(partial(rows_of, shared), 1, turns, facts)
    shared.rollback()
    assert "1,000,0" in report.examples.rows[0].candidate_answer
    return report
