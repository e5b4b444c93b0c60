"""Markdown and JUnit say what the page says."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from flywheel.records.decision import Precondition
from flywheel.report import Report, render, render_junit, render_summary, words
from flywheel.text import usd


def test_the_summary_has_verdict_scores_and_modes(promoted: Report) -> None:
    text = render_summary(promoted)
    assert text.startswith("## colours-of-things, iteration 1: Promote\n")
    assert words.percent(promoted.scores.suites[0].incumbent.value) in text  # type: ignore[union-attr]
    assert all(mode.name.replace("_", "\\_") in text for mode in promoted.modes.rows)
    assert "Simulated teachers: careful, careless." in text


def test_summary_tables_have_even_columns(rejected: Report) -> None:
    blocks = [b for b in render_summary(rejected).split("\n\n") if b.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1


def test_text_in_the_summary_is_no_markup(promoted: Report) -> None:
    bad = promoted.model_copy(update={"name": "x | <img src=y onerror=z> [a](javascript:b) @team\n# h"})
    text = render_summary(bad)
    assert "<img" not in text
    assert "](" not in text
    assert "@team" not in text
    assert "\n# h" not in text


def test_a_blocked_precondition_is_in_the_summary(rejected: Report) -> None:
    checks = (Precondition("no_contamination", False, "3 rows overlap"),)
    verdict = rejected.verdict.model_copy(update={"preconditions": checks})
    assert "Blocked:** no\\_contamination: 3 rows overlap" in render_summary(
        rejected.model_copy(update={"verdict": verdict})
    )


def test_junit_has_a_case_for_each_rule_and_precondition(rejected: Report) -> None:
    suite = ElementTree.fromstring(render_junit(rejected))
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert len(cases) == len(rejected.verdict.rules) + len(rejected.verdict.preconditions)
    kinds = {name: failure.get("type") for name, case in cases.items() for failure in case.findall("failure")}
    assert kinds == {"holdout better_by 0.05": "undecided", "guard not_worse_than 0.2": "failed"}
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), "2")


def test_junit_of_a_promotion_has_no_failure(promoted: Report) -> None:
    assert ElementTree.fromstring(render_junit(promoted)).get("failures") == "0"


def test_the_summary_has_the_ledger_the_audit_and_what_was_never_audited(promoted: Report) -> None:
    text = render_summary(promoted)
    strategy = promoted.strategies.rows[0]
    assert f"| targeted | {strategy.candidates:,} | {strategy.accepted:,} (" in text
    rate = promoted.audit.rows[0].false_accept.rate
    assert rate
    assert f"accept {words.percent(rate.value)} ({words.interval(rate)}) of wrong answers" in text
    assert "Never audited: set, apt." in text


def test_the_summary_says_that_the_run_is_tainted_and_that_it_waits(promoted: Report) -> None:
    run = promoted.provenance.runs[0].model_copy(update={"tainted": True})
    provenance = promoted.provenance.model_copy(update={"runs": (run,)})
    approvals = promoted.approvals.model_copy(update={"needed": True, "rows": ()})
    text = render_summary(promoted.model_copy(update={"provenance": provenance, "approvals": approvals}))
    assert "ran without a sandbox" in text
    assert "waits for a person" in text
    assert "sandbox" not in render_summary(promoted)


def test_junit_has_the_persons_word(promoted: Report) -> None:
    def outcome(**update: object) -> list[str]:
        report = promoted.model_copy(update={"approvals": promoted.approvals.model_copy(update=update)})
        cases = ElementTree.fromstring(render_junit(report)).findall("testcase")
        return [child.tag for case in cases if case.get("name") == "approval" for child in case]

    refused = promoted.approvals.rows[0].model_copy(update={"verdict": "reject"})
    assert outcome() == ["system-out"]
    assert outcome(rows=(refused,)) == ["failure"]
    assert outcome(rows=(), needed=True) == ["skipped"]
    assert outcome(rows=(), needed=False) == []


def test_junit_of_an_untrained_iteration_is_skipped(untrained: Report) -> None:
    suite = ElementTree.fromstring(render_junit(untrained))
    assert suite.get("skipped") == "1"


@pytest.mark.parametrize("text", ["\x00\x0b", "\uffff", "\ud800", "]]><x>"])
def test_junit_is_xml_whatever_the_text(promoted: Report, text: str) -> None:
    verdict = promoted.verdict.model_copy(update={"preconditions": (Precondition(text, False, text),)})
    ElementTree.fromstring(render_junit(promoted.model_copy(update={"verdict": verdict})))


def test_accepted_lessons_stand_beside_what_people_would_be_paid(promoted: Report) -> None:
    strategies = promoted.strategies
    assert strategies.human_usd_per_example == 2.0
    said = words.beside_people(strategies.accepted, strategies.usd, 2.0)
    assert said.endswith(f"people at $2.00 each: {usd(2 * strategies.accepted)}.")
    assert said in render_summary(promoted)
    free = tuple(row.model_copy(update={"usd": 0.0}) for row in strategies.rows)
    nothing = promoted.model_copy(update={"strategies": strategies.model_copy(update={"rows": free})})
    assert "people at" not in render_summary(nothing), "what cost nothing has no price to compare"


def test_hours_saved_are_in_summary_and_page_where_the_spec_says_how_long_people_work(promoted: Report) -> None:
    assert "hours" not in render_summary(promoted)
    timed = promoted.strategies.model_copy(update={"human_minutes_per_example": 6.0})
    report = promoted.model_copy(update={"strategies": timed})
    said = f"at 6 min of work each: {timed.accepted / 10:,.1f} hours of people saved."
    assert said in render_summary(report)
    assert said in render(report)
    assert "loop.human_minutes_per_example" in render(report)
