"""A project that 0.1.0 finished is a project of this version: nothing in it is lost, refused or silently made anew.

`tests/fixtures/make_project.py` says how the archive was made.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
import yaml

from flywheel.engine.rollback import rollback
from mini_domain import Domain
from stand_in import StandInWorker

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "project-0.1.0.tar.gz"
FIRST, SECOND = "4e8007c7a3a7", "b24c0f9380fb"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """The project as 0.1.0 left it: two promoted iterations and a third that found nothing to learn."""
    monkeypatch.setattr("flywheel.engine.resources.Worker", StandInWorker)
    # Its student is a file of a few words, no model; with more files it would be another one.
    monkeypatch.setattr("flywheel.spec.files.base_problem", lambda root, base, revision: None)
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(tmp_path, filter="data")
    root = tmp_path / "project"
    return Domain(root, yaml.safe_load((root / "flywheel.yaml").read_text()))


def test_it_validates(kept: Domain, flywheel) -> None:
    code, out, error = flywheel(kept, "validate")

    assert (code, error) == (0, "")
    assert "valid" in out


def test_status_tells_its_decisions_and_what_is_deployed(kept: Domain, flywheel) -> None:
    found = json.loads(flywheel(kept, "status", "--json")[1])

    assert [row["outcome"] for row in found["decisions"]] == ["promote", "promote", "inconclusive"]
    assert [row["model_id"] for row in found["deployments"]] == [FIRST, SECOND]
    assert found["run"]["status"] == "done"


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT count(*) AS n FROM nodes WHERE status = 'done'", 39),
        ("SELECT count(*) AS n FROM scores", 360),
        ("SELECT count(DISTINCT lesson_id) AS n FROM dataset WHERE origin = 'new'", 4),
        ("SELECT count(*) AS n FROM decisions d JOIN adapters a ON a.model_id = d.candidate_id", 2),
    ],
)
def test_query_finds_every_row_that_was_in_it(kept: Domain, flywheel, sql: str, count: int) -> None:
    code, out, _ = flywheel(kept, "query", sql, "--json")

    assert code == 0
    assert json.loads(out) == [{"n": count}]


def test_a_lesson_still_has_its_whole_life(kept: Domain, flywheel) -> None:
    lesson = kept.query("SELECT lesson_id FROM dataset WHERE origin = 'new' ORDER BY lesson_id LIMIT 1")[0]["lesson_id"]

    code, out, _ = flywheel(kept, "show", lesson)

    assert code == 0
    assert all(word in out for word in ("careful", "colour", FIRST))


@pytest.mark.parametrize("iteration", [None, 1, 2, 3])
def test_its_reports_are_shown(kept: Domain, flywheel, iteration: int | None) -> None:
    code, out, _ = flywheel(kept, "report", *([] if iteration is None else [str(iteration)]))

    assert code == 0
    assert "<html" in Path(kept.root, out.strip()).read_text(encoding="utf-8")


def test_rollback_checks_its_hashes_and_points_back(kept: Domain) -> None:
    assert rollback(kept.open())["model_id"] == FIRST
    assert os.readlink(kept.root / "deploy" / "current") == FIRST
    assert rollback(kept.open(), SECOND)["model_id"] == SECOND


def test_plan_knows_each_node_and_says_why_it_would_run_again(kept: Domain) -> None:
    plan = kept.plan()

    assert {node.name for node in plan.nodes} >= {"i1.train", "i2.gate", "i3.deploy"}
    assert {node.status for node in plan.nodes} <= {"reused", "changed"}
    assert all(node.why for node in plan.pending)


def test_plan_names_a_key_that_was_edited_since(kept: Domain) -> None:
    kept.edit(lambda spec: spec["train"].update(rank=8))

    train = next(node for node in kept.plan().nodes if node.name == "i1.train")

    assert train.status == "changed"
    assert "train.rank 4 → 8" in train.why


def test_apply_goes_on_and_keeps_what_was_learned(kept: Domain) -> None:
    before = kept.query("SELECT lesson_id FROM dataset ORDER BY ALL")
    paid = len(kept.calls())

    outcome = kept.apply(iterations=3)

    assert outcome.exit_code in (0, 3)
    assert kept.query("SELECT model_id FROM deployments ORDER BY sequence")[:2] == [
        {"model_id": FIRST}, {"model_id": SECOND},
    ]  # fmt: skip
    after = kept.query("SELECT lesson_id FROM dataset ORDER BY ALL")
    assert {row["lesson_id"] for row in before} <= {row["lesson_id"] for row in after}
    assert len(kept.calls()) >= paid
    assert not kept.plan(3).pending


def test_its_training_rows_are_exported_with_the_iteration_that_each_was_made_in(kept: Domain, flywheel) -> None:
    assert flywheel(kept, "export-dataset", "out", "--iteration", "2")[0] == 0

    rows = [json.loads(line) for line in (kept.root / "out" / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(row["origin"], row["iteration"]) for row in rows} == {("new", 2), ("replay", 1)}
    assert all(row["generator"] and row["verdicts"] for row in rows)
