"""Labels: one or a set, read strictly or leniently; and golds that no answer can match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shop import subject

from flywheel.records import Outcome
from flywheel.spec.verifiers import ExactVerifier, LabelVerifier, RegexVerifier
from flywheel.verifiers.finding import Finding
from flywheel.verifiers.words import open_exact, open_label, open_regex

TOPICS = ["travel", "health", "food, drink"]


def said(answer: str, gold: str | None, labels: list[str] = TOPICS, **options: Any) -> Finding:
    return open_label(LabelVerifier(kind="label", labels=labels, **options), Path("nowhere"))(subject(answer, gold))


@pytest.mark.parametrize(
    "answer",
    [
        '["travel", "health"]',
        '["health", "travel", "health"]',
        '{"labels": ["health", "travel"]}',
        "travel; health",
        "health|travel",
        "travel\nhealth\n",
        "- travel\n- health",
        "1. travel\n2) health",
        '```json\n["travel", "health"]\n```',
        "<think>both</think>travel; health",
        "travel、health",
        "travel；health",
        "['travel', 'health']",
        '{"labels": "travel; health"}',
    ],
)
@pytest.mark.parametrize("gold", ['["travel","health"]', "health; travel"])
def test_a_set_is_a_set_however_it_is_written(answer: str, gold: str) -> None:
    assert said(answer, gold, many=True) == Finding("pass", "", 1.0)


def test_what_stands_in_a_label_separates_none() -> None:
    assert said("food, drink; travel", '["travel", "food, drink"]', many=True).outcome == "pass"
    assert said("food, drink", '["food, drink"]', many=True).outcome == "pass"
    assert said("a, b", '["b", "a"]', ["a", "b"], many=True).outcome == "pass"


def test_labels_may_be_numbers_and_begin_like_a_list() -> None:
    assert said("[1, 2]", '["2", "1"]', ["0", "1", "2"], many=True).outcome == "pass"
    assert said("[true]", "1", ["0", "1", "2"], many=True).outcome == "fail"
    assert (
        said("1. first\n2. second", '["1. first", "2. second"]', ["1. first", "2. second"], many=True).outcome == "pass"
    )


@pytest.mark.parametrize(
    ("answer", "gold", "reason", "score"),
    [
        ("travel", '["travel", "health"]', "missing: health", 0.5),
        ("travel; health", "travel", "too many: health", 0.5),
        ("travel", "health", 'other label: "travel" instead of "health"', 0.0),
        ("travel; health", "travel; food, drink", "missing: food, drink; too many: health", 1 / 3),
        ("", "travel", "missing: travel", 0.0),
        ("travel; helth", "travel", 'unknown label: "helth". Did you mean "health"?', 0.5),
    ],
)
def test_a_set_that_is_partly_right_has_its_share(answer: str, gold: str, reason: str, score: float) -> None:
    assert said(answer, gold, many=True) == Finding("fail", reason, pytest.approx(score))


def test_no_label_at_all_can_be_right() -> None:
    assert said("[]", "", many=True) == said("", "[]", many=True) == Finding("pass", "", 1.0)


def test_without_a_gold_a_set_of_known_labels_is_unknown_and_another_fails() -> None:
    assert said("travel; health", None, many=True).outcome == "unknown"
    assert said("travel; x", None, many=True).outcome == "fail"


@pytest.mark.parametrize(
    "answer", ["Travel", "travel.", '"travel"', "'Travel'.", "**travel**", "“Travel”", "`travel`", "TRAVEL", " travel "]
)
def test_leniently_case_full_stop_and_quotes_do_not_count(answer: str) -> None:
    assert said(answer, "travel", lenient=True).outcome == "pass"
    strict = said(answer, "travel").outcome
    assert strict == ("pass" if answer.strip(" `") == "travel" else "fail")


def test_leniently_labels_that_differ_in_case_alone_stay_apart() -> None:
    assert said("us", "US", ["US", "us"], lenient=True).outcome == "fail"
    assert said("Us", "US", ["US", "us"], lenient=True).reason.startswith("unknown label")
    assert said("U.S.", "U.S.", ["U.S.", "travel"], lenient=True).outcome == "pass"


def test_leniently_a_set_is_read_label_by_label() -> None:
    assert said('"Travel", Health.', "travel, health", ["travel", "health"], many=True, lenient=True).outcome == "pass"


@pytest.mark.parametrize(
    ("answer", "gold", "outcome"),
    [
        ("```\nred\n```", "red", "pass"),
        ("It is red.</think>red", "red", "pass"),
        ("<think></think>\nred", "red", "pass"),
        ("Say:\n```\nls\n```\nthen stop", "Run:\n```\nls\n```\nand go on", "fail"),  # the gold's fences are its own
        ("Say:\n```\nls\n```", "Say:\n```\nls\n```", "pass"),
    ],
)
def test_exact_reads_where_the_answer_stands(answer: str, gold: str, outcome: Outcome) -> None:
    assert open_exact(ExactVerifier(kind="exact"), Path("nowhere"))(subject(answer, gold)).outcome == outcome


def test_letter_by_letter_nothing_is_taken_off() -> None:
    check = open_exact(ExactVerifier(kind="exact", ignore_space=False), Path("nowhere"))
    assert check(subject("```\nred\n```", "red")).outcome == "fail"
    assert check(subject("<think></think>red", "red")).outcome == "fail"


def test_a_pattern_sees_fences_but_no_thoughts() -> None:
    check = open_regex(RegexVerifier(kind="regex", pattern="red|blue"), Path("nowhere"))
    assert check(subject("<think>hm</think>\nred")).outcome == "pass"
    assert check(subject("```\nred\n```")).outcome == "fail"
