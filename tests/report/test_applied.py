"""The report of a whole apply: calls of the same run, what changed since, who approved, one line an iteration."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flywheel.engine.overview import write_overview
from flywheel.plan.estimates import ACCEPTANCE_GUESS
from flywheel.report import Report
from flywheel.store import Store
from mini_domain import Domain


def report_of(domain: Domain, iteration: int) -> Report:
    text = (domain.root / "reports" / f"iter-{iteration:03d}" / "report.json").read_text()
    return Report.model_validate_json(text, strict=False)


def overview(domain: Domain) -> str:
    return (domain.root / "reports" / "index.html").read_text()


def test_the_calls_of_the_run_that_wrote_the_report_are_in_it(applied: Domain) -> None:
    report = report_of(applied, 1)
    assert report.funnel.calls > 0
    assert sum(row.calls for row in report.strategies.rows) == report.funnel.calls
    assert sum(row.calls for row in report.teachers.rows) == report.funnel.calls


def test_weights_and_what_a_bandit_would_give_are_there_either_way(applied: Domain) -> None:
    shares = report_of(applied, 1).strategies.rows[0].shares
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert sum(share.bandit or 0 for share in shares) == pytest.approx(1)
    assert {share.allocated for share in shares} == {None}


def test_the_acceptance_stands_beside_what_the_plan_promised(applied: Domain) -> None:
    (strategy,) = report_of(applied, 1).strategies.rows
    assert strategy.promised == ACCEPTANCE_GUESS, "nothing was measured when the plan was made"
    assert strategy.came == strategy.accepted / strategy.candidates
    page = (applied.root / "reports" / "iter-001" / "index.html").read_text()
    assert f"the plan expected 70.0% of its candidates to be accepted; {100 * strategy.came:.1f}% were" in page

    applied.edit(lambda spec: spec["generate"][0].update(accept=10))
    applied.apply(iterations=1)
    assert report_of(applied, 1).strategies.rows[0].promised == pytest.approx(strategy.came)


def test_what_lessons_are_like_is_on_the_page(applied: Domain) -> None:
    first = report_of(applied, 1).collapse.rows[0]
    shares = applied.query("SELECT avg(CAST(origin = 'seed' AS DOUBLE)) AS real FROM dataset")
    assert first.real == pytest.approx(shares[0]["real"])
    assert report_of(applied, 2).collapse.rows[0] == first
    assert "Do lessons become alike?" in (applied.root / "reports" / "iter-001" / "index.html").read_text()


@pytest.mark.slow
def test_an_edited_spec_and_edited_data_are_named(applied: Domain) -> None:
    applied.edit(lambda spec: spec["train"].update(rank=3))
    seeds = applied.root / "evals" / "seeds.jsonl"
    seeds.write_text("".join(seeds.read_text().splitlines(keepends=True)[:-1]))
    applied.apply()
    notes = {note.text: note.area for note in report_of(applied, 1).changes.notes}
    rank = next(text for text in notes if text.startswith("train.rank: "))
    assert rank.endswith("→ 3 (since it last ran)")
    assert notes[rank] == "spec"
    assert notes["evals/seeds.jsonl: other contents (since it last ran)"] == "data"


def test_the_second_iteration_says_which_model_it_began_with(applied: Domain) -> None:
    notes = report_of(applied, 2).changes.notes
    outcome = report_of(applied, 1).verdict.outcome
    start = next(note.text for note in notes if note.area == "start")
    assert f"ended in “{outcome}”" in start
    assert ("the model that it promoted" in start) == (outcome == "promote")


def test_an_iteration_that_found_nothing_to_teach_says_so(applied: Domain) -> None:
    verdict = report_of(applied, 2).verdict
    assert verdict.outcome == "untrained"
    assert "failed none of its 12 probes" in verdict.headline


def test_a_report_that_is_written_again_is_listed_once(applied: Domain) -> None:
    shutil.rmtree(applied.root / "reports" / "iter-001")
    applied.apply()
    assert re.findall(r"href=\"(iter-\d+)", overview(applied)) == ["iter-001", "iter-002"]


def test_the_overview_has_the_last_word_of_a_person(applied: Domain) -> None:
    decision = applied.query("SELECT decision_hash FROM decisions WHERE iteration = 1")[0]["decision_hash"]
    words: list[dict[str, Any]] = [
        {"sequence": 1, "person": "Ada", "verdict": "approve", "decision_hash": decision},
        {"sequence": 2, "person": "Ben", "verdict": "reject", "decision_hash": decision},
    ]
    plan = applied.plan()
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store:
        store.write("approvals", words)
        write_overview(applied.open(), plan, store.query)
    assert "rejected by Ben" in overview(applied)
    assert "approved by Ada" not in overview(applied)


def test_two_threads_may_write_the_overview(applied: Domain) -> None:
    project, plan = applied.open(), applied.plan()
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write_overview, project, plan, store.query) for _ in range(24)]
        for written in writing:
            written.result()
    assert "iter-002" in overview(applied)


def test_report_json_is_valid_json_of_its_schema(applied: Domain) -> None:
    import jsonschema_rs

    from flywheel.report.schema import schema

    validator = jsonschema_rs.validator_for(json.loads(schema()))
    validator.validate(json.loads((applied.root / "reports" / "iter-001" / "report.json").read_text()))
