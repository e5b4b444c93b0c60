"""What a finished node says on the terminal."""

from __future__ import annotations

from flywheel.console.progress import in_words


def test_predicates_that_could_not_be_computed_are_told() -> None:
    undecided = {"sql: no_json": {"rows": 3, "why": "Malformed JSON"}}
    summary = {"failures": 5, "modes": {"other": 5}, "undecided": undecided}
    assert in_words("diagnose", {"summary": summary, "counts": {}}) == (
        "5 failures: other 5 (unknown: sql: no_json of 3; Malformed JSON)"
    )


def test_a_training_says_what_memory_made_necessary() -> None:
    summary = {"trained": True, "steps": 8, "loss": 0.25}
    short = {"notes": ["memory ran out at step 1: half as many rows go through the model at a time"]}

    assert in_words("train", {"summary": summary, "counts": {}}) == "8 steps, loss 0.250"
    assert in_words("train", {"summary": summary | short, "counts": {}}).endswith("0.250; " + short["notes"][0])


def test_a_probe_says_where_wrong_answers_are_an_artefact() -> None:
    kept_before = {"right": 3, "rows": 60}
    notes = {"notes": ["50 of 57 wrong answers were cut at student.max_new_tokens (64): raise student.max_new_tokens"]}

    assert in_words("probe", {"summary": kept_before, "counts": {}}) == "3/60 right"
    assert in_words("probe", {"summary": kept_before | notes, "counts": {}}) == "3/60 right; " + notes["notes"][0]


def test_an_ablation_says_what_the_part_brings() -> None:
    measured = {"measured": True, "without": "curate.dedup", "difference": -0.035, "low": -0.0736, "high": 0.0024}

    assert in_words("ablate", {"summary": measured, "counts": {}}) == "curate.dedup brings -3.5 points (-7.4 to +0.2)"


def test_an_ablation_that_could_not_be_measured_says_why() -> None:
    summary = {"measured": False, "why": "there are no lessons to draw from: 6 with, 0 without"}

    assert in_words("ablate", {"summary": summary, "counts": {}}).endswith("0 without")
