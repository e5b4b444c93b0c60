"""How often are the verifiers wrong? And what a judge costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.audit import AuditRun, audit
from flywheel.errors import BudgetStop, StoreLocked, UsageError
from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import SqlVerifier
from flywheel.store import Store
from flywheel.verifiers import Checker
from flywheel.verifiers.rates import TOGETHER, ErrorRate, audit_rows, never_audited, versions_of
from mini_domain import Domain, rows


def known(audited: AuditRun | None) -> dict[tuple[str, str], dict[str, Any]]:
    """(verifier, source) → its row."""
    assert audited is not None
    return {(row["verifier"], row["source"]): row for row in audited.rows}


def rates(audited: AuditRun | None) -> dict[str, tuple[ErrorRate, ErrorRate]]:
    """Verifier → (false accepts, false rejects)."""
    assert audited is not None
    return {found.verifier: (found.false_accepts, found.false_rejects) for found in audited.reliability}


def audit_of(domain: Domain, **options: Any) -> AuditRun | None:
    return audit(domain.open(), **options)


def with_label(domain: Domain) -> Domain:
    """The task with a verifier that knows its labels."""

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["label"] = {"kind": "label", "labels": ["red", "blue"]}
        spec["tasks"]["colour"]["verify"] = ["known", "label"]
        spec["generate"][0]["second_opinion"] = ["careful", "careless"]

    return domain.edit(change)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> AuditRun | None:
    """An audit of the task with a verifier of the form, and one that knows the labels."""
    return audit_of(with_label(Domain.written(tmp_path_factory.mktemp("labelled") / "project")))


# --- rates ------------------------------------------------------------------------------------------------------------


def test_seeds_must_pass_and_corruptions_of_them_must_fail(labelled: AuditRun | None) -> None:
    found = rates(labelled)

    assert found[TOGETHER] == found["label"] == (ErrorRate(0, 24, 0), ErrorRate(0, 8, 0))
    assert found["label"][0].interval == pytest.approx((0, 0.138), abs=1e-3)


def test_a_verifier_of_the_form_alone_need_not_notice_a_wrong_answer(labelled: AuditRun | None) -> None:
    assert rates(labelled)["known"] == (ErrorRate(0, 0, 0), ErrorRate(0, 8, 0))


def test_a_verifier_that_accepts_what_is_wrong_is_found_out_with_the_answers(domain: Domain) -> None:
    with_label(domain).edit(lambda spec: spec["tasks"]["colour"].update(verify=["known"]))
    (domain.root / "evals" / "golden.jsonl").write_text(
        '{"text": "old sky 1", "label": "blue", "answer": "red", "expect": "fail"}\n'
        '{"text": "old sky 1", "label": "blue", "answer": "blue", "expect": "pass"}\n'
        '{"text": "old sky 1", "label": "blue", "answer": "green", "expect": "pass"}\n'
    )
    domain.edit(lambda spec: spec["verifiers"]["known"].update(golden="evals/golden.jsonl"))

    audited = audit_of(domain)

    assert rates(audited)["known"] == (ErrorRate(1, 1, 0), ErrorRate(1, 10, 0))
    [accepted] = [row for row in audited.rows if audited and row["source"] == "golden" and row["expected"] == "fail"][
        :1
    ]
    assert accepted["verifier"] in (TOGETHER, "known")
    assert [(case["row"], case["answer"]) for case in accepted["wrong"]] == [({"text": "old sky 1"}, "red")]


def test_what_one_verifier_must_pass_another_of_the_task_may_fail(domain: Domain) -> None:
    (domain.root / "evals" / "golden.jsonl").write_text(
        '{"text": "old sky 1", "label": "blue", "answer": "red", "expect": "pass"}\n'
    )
    with_label(domain).edit(lambda spec: spec["verifiers"]["known"].update(golden="evals/golden.jsonl"))

    found = known(audit_of(domain))

    assert found["known", "golden"]["passed"] == 1
    assert (TOGETHER, "golden") not in found
    assert ("label", "golden") not in found


def test_a_broken_verifier_is_unknown_not_wrong(domain: Domain) -> None:
    (domain.root / "colours.py").write_text(
        (domain.root / "colours.py").read_text() + "\n\ndef right(subject):\n    1 / 0\n"
    )

    found = rates(audit_of(domain))

    assert found["right"] == (ErrorRate(0, 0, 0), ErrorRate(0, 0, 8))


def test_one_verifier_by_itself_and_the_same_few_seeds_every_time(domain: Domain) -> None:
    with_label(domain)
    first, second = (audit_of(domain, verifier="label", limit=3) for _ in range(2))

    assert {(verifier, row["cases"]) for (verifier, source), row in known(first).items() if source == "seeds"} == {
        ("label", 3)
    }
    assert {row["verifier"] for row in known(first).values()} == {"label"}
    assert known(first) == known(second)


def test_an_unknown_verifier_and_no_cases_are_usage_errors(domain: Domain) -> None:
    with pytest.raises(UsageError, match='Did you mean "known"'):
        audit_of(domain, verifier="knwon")
    domain.edit(lambda spec: spec["tasks"]["colour"].pop("seeds"))
    with pytest.raises(UsageError, match="nothing to audit with"):
        audit_of(domain)


def test_an_apply_that_runs_keeps_the_store(domain: Domain) -> None:
    with Store(domain.open().store_path), pytest.raises(StoreLocked):
        audit_of(domain)


TWO_TABLES = """
CREATE TABLE orders (amount INTEGER);
CREATE TABLE products (price INTEGER);
INSERT INTO orders VALUES (1), (2);
INSERT INTO products VALUES (3), (4);
"""


def test_tables_with_as_many_rows_are_told_apart(tmp_path: Path) -> None:
    """Found by an audit of the shop: every generated database had them equally long, too."""
    (tmp_path / "setup.sql").write_text(TWO_TABLES)
    same_rows = SqlVerifier(kind="sql", check="same_rows", setup="setup.sql")
    task = Task(prompt="p.md", target="sql", verify=["same_rows"])
    subject = Subject("s", "t", {}, "SELECT COUNT(*) FROM orders", "SELECT COUNT(*) FROM products")

    with Checker({"same_rows": same_rows}, tmp_path, workers=1) as judge:
        [[verdict]] = judge.judge([subject], {"t": task})

    assert verdict.outcome == "fail"


# --- what the report reads --------------------------------------------------------------------------------------------


def stored(domain: Domain) -> list[dict[str, Any]]:
    project = domain.open()
    versions = versions_of(project.spec, project.root, project.teacher_parameters)
    with Store(project.store_path) as store:
        return audit_rows(store.query, project.spec, versions)


def test_the_newest_audit_of_the_verifiers_as_they_are_is_what_counts(domain: Domain) -> None:
    with_label(domain)
    assert never_audited(domain.open().spec, stored(domain)) == ["colour"]

    audit_of(domain, limit=2)
    audit_of(domain)

    found = stored(domain)
    assert [(row["verifier"], row["source"], row["cases"]) for row in found if row["source"] == "seeds"] == [
        (TOGETHER, "seeds", 8), ("known", "seeds", 8), ("label", "seeds", 8),
    ]  # fmt: skip
    assert never_audited(domain.open().spec, found) == []


def test_a_changed_verifier_was_never_audited_and_another_one_still_was(domain: Domain) -> None:
    with_label(domain)
    audit_of(domain)
    domain.edit(lambda spec: spec["verifiers"]["known"].update(pattern="red|blue|green"))

    assert {row["verifier"] for row in stored(domain)} == {"label"}


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_shows_rates_and_what_was_accepted(domain: Domain) -> None:
    domain.edit(lambda spec: spec["tasks"]["colour"].update(verify=["known"]))
    (domain.root / "evals" / "golden.jsonl").write_text(
        '{"text": "old sky 1", "label": "blue", "answer": "red", "expect": "fail"}\n'
    )
    domain.edit(lambda spec: spec["verifiers"]["known"].update(golden="evals/golden.jsonl"))

    done = domain.run("audit")

    assert (done.returncode, done.stderr) == (0, "")
    assert "0 of 8 = 0.00% (0.00% to 32.44%)" in done.stdout
    assert "colour: accepted 1 of golden; is that wrong?\n  red\n    for blue" in done.stdout


def test_json_holds_rates_and_rows(domain: Domain) -> None:
    found = json.loads(domain.run("audit", "--json", "--limit", "2").stdout)

    assert found["rates"][0]["verifier"] == TOGETHER
    assert found["rates"][0]["false_rejects"]["decided"] == 2
    assert found["rows"][0]["task"] == "colour"


# --- judges -----------------------------------------------------------------------------------------------------------

CRITIC = """
import json, os, pathlib, time

