"""The wheel as a whole, with a model that costs nothing."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.events import EventLog
from flywheel.engine.status import status
from flywheel.errors import PlanMoved, SpecInvalid, Tampered
from mini_domain import Domain, rows


def names(domain: Domain, status: str = "done") -> set[str]:
    return {row["name"] for row in domain.query("SELECT name FROM nodes WHERE status = ?", [status])}


def last_run(domain: Domain) -> set[str]:
    """Nodes that the newest run finished."""
    found = domain.query("SELECT name FROM nodes WHERE status = 'done' AND run_id = (SELECT max(run_id) FROM runs)")
    return {row["name"] for row in found}


def teacher(domain: Domain, body: str) -> None:
    """Gives the careless teacher another function."""
    (domain.root / "other.py").write_text("import json, time\n\n\ndef teach(request):\n    " + body + "\n")
    domain.edit(lambda spec: spec["teachers"]["careless"].update(function="other.py:teach"))


def test_a_better_candidate_is_promoted_reported_and_deployed(domain: Domain) -> None:
    outcome = domain.apply()

    assert (outcome.exit_code, outcome.promoted, outcome.failed) == (0, [1], [])
    assert names(domain) == {node.name for node in domain.plan().nodes}
    candidate = domain.query("SELECT candidate_id FROM decisions")[0]["candidate_id"]
    assert (domain.root / "deploy" / "current").resolve().name == candidate
    assert (domain.root / "reports" / "iter-001" / "index.html").stat().st_size > 1_000
    assert (domain.root / "reports" / "index.html").exists()
    assert domain.query("SELECT status FROM runs ORDER BY ended_at NULLS FIRST")[-1]["status"] == "done"


def test_every_node_accounts_for_all_its_rows(applied: Domain) -> None:
    for node in applied.query("SELECT * FROM nodes"):
        assert node["rows_in"] == node["kept"] + node["rejected"] + node["failed"], node["name"]


def test_a_second_apply_runs_no_node_and_makes_no_call(applied: Domain) -> None:
    calls, records = applied.calls("asked"), applied.query("SELECT count(*) AS n FROM nodes")

    outcome = applied.apply()

    assert (outcome.ran, outcome.exit_code) == (0, 0)
    assert applied.calls("asked") == calls
    assert applied.query("SELECT count(*) AS n FROM nodes") == records


def test_a_copy_of_the_project_elsewhere_is_as_finished_as_the_original(applied: Domain) -> None:
    moved = Domain(applied.root.rename(applied.root.parent / "elsewhere"), applied.spec)

    assert moved.apply().ran == 0


def test_nothing_promoted_is_exit_code_3_and_deploys_nothing(domain: Domain) -> None:
    outcome = domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply()

    assert (outcome.exit_code, outcome.promoted) == (3, [])
    assert domain.query("SELECT outcome FROM decisions")[0]["outcome"] in ("reject", "inconclusive")
    assert not (domain.root / "deploy").exists()
    assert (domain.root / "reports" / "iter-001" / "index.html").exists()


def test_a_later_iteration_starts_from_the_promoted_model(applied: Domain) -> None:
    first, second = applied.query("SELECT * FROM decisions ORDER BY iteration")

    assert second["incumbent_id"] == first["candidate_id"]


def test_a_saved_plan_is_executed_as_it_is(domain: Domain) -> None:
    saved = json.loads(json.dumps(domain.plan().to_json()))

    assert domain.apply(saved_plan=saved).exit_code == 0


def test_a_saved_plan_is_refused_when_the_spec_has_moved(domain: Domain) -> None:
    saved = domain.plan().to_json()
    domain.edit(lambda spec: spec["train"].update(rank=8))

    with pytest.raises(PlanMoved, match=r"i1\.train"):
        domain.apply(saved_plan=saved)
    assert domain.calls("asked") == []


def test_a_saved_plan_is_refused_when_the_store_has_moved(domain: Domain) -> None:
    saved = domain.plan().to_json()
    domain.apply()

    with pytest.raises(PlanMoved, match="is reused now, and was new"):
        domain.apply(saved_plan=saved)


def test_an_edited_setting_reruns_its_node_and_what_follows_and_asks_no_teacher(domain: Domain) -> None:
    domain.apply()
    calls = domain.calls("asked")

    domain.edit(lambda spec: spec["train"].update(rank=8)).apply()

    assert last_run(domain) == {"i1.train", "i1.evaluate", "i1.gate", "i1.report", "i1.deploy"}
    assert domain.calls("asked") == calls


def test_a_failed_node_stops_what_follows_and_its_siblings_go_on(domain: Domain) -> None:
    def with_a_broken_task(spec: dict[str, Any]) -> None:
        spec["tasks"]["broken"] = {**spec["tasks"]["colour"], "verify": ["raises"]}
        spec["verifiers"]["raises"] = {"kind": "python", "function": "raises.py:check"}
        spec["generate"][0]["task"] = "colour"

    (domain.root / "raises.py").write_text("def check(subject):\n    raise RuntimeError('no ruler')\n")
    outcome = domain.edit(with_a_broken_task).apply()

    assert (outcome.exit_code, outcome.failed) == (1, ["i1.probe.broken"])
    assert "no ruler" in outcome.error
    assert "loop.max_unknown" in outcome.error
    assert names(domain) == {"i1.probe.colour"}
    assert names(domain, "failed") == {"i1.probe.broken"}

    (domain.root / "raises.py").write_text("def check(subject):\n    return True\n")
    assert domain.apply().exit_code in (0, 3)
    assert "i1.probe.colour" not in last_run(domain)


def test_a_teacher_that_raises_costs_its_own_lessons_and_is_named(domain: Domain) -> None:
    teacher(domain, "raise RuntimeError('out of ink')")

    assert domain.apply().exit_code == 0

    failed = domain.query("SELECT DISTINCT teacher, fault, detail FROM calls WHERE status = 'failed'")
    assert [(row["teacher"], row["fault"]) for row in failed] == [("careless", "crashed")]
    assert "out of ink" in failed[0]["detail"]
    assert {row["teacher"] for row in domain.query("SELECT DISTINCT teacher FROM candidates")} == {"careful"}


def test_when_every_call_fails_the_node_fails_and_a_later_apply_asks_again(domain: Domain) -> None:
    teacher(domain, "raise RuntimeError('out of ink')")
    domain.edit(lambda spec: spec["generate"][0].update(teachers=["careless"]))

    outcome = domain.apply()

    assert (outcome.exit_code, outcome.failed) == (1, ["i1.generate.targeted.r1"])
    assert "out of ink" in outcome.error
    assert domain.query("SELECT * FROM decisions") == []
    domain.edit(lambda spec: spec["teachers"]["careless"].update(function="colours.py:teach"))
    assert domain.apply().exit_code == 0


def test_what_a_teacher_writes_that_is_no_row_is_kept_with_the_reason(domain: Domain) -> None:
    teacher(domain, "return 'I would rather not'")

    assert domain.apply().exit_code == 0

    dropped = domain.query("SELECT * FROM candidates WHERE status = 'unparsed'")
    assert dropped
    assert {row["text"] for row in dropped} == {"I would rather not"}
    assert all("no JSON" in row["problem"] for row in dropped)


def test_a_teacher_that_hangs_is_left_behind_at_its_deadline(domain: Domain) -> None:
    teacher(domain, "time.sleep(120)")
    domain.edit(lambda spec: spec["teachers"]["careless"].update(timeout_seconds=0.2))
    started = time.monotonic()

    assert domain.apply().exit_code == 0

    assert time.monotonic() - started < 60
    assert {row["fault"] for row in domain.query("SELECT fault FROM calls WHERE status = 'failed'")} == {"timeout"}


def test_a_verifier_that_raises_on_lessons_stops_before_training(domain: Domain) -> None:
    (domain.root / "picky.py").write_text(
        "def check(subject):\n    assert int(subject['row']['text'].split()[2]) < 10_000, 'a lesson'\n    return True\n"
    )
    domain.edit(lambda spec: spec["verifiers"].update(picky={"kind": "python", "function": "picky.py:check"}))
    domain.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("picky"))

    outcome = domain.apply()

    assert (outcome.exit_code, outcome.failed) == (1, ["i1.verify.targeted.r1"])
    assert "a lesson" in outcome.error
    assert domain.query("SELECT * FROM adapters") == []


def test_a_spent_budget_stops_with_exit_code_5_and_goes_on_when_it_is_raised(domain: Domain) -> None:
    outcome = domain.edit(lambda spec: spec["loop"].update(max_calls=3)).apply()

    assert outcome.exit_code == 5
    assert "max_calls" in outcome.error
    paid = domain.calls()
    assert len(paid) == 3
    assert domain.apply().exit_code == 5, "the limit is still spent"
    assert domain.calls() == paid

    assert domain.edit(lambda spec: spec["loop"].update(max_calls=100)).apply().exit_code == 0
    assert domain.calls()[:3] == paid
    assert len(set(domain.calls())) == len(domain.calls()), "no answer was asked for twice"


@pytest.mark.slow
def test_a_run_that_was_stopped_by_its_budget_ends_like_one_that_was_not(domain: Domain, tmp_path: Path) -> None:
    whole = Domain.written(tmp_path / "whole")
    whole.apply()

    domain.edit(lambda spec: spec["loop"].update(max_calls=2)).apply()
    domain.edit(lambda spec: spec["loop"].pop("max_calls")).apply()

    assert domain.outcome()["datasets"] == whole.outcome()["datasets"]
    assert domain.query("SELECT outcome, candidate_id FROM decisions") == whole.query(
        "SELECT outcome, candidate_id FROM decisions"
    )


@pytest.mark.slow
def test_two_runs_of_one_spec_write_the_same_rows(domain: Domain, tmp_path: Path) -> None:
    other = Domain.written(tmp_path / "other")

    domain.apply()
    other.apply()

    assert domain.outcome()["datasets"] == other.outcome()["datasets"]
    assert domain.outcome()["scores"] == other.outcome()["scores"]


@pytest.mark.slow
def test_two_generators_that_share_a_teacher_write_the_same_rows_whoever_is_first(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_generator(spec: dict[str, Any]) -> None:
        spec["generate"].append({**spec["generate"][0], "name": "more", "accept": 6})

    other = Domain.written(tmp_path / "other")
    first, second = "i1.generate.targeted.r1", "i1.generate.more.r1"
    with monkeypatch.context() as patch:
        hold(patch, first, until=second)
        domain.edit(second_generator).apply()
    with monkeypatch.context() as patch:
        hold(patch, second, until=first)
        other.edit(second_generator).apply()

    assert domain.outcome()["datasets"] == other.outcome()["datasets"]


def hold(patch: pytest.MonkeyPatch, node: str, until: str) -> None:
    """Holds one node up at its start until another is done."""
    done, emit = threading.Event(), EventLog.emit

    def held(self: EventLog, event: str, **details: Any) -> None:
        if (event, details.get("node")) == ("node_started", node):
            assert done.wait(30)
        if (event, details.get("node")) == ("node_done", until):
            done.set()
        emit(self, event, **details)

    patch.setattr(EventLog, "emit", held)


def test_an_adapter_whose_folder_was_deleted_is_trained_again(applied: Domain) -> None:
    adapter = applied.query("SELECT path, weights_hash FROM adapters ORDER BY path LIMIT 1")[0]
    for path in sorted((applied.root / adapter["path"]).iterdir()):
        path.unlink()
    (applied.root / adapter["path"]).rmdir()

    applied.apply()

    assert applied.query("SELECT weights_hash FROM adapters WHERE path = ?", [adapter["path"]])[0] == {
        "weights_hash": adapter["weights_hash"]
    }
    assert (applied.root / adapter["path"] / "adapter_model.safetensors").exists()


def test_a_row_without_a_needed_column_is_named_by_file_and_line(domain: Domain) -> None:
    domain.write_rows("evals/holdout.jsonl", [*rows(300, 4), {"text": "old sky 1"}])

    with pytest.raises(SpecInvalid, match=r'holdout\.jsonl:5.*"label"'):
        domain.apply()


def test_an_empty_probe_file_is_refused_before_anything_runs(domain: Domain) -> None:
    domain.write_rows("evals/probes.jsonl", [])

    with pytest.raises(SpecInvalid, match=r"probes\.jsonl is empty"):
        domain.apply()


def test_an_edited_decision_is_not_deployed(domain: Domain) -> None:
    from flywheel.store import Store

    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply()
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("UPDATE decisions SET outcome = 'promote'")
        transaction.execute("DELETE FROM nodes WHERE kind = 'deploy'")

    outcome = domain.apply()

    assert outcome.failed == ["i1.deploy"]
    assert "does not match its hash" in outcome.error
    assert not (domain.root / "deploy" / "current").exists()


def test_an_edited_history_stops_the_next_deployment(domain: Domain) -> None:
    from flywheel.store import Store

    domain.apply()
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("UPDATE deployments SET weights_hash = 'another'")

    outcome = domain.edit(lambda spec: spec["train"].update(rank=8)).apply()

    assert outcome.failed == ["i1.deploy"]
    assert "history" in outcome.error


def test_a_damaged_journal_record_is_refused_by_number(domain: Domain) -> None:
    calls = domain.root / ".flywheel" / "calls"
    calls.mkdir(parents=True)
    (calls / "00000001.journal").write_bytes(b"not a record\nnor this\n")

    with pytest.raises(Tampered, match="record 1 is damaged"):
        domain.apply()


def test_a_verifier_that_passes_all_buys_no_lesson_again(domain: Domain) -> None:
    """Nodes above get another fingerprint by it, and with that rows other ids; what is asked hangs on neither."""
    domain.apply(until="curate")
    asked, counted = domain.calls("asked"), status(domain.root / ".flywheel")["lessons"]

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["anything"] = {"kind": "regex", "pattern": ".*"}
        spec["tasks"]["colour"]["verify"].append("anything")

    outcome = domain.edit(change).apply(until="curate")

    assert outcome.ran > 4
    assert domain.calls("asked") == asked
    assert status(domain.root / ".flywheel")["lessons"] == counted, "the same lessons, judged once more"


def test_a_spec_that_is_turned_back_has_its_own_reports_again(domain: Domain) -> None:
    domain.apply()
    page = domain.root / "reports" / "iter-001" / "report.json"
    overview, first = (domain.root / "reports" / "index.html").read_text(), page.read_bytes()
    domain.edit(lambda spec: spec.update(description="Another one.", gate=[{"suite": "holdout", "better_by": 0.99}]))
    domain.apply()
    assert page.read_bytes() != first

    domain.edit(
        lambda spec: (
            spec.pop("description"),
            spec.update(gate=[{"suite": "holdout", "better_by": 0.05}, {"suite": "guard", "not_worse_than": 0.9}]),
        )
    )

    assert domain.apply().ran == 0
    assert page.read_bytes() == first
    assert (domain.root / "reports" / "index.html").read_text() == overview

    page.write_bytes(b"{}")
    assert domain.apply().ran == 0
    assert page.read_bytes() == b"{}", "what no step wrote is not ours to mend"


def test_a_question_that_stands_twice_in_a_suite_counts_once(domain: Domain) -> None:
    held = rows(600, 12)
    domain.write_rows("evals/holdout.jsonl", [*held, held[0], held[0], held[5]])
    domain.apply()

    assert domain.query("SELECT count(*) AS n FROM scores WHERE suite = 'holdout' AND arm = 'candidate'") == [{"n": 12}]
    report = json.loads((domain.root / "reports" / "iter-001" / "report.json").read_text())
    [suite] = [score for score in report["scores"]["suites"] if score["suite"] == "holdout"]
    assert suite["items"] == 12


def test_a_mode_of_one_task_is_rated_over_that_tasks_items(domain: Domain) -> None:
    domain.write_rows("evals/second.jsonl", rows(900, 6))

    def change(spec: dict[str, Any]) -> None:
        spec["tasks"]["second"] = {**spec["tasks"]["colour"], "probes": None, "seeds": None}
        spec["evals"]["second"] = {"role": "target", "task": "second", "data": "evals/second.jsonl"}
        spec["taxonomy"][0]["task"] = "colour"
        spec["generate"][0]["task"] = "colour"

    domain.edit(change).apply()

    report = json.loads((domain.root / "reports" / "iter-001" / "report.json").read_text())
    items = {mode["name"]: mode["items"] for mode in report["modes"]["rows"]}
    assert items == {"not_blue": 16, "other": 22}
    [mode] = [mode for mode in report["modes"]["rows"] if mode["name"] == "not_blue"]
    assert mode["before"]["value"] == 0.5
    assert "of 16 items of colour" in (domain.root / "reports" / "iter-001" / "index.html").read_text()
