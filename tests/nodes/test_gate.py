"""What must hold before the gate's rules count, and what it says beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import stand_in
from flywheel.store import Store
from flywheel.student.work import Effect, Merged
from mini_domain import Domain, rows

UNVERIFIED = "every training row was verified"
MERGED = "the adapter says the same when merged into the base"
SANDBOX = "untrusted code stayed in its sandbox"
SUITES = "both models were measured on the same suites"
AUDIT = "audit of the verifiers"


def sql(domain: Domain, *statements: str) -> None:
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for statement in statements:
            transaction.execute(statement)


def again(domain: Domain, *statements: str) -> dict[str, Any]:
    """The decision on iteration 1, asked anew after these statements."""
    sql(domain, *statements, "DELETE FROM nodes WHERE kind IN ('gate', 'report', 'deploy')", "DELETE FROM decisions")
    domain.apply()
    return decided(domain)


def decided(domain: Domain) -> dict[str, Any]:
    row = domain.query("SELECT * FROM decisions WHERE iteration = 1")[-1]
    return {**row, "holds": {p["name"]: p["holds"] for p in row["preconditions"]}}


def detail(decision: dict[str, Any], name: str) -> str:
    return next(p["detail"] for p in decision["preconditions"] if p["name"] == name)


def effect(merged: Merged | None) -> Callable[..., Effect]:
    return lambda job, progress: Effect(16, 8, 1.0, merged)


# --- preconditions ----------------------------------------------------------------------------------------------------


def test_all_preconditions_of_a_promoted_candidate_hold_and_say_what_was_seen(applied: Domain) -> None:
    decision = decided(applied)

    assert decision["outcome"] == "promote"
    assert set(decision["holds"].values()) == {True}
    assert detail(decision, "no training row overlaps an eval item").startswith("0 of ")


@pytest.mark.parametrize(
    ("merged", "promoted"),
    [
        (Merged(0, 1e-5, 10.0, "float32"), True),
        (Merged(1, 1e-5, 10.0, "float32"), False),
        (Merged(0, 0.5, 10.0, "float32"), False),
        (Merged(1, 0.4, 10.0, "bfloat16"), True),
        (Merged(0, 0.6, 10.0, "bfloat16"), False),
        (None, False),
    ],
)
def test_an_adapter_that_says_something_else_when_merged_is_blocked(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, merged: Merged | None, promoted: bool
) -> None:
    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:effect", effect(merged))
    domain.apply()

    decision = decided(domain)

    assert decision["outcome"] == ("promote" if promoted else "reject")
    assert decision["holds"][MERGED] is promoted


def test_a_plain_merge_that_is_another_model_is_a_warning_and_blocks_nothing(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, flywheel
) -> None:
    alike, otherwise = Merged(0, 1e-5, 10.0, "float32"), Merged(9, 20.0, 10.0, "float32")
    found = Effect(16, 8, 1.0, alike, otherwise)
    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:effect", lambda job, progress: found)

    code, out, _ = flywheel(domain, "apply")

    said = (
        "a plain merge answers differently (9 of 16 answers, logits by up to 20): use "
        "`flywheel export --merged FOLDER`, which unties first"
    )
    assert code == 0
    assert f"; {said}" in out
    assert [p["warning"] for p in decided(domain)["preconditions"] if p["name"] == MERGED] == [said]
    assert f"<strong>Warning:</strong> {said}" in (domain.root / "reports/iter-001/index.html").read_text()
    assert f"**Warning:** {said}" in (domain.root / "reports/iter-001/summary.md").read_text().replace("\\", "")


def test_a_training_row_that_no_verifier_let_pass_blocks_the_candidate(applied: Domain) -> None:
    decision = again(
        applied,
        "UPDATE judged SET outcome = 'fail' WHERE candidate_id = (SELECT min(candidate_id) FROM dataset)",
    )

    assert decision["outcome"] == "reject"
    assert decision["holds"][UNVERIFIED] is False
    assert detail(decision, UNVERIFIED).startswith("1 training row without a passing verdict")


def test_a_run_without_a_sandbox_blocks_the_candidate(applied: Domain) -> None:
    decision = again(applied, "UPDATE runs SET tainted = true")

    assert decision["outcome"] == "reject"
    assert "untrusted code ran without a sandbox" in detail(decision, SANDBOX)


def test_answers_that_one_arm_left_unjudged_are_inconclusive_and_counted(applied: Domain) -> None:
    """Time-outs of one arm only: neither promoted nor held against the candidate."""
    decision = again(
        applied,
        """UPDATE scores SET outcome = 'unknown', score = NULL WHERE arm = 'candidate' AND suite = 'holdout'
           AND item_id IN (SELECT item_id FROM scores WHERE suite = 'holdout' ORDER BY item_id LIMIT 2)""",
    )

    assert decision["outcome"] == "inconclusive"
    assert "most of holdout by the candidate" in decision["explanation"]


def test_teachers_that_answer_a_suite_too_are_not_gated(applied: Domain) -> None:
    decision = again(
        applied,
        """INSERT INTO scores SELECT * REPLACE ('teacher:careful' AS arm, 'unknown' AS outcome, NULL AS score)
           FROM scores WHERE arm = 'candidate'""",
    )

    assert decision["outcome"] == "promote"
    assert detail(decision, "no verifier errors").startswith("0 of ")


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_suites_that_changed_since_the_incumbent_was_measured_are_said_and_do_not_block(domain: Domain) -> None:
    domain.apply()
    domain.edit(lambda spec: spec["evals"]["holdout"].update(limit=14)).apply()

    decision = decided(domain)

    assert decision["holds"][SUITES] is True
    assert "warning: changed since the incumbent was last measured: evals.holdout.limit" in detail(decision, SUITES)


def test_verifiers_that_nobody_audited_are_named_and_do_not_block(applied: Domain) -> None:
    assert detail(decided(applied), AUDIT).startswith("warning: the verifiers of colour were never audited")

    [version] = applied.query("SELECT DISTINCT version FROM verdicts WHERE verifier = 'known'")
    row = f"('a', 'colour', 'known', '{version['version']}', 'golden', 'pass', 1, 1, 0, 0, now())"
    columns = "audit, task, verifier, version, source, expected, cases, passed, failed, unknown, audited_at"
    decision = again(applied, f"INSERT INTO audits ({columns}) VALUES {row}")

    assert detail(decision, AUDIT) == "the verifiers of the gate's tasks were audited"


# --- what answers cost, and noise -------------------------------------------------------------------------------------


def test_a_rule_on_what_answers_cost_reads_what_was_measured(domain: Domain) -> None:
    rules = [
        {"suite": "holdout", "measure": "tokens", "at_most": 5},
        {"suite": "holdout", "measure": "refusals", "at_most": 0},
        {"suite": "holdout", "measure": "truncated", "at_most": 0},
    ]
    domain.write_rows("evals/holdout.jsonl", rows(300, 40))
    domain.edit(lambda spec: spec["gate"].extend(rules)).apply()

    decision = decided(domain)

    assert decision["outcome"] == "promote"
    assert [(r["label"], r["candidate"], r["outcome"]) for r in decision["rules"][2:]] == [
        ("holdout tokens at_most 5", 1.0, "holds"),
        ("holdout refusals at_most 0", 0.0, "holds"),
        ("holdout truncated at_most 0", 0.0, "holds"),
    ]


def test_a_cost_that_was_not_measured_decides_nothing(domain: Domain) -> None:
    rule = {"suite": "holdout", "measure": "seconds", "at_most": 5}
    domain.edit(lambda spec: spec["gate"].append(rule)).apply()

    decision = again(domain, "UPDATE scores SET seconds = NULL")

    assert decision["outcome"] == "inconclusive"
    assert "seconds not measured" in decision["explanation"]


def test_a_gain_within_the_noise_of_measuring_twice_is_not_promoted(applied: Domain) -> None:
    summary = applied.query("SELECT summary FROM nodes WHERE name = 'i1.evaluate'")[0]["summary"]
    summary["noise"] = {"holdout": {"items": 16, "differ": 12}}

    decision = again(applied, f"UPDATE nodes SET summary = '{json.dumps(summary)}' WHERE name = 'i1.evaluate'")

    assert decision["outcome"] != "promote"
    assert decision["rules"][0]["threshold"] == 0.75
    assert "measured twice differed on 75.0% of the items" in decision["rules"][0]["explanation"]


def test_the_gate_asked_again_gives_the_same_answer_and_spends_nothing(applied: Domain) -> None:
    before = decided(applied)

    after = again(applied)

    assert (
        (after["look"], after["decision_hash"])
        == (before["look"], before["decision_hash"])
        == (1, after["decision_hash"])
    )
