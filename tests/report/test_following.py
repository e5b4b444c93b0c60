"""An error mode is followed on the page alone: failure → lesson → verdict → training row → score."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import pytest

from flywheel.records.nodes import Query
from flywheel.report import Report, ReportFacts, assemble, following, queries, render
from flywheel.report.model import Followed

Turns = Sequence[dict[str, list[str]]]


def followed(report: Report) -> list[tuple[Followed, str]]:
    return [(one, one.mode) for one in report.followed.rows]


@pytest.mark.parametrize("which", ["promoted", "rejected"])
def test_counts_are_those_of_the_modes(which: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(which)
    modes = {mode.name: mode for mode in report.modes.rows}
    told = {name for name, mode in modes.items() if mode.probe_failures or mode.candidates}
    assert {mode for _, mode in followed(report)} == told
    for one, mode in followed(report):
        assert sum(number for _, number in one.fates) == modes[mode].candidates
        assert sum(row.candidates for row in one.teachers) == modes[mode].candidates
        assert sum(row.accepted for row in one.teachers) == modes[mode].accepted
        assert sum(row.trained for row in one.teachers) == dict(one.fates).get("trained", 0) == modes[mode].trained
        assert bool(one.failures) == bool(modes[mode].probe_failures)


def test_every_failure_has_its_mode_and_every_lesson_the_failures_it_came_from(
    promoted: Report, shared_query: Query, turns: Turns
) -> None:
    rows = shared_query(f"SELECT * FROM failures WHERE node IN {queries.of(turns[0], 'diagnose')}")
    modes = {row["failure_id"]: row["mode"] for row in rows}
    shown = {failure.failure_id for one, _ in followed(promoted) for failure in one.failures}
    for one, mode in followed(promoted):
        assert all(modes[failure.failure_id] == mode for failure in one.failures)
        assert all("fail" in {said.outcome for said in failure.verdicts} for failure in one.failures)
        if mode != "any":
            assert all({modes[name] for name in lesson.failures} == {mode} for lesson in one.lessons)
            assert all(shown & set(lesson.failures) for lesson in one.lessons), (
                "a lesson leads to a failure that is shown"
            )


def test_a_lesson_says_what_became_of_it(promoted: Report, shared_query: Query, turns: Turns) -> None:
    nodes = turns[0]
    trained = {
        row["candidate_id"]
        for row in shared_query(f"SELECT candidate_id FROM dataset WHERE node IN {queries.of(nodes, 'curate')}")
    }
    lessons = [lesson for one, _ in followed(promoted) for lesson in one.lessons]
    assert {"trained", "fail", "dropped", "unknown"} <= {lesson.fate for lesson in lessons}
    for lesson in lessons:
        assert (lesson.fate == "trained") == (lesson.candidate_id in trained)
        said = {verdict.outcome for verdict in lesson.verdicts}
        if lesson.fate in ("trained", "dropped", "kept"):
            assert said == {"pass"}
        if lesson.fate in ("fail", "unknown"):
            assert lesson.fate in said
        if lesson.fate != "trained":
            assert lesson.why
    assert all(len(one.lessons) <= following.LESSONS for one, _ in followed(promoted))


def test_what_a_mode_cost_is_what_its_teachers_were_paid(promoted: Report) -> None:
    vendor = [row for one, _ in followed(promoted) for row in one.teachers if row.teacher == "vendor"]
    [ledger] = [row for row in promoted.teachers.rows if row.name == "vendor"]
    assert sum(row.usd for row in vendor) > 0
    assert sum(row.accepted for row in vendor) == ledger.accepted
    assert ledger.usd_per_accepted is not None
    assert sum(row.usd for row in vendor) == pytest.approx(ledger.usd_per_accepted * ledger.accepted)


def test_many_modes_are_cut_to_those_that_fail_most(
    db: duckdb.DuckDBPyConnection, query: Query, turns: Turns, facts: ReportFacts
) -> None:
    diagnose, probe = turns[0]["diagnose"][0], turns[0]["probe"][0]
    db.execute("DELETE FROM failures WHERE node = ?", [diagnose])
    db.execute(
        """INSERT INTO failures (node, failure_id, answer_id, task, mode, severity)
           SELECT ?, 'f' || n || '-' || again, (SELECT min(answer_id) FROM answers WHERE node = ?), 'colour',
             'mode' || n, 'major' FROM range(30) AS many(n), range(n + 5) AS times(again)""",
        [diagnose, probe],
    )
    found = assemble(query, 1, turns, replace(facts, taxonomy=()))
    assert len(found.followed.rows) == following.MODES
    assert [one.mode for one in found.followed.rows][:3] == ["mode29", "mode28", "mode27"]
    assert found.followed.left_out >= 30 - following.MODES
    assert {len(one.failures) for one in found.followed.rows} == {following.FAILURES}


def test_what_production_answered_is_not_on_the_page(shared_query: Query, turns: Turns, promoted: Report) -> None:
    modes = [mode for _, mode in followed(promoted)]
    probes = shared_query(queries.followed_failures(turns[0], modes, (), 3))
    mined = {**turns[0], "mine": turns[0]["probe"], "probe": []}
    assert probes
    assert shared_query(queries.followed_failures(mined, modes, (), 3)) == []


def test_the_page_leads_from_an_item_to_its_mode(promoted: Report) -> None:
    html = render(promoted)
    places = {one.mode: f"mode-{n}" for n, one in enumerate(promoted.followed.rows, start=1)}
    item = next(row for row in promoted.examples.rows if row.incumbent_mode in places)
    article = next(text for text in html.split("<article") if f"{item.suite} · {item.item_id}<" in text)
    assert f'<a href="#{places[item.incumbent_mode]}">{item.incumbent_mode}</a>' in article
    section = html.split(f'id="{places[item.incumbent_mode]}"')[1].split("</details>")[0]
    one = next(one for one in promoted.followed.rows if one.mode == item.incumbent_mode)
    assert all(lesson.candidate_id in section for lesson in one.lessons)
    assert all(f'id="failure-{failure.failure_id}"' in section for failure in one.failures)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_an_item_has_its_outcome_in_every_iteration(rejected: Report, shared_query: Query, turns: Turns) -> None:
    for example in (*rejected.examples.rows, *rejected.guard_examples.rows):
        assert [past.iteration for past in example.past] == [1, 2]
        for past, nodes in zip(example.past, turns, strict=False):
            rows = shared_query(
                f"SELECT arm, outcome FROM scores WHERE node IN {queries.of(nodes, 'evaluate')} AND suite = ? "
                "AND item_id = ?",
                [example.suite, example.item_id],
            )
            outcomes = {row["arm"]: row["outcome"] for row in rows}
            assert (past.before, past.after) == (outcomes["incumbent"], outcomes["candidate"])


def test_the_curves_of_a_comparison_are_on_the_page(promoted: Report, shared_query: Query) -> None:
    stored = shared_query("SELECT DISTINCT detail->'curves' AS curves FROM ablations WHERE without = 'targeting'")
    [curve] = json.loads(stored[0]["curves"]) if isinstance(stored[0]["curves"], str) else stored[0]["curves"]
    [shown] = promoted.ablations.curves
    assert shown.suite == curve["suite"] == "holdout"
    for side in ("targeted", "untargeted"):
        points = [(p.lessons, p.score.value, p.score.low, p.score.high) for p in getattr(shown, side)]
        assert points == [tuple(point[key] for key in ("lessons", "score", "low", "high")) for point in curve[side]]
    html = render(promoted)
    assert "holdout by lessons, with targeting and without" in html
    assert all(text in html for text in shown.needs)
    assert [text.split(":")[0] for text in shown.needs] == ["targeted", "untargeted"]
