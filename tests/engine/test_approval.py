"""`deploy.approve: human`: the wheel waits for a person, and takes the word only for what that person saw."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.console.looks import approval_text, status_text
from flywheel.console.plans import plan_text
from flywheel.engine.approval import speak
from flywheel.engine.status import status
from flywheel.errors import Tampered, UsageError
from flywheel.store import Store
from mini_domain import Domain
from stand_in import StandInWorker


def sql(domain: Domain, *statements: str) -> None:
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for statement in statements:
            transaction.execute(statement)


def asks_a_person(domain: Domain) -> Domain:
    domain.spec["deploy"] = {"approve": "human"}
    return domain.edit(lambda spec: spec["loop"].update(iterations=2))


@pytest.fixture(scope="module")
def _waiting_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    domain = asks_a_person(Domain.written(tmp_path_factory.mktemp("waiting") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        outcome = domain.apply()
    assert outcome.exit_code == 6
    assert "iteration 1 waits for a person: flywheel approve 1 --by NAME" in outcome.error
    return domain.root


@pytest.fixture
def waiting(_waiting_once: Path, domain: Domain) -> Domain:
    """The gate promoted iteration 1 and nobody has spoken."""
    shutil.rmtree(domain.root)
    shutil.copytree(_waiting_once, domain.root, symlinks=True)
    return asks_a_person(domain)


def deployed(domain: Domain) -> bool:
    return (domain.root / "deploy" / "current").exists()


def incumbent_of_iteration_2(domain: Domain) -> str:
    rows = domain.query("SELECT DISTINCT a.model_id FROM answers a JOIN nodes n USING (node) WHERE n.iteration = 2")
    return str(rows[0]["model_id"])


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_nothing_is_deployed_and_no_further_iteration_begins_before_a_person_has_spoken(waiting: Domain) -> None:
    assert not deployed(waiting)
    assert waiting.query("SELECT count(*) AS n FROM nodes WHERE iteration = 2") == [{"n": 0}]
    assert waiting.query("SELECT count(*) AS n FROM nodes WHERE status = 'failed'") == [{"n": 0}]

    assert waiting.apply().exit_code == 6


def test_plan_and_status_say_that_it_waits(waiting: Domain) -> None:
    assert "waits for approval: flywheel approve 1 --by NAME" in plan_text(waiting.plan())
    told = status_text(status(waiting.root / ".flywheel"))
    assert ": waiting (iteration 1 waits for a person: flywheel approve 1 --by NAME" in told


def test_a_plan_that_waits_is_a_plan_that_apply_takes(waiting: Domain) -> None:
    saved = waiting.plan().to_json()

    assert waiting.apply(saved_plan=saved).exit_code == 6


# --- the word ---------------------------------------------------------------------------------------------------------


def test_what_is_approved_is_shown_and_then_deployed(waiting: Domain) -> None:
    found = speak(waiting.open(), 1, "approve", "Ada", "looks right")

    told = approval_text(found)
    assert "Promote." in told
    assert "incumbent 50.0%  candidate 100.0%  (16 items)" in told
    assert "report: reports/iter-001/index.html" in told
    assert "approved by Ada. Now: flywheel apply" in told
    assert "flywheel approve" not in plan_text(waiting.plan()).split("iteration 2")[0]

    outcome = waiting.apply()

    assert deployed(waiting)
    assert outcome.exit_code in (0, 3)
    manifest = waiting.query("SELECT manifest FROM deployments")[0]["manifest"]
    assert incumbent_of_iteration_2(waiting) == manifest["model_id"]
    assert found["approval"]["decision_hash"] == manifest["decision_hash"]
    assert found["approval"]["weights_hash"] == manifest["adapter_hash"]
    assert found["approval"]["dataset_hash"] == manifest["dataset_hash"]


def test_what_is_rejected_is_not_deployed_and_the_next_iteration_starts_from_the_base(waiting: Domain) -> None:
    base = waiting.query("SELECT incumbent_id FROM decisions")[0]["incumbent_id"]
    speak(waiting.open(), 1, "reject", "Ada", "too curt")

    waiting.apply()

    assert not deployed(waiting)
    assert incumbent_of_iteration_2(waiting) == base
    summary = waiting.query("SELECT summary FROM nodes WHERE name = 'i1.deploy'")[0]["summary"]
    assert summary == {"deployed": False, "held_back": True, "why": "Ada rejected it: too curt"}
    assert "iteration 1 rejected by Ada: too curt" in status_text(status(waiting.root / ".flywheel"))


@pytest.mark.parametrize(("words", "goes_out"), [(("approve", "reject"), False), (("reject", "approve"), True)])
def test_of_two_words_the_last_one_counts_and_both_are_kept(waiting: Domain, words: tuple, goes_out: bool) -> None:
    for word in words:
        speak(waiting.open(), 1, word, "Ada")

    waiting.apply(iterations=1)

    assert deployed(waiting) is goes_out
    rows = waiting.query("SELECT sequence, verdict, previous_hash, hash FROM approvals ORDER BY sequence")
    assert [(row["sequence"], row["verdict"]) for row in rows] == [(1, words[0]), (2, words[1])]
    assert rows[1]["previous_hash"] == rows[0]["hash"]


def test_a_rejection_counts_where_the_spec_no_longer_asks_too(waiting: Domain) -> None:
    speak(waiting.open(), 1, "reject", "Ada")
    waiting.edit(lambda spec: spec["deploy"].update(approve="gate")).apply(iterations=1)

    assert not deployed(waiting)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_was_not_promoted_cannot_be_approved(domain: Domain) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply()

    with pytest.raises(UsageError, match=r"iteration 1 was not promoted.*Reject\."):
        speak(domain.open(), 1, "approve", "Ada")

    assert domain.query("SELECT count(*) AS n FROM approvals") == [{"n": 0}]


@pytest.mark.parametrize(
    ("iteration", "person", "words"), [(2, "Ada", "iteration 2 of this spec has no report yet"), (1, " ", "--by")]
)
def test_an_approval_of_nothing_or_by_nobody_is_refused(
    waiting: Domain, iteration: int, person: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        speak(waiting.open(), iteration, "approve", person)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [("approve", "reject", "deployed already. `flywheel rollback`"), ("reject", "approve", "iteration 1 is settled")],
)
def test_what_the_wheel_went_on_from_is_not_unsaid(waiting: Domain, first: str, second: str, words: str) -> None:
    speak(waiting.open(), 1, first, "Ada")  # type: ignore[arg-type]
    waiting.apply()

    with pytest.raises(UsageError, match=words):
        speak(waiting.open(), 1, second, "Bob")  # type: ignore[arg-type]


# --- what was approved changed afterwards -----------------------------------------------------------------------------


def report(domain: Domain) -> None:
    page = domain.root / "reports" / "iter-001" / "index.html"
    page.write_text(page.read_text().replace("50.0%", "90.0%"))


def adapter(domain: Domain) -> None:
    path = domain.root / domain.query("SELECT path FROM adapters")[0]["path"] / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes() + b"!")


def dataset(domain: Domain) -> None:
    sql(domain, "UPDATE dataset SET target = 'green' WHERE position = 0")


@pytest.mark.parametrize(
    ("edit", "words"),
    [(report, "the report of iteration 1"), (adapter, "the adapter"), (dataset, "the training rows of iteration 1")],
)
def test_an_approval_holds_only_for_what_was_seen(waiting: Domain, edit: Callable[[Domain], None], words: str) -> None:
    speak(waiting.open(), 1, "approve", "Ada")
    edit(waiting)

    outcome = waiting.apply()

    assert outcome.failed == ["i1.deploy"]
    assert outcome.error.startswith(words)
    assert "changed since Ada approved it" in outcome.error
    assert "`flywheel approve 1 --by NAME`" in outcome.error
    assert not deployed(waiting)


@pytest.mark.parametrize("edit", [report, adapter, dataset])
def test_what_was_changed_before_cannot_be_approved(waiting: Domain, edit: Callable[[Domain], None]) -> None:
    edit(waiting)

    with pytest.raises(Tampered):
        speak(waiting.open(), 1, "approve", "Ada")

    assert waiting.query("SELECT count(*) AS n FROM approvals") == [{"n": 0}]


def test_a_report_that_was_written_again_needs_another_approval(waiting: Domain) -> None:
    speak(waiting.open(), 1, "approve", "Ada")
    report(waiting)
    shutil.rmtree(waiting.root / "reports" / "iter-001")

    assert "the report of iteration 1 changed since Ada approved it" in waiting.apply().error

    speak(waiting.open(), 1, "approve", "Ada")
    waiting.apply()

    assert deployed(waiting)


def test_an_approval_that_was_put_into_the_store_is_refused(waiting: Domain) -> None:
    speak(waiting.open(), 1, "reject", "Ada")
    sql(waiting, "UPDATE approvals SET verdict = 'approve'")

    outcome = waiting.apply()

    assert "approvals: entry 1 (approve of iteration 1 by Ada) does not match its hash" in outcome.error
    assert not deployed(waiting)


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_commands_ask_take_the_word_and_go_on(tmp_path: Path) -> None:
    domain = asks_a_person(Domain.written(tmp_path / "project")).edit(lambda spec: spec["loop"].update(iterations=1))
    asked = domain.run("apply")
    said = domain.run("approve", "1", "--by", "Ada", "--note", "fine")
    done = domain.run("apply")

    assert asked.returncode == 6
    assert "flywheel approve 1 --by NAME" in asked.stderr
    assert (said.returncode, done.returncode) == (0, 0)
    assert "approved by Ada" in said.stdout
    assert os.readlink(domain.root / "deploy" / "current") in said.stdout


def test_a_reject_by_command_without_a_name_is_a_usage_error(tmp_path: Path) -> None:
    domain = Domain.written(tmp_path / "project")

    refused = domain.run("reject", "1")

    assert refused.returncode == 64
    assert "--by" in refused.stderr
