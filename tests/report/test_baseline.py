"""The banner says where the base's wrong answers are the prompt's doing, and what the base does when shown how."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import stand_in
from flywheel.records import Generation
from flywheel.report import Report, render, render_summary
from mini_domain import Domain, judged_by_labels


def report_of(domain: Domain, iteration: int = 1) -> Report:
    text = (domain.root / "reports" / f"iter-{iteration:03d}" / "report.json").read_text()
    return Report.model_validate_json(text, strict=False)


def said(adapter: str | None, prompt: str) -> str:
    """Untaught it says what no label is, at length; what it has learned it says."""
    noun = prompt.splitlines()[0].split()[1]
    return stand_in.learned(adapter).get(noun, "some hue or other")


def answer(job: Any, progress: Any) -> list[Generation]:
    return [Generation(name, said(job.arm.adapter, text), 6, job.arm.adapter is None) for name, text in job.prompts]


def evaluate(job: Any, progress: Any) -> Any:
    """As `answer`; but who was shown solved rows says "blue"."""
    from dataclasses import replace

    found = stand_in.evaluate(job, progress)
    base = job.arm.adapter is None
    for suite in job.suites:
        shots = {item.item_id for item in suite.items if item.shots}
        found.suites[suite.name][:] = [
            replace(one, answers=(replace(one.answers[0], text=text, truncated=base),))
            for one in found.suites[suite.name]
            for text in ["blue" if one.item_id in shots and base else said(job.arm.adapter, one.asked)]
        ]
    return found


@pytest.fixture
def unfair(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """Judged by labels that no prompt names, with room for six tokens."""
    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:answer", answer)
    monkeypatch.setitem(stand_in.WORK, "flywheel.harness:evaluate", evaluate)

    return judged_by_labels(domain, "red", "blue").edit(lambda spec: spec["evals"]["holdout"].update(limit=16))


def test_the_banner_says_what_made_the_base_wrong_and_what_to_change(unfair: Domain) -> None:
    unfair.apply()
    report = report_of(unfair)
    untold, cut = report.baseline.artefacts
    assert untold.text == (
        "The base was never told the labels: prompts/colour.md names none of the 2, and 12 of 12 wrong answers to the "
        "probes of colour, 16 of 16 on holdout and 8 of 8 on guard are none of them."
    )
    assert untold.remedy == "Name the labels in prompts/colour.md."
    assert "were cut at student.max_new_tokens (6)." in cut.text
    assert cut.remedy.startswith("Raise student.max_new_tokens")
    assert [(count.suite, count.hits, count.wrong) for count in cut.counts] == [
        ("", 12, 12), ("holdout", 16, 16), ("guard", 8, 8),
    ]  # fmt: skip
    page = render(report)
    banner = re.search(r'<div class="banner.*?</div>\n\n', page, re.S)
    assert banner
    for text in (untold.text, cut.text, report.baseline.advice):
        assert text in banner[0].replace("&#39;", "'")
    assert "The base was never told the labels" in render_summary(report)


def test_how_to_measure_the_base_with_shots_is_proposed_and_works(unfair: Domain) -> None:
    unfair.apply()
    advice = report_of(unfair).baseline.advice
    key = "holdout_shots: {task: colour, data: evals/holdout.jsonl, limit: 16, role: watch, num_fewshot: 5}"
    assert advice == f"To see what the same base does when shown how, add to evals: {key}."

    import yaml

    unfair.edit(lambda spec: spec["evals"].update(yaml.safe_load(key)))
    unfair.edit(lambda spec: [suite.pop("limit", None) for suite in spec["evals"].values()])
    unfair.apply()
    report = report_of(unfair)
    assert report.baseline.advice == ""
    [row] = report.baseline.shots
    assert (row.suite, row.shown, row.shots, row.items) == ("holdout", "holdout_shots", 5, 16)
    assert (row.without.value, row.with_shots.value) == (0.0, 0.5)
    assert row.over_with_shots.value == pytest.approx(row.candidate.value - 0.5)
    assert row.over_without.value == pytest.approx(row.candidate.value)
    target = next(score for score in report.scores.suites if score.suite == "holdout")
    assert row.over_without == target.change
    assert re.match(
        r"holdout: \+[\d.]+ points over the base without shots, .* over the same base with 5 shots \(", row.text
    )
    assert row.text in render(report)
    assert "points over the base without shots" in render_summary(report)
    # Shots name labels, and who was shown them is not untold.
    assert "holdout_shots" not in report.baseline.artefacts[0].text


def test_suites_that_differ_in_more_than_shots_are_not_compared(unfair: Domain) -> None:
    shown = {"task": "colour", "data": "evals/holdout.jsonl", "role": "watch", "num_fewshot": 2, "stop": ["!"]}
    unfair.edit(lambda spec: spec["evals"].update(shown=shown))
    unfair.apply()
    assert report_of(unfair).baseline.shots == ()


def test_a_suite_of_other_size_shows_the_base_on_the_items_of_both(unfair: Domain) -> None:
    shown = {"task": "colour", "data": "evals/holdout.jsonl", "role": "watch", "num_fewshot": 2, "limit": 12}
    unfair.edit(lambda spec: spec["evals"].update(shown=shown))
    unfair.apply()
    report = report_of(unfair)
    both = """SELECT count(*) AS n FROM (SELECT item_id FROM scores WHERE suite = 'holdout' AND arm = 'candidate'
              INTERSECT SELECT item_id FROM scores WHERE suite = 'shown' AND arm = 'candidate')"""
    [row] = report.baseline.shots
    assert 0 < row.items < 16
    assert row.items == unfair.query(both)[0]["n"]
    assert f"(shown, {row.items} items of both)" in row.text
    assert report.baseline.advice == "", "it is there"


def test_the_line_of_the_probe_says_it(unfair: Domain) -> None:
    events: list[dict[str, Any]] = []
    unfair.apply(listener=events.append)
    from flywheel.console.view import found_in_words

    probe = next(event for event in events if event["event"] == "node_done" and event["node"] == "i1.probe.colour")
    assert found_in_words("probe", probe) == (
        "0 pass, 12 fail; 12 of 12 wrong answers are none of the labels, and the prompt names none: name the labels in "
        "prompts/colour.md; 12 of 12 wrong answers were cut at student.max_new_tokens (6): raise "
        "student.max_new_tokens, or set tasks.colour.stop where the answer comes first"
    )


def test_a_taught_model_that_is_right_has_no_artefact_left(unfair: Domain) -> None:
    unfair.edit(lambda spec: spec["loop"].update(iterations=2))
    unfair.apply()
    first, second = report_of(unfair, 1), report_of(unfair, 2)
    assert first.baseline.who == "base"
    if first.verdict.outcome == "promote":
        assert second.baseline.who == "incumbent"
        assert second.baseline.artefacts == ()


def test_a_fair_base_is_not_spoken_of(promoted: Report) -> None:
    assert promoted.baseline.artefacts == ()
    assert promoted.baseline.advice == ""
    assert "artefact" not in render(promoted)


def test_a_report_that_was_written_before_has_no_word_on_it(promoted: Report) -> None:
    kept = json.loads(promoted.model_dump_json())
    del kept["baseline"]
    assert Report.model_validate(kept, strict=False).baseline.artefacts == ()


def test_the_queries_give_the_wrong_answers(unfair: Domain) -> None:
    unfair.apply()
    report = report_of(unfair)
    assert len(unfair.query(report.baseline.probes_query)) == 12
    assert len(unfair.query(report.baseline.suites_query)) == 24
