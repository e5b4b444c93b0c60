"""Every number on the page is one that SQL gives, and what cannot be measured is absent, not zero."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel
from turned_wheel import Turned

from flywheel.errors import StoreError
from flywheel.report import Report, ReportFacts, assemble, render, render_summary
from flywheel.report.queries import of
from flywheel.stats import paired_difference_interval, wilson

Query = Callable[..., list[dict[str, Any]]]
Turns = list[dict[str, list[str]]]


def _one(query: Query, sql: str) -> Any:
    return next(iter(query(sql)[0].values()))


def _keys(nodes: dict[str, list[str]]) -> str:
    """The calls that an iteration's generators asked for, as a SQL subquery."""
    return f"""(SELECT unnest(CAST(json_extract(summary, '/keys') AS VARCHAR[])) FROM nodes
        WHERE node IN {of(nodes, "generate")})"""


def test_suite_scores_are_those_of_plain_sql(promoted: Report, shared_query: Query, turns: Turns) -> None:
    in_suite = f"node IN {of(turns[0], 'evaluate')} AND suite = 'holdout'"
    items = f"""FROM scores i JOIN scores c USING (node, suite, item_id)
        WHERE {in_suite} AND i.arm = 'incumbent' AND c.arm = 'candidate'
        AND i.outcome <> 'unknown' AND c.outcome <> 'unknown'"""
    score = promoted.scores.suites[0]
    assert score.suite == "holdout"
    assert score.items == _one(shared_query, f"SELECT count(*) {items}")
    every = _one(shared_query, f"SELECT count(DISTINCT item_id) FROM scores WHERE {in_suite}")
    assert score.unknown == every - score.items == 1
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
    mode = next(m for m in promoted.modes.rows if m.name == "cloth")
    had = f"""SELECT count(*) FROM scores WHERE node IN {of(turns[0], "evaluate")} AND suite = 'holdout'
        AND mode = 'cloth'"""
    before = _one(shared_query, f"{had} AND arm = 'incumbent'")
    after = _one(shared_query, f"{had} AND arm = 'candidate'")
    items = promoted.scores.suites[0].items
    assert mode.before
    assert mode.after
    assert mode.change
    assert mode.before.value == pytest.approx(before / items)
    assert mode.after.value == pytest.approx(after / items)
    assert mode.change.value == pytest.approx(mode.after.value - mode.before.value)
    assert mode.change.direction == "down"

    def counted(what: str, kind: str) -> Any:
        return _one(shared_query, f"SELECT {what} WHERE node IN {of(turns[0], kind)} AND mode = 'cloth'")

    assert mode.probe_failures == counted("count(*) FROM failures", "diagnose")
    assert mode.budget == counted("sum(lessons) FROM budgets", "budget")
    assert mode.candidates == counted("count(*) FROM candidates", "generate")
    assert mode.trained == counted("count(*) FROM dataset", "curate")
    assert mode.candidates > mode.accepted >= mode.trained > 0


def _into(db: duckdb.DuckDBPyConnection, nodes: dict[str, list[str]], which: str) -> None:
    """The candidate fails at what the incumbent did to `which` items, in the mode `other`."""
    here = f"node IN {of(nodes, 'evaluate')} AND suite = 'holdout'"
    db.execute(f"""UPDATE scores SET outcome = 'fail', score = 0, mode = 'other'
        WHERE {here} AND arm = 'candidate' AND outcome != 'unknown'
        AND item_id IN (SELECT item_id FROM scores WHERE {here} AND arm = 'incumbent' AND {which})""")