HERE = pathlib.Path(__file__).parent


def judge(request):
    assert request["purpose"] == "judge"
    handle = os.open(HERE / "judged.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (json.dumps(request["item"]) + "\\n").encode())
    os.close(handle)
    blue = any(noun in request["row"]["text"] for noun in ("sky", "sea", "jeans", "sapphire"))
    good = request["item"]["answer"] == ("blue" if blue else "red")
    return json.dumps({"why": "by the noun", "verdict": "pass" if good else "fail", "grade": 1.0 if good else 0.0})
"""


def with_judge(domain: Domain, **settings: Any) -> Domain:
    """Colours judged by a critic that agrees with people, and by nothing that knows better."""
    (domain.root / "critic.py").write_text(CRITIC)
    (domain.root / "rubric.md").write_text("Is the colour that of the thing?")
    labelled = [
        {"text": row["text"], "answer": answer, "label": "pass" if answer == row["label"] else "fail"}
        for row in rows(500, 12)
        for answer in ("red", "blue")
    ]
    domain.write_rows("evals/people.jsonl", labelled)

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["critic"] = {"kind": "python", "function": "critic.py:judge"}
        spec["verifiers"]["good"] = {
            "kind": "judge", "teacher": "critic", "rubric": "rubric.md", "calibration": "evals/people.jsonl",
            **settings,
        }  # fmt: skip
        spec["tasks"]["colour"]["verify"] = ["known", "good"]

    return domain.edit(change)


def judged(domain: Domain) -> int:
    """Calls to the critic."""
    log = domain.root / "judged.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


CALIBRATION = 24 + 6  # people's cases, and known-bad answers that plead


def test_the_wheel_turns_on_a_calibrated_judge(domain: Domain) -> None:
    outcome = with_judge(domain).apply()

    assert (outcome.exit_code, outcome.promoted) == (0, [1])
    [row] = domain.query("SELECT * FROM calibrations")
    assert (row["verifier"], row["cases"], row["kappa"], row["confusion"]["problem"]) == ("good", 24, 1.0, "")
    counted = domain.query("SELECT advisory, count(*) AS n FROM verdicts WHERE verifier = 'good' GROUP BY advisory")
    assert [row["advisory"] for row in counted] == [False]
    # Every call is in the store, as one of the judge's, and none was made twice.
    calls = domain.query("SELECT count(*) AS n, count(DISTINCT key) AS keys FROM calls WHERE purpose = 'judge'")
    assert calls == [{"n": judged(domain), "keys": judged(domain)}]


def test_an_uncalibrated_judge_accepts_no_lesson_and_promotes_nothing(domain: Domain) -> None:
    with_judge(domain, min_kappa=1.0).write_rows(
        "evals/people.jsonl", [{"text": "old sky 1", "answer": "red", "label": "pass"}] * 24
    )

    outcome = domain.apply()

    assert outcome.promoted == []
    assert domain.query("SELECT DISTINCT outcome FROM judged") in ([], [{"outcome": "unknown"}])
    assert {row["advisory"] for row in domain.query("SELECT advisory FROM verdicts WHERE verifier = 'good'")} <= {True}


def test_what_another_verifier_failed_and_a_second_audit_cost_no_call(domain: Domain) -> None:
    with_judge(domain)
    first = audit_of(domain)
    # Each seed passes `known`, and so does its other label; `truncated` and `empty` cost no call.
    assert judged(domain) == CALIBRATION + 8

    second = audit_of(domain)

    assert judged(domain) == CALIBRATION + 8
    assert known(first) == known(second)
    assert len(domain.query("SELECT * FROM calibrations")) == 1


def test_the_judges_calls_count_against_the_budget_and_what_was_paid_is_kept(domain: Domain) -> None:
    with_judge(domain).edit(lambda spec: spec["loop"].update(max_calls=20))
    with pytest.raises(BudgetStop):
        audit_of(domain)
    assert judged(domain) == 20

    domain.edit(lambda spec: spec["loop"].update(max_calls=500))
    audit_of(domain)

    assert judged(domain) == CALIBRATION + 8


@pytest.mark.slow
def test_an_apply_that_a_limit_stopped_goes_on_where_it_was(domain: Domain) -> None:
    with_judge(domain).edit(lambda spec: spec["loop"].update(max_calls=25))
    assert domain.apply().exit_code == 5

    domain.edit(lambda spec: spec["loop"].pop("max_calls"))
    assert domain.apply().exit_code == 0

    calls = domain.query("SELECT count(*) AS n, count(DISTINCT key) AS keys FROM calls WHERE purpose = 'judge'")
    assert calls == [{"n": judged(domain), "keys": judged(domain)}]


def test_money_is_spent_on_judges_only_after_asking(domain: Domain) -> None:
    with_judge(domain, votes=3).edit(
        lambda spec: spec["teachers"].update(critic={"kind": "litellm", "model": "openai/critic"})
    )
    asked: list[int] = []

    assert audit_of(domain, confirm=lambda calls: bool(asked.append(calls))) is None
    assert asked == [3 * (8 + 8 * 2)]
    assert not domain.open().store_path.exists()
