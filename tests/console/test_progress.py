"""What a finished node says on the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.console.view import NodeView, found_in_words
from flywheel.text import duration, pace, signed


def test_predicates_that_could_not_be_computed_are_told() -> None:
    undecided = {"sql: no_json": {"rows": 3, "why": "Malformed JSON"}}
    summary = {"failures": 5, "modes": {"other": 5}, "undecided": undecided}
    assert found_in_words("diagnose", {"summary": summary, "counts": {}}) == (
        "5 failures: other 5 (unknown: sql: no_json of 3; Malformed JSON)"
    )


def test_a_training_says_what_memory_made_necessary() -> None:
    summary = {"trained": True, "steps": 8, "loss": 0.25}
    short = {"notes": ["memory ran out at step 1: half as many rows go through the model at a time"]}

    assert found_in_words("train", {"summary": summary, "counts": {}}) == "8 steps, loss 0.250"
    assert found_in_words("train", {"summary": summary | short, "counts": {}}).endswith("0.250; " + short["notes"][0])


def test_a_probe_says_where_wrong_answers_are_an_artefact() -> None:
    kept_before = {"right": 3, "wrong": 57, "rows": 60}
    notes = {"notes": ["50 of 57 wrong answers were cut at student.max_new_tokens (64): raise student.max_new_tokens"]}

    assert found_in_words("probe", {"summary": kept_before, "counts": {}}) == "3 pass, 57 fail"
    assert (
        found_in_words("probe", {"summary": kept_before | notes, "counts": {}})
        == "3 pass, 57 fail; " + notes["notes"][0]
    )


def test_an_ablation_says_what_the_part_brings() -> None:
    measured = {"measured": True, "without": "curate.dedup", "difference": -0.035, "low": -0.0736, "high": 0.0024}

    assert (
        found_in_words("ablate", {"summary": measured, "counts": {}})
        == "curate.dedup brings -3.5 points (-7.4 to +0.2)"
    )


def test_an_ablation_that_could_not_be_measured_says_why() -> None:
    summary = {"measured": False, "why": "there are no lessons to draw from: 6 with, 0 without"}

    assert found_in_words("ablate", {"summary": summary, "counts": {}}).endswith("0 without")


def test_samples_that_pass_and_are_not_needed_are_spare_and_no_failures() -> None:
    fates = {"fates": {"pass": 220, "spare": 220, "fail": 0, "unknown": 0}}

    assert found_in_words("verify", {"summary": fates, "counts": {}}) == "220 pass, 220 spare, 0 fail"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-0.0, "0.0 s"),
        (-3.0, "0.0 s"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3_600, "1 h 00 min"),
    ],
)
def test_no_time_is_below_zero_and_a_minute_is_one(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("each_second", "words"), [(1_240.4, "1,240/s"), (3.21, "3.2/s"), (0.25, "4.0 s each"), (0.001, "16 min 40 s each")]
)
def test_a_rate_is_never_nought_a_second(each_second: float, words: str) -> None:
    assert pace(each_second) == words


@pytest.mark.parametrize("value", [-0.04, -0.0, 0.04])
def test_a_difference_that_rounds_to_nothing_has_no_minus(value: float) -> None:
    assert signed(value) == "+0.0"


def running(*events: dict[str, Any]) -> NodeView:
    node = NodeView("probe", 1, "running", started=0.0)
    for event in events:
        node.progress(event)
    return node


def test_rows_done_and_the_time_to_come_are_told_from_the_first_batch_on() -> None:
    node = running(
        {"at": 20.0, "done": 0, "total": 100, "what": "answers"},
        {"at": 60.0, "done": 10, "total": 100, "what": "answers"},
    )

    assert node.in_words(60.0) == "10/100 answers  4.0 s each  6 min 00 s left  1 min 00 s so far"
    assert "5 min 30 s left" in node.in_words(90.0)


def test_before_the_first_batch_nothing_is_guessed() -> None:
    assert running({"at": 20.0, "done": 0, "total": 100, "what": "answers"}).in_words(25.0) == (
        "0/100 answers  25.0 s so far"
    )


def test_each_count_of_a_step_has_a_rate_of_its_own() -> None:
    node = running(
        {"at": 10.0, "done": 0, "total": 40, "what": "candidate", "suite": "holdout"},
        {"at": 20.0, "done": 40, "total": 40, "what": "candidate", "suite": "holdout"},
        {"at": 30.0, "done": 1, "total": 40, "what": "judged", "passed": 1},
        {"at": 31.0, "done": 21, "total": 40, "what": "judged", "passed": 14},
    )

    assert node.in_words(31.0) == "21/40 judged  67% pass  20/s  1 s left  31.0 s so far"


def test_a_training_that_goes_on_counts_its_rate_from_where_it_went_on() -> None:
    node = running(
        {"at": 5.0, "done": 50, "total": 100, "what": "steps"},
        {"at": 15.0, "done": 60, "total": 100, "what": "steps", "loss": 0.25},
    )

    assert node.in_words(15.0) == "60/100 steps  loss 0.250  1.0/s  40 s left  15.0 s so far"
