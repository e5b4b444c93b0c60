"""Every number on the page is one that SQL gives, and what cannot be measured is absent, not zero."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel

from flywheel.errors import StoreError
from flywheel.report import Facts, Report, assemble
from flywheel.stats import paired_difference_interval, wilson

Query = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
Turns = list[dict[str, list[str]]]


def _one(query: Query, sql: str) -> Any:
    return next(iter(query(sql, ())[0].values()))


def test_suite_scores_are_those_of_plain_sql(promoted: Report, shared_query: Query, turns: Turns) -> None:
    node = turns[0]["evaluate"][0]
    items = f"""FROM scores i JOIN scores c USING (node, suite, item_id)
        WHERE node = '{node}' AND suite = 'holdout' AND i.arm = 'incumbent' AND c.arm = 'candidate'
        AND i.outcome <> 'unknown' AND c.outcome <> 'unknown'"""
    score = promoted.scores.suites[0]
    assert (score.suite, score.items, score.unknown) == ("holdout", 296, 4)
    assert score.items == _one(shared_query, f"SELECT count(*) {items}")
    assert score.fixed == _one(shared_query, f"SELECT count(*) {items} AND i.score < c.score")
    assert score.broken == _one(shared_query, f"SELECT count(*) {items} AND i.score > c.score")
    assert score.incumbent
    assert score.incumbent.value == pytest.approx(_one(shared_query, f"SELECT avg(i.score) {items}"))
    assert score.fixed + score.broken + score.still_right + score.still_wrong == score.items


def test_intervals_are_wilsons_and_the_paired_one(promoted: Report) -> None:
    score = promoted.scores.suites[0]
    assert score.candidate
    assert score.change
    right = score.fixed + score.still_right
    assert (score.candidate.low, score.candidate.high) == pytest.approx(wilson(right, score.items))
    expected = paired_difference_interval(score.fixed, score.broken, score.items)
    assert (score.change.low, score.change.high) == pytest.approx(expected)
    assert score.change.value == pytest.approx(score.candidate.value - score.incumbent.value)  # type: ignore[union-attr]


def test_a_mode_is_followed_from_before_to_after(promoted: Report, shared_query: Query, turns: Turns) -> None:
    mode = next(m for m in promoted.modes.rows if m.name == "wrong_aggregate")
    node = turns[0]["evaluate"][0]
    had = f"""SELECT count(*) FROM scores WHERE node = '{node}' AND suite = 'holdout' AND mode = 'wrong_aggregate'
        AND item_id NOT IN (SELECT item_id FROM scores WHERE node = '{node}' AND outcome = 'unknown')"""
    before = _one(shared_query, f"{had} AND arm = 'incumbent'")
    after = _one(shared_query, f"{had} AND arm = 'candidate'")
    assert mode.before
    assert mode.after
    assert mode.change
    assert mode.before.value == pytest.approx(before / 296)
    assert mode.after.value == pytest.approx(after / 296)
    assert mode.change.value == pytest.approx(mode.after.value - mode.before.value)
    assert mode.change.direction == "down"
    assert (mode.probe_failures, mode.budget, mode.candidates) == (27, 100, 90)
    assert mode.candidates >= mode.accepted >= mode.trained > 0


def test_modes_keep_the_taxonomys_order_and_all_are_there(promoted: Report, facts: Facts) -> None:
    assert [m.name for m in promoted.modes.rows] == [m.name for m in facts.taxonomy]
    assert sum(m.probe_failures for m in promoted.modes.rows) == promoted.modes.probe_failures == 110
    assert sum(m.trained for m in promoted.modes.rows) == promoted.funnel.stages[-1].rows


def test_a_mode_that_only_the_store_knows_is_shown(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("UPDATE failures SET mode = 'renamed' WHERE mode = 'no_parse'")
    report = assemble(query, 1, turns, facts)
    assert next(m for m in report.modes.rows if m.name == "renamed").probe_failures == 28


@pytest.mark.parametrize("which", ["promoted", "rejected", "untrained"])
def test_the_funnel_adds_up(which: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(which)
    assert report.funnel.unexplained == 0
    for before, after in zip(report.funnel.stages, report.funnel.stages[1:], strict=False):
        assert before.rows == after.rows + sum(loss.rows for loss in after.losses)


def test_a_funnel_that_does_not_add_up_is_said(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("DELETE FROM judged WHERE outcome = 'fail' AND candidate_id LIKE 'c1-%'")
    assert assemble(query, 1, turns, facts).funnel.unexplained > 0


def test_the_funnel_names_verifiers_stages_and_reasons(promoted: Report) -> None:
    losses = {loss.cause: loss for stage in promoted.funnel.stages for loss in stage.losses}
    assert {"unreadable", "same_rows: failed", "parses: failed", "dedup", "decontaminate"} <= losses.keys()
    assert losses["dedup"].reasons == (("near-duplicate (0.94)", losses["dedup"].rows),)


def test_rows_left_out_of_the_mix_are_a_loss(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("DELETE FROM dataset WHERE candidate_id IN (SELECT candidate_id FROM dataset LIMIT 3)")
    report = assemble(query, 1, turns, facts)
    assert report.funnel.stages[-1].losses[0].rows == 3
    assert report.funnel.unexplained == 0


def test_teachers_carry_cost_acceptance_and_simulation(promoted: Report) -> None:
    chatty = next(t for t in promoted.teachers.rows if t.name == "chatty")
    assert chatty.simulated
    assert chatty.failed_calls == 1
    assert chatty.usd_per_accepted == pytest.approx(chatty.usd / chatty.accepted)
    assert chatty.acceptance
    assert chatty.acceptance.low < chatty.accepted / chatty.candidates < chatty.acceptance.high
    shares = [t.dataset_share or 0 for t in promoted.teachers.rows]
    assert sum(shares) == pytest.approx(1 - 24 / promoted.training.rows)


def test_all_money_is_of_this_iteration(promoted: Report, rejected: Report, shared_query: Query) -> None:
    spent = promoted.costs.usd + rejected.costs.usd
    assert spent == pytest.approx(_one(shared_query, "SELECT sum(usd) FROM calls"))
    assert promoted.costs.usd == pytest.approx(sum(t.usd for t in promoted.teachers.rows))
    assert rejected.costs.seconds_before == promoted.costs.seconds


def test_an_iteration_without_training_says_so(untrained: Report) -> None:
    assert untrained.verdict.outcome == "untrained"
    assert "failed none of its 200 probes" in untrained.verdict.headline
    score = untrained.scores.suites[0]
    assert score.incumbent
    assert score.candidate is None
    assert score.change is None
    assert all(mode.after is None and mode.change is None for mode in untrained.modes.rows)
    assert not untrained.examples.rows
    assert not untrained.training.trained


def test_without_any_row_a_report_still_stands(
    turns: Turns, facts: Facts, query: Query, db: duckdb.DuckDBPyConnection
) -> None:
    for table in (
        "scores",
        "answers",
        "failures",
        "candidates",
        "decisions",
        "deployments",
        "nodes",
        "dataset",
        "adapters",
    ):
        db.execute(f"DELETE FROM {table}")
    report = assemble(query, 1, turns, facts)
    assert report.verdict.outcome == "untrained"
    assert report.deployed is None
    assert report.scores.suites == ()


def test_an_iteration_without_nodes_of_a_kind(query: Query, facts: Facts, turns: Turns) -> None:
    only_probed = [{kind: nodes for kind, nodes in turns[0].items() if kind in ("probe", "diagnose")}]
    report = assemble(query, 1, only_probed, facts)
    assert report.modes.probes == 200
    assert report.verdict.outcome == "untrained"


def test_earlier_iterations_make_the_trend_and_later_ones_do_not(rejected: Report) -> None:
    assert [t.outcome for t in rejected.trend.turns] == ["promote", "reject"]
    assert {s.iteration for s in rejected.trend.scores} == {1, 2}
    now = next(s for s in rejected.scores.suites if s.suite == "holdout")
    assert (
        next(s for s in rejected.trend.scores if s.iteration == 2 and s.suite == "holdout").candidate == now.candidate
    )


def test_many_slices_are_cut_to_the_largest_and_counted(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("UPDATE scores SET slices = json_object('id', item_id) WHERE suite = 'holdout'")
    scores = assemble(query, 1, turns, facts).scores
    assert len(scores.slices) == 150
    assert scores.slices_left_out == 300 + 2 - 150
    assert [s.items for s in scores.slices if s.suite == "basics"] == [80, 40]


def test_an_adapter_without_a_decision_is_refused(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("DELETE FROM decisions")
    with pytest.raises(StoreError, match="flywheel apply"):
        assemble(query, 1, turns, facts)


def test_a_loss_that_is_no_number_is_not_a_point(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("UPDATE losses SET loss = 'nan' WHERE step = 5")
    report = assemble(query, 1, turns, facts)
    assert len(report.training.losses) == 89
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_examples_show_each_movement_and_leave_the_answer_out_of_the_question(promoted: Report) -> None:
    assert {e.movement for e in promoted.examples.rows} == {"fixed", "broken", "still_wrong"}
    fixed = next(e for e in promoted.examples.rows if e.movement == "fixed")
    assert fixed.question.startswith("How many orders")
    assert "SELECT" not in fixed.question
    assert fixed.candidate_answer == fixed.gold
    assert fixed.incumbent_mode
    assert fixed.candidate_mode == ""
    assert len({e.incumbent_mode for e in promoted.examples.rows if e.movement == "fixed"}) > 2


def test_graded_scores_keep_paired_intervals(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("UPDATE scores SET score = 0.5 WHERE suite = 'basics' AND arm = 'candidate' AND outcome = 'pass'")
    score = assemble(query, 1, turns, facts).scores.suites[1]
    assert score.change
    assert score.change.value == pytest.approx(score.candidate.value - score.incumbent.value)  # type: ignore[union-attr]
    assert score.change.low < score.change.value < score.change.high < 0


def test_two_evaluate_nodes_are_one_iteration(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: Facts
) -> None:
    db.execute("UPDATE scores SET node = 'other' WHERE suite = 'basics' AND node = ?", [turns[0]["evaluate"][0]])
    split = [{**turns[0], "evaluate": [*turns[0]["evaluate"], "other"]}]
    assert [s.suite for s in assemble(query, 1, split, facts).scores.suites] == ["holdout", "basics"]


def _queries(value: BaseModel) -> Iterator[str]:
    for name, item in value:
        if isinstance(item, BaseModel):
            yield from _queries(item)
        elif name == "query" or name.endswith("_query"):
            yield item


@pytest.mark.parametrize("which", ["promoted", "rejected", "untrained"])
def test_every_query_on_the_page_can_be_pasted_and_runs(
    which: str, request: pytest.FixtureRequest, shared_query: Query
) -> None:
    found = list(_queries(request.getfixturevalue(which)))
    assert len(found) > 15
    for sql in found:
        assert not set(sql) & set('"$`\\!')
        assert sql.lstrip().startswith(("SELECT", "WITH"))
        shared_query(sql, ())


def test_the_same_rows_give_the_same_report(query: Query, turns: Turns, facts: Facts, promoted: Report) -> None:
    assert assemble(query, 1, turns, facts).model_dump_json() == promoted.model_dump_json()


def test_a_report_survives_json(promoted: Report) -> None:
    assert Report.model_validate_json(promoted.model_dump_json()) == promoted
    assert json.loads(promoted.model_dump_json())["report_version"] == 1
