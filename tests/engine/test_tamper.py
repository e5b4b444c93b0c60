"""Whatever is edited after the gate decided, neither deploy nor rollback goes on, and both say what it was."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.rollback import rollback
from flywheel.errors import FlywheelError, Tampered
from flywheel.nodes.trust.evidence import decision_hash
from flywheel.store import Store
from mini_domain import Domain
from stand_in import StandInWorker

Edit = Callable[[Domain, dict[str, Any]], None]


def sql(domain: Domain, *statements: str) -> None:
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for statement in statements:
            transaction.execute(statement)


def current(domain: Domain) -> str:
    return os.readlink(domain.root / "deploy" / "current")


# --- edits: each takes the project and the nodes that the model comes from --------------------------------------------


def score_row(domain: Domain, lineage: dict[str, Any]) -> None:
    sql(
        domain,
        f"UPDATE scores SET score = 0, outcome = 'fail' WHERE node = '{lineage['evaluate']}' AND arm = 'incumbent'",
    )


def answer_of_a_score_row(domain: Domain, lineage: dict[str, Any]) -> None:
    sql(domain, f"UPDATE scores SET answer = 'blue!' WHERE node = '{lineage['evaluate']}' AND answer = 'blue'")


def injected_training_row(domain: Domain, lineage: dict[str, Any]) -> None:
    sql(
        domain,
        f"""INSERT INTO dataset SELECT * REPLACE ('planted' AS lesson_id, 'planted' AS candidate_id, 99 AS position)
            FROM dataset WHERE node = '{lineage["curate"]}' AND origin = 'new' LIMIT 1""",
    )


def doubled_training_row(domain: Domain, lineage: dict[str, Any]) -> None:
    """A lesson that was verified, and is in the dataset twice."""
    sql(
        domain,
        f"""INSERT INTO dataset SELECT * REPLACE (99 AS position) FROM dataset WHERE node = '{lineage["curate"]}'
            LIMIT 1""",
    )


def words_of_the_decision(domain: Domain, lineage: dict[str, Any]) -> None:
    sql(domain, f"UPDATE decisions SET explanation = 'Promote, surely.' WHERE node = '{lineage['gate']}'")


def decision_and_its_hash(domain: Domain, lineage: dict[str, Any]) -> None:
    """By somebody who knows how the hash is made."""
    row = domain.query("SELECT * FROM decisions WHERE node = ?", [lineage["gate"]])[-1]
    recorded = domain.query("SELECT summary FROM nodes WHERE node = ?", [lineage["gate"]])[-1]["summary"]
    row["rules"][0] |= {"fixed": 1000}
    digest = decision_hash(row, recorded["evidence"])
    rules = json.dumps(row["rules"])
    sql(
        domain,
        f"UPDATE decisions SET rules = $${rules}$$, decision_hash = '{digest}' WHERE node = '{lineage['gate']}'",
    )


def threshold_of_a_rule(domain: Domain, lineage: dict[str, Any]) -> None:
    """As if the gate had been asked for less from the start."""
    sql(
        domain,
        f"""UPDATE nodes SET inputs = replace(inputs::VARCHAR, '"better_by": 0.05', '"better_by": 0.01')
            WHERE node = '{lineage["gate"]}'""",
    )


def kept_report(domain: Domain, lineage: dict[str, Any]) -> None:
    artifact = domain.query("SELECT summary FROM nodes WHERE node = ?", [lineage["report"]])[-1]["summary"]["artifact"]
    append(domain.root / artifact / "report.json")


def holdout(domain: Domain, lineage: dict[str, Any]) -> None:
    append(domain.root / "evals" / "holdout.jsonl")


def trained_adapter(domain: Domain, lineage: dict[str, Any]) -> None:
    path = domain.query("SELECT path FROM adapters WHERE node = ?", [lineage["train"]])[-1]["path"]
    append(domain.root / path / "adapter_model.safetensors")


def published_report(domain: Domain, lineage: dict[str, Any]) -> None:
    append(domain.root / "reports" / "iter-001" / "report.json")


def published_page(domain: Domain, lineage: dict[str, Any]) -> None:
    append(domain.root / "reports" / "iter-001" / "index.html")


def deployed_adapter(domain: Domain, lineage: dict[str, Any]) -> None:
    append(domain.root / "deploy" / first(domain)["model_id"] / "adapter_model.safetensors")


def deployed_manifest(domain: Domain, lineage: dict[str, Any]) -> None:
    path = domain.root / "deploy" / first(domain)["model_id"] / "manifest.json"
    path.write_text(path.read_text().replace('"iteration": 1', '"iteration": 2'))


def append(path: Path) -> None:
    assert path.is_file()
    with path.open("ab") as handle:
        handle.write(b" ")


IN_THE_STORE = [
    (score_row, "scores: edited in the store"),
    (answer_of_a_score_row, "scores: edited in the store"),
    (injected_training_row, r"training rows: 1 row of iteration 1 no verifier let pass \(planted\)"),
    (doubled_training_row, "training rows: edited in the store"),
    (words_of_the_decision, "the decision of iteration 1 does not match its hash"),
    (decision_and_its_hash, "the decision of iteration 1 does not follow from its scores"),
    (threshold_of_a_rule, "the decision of iteration 1 does not follow from its scores"),
]


def named(edits: list[tuple[Edit, str]]) -> list[Any]:
    return [pytest.param(edit, words, id=edit.__name__) for edit, words in edits]


# --- deploy -----------------------------------------------------------------------------------------------------------


def lineage_of(domain: Domain, number: int = 1) -> dict[str, Any]:
    return dict(domain.query("SELECT manifest FROM deployments ORDER BY sequence")[number - 1]["manifest"]["lineage"])


@pytest.mark.parametrize(
    ("edit", "words"),
    named(
        [
            *IN_THE_STORE,
            (trained_adapter, "the adapter has changed since it was trained"),
            (published_report, r"reports/iter-001/report\.json: the report was edited"),
            (published_page, r"reports/iter-001/index\.html: the report was edited"),
            (kept_report, r"report\.json: the report was edited"),
            (holdout, r"evals/holdout\.jsonl: the holdout has changed since the models were measured"),
        ]
    ),
)
def test_deploy_refuses_and_names_what_was_edited(applied: Domain, edit: Edit, words: str) -> None:
    """The edit comes when everything else is done: at the moment at which the deploy node starts."""
    lineage = lineage_of(applied)
    sql(applied, "DELETE FROM nodes WHERE kind = 'deploy'", "DELETE FROM deployments")
    shutil.rmtree(applied.root / "deploy")
    if edit is not holdout:  # a file that is edited before makes another plan
        edit(applied, lineage)

    def at_deploy(event: dict[str, Any]) -> None:
        if edit is holdout and event["event"] == "node_started" and event["node"] == "i1.deploy":
            edit(applied, lineage)

    outcome = applied.apply(listener=at_deploy)

    assert outcome.failed == ["i1.deploy"]
    assert re.search(words, outcome.error)
    assert "`flywheel apply`" in outcome.error or "run the same command again" in outcome.error
    assert not (applied.root / "deploy" / "current").exists()
    assert applied.query("SELECT count(*) AS n FROM deployments") == [{"n": 0}]


def test_a_rejected_candidate_whose_row_says_promote_is_not_deployed(domain: Domain) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply()
    sql(domain, "UPDATE decisions SET outcome = 'promote'", "DELETE FROM nodes WHERE kind IN ('report', 'deploy')")

    outcome = domain.apply()

    assert outcome.failed == ["i1.deploy"]
    assert "the decision of iteration 1 does not match its hash" in outcome.error


# --- rollback ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _deployed_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of two specs were deployed: the folder was emptied in between, so the second had nothing to beat."""
    domain = Domain.written(tmp_path_factory.mktemp("twice") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        domain.apply()
        (domain.root / "deploy" / "current").unlink()
        domain.edit(lambda spec: spec["train"].update(rank=8)).apply()
    return domain.root


@pytest.fixture
def twice(_deployed_twice: Path, domain: Domain) -> Domain:
    shutil.rmtree(domain.root)
    shutil.copytree(_deployed_twice, domain.root, symlinks=True)
    return domain.edit(lambda spec: spec["train"].update(rank=8))


def first(domain: Domain) -> dict[str, Any]:
    return domain.query("SELECT * FROM deployments ORDER BY sequence")[0]


def test_rollback_finds_all_of_an_untouched_model_as_it_was(twice: Domain) -> None:
    assert rollback(twice.open())["model_id"] == first(twice)["model_id"] == current(twice)
    assert f"{first(twice)['model_id']} is in service" in (twice.root / "reports" / "index.html").read_text()


def test_rollback_needs_no_cluster_of_students(twice: Domain) -> None:
    twice.edit(lambda spec: spec.update(executor={"kind": "ray", "address": "127.0.0.1:9", "students": 2}))
    assert rollback(twice.open())["model_id"] == first(twice)["model_id"] == current(twice)


@pytest.mark.parametrize(
    ("edit", "words"),
    named(
        [
            *IN_THE_STORE,
            (deployed_adapter, "the adapter has changed since it was deployed"),
            (deployed_manifest, r"manifest\.json: iteration changed since it was deployed"),
            (kept_report, r"report\.json: the report was edited"),
            (holdout, r"evals/holdout\.jsonl: the holdout has changed"),
        ]
    ),
)
def test_rollback_refuses_and_names_what_was_edited(twice: Domain, edit: Edit, words: str) -> None:
    before = current(twice)
    edit(twice, lineage_of(twice))

    with pytest.raises(Tampered, match=words):
        rollback(twice.open())

    assert current(twice) == before
    assert twice.query("SELECT count(*) AS n FROM deployments") == [{"n": 2}]


def test_a_holdout_that_grew_in_the_open_does_not_bind_anyone_to_the_present_model(twice: Domain) -> None:
    twice.write_rows("evals/holdout.jsonl", [{"text": "odd sea 700", "label": "blue"}])
    twice.apply()

    assert rollback(twice.open())["model_id"] == first(twice)["model_id"]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE deployments SET model_id = 'x' WHERE sequence = 1", "DELETE FROM deployments WHERE sequence = 1"],
)
def test_an_edited_history_of_deployments_is_refused(twice: Domain, statement: str) -> None:
    before = current(twice)
    sql(twice, statement)

    with pytest.raises(Tampered, match="deployment history: entry"):
        rollback(twice.open())

    assert current(twice) == before


def test_a_model_that_answers_otherwise_than_when_it_was_measured_is_refused(
    twice: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current(twice)
    monkeypatch.setattr("stand_in.say", lambda adapter, prompt: "red")

    with pytest.raises(FlywheelError, match="answers 8 of 16 items otherwise than when it was measured"):
        rollback(twice.open())

    assert current(twice) == before


def test_a_deployment_without_recorded_evidence_says_what_to_do(twice: Domain) -> None:
    from flywheel.nodes.trust.evidence import lineage_in

    with pytest.raises(FlywheelError, match="earlier flywheel"):
        lineage_in({"model_id": "m1", "manifest_version": 1})
