from __future__ import annotations

from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import ExactVerifier, LabelVerifier, RegexVerifier
from flywheel.verifiers.finding import VerifierInvalid
from flywheel.verifiers.words import open_exact, open_label, open_regex

NOWHERE = Path("nowhere")


@pytest.mark.parametrize(
    ("options", "answer", "outcome"),
    [
        ({}, " two  words\n", "pass"),
        ({}, "Two words", "fail"),
        ({"ignore_case": True}, "TWO Words", "pass"),
        ({"ignore_space": False}, "two words ", "fail"),
        ({"ignore_space": False}, "two words", "pass"),
        ({}, "", "fail"),
    ],
)
def test_exact(options: dict[str, bool], answer: str, outcome: str) -> None:
    check = open_exact(ExactVerifier(kind="exact", **options), NOWHERE)
    assert check(subject(answer, "two words")).outcome == outcome


def test_exact_shows_both() -> None:
    finding = open_exact(ExactVerifier(kind="exact"), NOWHERE)(subject("a\u202eb", "c"))
    assert finding.reason == '"a\\u202eb" instead of "c"'


@pytest.mark.parametrize(
    ("answer", "outcome"), [("ab12", "pass"), ("ab12\n", "fail"), ("-ab12", "fail"), ("ab", "fail")]
)
def test_regex_matches_the_whole_answer(answer: str, outcome: str) -> None:
    check = open_regex(RegexVerifier(kind="regex", pattern=r"[a-z]+\d+"), NOWHERE)
    assert check(subject(answer)).outcome == outcome


def test_regex_that_is_none() -> None:
    with pytest.raises(VerifierInvalid, match="is not a regular expression: missing"):
        open_regex(RegexVerifier(kind="regex", pattern="(a"), NOWHERE)


@pytest.mark.parametrize(
    ("answer", "reference", "outcome", "reason"),
    [
        ("refund", "refund", "pass", ""),
        (" refund\n", "refund", "pass", ""),
        ("refund", None, "unknown", "no reference to compare with"),
        ("refunds", None, "fail", 'unknown label: "refunds". Did you mean "refund"?'),
        ("refund", "card_lost", "fail", 'other label: "refund" instead of "card_lost"'),
        ("refunds", "refund", "fail", 'unknown label: "refunds". Did you mean "refund"?'),
        ("Refund", "refund", "fail", 'unknown label: "Refund". Did you mean "refund"?'),
    ],
)
def test_label(answer: str, reference: str | None, outcome: str, reason: str) -> None:
    check = open_label(LabelVerifier(kind="label", labels=["refund", "card_lost"]), NOWHERE)
    finding = check(subject(answer, reference))
    assert (finding.outcome, finding.reason) == (outcome, reason)


def test_labels_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("refund\n\n card lost \n", encoding="utf-8")
    check = open_label(LabelVerifier(kind="label", labels="labels.txt"), tmp_path)
    assert [check(subject(a)).outcome for a in ("refund", "card lost", "")] == ["unknown", "unknown", "fail"]
