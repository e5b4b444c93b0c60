"""From training rows to a deployed model: evaluate, gate, deploy, rollback."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

import stand_in
from flywheel.console.ending import ending_text
from flywheel.console.looks import status_text
from flywheel.engine.rollback import rollback
from flywheel.engine.status import status
from flywheel.errors import FlywheelError, Tampered, UsageError
from flywheel.store import Store
from flywheel.student.work import Effect
from mini_domain import Domain


def summary(domain: Domain, name: str) -> dict[str, Any]:
    return domain.query("SELECT summary FROM nodes WHERE name = ? ORDER BY started_at", [name])[-1]["summary"]


def current(domain: Domain) -> str:
    return os.readlink(domain.root / "deploy" / "current")


def sql(domain: Domain, *statements: str) -> None:
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for statement in statements:
            transaction.execute(statement)


@pytest.fixture
def twice(domain: Domain) -> Domain:
    """Two models were deployed: the second was trained under another spec and beat the first."""
    for word in ("jeans", "sapphire"):
        (domain.root / "colours.py").write_text(
            (domain.root / "colours.py")
            .read_text()
            .replace(
                "return json.dumps(rows)",
                f"rows = [r for r in rows if '{word}' not in r['text']]\n    return json.dumps(rows)",
                1,
            )
        )
    domain.edit(lambda spec: spec["gate"].__setitem__(0, {"suite": "holdout", "better_by": 0.01, "confidence": 0.6}))
    domain.edit(lambda spec: spec.update(curate={"mix": {"seeds": 0.0}}))
    domain.apply()
    domain.edit(lambda spec: spec["loop"].update(iterations=1))
    (domain.root / "colours.py").write_text(
        "\n".join(
            line for line in (domain.root / "colours.py").read_text().splitlines() if "not in r['text']" not in line
        )
    )
    domain.apply()
    return domain


# --- evaluate ---------------------------------------------------------------------------------------------------------


def test_both_arms_answer_every_item_of_every_suite(applied: Domain) -> None:
    counted = applied.query(
        """SELECT suite, arm, count(*) AS n, count(DISTINCT item_id) AS items, avg(score) AS score FROM scores s
           JOIN nodes n USING (node) WHERE n.name = 'i1.evaluate' GROUP BY ALL ORDER BY ALL"""
    )
    assert [(r["suite"], r["arm"], r["n"], r["items"], r["score"]) for r in counted] == [
        ("guard", "candidate", 8, 8, 1.0),
        ("guard", "incumbent", 8, 8, 0.5),
        ("holdout", "candidate", 16, 16, 1.0),
        ("holdout", "incumbent", 16, 16, 0.5),
    ]


def test_a_wrong_item_has_an_error_mode_and_a_right_one_has_none(applied: Domain) -> None:
    found = applied.query("SELECT DISTINCT outcome, mode, severity FROM scores ORDER BY ALL")

    assert found == [
        {"outcome": "fail", "mode": "not_blue", "severity": "critical"},
        {"outcome": "pass", "mode": None, "severity": None},
    ]


def test_a_model_that_was_measured_is_not_measured_again(applied: Domain) -> None:
    assert summary(applied, "i1.evaluate")["measured_before"] == []
    assert summary(applied, "i2.evaluate")["measured_before"] == ["incumbent"]


def test_other_suites_are_measured_afresh(applied: Domain) -> None:
    applied.edit(lambda spec: spec["evals"]["holdout"].update(limit=10)).apply()

    assert summary(applied, "i1.evaluate")["measured_before"] == []


# --- gate -------------------------------------------------------------------------------------------------------------


def test_a_training_row_that_is_an_eval_item_blocks_the_candidate(domain: Domain) -> None:
    domain.apply()
    item = domain.query("SELECT \"row\" FROM scores WHERE suite = 'guard' LIMIT 1")[0]["row"]
    sql(
        domain,
        f"UPDATE dataset SET \"row\" = '{json.dumps({'text': item['text']})}' WHERE position = 0",
        "DELETE FROM nodes WHERE kind IN ('gate', 'report', 'deploy')",
    )

    assert domain.apply().exit_code == 3

    decision = domain.query("SELECT * FROM decisions")[0]
    assert decision["outcome"] == "reject"
    assert "1 of 13 training rows overlap" in decision["explanation"]


def test_an_adapter_that_changes_nothing_blocks_the_candidate(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:effect", lambda job, progress: Effect(16, 0, 0.0))

    assert domain.apply().exit_code == 3

    assert "0 of 16 answers" in domain.query("SELECT explanation FROM decisions")[0]["explanation"]


def test_an_answer_that_could_not_be_judged_blocks_the_candidate(domain: Domain) -> None:
    (domain.root / "moody.py").write_text(
        "def check(subject):\n    assert '301' not in subject['row']['text'], 'moody'\n    return True\n"
    )
    domain.edit(lambda spec: spec["verifiers"].update(moody={"kind": "python", "function": "moody.py:check"}))
    domain.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("moody"))

    assert domain.apply().exit_code == 3

    decision = domain.query("SELECT outcome, preconditions FROM decisions")[0]
    assert decision["outcome"] == "inconclusive"
    assert {p["name"]: p["holds"] for p in decision["preconditions"]}["no verifier errors"] is False


@pytest.mark.slow
def test_every_candidate_that_a_holdout_judges_is_a_look_at_it(domain: Domain) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply(iterations=2)
    assert [summary(domain, f"i{n}.gate")["look"] for n in (1, 2)] == [1, 2]

    domain.edit(lambda spec: spec["train"].update(rank=8)).apply(iterations=1)

    assert summary(domain, "i1.gate")["look"] == 3


# --- deploy -----------------------------------------------------------------------------------------------------------


def test_the_manifest_says_what_was_deployed_and_why(applied: Domain) -> None:
    row = applied.query("SELECT * FROM deployments")[0]
    manifest = json.loads((applied.root / "deploy" / "current" / "manifest.json").read_text())

    assert manifest == row["manifest"] == json.loads((applied.root / "deploy" / "manifest.json").read_text())
    assert manifest["model_id"] == current(applied)
    decision = applied.query("SELECT decision_hash FROM decisions WHERE iteration = 1")[0]
    assert manifest["decision_hash"] == decision["decision_hash"]
    assert manifest["dataset_hash"] == summary(applied, "i1.curate")["dataset_hash"]


def test_an_adapter_that_was_changed_after_training_is_not_deployed(domain: Domain) -> None:
    domain.apply()
    path = domain.query("SELECT path FROM adapters")[0]["path"]
    sql(domain, "DELETE FROM nodes WHERE kind = 'deploy'", "DELETE FROM deployments")
    shutil.rmtree(domain.root / "deploy")
    with (domain.root / path / "adapter_model.safetensors").open("ab") as handle:
        handle.write(b"!")

    outcome = domain.apply()

    assert outcome.failed == ["i1.deploy"]
    assert "has changed" in outcome.error
    assert not (domain.root / "deploy" / "current").exists()


@pytest.mark.slow
def test_a_model_of_an_earlier_spec_stays_until_it_is_beaten(domain: Domain) -> None:
    domain.apply()
    before = current(domain)

    outcome = domain.edit(lambda spec: spec["train"].update(rank=8)).apply()

    assert outcome.promoted == [1], "it is better than the base"
    assert current(domain) == before, "and no better than what is deployed"
    assert "stays" in (why := summary(domain, "i1.deploy")["why"])
    found = status(domain.root / ".flywheel")
    assert found["held_back"] == {1: why}
    assert "iteration 1 is not deployed: the deployed model" in status_text(found)
    assert "iteration 1 is not deployed: the deployed model" in ending_text(outcome, domain.open(), found, 1)
    assert "not deployed: the deployed model" in (domain.root / "reports" / "index.html").read_text()


def test_the_deployment_history_is_a_chain_of_hashes(twice: Domain) -> None:
    first, second = twice.query("SELECT * FROM deployments ORDER BY sequence")

    assert second["previous_hash"] == first["hash"]
    assert current(twice) == second["model_id"] != first["model_id"]


# --- rollback ---------------------------------------------------------------------------------------------------------


def test_rollback_points_at_the_model_before_and_back_again(twice: Domain) -> None:
    first, second = (row["model_id"] for row in twice.query("SELECT model_id FROM deployments ORDER BY sequence"))

    assert rollback(twice.open())["model_id"] == first
    assert current(twice) == first
    assert json.loads((twice.root / "deploy" / "manifest.json").read_text())["model_id"] == first

    with pytest.raises(UsageError, match="no model was in service"):  # never forward again
        rollback(twice.open())
    with pytest.raises(UsageError, match="in service already"):
        rollback(twice.open(), to=first)
    assert rollback(twice.open(), to=second[:6])["model_id"] == second
    assert current(twice) == second
    assert [r["action"] for r in twice.query("SELECT action FROM deployments ORDER BY sequence")] == [
        "deploy", "deploy", "rollback", "rollback",
    ]  # fmt: skip


def test_rollback_to_a_changed_folder_is_refused_and_nothing_moves(twice: Domain) -> None:
    first, second = (row["model_id"] for row in twice.query("SELECT model_id FROM deployments ORDER BY sequence"))
    with (twice.root / "deploy" / first / "adapter_model.safetensors").open("ab") as handle:
        handle.write(b"!")

    with pytest.raises(Tampered, match="adapter"):
        rollback(twice.open())

    assert current(twice) == second
    assert twice.query("SELECT count(*) AS n FROM deployments") == [{"n": 2}]


def test_rollback_to_a_model_that_says_nothing_is_refused(twice: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    second = current(twice)
    monkeypatch.setattr(stand_in, "say", lambda adapter, prompt: " ")

    with pytest.raises(FlywheelError, match="empty answers"):
        rollback(twice.open())

    assert current(twice) == second


@pytest.mark.parametrize("to", [None, "nobody"])
def test_rollback_with_nowhere_to_go_says_what_there_is(applied: Domain, to: str | None) -> None:
    with pytest.raises(UsageError, match=current(applied)):
        rollback(applied.open(), to)
