"""`flywheel diff A B`: two iterations side by side, on the same items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flywheel.console.diff import diff_text
from flywheel.engine.diff import Diff, diff, diff_page
from flywheel.engine.history import open_lookup
from flywheel.errors import UsageError
from flywheel.stats import paired_difference_interval
from flywheel.store import Store
from mini_domain import Domain


def compared(domain: Domain, a: int, b: int) -> Diff:
    with open_lookup(domain.root / ".flywheel") as lookup:
        return diff(domain.open(), lookup, a, b)


@pytest.fixture
def two(applied: Domain) -> Domain:
    """A second iteration of the plan, whose rows are made here so that their differences are known."""
    applied.edit(lambda spec: spec["loop"].update(iterations=2))
    chain = applied.plan().chain()
    one, later = chain[1], chain[2]
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for kind in ("curate", "evaluate"):
            for table in {"curate": ["dataset"], "evaluate": ["scores"]}[kind]:
                transaction.execute(f"DELETE FROM {table} WHERE node = ?", [later[kind][0]])
                transaction.execute(
                    f"INSERT INTO {table} SELECT * REPLACE (? AS node) FROM {table} WHERE node = ?",
                    [later[kind][0], one[kind][0]],
                )
            transaction.execute("DELETE FROM nodes WHERE node = ?", [later[kind][0]])
            transaction.execute(
                """INSERT INTO nodes SELECT * REPLACE (? AS node, 2 AS iteration, replace(name, 'i1.', 'i2.') AS name)
                   FROM nodes WHERE node = ?""",
                [later[kind][0], one[kind][0]],
            )
    return applied


def change(domain: Domain, sql: str) -> None:
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute(sql)


def node(domain: Domain, kind: str) -> str:
    return str(domain.plan().chain()[2][kind][0])


def test_two_equal_iterations_differ_in_nothing(two: Domain) -> None:
    found = compared(two, 1, 2)
    assert found.scores
    assert all((row["difference"], row["fixed"], row["broken"]) == (0, 0, 0) for row in found.scores)
    assert (found.inputs, found.rows, found.moved) == ([], [], [])
    text = diff_text(found)
    assert "the same spec, data and teachers" in text
    assert "the same training rows" in text


def test_scores_differ_by_pairs_with_their_interval(two: Domain) -> None:
    right = (
        f"SELECT min(item_id) FROM scores WHERE node = '{node(two, 'evaluate')}' AND arm = 'candidate' AND score = 1"
    )
    change(
        two,
        f"""UPDATE scores SET score = 0, outcome = 'fail', mode = 'said_red', answer = 'green'
        WHERE node = '{node(two, "evaluate")}' AND item_id = ({right})""",
    )
    found = compared(two, 1, 2)
    (row,) = [row for row in found.scores if row["broken"]]
    assert row["difference"] == pytest.approx(-1 / row["items"])
    assert (row["low"], row["high"]) == pytest.approx(paired_difference_interval(0, 1, row["items"]))
    assert [(moved["movement"], moved["b"]) for moved in found.moved] == [("broken", "green")]
    mode = next(m for m in found.modes if m["mode"] == "said_red")
    assert mode["difference"] == pytest.approx(1 / mode["items"])


def test_the_other_way_round_what_was_broken_is_fixed(two: Domain) -> None:
    change(
        two,
        f"""UPDATE scores SET score = 0, outcome = 'fail' WHERE node = '{node(two, "evaluate")}' AND item_id = (
        SELECT min(item_id) FROM scores WHERE arm = 'candidate' AND score = 1)""",
    )
    assert sum(row["fixed"] for row in compared(two, 2, 1).scores) == 1
    assert sum(row["broken"] for row in compared(two, 1, 2).scores) == 1


def test_training_rows_that_came_and_went_by_mode_and_teacher(two: Domain) -> None:
    curate = node(two, "curate")
    change(two, f"DELETE FROM dataset WHERE node = '{curate}' AND position = 0")
    change(
        two,
        f"""INSERT INTO dataset (node, position, lesson_id, origin, mode, teacher)
        VALUES ('{curate}', 900, 'new-1', 'new', 'other', 'x'), ('{curate}', 901, 'new-2', 'new', 'other', 'x')""",
    )
    found = {(row["mode"], row["teacher"]): (row["added"], row["removed"]) for row in compared(two, 1, 2).rows}
    assert found["other", "x"] == (2, 0)
    assert sum(removed for _, removed in found.values()) == 1


def test_what_was_read_is_compared_part_by_part(two: Domain) -> None:
    evaluate = node(two, "evaluate")
    patch = json.dumps({"evals.holdout.limit": 5})
    change(two, f"UPDATE nodes SET inputs = json_merge_patch(inputs, '{patch}') WHERE node = '{evaluate}'")
    assert compared(two, 1, 2).inputs == [{"part": "evals.holdout.limit", "a": None, "b": 5}]


def test_an_item_that_a_verifier_could_not_judge_is_left_out(two: Domain) -> None:
    before = {row["suite"]: row["items"] for row in compared(two, 1, 2).scores}
    change(
        two,
        f"""UPDATE scores SET outcome = 'unknown', score = NULL WHERE node = '{node(two, "evaluate")}'
        AND item_id = (SELECT min(item_id) FROM scores WHERE suite = 'holdout')""",
    )
    after = {row["suite"]: row["items"] for row in compared(two, 1, 2).scores}
    assert after["holdout"] == before["holdout"] - 1


def test_an_iteration_that_is_not_evaluated_is_refused_with_what_there_is(applied: Domain) -> None:
    with pytest.raises(
        UsageError, match=r"iteration 7 .* not evaluated yet; these are: 1, 2. Run `flywheel apply --iter"
    ):
        compared(applied, 1, 7)


@pytest.mark.slow
def test_the_command_prints_text_and_json(two: Domain) -> None:
    text = two.run("diff", "1", "2").stdout
    assert "SCORES, ON THE SAME ITEMS" in text
    found = json.loads(two.run("diff", "1", "2", "--json").stdout)
    assert (found["a"], found["b"]) == (1, 2)
    assert [row["iteration"] for row in found["cost"]] == [1, 2]


def test_an_answer_cannot_steer_the_terminal(two: Domain) -> None:
    change(
        two,
        f"""UPDATE scores SET score = 1 - score, answer = chr(27) || '[31m' || chr(8238) || 'x'
        WHERE node = '{node(two, "evaluate")}'""",
    )
    assert not {"\x1b", "\u202e"} & set(diff_text(compared(two, 1, 2)))


def test_a_page_has_both_models_and_every_item(two: Domain) -> None:
    with open_lookup(two.root / ".flywheel") as lookup:
        found = diff(two.open(), lookup, 1, 2)
        page = diff_page(two.open(), lookup, found)
    assert "<h1>Iteration 1 and Iteration 2</h1>" in page
    held = json.loads(page.split('id="item-data">')[1].split("</script>")[0])
    assert held["labels"] == ["Iteration 1", "Iteration 2"]
    assert len(held["items"]) == sum(row["items"] for row in found.scores)


def test_an_iteration_can_be_compared_with_another_projects(two: Domain, tmp_path: Path) -> None:
    shutil.copytree(two.root, tmp_path / "other")
    other = Domain(tmp_path / "other")
    change(other, "UPDATE scores SET answer = 'green', outcome = 'fail', score = 0 WHERE suite = 'guard'")
    with open_lookup(two.root / ".flywheel") as ours, open_lookup(other.root / ".flywheel") as theirs:
        found = diff(two.open(), ours, 1, 1, (other.open(), theirs))
        page = diff_page(two.open(), ours, found, (other.open(), theirs))
    guard = next(row for row in found.scores if row["suite"] == "guard")
    assert (guard["b"], guard["broken"]) == (0, round(guard["a"] * guard["items"]))
    assert "Iteration 1 of other" in page