def test_errors_that_moved_on_are_told_apart_from_harm(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    _into(db, turns[0], "mode IN ('air', 'water', 'cloth')")
    report = assemble(query, 1, turns, facts)
    other = next(mode for mode in report.modes.rows if mode.name == "other")

    assert other.change
    assert other.change.direction == "up"
    assert other.from_wrong > 10
    assert other.took_over
    assert "error mode other" not in {worse.name for worse in report.verdict.worse}
    [said] = report.verdict.took_over
    assert f"{other.from_wrong} were wrong in another way before" in said
    assert "Errors moved on, which is no harm by itself: other" in render(report)


def test_a_mode_into_which_right_answers_fell_is_harm(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    _into(db, turns[0], "(mode IN ('air', 'water', 'cloth') OR outcome = 'pass')")
    report = assemble(query, 1, turns, facts)
    other = next(mode for mode in report.modes.rows if mode.name == "other")

    assert other.from_right > 0
    assert not other.took_over
    assert "error mode other" in {worse.name for worse in report.verdict.worse}
    assert report.verdict.took_over == ()


def test_modes_keep_the_taxonomys_order_and_all_are_there(
    promoted: Report, facts: ReportFacts, shared_query: Query, turns: Turns
) -> None:
    assert [m.name for m in promoted.modes.rows] == [*(m.name for m in facts.taxonomy), "any"]
    failures = _one(shared_query, f"SELECT count(*) FROM failures WHERE node IN {of(turns[0], 'diagnose')}")
    assert sum(m.probe_failures for m in promoted.modes.rows) == promoted.modes.probe_failures == failures
    assert sum(m.trained for m in promoted.modes.rows) == promoted.funnel.stages[-1].rows


def test_a_mode_that_only_the_store_knows_is_shown(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    db.execute("UPDATE failures SET mode = 'renamed' WHERE mode = 'air'")
    report = assemble(query, 1, turns, facts)
    [air] = [m for m in promoted.modes.rows if m.name == "air"]
    assert next(m for m in report.modes.rows if m.name == "renamed").probe_failures == air.probe_failures


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
    db.execute("DELETE FROM judged WHERE outcome = 'fail'")
    assert assemble(query, 1, turns, facts).funnel.unexplained > 0


def test_the_funnel_names_verifiers_stages_and_reasons(promoted: Report, shared_query: Query, turns: Turns) -> None:
    losses = {loss.cause: loss for stage in promoted.funnel.stages for loss in stage.losses}
    assert {
        "unreadable", "known: fail", "right: fail", "right: unknown", "duplicate", "near-duplicate",
        "contaminated",
    } <= losses.keys()  # fmt: skip
    reasons = shared_query(
        f"""SELECT reason, count(*) AS n FROM curation WHERE node IN {of(turns[0], "curate")} AND stage = 'quota'
            GROUP BY reason ORDER BY n DESC, reason LIMIT 3"""
    )
    assert reasons
    assert losses["quota"].reasons == tuple((row["reason"], row["n"]) for row in reasons)


def test_rows_left_out_of_the_mix_are_a_loss(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    """As where training leaves them out as too long."""
    new = f"SELECT candidate_id FROM dataset WHERE node IN {of(turns[0], 'curate')} AND origin = 'new' LIMIT 3"
    db.execute(f"DELETE FROM dataset WHERE candidate_id IN ({new})")
    report = assemble(query, 1, turns, facts)
    assert report.funnel.stages[-1].losses[0].rows == 3
    assert report.funnel.unexplained == 0


def test_teachers_carry_cost_acceptance_and_simulation(
    promoted: Report, facts: ReportFacts, shared_query: Query, turns: Turns
) -> None:
    assert {t.name: t.simulated for t in promoted.teachers.rows} == {t.name: t.simulated for t in facts.teachers}
    vendor = next(t for t in promoted.teachers.rows if t.name == "vendor")
    calls = f"FROM calls WHERE teacher = 'vendor' AND key IN {_keys(turns[0])}"
    assert vendor.usd == pytest.approx(_one(shared_query, f"SELECT sum(usd) {calls}"))
    assert vendor.tokens == _one(shared_query, f"SELECT sum(input_tokens + output_tokens) {calls}") > 0
    assert vendor.failed_calls == _one(shared_query, f"SELECT count(*) {calls} AND status = 'failed'") == 1
    careless = next(t for t in promoted.teachers.rows if t.name == "careless")
    assert careless.acceptance
    assert careless.acceptance.value == pytest.approx(careless.accepted / careless.questions)
    assert careless.acceptance.low < careless.acceptance.value < careless.acceptance.high
    shares = [t.dataset_share or 0 for t in promoted.teachers.rows]
    seeds = _one(
        shared_query, f"SELECT count(*) FROM dataset WHERE node IN {of(turns[0], 'curate')} AND origin = 'seed'"
    )
    assert sum(shares) == pytest.approx(1 - seeds / promoted.training.rows)


def test_all_money_is_of_this_iteration(pages: dict[int, Report], shared_query: Query) -> None:
    promoted, rejected = pages[1], pages[2]
    assert sum(page.costs.usd for page in pages.values()) == pytest.approx(
        _one(shared_query, "SELECT sum(usd) FROM calls")
    )
    judged = _one(shared_query, "SELECT sum(usd) FROM calls WHERE purpose = 'judge'")
    assert promoted.costs.usd == pytest.approx(sum(t.usd for t in promoted.teachers.rows))
    assert promoted.costs.usd == pytest.approx(sum(s.usd for s in promoted.strategies.rows) + judged)
    assert rejected.costs.usd == pytest.approx(sum(s.usd for s in rejected.strategies.rows))
    assert rejected.costs.usd_before == promoted.costs.usd
    last = {n.name.replace("i1.", "i2."): n.seconds for n in promoted.costs.nodes}
    assert {n.name: n.seconds_before for n in rejected.costs.nodes} == last
    assert rejected.costs.seconds_before == promoted.costs.seconds


def test_an_iteration_without_training_says_so(untrained: Report) -> None:
    assert untrained.verdict.outcome == "untrained"
    generated, *_, trained = untrained.funnel.stages
    assert trained.rows == untrained.modes.probe_failures == 0
    assert f"of {generated.rows} candidates none was within the generators' rules" in untrained.verdict.headline
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
    assert report.measurement.ran_on == report.measurement.labels == report.measurement.noise == ()


def test_an_iteration_without_nodes_of_a_kind(query: Query, facts: ReportFacts, turns: Turns) -> None:
    only_probed = [{kind: nodes for kind, nodes in turns[0].items() if kind in ("probe", "diagnose")}]
    report = assemble(query, 1, only_probed, facts)
    assert report.modes.probes == _one(query, f"SELECT count(*) FROM answers WHERE node IN {of(turns[0], 'probe')}") > 0
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
    db.execute("UPDATE scores SET slices = json_object('id', item_id, 'again', item_id) WHERE suite = 'holdout'")
    scores = assemble(query, 1, turns, facts).scores
    items = "SELECT count(DISTINCT item_id) FROM scores WHERE suite = '{}'".format
    assert len(scores.slices) == 150
    assert scores.slices_left_out == 2 * _one(query, items("holdout")) + 1 - 150
    assert [s.items for s in scores.slices if s.suite == "guard"] == [_one(query, items("guard"))]


def test_an_adapter_without_a_decision_is_refused(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("DELETE FROM decisions")
    with pytest.raises(StoreError, match="flywheel apply"):
        assemble(query, 1, turns, facts)


def test_a_loss_that_is_no_number_is_not_a_point(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    db.execute("UPDATE losses SET loss = 'nan' WHERE step = 5")
    report = assemble(query, 1, turns, facts)
    assert [p for p in promoted.training.losses if p.step != 5] == list(report.training.losses)
    assert len(report.training.losses) == len(promoted.training.losses) - 1 > 1
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_examples_show_each_movement_and_leave_the_answer_out_of_the_question(
    promoted: Report, shared_query: Query
) -> None:
    assert {e.movement for e in promoted.examples.rows} == {"fixed", "broken", "still_wrong"}
    fixed = next(e for e in promoted.examples.rows if e.movement == "fixed")
    text = _one(shared_query, f"SELECT \"row\"->>'text' FROM scores WHERE item_id = '{fixed.item_id}' LIMIT 1")
    assert fixed.question == f"light: day\ntext: {text}"
    assert fixed.gold not in fixed.question
    assert fixed.candidate_answer == fixed.gold != fixed.incumbent_answer
    assert fixed.incumbent_mode
    assert fixed.candidate_mode == ""
    assert len({e.incumbent_mode for e in promoted.examples.rows if e.movement == "fixed"}) > 2


def test_graded_scores_keep_paired_intervals(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE scores SET score = 0.5 WHERE suite = 'guard' AND arm = 'candidate' AND outcome = 'pass'")
    score = assemble(query, 1, turns, facts).scores.suites[1]
    assert score.change
    assert score.change.value == pytest.approx(score.candidate.value - score.incumbent.value)  # type: ignore[union-attr]
    assert score.change.low < score.change.value < score.change.high < 0


def test_two_evaluate_nodes_are_one_iteration(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE scores SET node = 'other' WHERE suite = 'guard' AND node = ?", [turns[0]["evaluate"][0]])
    split = [{**turns[0], "evaluate": [*turns[0]["evaluate"], "other"]}]
    assert [s.suite for s in assemble(query, 1, split, facts).scores.suites] == ["holdout", "guard", "tags"]


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
        shared_query(sql)


def test_the_same_rows_give_the_same_report(query: Query, turns: Turns, facts: ReportFacts, promoted: Report) -> None:
    assert assemble(query, 1, turns, facts).model_dump_json() == promoted.model_dump_json()


def test_a_report_survives_json(promoted: Report) -> None:
    assert Report.model_validate_json(promoted.model_dump_json()) == promoted
    assert json.loads(promoted.model_dump_json())["report_version"] == 2


def test_a_strategy_has_its_price_its_shares_and_the_modes_that_fell(
    promoted: Report, rejected: Report, shared_query: Query, turns: Turns, wheel: Turned
) -> None:
    strategy = promoted.strategies.rows[0]
    assert (strategy.name, strategy.strategy) == ("targeted", "targeted")
    assert strategy.failed_calls == sum(count for _, count in promoted.funnel.calls_failed) == 1
    assert strategy.usd_per_accepted == pytest.approx(strategy.usd / strategy.accepted)
    assert strategy.acceptance
    assert strategy.acceptance.value == pytest.approx(strategy.accepted / strategy.questions)
    falling = {m.name for m in promoted.modes.rows if m.change and m.change.direction == "down" and m.trained}
    assert falling
    assert set(strategy.modes_fell) == falling
    told = {
        n: shared_query(
            f"""SELECT summary FROM nodes WHERE node IN {of(turns[n - 1], "generate")} AND subject = 'targeted'
                ORDER BY round"""
        )
        for n in (1, 2)
    }
    again = rejected.strategies.rows[0]
    assert again.same_answers == max(row["summary"]["same_answers"] for row in told[2]) > 0
    assert {s.allocated for s in strategy.shares} == {None}
    assert {s.teacher: s.allocated for s in again.shares} == told[2][0]["summary"]["allocation"]
    for page in (promoted, rejected):
        [fact] = [g for g in wheel.facts[page.iteration].generators if g.name == "targeted"]
        shares = page.strategies.rows[0].shares
        assert {s.teacher: s.bandit for s in shares} == fact.bandit
        assert {s.teacher: s.weight for s in shares} == fact.weights


def test_shares_of_the_dataset_follow_lessons_over_iterations(
    rejected: Report, shared_query: Query, turns: Turns
) -> None:
    """A lesson that is trained on again is still its strategy's."""
    rows = shared_query(
        f"""SELECT c.generator, count(*) / sum(count(*)) OVER () AS share, bool_or(d.origin = 'replay') AS again
            FROM dataset d LEFT JOIN candidates c USING (candidate_id)
            WHERE d.node IN {of(turns[1], "curate")} GROUP BY c.generator"""
    )
    assert any(row["again"] for row in rows)
    shares = {row["generator"]: row["share"] for row in rows}
    assert {s.name: s.dataset_share for s in rejected.strategies.rows} == {
        name: pytest.approx(shares[name]) for name in ("targeted", "sampled", "free")
    }


def test_samples_of_one_question_count_once(promoted: Report, shared_query: Query, turns: Turns) -> None:
    sampled = next(s for s in promoted.strategies.rows if s.name == "sampled")
    made = f"FROM candidates WHERE node IN {of(turns[0], 'generate')} AND generator = 'sampled'"
    assert sampled.candidates == _one(shared_query, f"SELECT count(*) {made}")
    assert sampled.questions == _one(shared_query, f"SELECT count(DISTINCT group_id) {made}") < sampled.candidates


def test_second_opinions_are_the_strategys_not_the_price_of_a_teachers_lesson(
    promoted: Report, shared_query: Query, turns: Turns
) -> None:
    def paid(purpose: str) -> float:
        sql = f"SELECT sum(usd) FROM calls WHERE teacher = 'vendor' AND purpose = '{purpose}' AND key IN "
        return float(_one(shared_query, sql + _keys(turns[0])))

    opinions, lessons = paid("answer"), paid("lessons")
    assert opinions > 0
    vendor = next(t for t in promoted.teachers.rows if t.name == "vendor")
    assert vendor.usd == pytest.approx(lessons + opinions)
    assert vendor.usd_per_accepted == pytest.approx(lessons / vendor.accepted)
    assert {s.name: s.usd for s in promoted.strategies.rows} == {
        "targeted": pytest.approx(lessons), "sampled": 0, "free": pytest.approx(opinions),
    }  # fmt: skip


def test_a_judges_calls_are_the_steps_that_it_judged_for(promoted: Report, shared_query: Query, turns: Turns) -> None:
    judged = _one(shared_query, "SELECT sum(usd) FROM calls WHERE purpose = 'judge'")
    # Both run at one time, and a call of then may be told of either.
    measuring = [n.usd for n in promoted.costs.nodes if n.kind in ("evaluate", "ablate")]
    assert sum(measuring) == pytest.approx(judged)
    lessons = _one(shared_query, f"SELECT sum(usd) FROM calls WHERE key IN {_keys(turns[0])}")
    assert sum(n.usd for n in promoted.costs.nodes if n.kind == "generate") == pytest.approx(lessons)
    assert sum(s.usd for s in promoted.strategies.rows) == pytest.approx(lessons)


def test_dropped_by_rules_and_spare_are_stages_of_the_funnel(
    promoted: Report, shared_query: Query, turns: Turns
) -> None:
    losses = {(stage.name, loss.cause): loss.rows for stage in promoted.funnel.stages for loss in stage.losses}
    filtered = f"""SELECT count(*) FROM candidates WHERE node IN {of(turns[0], "generate")} AND status = 'filtered'
        AND problem LIKE """
    spared = f"""SELECT count(*) FROM judged WHERE node IN {of(turns[0], "verify")} AND outcome = 'spare'
        AND reason LIKE """
    for stage, cause, sql in (
        ("fitting", "too like an earlier question", f"{filtered} 'ROUGE-L%'"),
        ("fitting", "too long", f"{filtered} '%max_words'"),
        ("chosen", "spare: another sample of the question", f"{spared} 'another sample%'"),
        ("chosen", "spare: too easy", f"{spared} 'too easy%'"),
    ):
        assert losses[stage, cause] == _one(shared_query, sql) > 0
    assert promoted.funnel.unexplained == 0


def test_the_cascade_is_in_the_tasks_order_and_each_sees_what_the_last_left(promoted: Report) -> None:
    known, right = promoted.verifiers.rows
    assert (known.name, right.name) == ("known", "right")
    assert known.failed > 0
    assert right.judged == known.judged - known.failed
    assert right.unknown > 0
    causes = [loss.cause.split(":")[0] for loss in promoted.funnel.stages[3].losses]
    assert causes == sorted(causes, key=["known", "right"].index)


def test_what_was_asked_and_what_failed(promoted: Report, shared_query: Query, turns: Turns) -> None:
    told = shared_query(f"SELECT summary FROM nodes WHERE node IN {of(turns[0], 'generate')}")
    assert promoted.funnel.wanted == sum(sum(row["summary"]["wanted"].values()) for row in told)
    faults = shared_query(
        f"""SELECT fault, count(*) AS n FROM calls WHERE status = 'failed' AND key IN {_keys(turns[0])}
            GROUP BY fault ORDER BY n DESC"""
    )
    assert promoted.funnel.calls_failed == tuple((row["fault"], row["n"]) for row in faults) == (("truncated", 1),)


def test_the_newest_audit_counts_with_its_intervals(promoted: Report, shared_query: Query) -> None:
    together, known, right = promoted.audit.rows
    assert (together.verifier, known.verifier, right.verifier) == ("", "known", "right")

    def counted(what: str, expected: str) -> Any:
        return _one(
            shared_query,
            f"""SELECT sum({what}) FROM audits WHERE verifier = '*' AND expected = '{expected}'
                AND audited_at = (SELECT max(audited_at) FROM audits)""",
        )

    accepted, refused = together.false_accept, together.false_reject
    assert accepted.wrong == counted("passed", "fail") > 0
    assert accepted.cases == counted("passed + failed", "fail")
    assert accepted.unknown == counted("unknown", "fail") > 0
    assert accepted.rate
    assert (accepted.rate.low, accepted.rate.high) == pytest.approx(wilson(accepted.wrong, accepted.cases))
    assert (refused.wrong, refused.cases) == (counted("failed", "pass"), counted("cases", "pass"))
    assert promoted.audit.never == ("set", "apt")
    assert "old sky 6100 at dusk" in promoted.audit.wrong[0].text


def test_an_audit_of_another_version_does_not_count(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE audits SET version = 'older'")
    audit = assemble(query, 1, turns, facts).audit
    assert audit.rows == ()
    assert audit.never == ("known", "right", "set", "apt")


def test_a_judge_without_calibration_is_not_measured_and_not_calibrated(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    (judge,), (row,) = promoted.audit.judges, query("SELECT * FROM calibrations")
    for column in ("verifier", "teacher", "kappa", "low", "high", "agreed", "cases"):
        assert getattr(judge, column) == row[column]
    assert judge.calibrated
    db.execute("DELETE FROM calibrations")
    (judge,) = assemble(query, 1, turns, facts).audit.judges
    assert (judge.kappa, judge.calibrated) == (None, False)
    assert "not measured" in judge.problem


def test_teachers_on_a_suite_stand_beside_and_change_no_score(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts, promoted: Report
) -> None:
    arm = next(a for a in promoted.scores.arms if a.arm == "teacher:careless")
    [row] = query(
        f"""SELECT count(score) AS items, avg(score) AS score FROM scores
            WHERE node IN {of(turns[0], "evaluate")} AND arm = 'teacher:careless'"""
    )
    assert arm.score
    assert arm.items == row["items"]
    assert arm.score.value == pytest.approx(row["score"])
    db.execute("DELETE FROM scores WHERE arm = 'teacher:careless'")
    without = assemble(query, 1, turns, facts)
    assert without.scores.suites == promoted.scores.suites
    assert without.modes.rows == promoted.modes.rows
    assert without.examples.rows == promoted.examples.rows


def test_what_was_not_measured_of_answers_is_absent(promoted: Report) -> None:
    """Functions count no tokens, and cut nothing."""
    arms = {a.arm: a for a in promoted.scores.arms if a.suite == "holdout"}
    assert arms["teacher:careless"].tokens is None
    assert arms["candidate"].tokens == 1
    assert arms["candidate"].seconds == pytest.approx(0.01)


def test_ablations_of_this_iteration_and_comparisons_of_the_loop(
    promoted: Report, rejected: Report, untrained: Report, shared_query: Query, turns: Turns
) -> None:
    compared = [row["name"] for row in shared_query("SELECT name FROM ablations WHERE without = 'targeting'")]
    assert len(compared) > 1
    for n, page in ((0, promoted), (1, rejected)):
        assert [row.name for row in page.ablations.rows] == ["the_noun", *sorted(compared)]
        [own] = shared_query(f"SELECT * FROM ablations WHERE node IN {of(turns[n], 'ablate')}")
        first = page.ablations.rows[0]
        assert (first.with_part, first.without_part, first.lessons) == (
            own["with_part"], own["without_part"], own["lessons"],
        )  # fmt: skip
        assert (first.change.low, first.change.high) == (own["low"], own["high"])
        assert "lessons of 40" in first.note
    assert [row.name for row in untrained.ablations.rows] == sorted(compared)


def test_approvals_and_runs_are_read(promoted: Report, rejected: Report, shared_query: Query, turns: Turns) -> None:
    [word] = shared_query("SELECT person, note FROM approvals WHERE iteration = 1")
    assert [(a.person, a.note) for a in promoted.approvals.rows] == [(word["person"], word["note"])]
    assert rejected.approvals.rows == ()
    assert (promoted.approvals.needed, rejected.approvals.needed) == (True, False)
    every = of(turns[0], *turns[0])
    runs = shared_query(
        f"""SELECT run_id, max(sandbox) AS sandbox FROM runs
            WHERE run_id IN (SELECT run_id FROM nodes WHERE node IN {every}) GROUP BY run_id ORDER BY run_id"""
    )
    assert len(runs) == 2, "one that ended in waiting for a person, and one that deployed"
    assert [(r.run_id, r.sandbox, r.tainted) for r in promoted.provenance.runs] == [
        (row["run_id"], row["sandbox"], False) for row in runs
    ]
    assert promoted.verdict.look == 1


def test_measurement_is_read(promoted: Report, shared_query: Query, turns: Turns) -> None:
    measured = promoted.measurement
    in_tags = f"FROM scores WHERE node IN {of(turns[0], 'evaluate')} AND suite = 'tags'"
    assert measured.too_long == (("tags", 1),)
    ran_on = shared_query(
        f"SELECT arm, count(*) AS n {in_tags} AND answer LIKE '%Question:%' GROUP BY arm ORDER BY arm"
    )
    assert len(ran_on) == 2
    assert [(r.suite, r.arm, r.answers) for r in measured.ran_on] == [("tags", r["arm"], r["n"]) for r in ran_on]
    assert {(s.arm, s.label) for s in measured.labels} == {
        (arm, label) for arm in ("incumbent", "candidate") for label in ("red", "blue", "warm", "cold")
    }
    for score in measured.labels:
        gold = f"list_contains(string_split(gold, ', '), '{score.label}')"
        said = f"list_contains(string_split(regexp_extract(answer, 'tags: (.+)', 1), ', '), '{score.label}')"
        counts = f"SELECT count(*) {in_tags} AND arm = '{score.arm}' AND outcome <> 'unknown' AND "
        assert score.gold == _one(shared_query, counts + gold)
        assert score.said == _one(shared_query, counts + said)
        assert score.right == _one(shared_query, f"{counts} {gold} AND {said}")
        assert score.f1 == pytest.approx(2 * score.right / (score.gold + score.said))
    [told] = shared_query(f"SELECT summary FROM nodes WHERE node IN {of(turns[0], 'evaluate')}")
    assert {n.suite: (n.items, n.differ) for n in measured.noise} == {
        suite: (found["items"], found["differ"]) for suite, found in told["summary"]["noise"].items()
    }
    assert any(n.differ for n in measured.noise)


def test_a_tainted_run_taints_the_report(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    db.execute("UPDATE runs SET tainted = true WHERE run_id = (SELECT min(run_id) FROM runs) AND status <> 'running'")
    assert assemble(query, 1, turns, facts).provenance.tainted


def test_a_lesson_without_a_mode_is_listed_as_any(promoted: Report, shared_query: Query, turns: Turns) -> None:
    free = next(m for m in promoted.modes.rows if m.name == "any")
    made = f"SELECT count(*) FROM candidates WHERE node IN {of(turns[0], 'generate')} AND coalesce(mode, '') = ''"
    assert free.candidates == _one(shared_query, made) > 0
    assert free.before is None
    assert free.change is None


def test_training_rows_that_came_and_went(
    promoted: Report, rejected: Report, shared_query: Query, turns: Turns
) -> None:
    one, two = (f"(SELECT lesson_id FROM dataset WHERE node IN {of(turns[n], 'curate')})" for n in (0, 1))
    gone = "SELECT count(DISTINCT lesson_id) FROM {} WHERE lesson_id NOT IN {}".format
    assert promoted.changes.rows_removed == 0
    assert promoted.changes.rows_added == promoted.training.rows
    assert rejected.changes.rows_added == _one(shared_query, gone(two, one)) > 0
    assert rejected.changes.rows_removed == _one(shared_query, gone(one, two))


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
