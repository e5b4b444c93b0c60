"""Every number on the page is one that SQL gives, and what cannot be measured is absent, not zero."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel

from flywheel.errors import StoreError
from flywheel.report import Report, ReportFacts, assemble, render, render_summary
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


def test_modes_keep_the_taxonomys_order_and_all_are_there(promoted: Report, facts: ReportFacts) -> None:
    assert [m.name for m in promoted.modes.rows] == [m.name for m in facts.taxonomy]
    assert sum(m.probe_failures for m in promoted.modes.rows) == promoted.modes.probe_failures == 110
    assert sum(m.trained for m in promoted.modes.rows) == promoted.funnel.stages[-1].rows


def test_a_mode_that_only_the_store_knows_is_shown(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE failures SET mode = 'renamed' WHERE mode = 'no_parse'")
    report = assemble(query, 1, turns, facts)
    assert next(m for m in report.modes.rows if m.name == "renamed").probe_failures == 28


def test_predicates_that_were_unknown_for_some_answers_are_told(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    said = '{"undecided": {"t: no_json": {"rows": 3, "why": "Malformed <JSON>"}}}'
    db.execute("UPDATE nodes SET summary = json_merge_patch(summary, ?) WHERE kind = 'diagnose'", [said])
    report = assemble(query, 1, turns, facts)
    assert report.modes.undecided == ("t: no_json could not be computed for 3 wrong answers: Malformed <JSON>",)
    assert "Malformed &lt;JSON&gt;" in render(report)
    assert "no\\_json could not be computed for 3 wrong answers" in render_summary(report)


@pytest.mark.parametrize("which", ["promoted", "rejected", "untrained"])
def test_the_funnel_adds_up(which: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(which)
    assert report.funnel.unexplained == 0
    for before, after in zip(report.funnel.stages, report.funnel.stages[1:], strict=False):
        assert before.rows == after.rows + sum(loss.rows for loss in after.losses)


def test_a_funnel_that_does_not_add_up_is_said(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("DELETE FROM judged WHERE outcome = 'fail' AND candidate_id LIKE 'c1-%'")
    assert assemble(query, 1, turns, facts).funnel.unexplained > 0


def test_the_funnel_names_verifiers_stages_and_reasons(promoted: Report) -> None:
    losses = {loss.cause: loss for stage in promoted.funnel.stages for loss in stage.losses}
    assert {"unreadable", "same_rows: failed", "parses: failed", "dedup", "decontaminate"} <= losses.keys()
    assert losses["dedup"].reasons == (("near-duplicate (0.94)", losses["dedup"].rows),)


def test_rows_left_out_of_the_mix_are_a_loss(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
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
    assert promoted.costs.usd == pytest.approx(sum(s.usd for s in promoted.strategies.rows))
    assert rejected.costs.usd_before == promoted.costs.usd
    last = {n.name.replace("i1.", "i2."): n.seconds for n in promoted.costs.nodes}
    assert {n.name: n.seconds_before for n in rejected.costs.nodes} == last
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
    turns: Turns, facts: ReportFacts, query: Query, db: duckdb.DuckDBPyConnection
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


def test_an_iteration_without_nodes_of_a_kind(query: Query, facts: ReportFacts, turns: Turns) -> None:
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
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE scores SET slices = json_object('id', item_id) WHERE suite = 'holdout'")
    scores = assemble(query, 1, turns, facts).scores
    assert len(scores.slices) == 150
    assert scores.slices_left_out == 300 + 2 - 150
    assert [s.items for s in scores.slices if s.suite == "basics"] == [80, 40]


def test_an_adapter_without_a_decision_is_refused(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("DELETE FROM decisions")
    with pytest.raises(StoreError, match="flywheel apply"):
        assemble(query, 1, turns, facts)


def test_a_loss_that_is_no_number_is_not_a_point(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
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
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE scores SET score = 0.5 WHERE suite = 'basics' AND arm = 'candidate' AND outcome = 'pass'")
    score = assemble(query, 1, turns, facts).scores.suites[1]
    assert score.change
    assert score.change.value == pytest.approx(score.candidate.value - score.incumbent.value)  # type: ignore[union-attr]
    assert score.change.low < score.change.value < score.change.high < 0


def test_two_evaluate_nodes_are_one_iteration(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
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


def test_the_same_rows_give_the_same_report(query: Query, turns: Turns, facts: ReportFacts, promoted: Report) -> None:
    assert assemble(query, 1, turns, facts).model_dump_json() == promoted.model_dump_json()


def test_a_report_survives_json(promoted: Report) -> None:
    assert Report.model_validate_json(promoted.model_dump_json()) == promoted
    assert json.loads(promoted.model_dump_json())["report_version"] == 2


def test_a_strategy_has_its_price_its_shares_and_the_modes_that_fell(promoted: Report, rejected: Report) -> None:
    strategy = promoted.strategies.rows[0]
    assert (strategy.name, strategy.strategy, strategy.failed_calls) == ("targeted", "targeted", 1)
    assert strategy.usd_per_accepted == pytest.approx(strategy.usd / strategy.accepted)
    assert strategy.acceptance
    assert strategy.acceptance.value == pytest.approx(strategy.accepted / strategy.questions)
    falling = {m.name for m in promoted.modes.rows if m.change and m.change.direction == "down" and m.trained}
    assert falling
    assert set(strategy.modes_fell) == falling
    assert strategy.same_answers == 0.31
    assert [s.allocated for s in strategy.shares] == [None, None, None]
    assert [s.allocated for s in rejected.strategies.rows[0].shares] == [0.7, 0.2, 0.1]
    assert [s.bandit for s in strategy.shares] == [0.6, 0.3, 0.1]


def test_shares_of_the_dataset_follow_lessons_over_iterations(rejected: Report, shared_query: Query) -> None:
    new = sum(row.new for row in rejected.training.mix)
    assert rejected.strategies.rows[0].dataset_share == pytest.approx(new / sum(
        row.new + row.replay + row.seed for row in rejected.training.mix
    ))  # fmt: skip


def test_samples_of_one_question_count_once(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE candidates SET group_id = 'g' || substr(candidate_id, 1, 5) WHERE candidate_id LIKE 'c1-%'")
    groups = _one(query, "SELECT count(DISTINCT group_id) FROM candidates WHERE candidate_id LIKE 'c1-%'")
    assert sum(s.questions for s in assemble(query, 1, turns, facts).strategies.rows) == groups


def test_second_opinions_are_the_strategys_not_the_price_of_a_teachers_lesson(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    db.execute(
        "INSERT INTO calls (key, teacher, status, usd, purpose) VALUES ('opinion', 'terse', 'ok', 5.0, 'answer')"
    )
    db.execute(
        """UPDATE nodes SET summary = json_merge_patch(summary, json_object('keys', list_append(
           CAST(json_extract(summary, '/keys') AS VARCHAR[]), 'opinion'))) WHERE node = ?""",
        [turns[0]["generate"][0]],
    )
    report = assemble(query, 1, turns, facts)
    before, after = (next(t for t in r.teachers.rows if t.name == "terse") for r in (promoted, report))
    assert after.usd == pytest.approx(before.usd + 5)
    assert after.usd_per_accepted == before.usd_per_accepted
    assert report.strategies.rows[0].usd == pytest.approx(promoted.strategies.rows[0].usd + 5)


def test_a_judges_calls_are_the_steps_that_it_judged_for(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    verify = turns[0]["verify"][0]
    db.execute(
        """INSERT INTO calls (key, run_id, teacher, purpose, status, usd, called_at)
           SELECT 'vote', run_id, 'chatty', 'judge', 'ok', 3.0, started_at + INTERVAL 5 SECOND FROM nodes
           WHERE node = ?""",
        [verify],
    )
    report = assemble(query, 1, turns, facts)
    assert report.costs.usd == pytest.approx(promoted.costs.usd + 3)
    assert next(n for n in report.costs.nodes if n.usd >= 3).kind == "verify"
    assert report.strategies.rows[0].usd == promoted.strategies.rows[0].usd


def test_dropped_by_rules_and_passed_over_are_stages_of_the_funnel(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    filtered = (
        "candidate_id IN (SELECT candidate_id FROM judged WHERE outcome = 'fail' AND candidate_id LIKE 'c1-%' LIMIT 7)"
    )
    db.execute(
        f"UPDATE candidates SET status = 'filtered', problem = 'ROUGE-L 0.81 with an earlier question' WHERE {filtered}"
    )
    db.execute(
        "DELETE FROM judged WHERE candidate_id IN (SELECT candidate_id FROM candidates WHERE status = 'filtered')"
    )
    passed_over = """candidate_id IN (SELECT candidate_id FROM curation WHERE decision <> 'kept' AND
        candidate_id LIKE 'c1-%' LIMIT 5)"""
    db.execute(
        f"UPDATE judged SET outcome = 'fail', verifier = '(selection)', reason = 'another sample' WHERE {passed_over}"
    )
    db.execute(
        "DELETE FROM curation WHERE candidate_id IN (SELECT candidate_id FROM judged WHERE verifier = '(selection)')"
    )
    found = assemble(query, 1, turns, facts).funnel
    losses = {loss.cause: loss.rows for stage in found.stages for loss in stage.losses}
    assert losses["too like an earlier question"] == 7
    assert losses["another sample of the question"] == 5
    assert found.unexplained == 0


def test_the_cascade_is_in_the_tasks_order_and_each_sees_what_the_last_left(promoted: Report) -> None:
    parses, same_rows = promoted.verifiers.rows
    assert (parses.name, same_rows.name) == ("parses", "same_rows")
    assert same_rows.judged == parses.judged - parses.failed
    causes = [loss.cause.split(":")[0] for loss in promoted.funnel.stages[3].losses]
    assert causes == sorted(causes, key=["parses", "same_rows"].index)


def test_what_was_asked_and_what_failed(promoted: Report) -> None:
    assert promoted.funnel.wanted == 400
    assert promoted.funnel.calls_failed == (("timeout", 1),)


def test_the_newest_audit_counts_with_its_intervals(promoted: Report) -> None:
    together, same_rows = promoted.audit.rows
    assert (together.verifier, same_rows.verifier) == ("", "same_rows")
    assert (together.false_accept.wrong, together.false_accept.cases, together.false_accept.unknown) == (3, 98, 2)
    assert together.false_accept.rate
    assert (together.false_accept.rate.low, together.false_accept.rate.high) == pytest.approx(wilson(3, 98))
    assert (together.false_reject.wrong, together.false_reject.cases) == (1, 60)
    assert promoted.audit.never == ("parses", "tone")
    assert "SELECT 2" in promoted.audit.wrong[0].text


def test_an_audit_of_another_version_does_not_count(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE audits SET version = 'older'")
    audit = assemble(query, 1, turns, facts).audit
    assert audit.rows == ()
    assert audit.never == ("parses", "same_rows", "tone")


def test_a_judge_without_calibration_is_not_measured_and_not_calibrated(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    (judge,) = promoted.audit.judges
    assert (judge.kappa, judge.calibrated, judge.agreed, judge.cases) == (0.84, True, 37, 40)
    db.execute("DELETE FROM calibrations")
    (judge,) = assemble(query, 1, turns, facts).audit.judges
    assert (judge.kappa, judge.calibrated) == (None, False)
    assert "not measured" in judge.problem


def test_teachers_on_a_suite_stand_beside_and_change_no_score(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    arm = next(a for a in promoted.scores.arms if a.arm == "teacher:chatty")
    assert arm.score
    assert (arm.items, arm.score.value) == (40, 31 / 40)
    db.execute("DELETE FROM scores WHERE arm = 'teacher:chatty'")
    without = assemble(query, 1, turns, facts)
    assert without.scores.suites == promoted.scores.suites
    assert without.modes.rows == promoted.modes.rows
    assert without.examples.rows == promoted.examples.rows


def test_what_was_not_measured_of_answers_is_absent(promoted: Report) -> None:
    times = {a.arm: a.seconds for a in promoted.scores.arms if a.suite == "holdout"}
    assert times["incumbent"] is None
    assert times["candidate"] == pytest.approx(0.012)


def test_ablations_of_this_iteration_and_comparisons_of_the_loop(promoted: Report, rejected: Report) -> None:
    assert [row.name for row in promoted.ablations.rows] == ["same rows", "targeting"]
    assert [row.name for row in rejected.ablations.rows] == ["targeting"]
    assert promoted.ablations.rows[0].change.direction == "up"


def test_approvals_runs_and_measurement_are_read(promoted: Report, rejected: Report) -> None:
    assert [(a.person, a.note) for a in promoted.approvals.rows] == [("Ada", "looks right")]
    assert rejected.approvals.rows == ()
    assert [(r.run_id, r.sandbox, r.tainted) for r in promoted.provenance.runs] == [("run-1", "zygote", False)]
    assert promoted.measurement.too_long == (("holdout", 3),)
    assert [(r.suite, r.arm, r.answers) for r in promoted.measurement.ran_on] == [("holdout", "candidate", 7)]
    assert [(s.label, s.gold, s.said, s.right) for s in promoted.measurement.labels] == [("refund", 4, 2, 2)]
    assert promoted.measurement.labels[0].f1 == pytest.approx(2 / 3)
    assert rejected.measurement.ran_on == rejected.measurement.labels == ()
    assert promoted.measurement.noise[0].differ == 1
    assert promoted.verdict.look == 1


def test_a_tainted_run_taints_the_report(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE runs SET tainted = true WHERE status = 'done'")
    assert assemble(query, 1, turns, facts).provenance.tainted


def test_a_lesson_without_a_mode_is_listed_as_any(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE candidates SET mode = '' WHERE mode = 'wrong_aggregate'")
    modes = assemble(query, 1, turns, facts).modes.rows
    free = next(m for m in modes if m.name == "any")
    assert free.candidates == 90
    assert free.before is None
    assert free.change is None


def test_training_rows_that_came_and_went(
    promoted: Report, rejected: Report, shared_query: Query, turns: Turns
) -> None:
    one, two = (f"(SELECT lesson_id FROM dataset WHERE node = '{turns[n]['curate'][0]}')" for n in (0, 1))
    added = _one(shared_query, f"SELECT count(DISTINCT lesson_id) FROM {two} WHERE lesson_id NOT IN {one}")
    assert promoted.changes.rows_removed == 0
    assert promoted.changes.rows_added == promoted.training.rows
    assert rejected.changes.rows_added == added


def test_a_cell_of_ten_megabytes_is_cut(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    item = promoted.examples.rows[0].item_id
    db.execute("UPDATE scores SET answer = repeat('z', 10000000) WHERE item_id = ?", [item])
    report = assemble(query, 1, turns, facts)
    assert "10,000,000 characters" in report.examples.rows[0].incumbent_answer
    assert len(report.model_dump_json()) < 300_000


def test_a_step_that_was_run_again_counts_once(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    db.execute(
        """INSERT INTO nodes SELECT * REPLACE (started_at + INTERVAL 1 DAY AS started_at,
           ended_at + INTERVAL 1 DAY AS ended_at) FROM nodes WHERE iteration = 1"""
    )
    again = assemble(query, 1, turns, facts)
    assert [n.name for n in again.costs.nodes] == [n.name for n in promoted.costs.nodes]
    assert again.costs.seconds == promoted.costs.seconds
    assert again.costs.usd == pytest.approx(promoted.costs.usd)
    assert again.funnel.wanted == promoted.funnel.wanted
    assert again.trend.turns == promoted.trend.turns
