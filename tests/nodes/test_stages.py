"""The gate's suites are asked in stages, until their rules are decided; whatever reads the scores stays right."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import stand_in
from flywheel.engine.certifying import certify, verify
from flywheel.harness import Item, SuiteJob
from flywheel.nodes.measuring.stages import FEWEST, ordered
from flywheel.nodes.measuring.suites import FEWEST_NOISE_ITEMS
from mini_domain import Domain, rows
from stand_in import StandInWorker

HOLDOUT, GUARD, WATCHED = 200, 100, 20


def suite(clusters: list[str | None]) -> SuiteJob:
    items = [Item(f"i{n}", "p", {} if c is None else {"cluster": c}, "g") for n, c in enumerate(clusters)]
    return SuiteJob("s", "t", tuple(items))


# --- the order --------------------------------------------------------------------------------------------------------


def test_every_item_has_one_place_and_stages_end_at_shares_of_them() -> None:
    order = ordered(suite([None] * 200), 3)
    assert sorted(item.item_id for item in order.suite.items) == sorted(f"i{n}" for n in range(200))
    assert order.ends == (40, 60, 80, 100, 120, 140, 160, 180, 200)
    assert [len(order.at(k).items) for k in range(1, 10)] == [40] + [20] * 8
    assert order == ordered(suite([None] * 200), 3) != ordered(suite([None] * 200), 4)


@pytest.mark.parametrize("size", [1, 7, 25, 61, 99, 1001])
def test_no_stage_is_too_small_and_the_last_one_ends_with_the_suite(size: int) -> None:
    ends = ordered(suite([None] * size), 1).ends
    assert ends[-1] == size
    assert all(b - a >= min(FEWEST, size) for a, b in zip((0, *ends), ends, strict=False))


def test_a_cluster_is_asked_within_one_stage() -> None:
    order = ordered(suite([f"c{n // 7}" for n in range(210)]), 1)
    stages = [{item.row["cluster"] for item in order.at(k).items} for k in range(1, len(order.ends) + 1)]
    assert sum(map(len, stages)) == len(set.union(*stages)) == 30


# --- the wheel --------------------------------------------------------------------------------------------------------


def _staged(root: Path, **loop: Any) -> Domain:
    def change(spec: dict[str, Any]) -> None:
        spec["loop"] |= {"iterations": 2, "stop_when_decided": True, **loop}
        spec["generate"][0] |= {"accept": 2, "per_call": 1}  # not all is learned at once
        spec["evals"]["watched"] = {"role": "watch", "task": "colour", "data": "evals/watched.jsonl"}
        spec["gate"] = [{"suite": "holdout", "better_by": 0.05}, {"suite": "guard", "not_worse_than": 0.1}]

    domain = Domain.written(root)
    for name, start, count in (("holdout", 3000, HOLDOUT), ("guard", 4000, GUARD), ("watched", 5000, WATCHED)):
        domain.write_rows(f"evals/{name}.jsonl", rows(start, count))
    return domain.edit(change)


@pytest.fixture(scope="module")
def turned_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Two iterations, with the jobs of every evaluation: model and items by suite."""
    jobs: list[Any] = []

    def evaluate(job: Any, progress: Any) -> Any:
        jobs.append((job.arm.adapter, {s.name: [item.item_id for item in s.items] for s in job.suites}))
        return stand_in.evaluate(job, progress)

    domain = _staged(tmp_path_factory.mktemp("staged") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        patch.setitem(stand_in.WORK, "flywheel.harness:evaluate", evaluate)
        domain.apply()
    return domain.root, jobs


@pytest.fixture
def turned(turned_once: tuple[Path, list[Any]], domain: Domain) -> Domain:
    shutil.rmtree(domain.root)
    shutil.copytree(turned_once[0], domain.root, symlinks=True)
    return Domain(domain.root, _staged(domain.root.parent / "other").spec)


def decisions(domain: Domain) -> list[dict[str, Any]]:
    return domain.query("SELECT * FROM decisions ORDER BY iteration")


def test_a_clear_gain_is_promoted_on_a_part_of_the_items(turned: Domain) -> None:
    first = decisions(turned)[0]
    assert first["outcome"] == "promote"
    staging = first["stages"]["holdout"]
    used = staging["ends"][staging["stage"] - 1]
    assert used <= HOLDOUT / 2
    assert len(staging["left"]) == HOLDOUT - used
    rule = first["rules"][0]
    assert rule["items"] == used
    assert f"after {used} of {HOLDOUT} items" in rule["explanation"]
    counts = turned.query(
        "SELECT suite, arm, count(*) AS n FROM scores WHERE node IN (SELECT node FROM nodes WHERE kind = 'evaluate' "
        "AND iteration = 1) GROUP BY ALL"
    )
    assert {row["n"] for row in counts if row["suite"] == "holdout"} == {used}
    assert {row["n"] for row in counts if row["suite"] == "watched"} == {WATCHED}


def test_what_the_incumbent_answered_is_not_asked_again(turned_once: tuple[Path, list[Any]]) -> None:
    jobs = turned_once[1]
    asked = [(adapter, suite, item) for adapter, suites in jobs for suite in suites for item in suites[suite]]
    # But for a few, once for each model that was an incumbent first: the noise.
    again = len(asked) - len(set(asked))
    assert 0 < again <= 3 * FEWEST_NOISE_ITEMS
    assert all(len(set(items)) == len(items) for _, suites in jobs for items in suites.values())


def test_a_holdout_that_was_left_early_is_the_same_at_the_next_look(turned: Domain) -> None:
    found = decisions(turned)
    assert found[0]["candidate_id"] != found[1]["candidate_id"] is not None
    assert found[0]["holdout"] == found[1]["holdout"]
    assert [row["look"] for row in found] == [1, 2]


def test_a_whole_evaluation_of_the_same_items_is_the_same_holdout(turned: Domain) -> None:
    before = decisions(turned)[0]["holdout"]
    turned.edit(lambda spec: spec["loop"].update(stop_when_decided=False, iterations=1)).apply()
    last = turned.query("SELECT * FROM decisions ORDER BY decided_at DESC LIMIT 1")[0]
    assert last["stages"] is None
    assert last["holdout"] == before
    assert last["rules"][0]["items"] == HOLDOUT


def test_a_certificate_of_an_early_end_derives_it_again_and_notices_a_moved_one(turned: Domain, tmp_path: Path) -> None:
    document = certify(turned.open(), 1, tmp_path / "one.json")
    assert verify(tmp_path / "one.json").agrees
    text = (tmp_path / "one.json").read_text()
    stage = document["read"]["stages"]["holdout"]["stage"]
    moved = text.replace(f'"stage":{stage}', f'"stage":{stage + 1}')
    (tmp_path / "two.json").write_text(moved)
    assert moved != text
    assert not verify(tmp_path / "two.json").agrees


def test_the_report_says_how_far_each_suite_was_evaluated(turned: Domain) -> None:
    page = (turned.root / "reports" / "iter-001" / "index.html").read_text()
    assert "Evaluated until decided: guard" in page
    assert f"of {HOLDOUT} items (stage" in page


def test_what_is_promoted_early_is_deployed_and_an_edited_stage_is_noticed(turned: Domain, flywheel: Any) -> None:
    assert turned.query("SELECT count(*) AS n FROM deployments")[0]["n"] >= 1
    from flywheel.store import Store

    with Store(turned.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute(
            """UPDATE decisions SET stages = '{"holdout": {"ends": [40, 200], "stage": 1, "left": []}}'"""
        )
        transaction.execute("DELETE FROM nodes WHERE kind = 'deploy'")
    code, _, error = flywheel(turned, "apply")
    assert code != 0
    assert "does not match its hash" in error
