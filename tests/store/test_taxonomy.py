"""Naming failures: the first predicate that holds, else the fallback."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.records import Verdict
from flywheel.spec.models import ErrorMode
from flywheel.store.taxonomy import Failed, PredicateError, check_predicates, name_failures

OTHER = ErrorMode(name="other")


def failed(answer: str = "", gold: str | None = "", verdicts: tuple[Verdict, ...] = (), **row: Any) -> Failed:
    return Failed(row or {"text": "t"}, answer, gold, verdicts)


def mode(name: str, when: str) -> ErrorMode:
    return ErrorMode(name=name, when=when)


def names(failures: list[Failed], *modes: ErrorMode, verifiers: tuple[str, ...] = ("v",)) -> list[str]:
    return name_failures(failures, [*modes, OTHER], verifiers)


def test_the_first_mode_that_fits_names_a_failure() -> None:
    modes = mode("empty", "answer = ''"), mode("short", "length(answer) < 3")

    assert names([failed(""), failed("ab"), failed("abcd")], *modes) == ["empty", "short", "other"]


def test_names_come_in_the_order_of_the_failures() -> None:
    many = [failed(str(i)) for i in range(3_000)]

    assert names(many, mode("even", "answer::INT % 2 = 0")) == ["even" if i % 2 == 0 else "other" for i in range(3_000)]


def test_a_predicate_that_is_null_does_not_fit() -> None:
    assert names([failed("x", None)], mode("same", "answer = gold")) == ["other"]


def test_predicates_see_rows_verdicts_and_reasons() -> None:
    verdict = Verdict("s", "parses", "1", "fail", "no such table: shops")
    one = failed("x", "y", (verdict,), table="shops", n=3)

    for when in (
        "row.n > 2 AND row.table = 'shops'",
        "verdict.parses = 'fail'",
        "reason.parses LIKE '%no such table%'",
        "verdict.same IS NULL",
    ):
        assert names([one], mode("hit", when), verifiers=("parses", "same")) == ["hit"], when


@pytest.mark.parametrize(
    ("values", "when"),
    [
        ([1, "one"], "row.v = '1'"),
        ([1, 1.5], "row.v = '1'"),
        ([True, 1], "row.v = 'True'"),
        ([[1, 2], [3]], "row.v = '[1, 2]'"),
        ([{"a": 1}, {}], "row.v LIKE '%a%'"),
    ],
)
def test_a_column_of_several_or_odd_types_is_compared_as_text(values: list[Any], when: str) -> None:
    assert names([failed(v=value) for value in values], mode("hit", when)) == ["hit", "other"]


def test_a_column_that_only_some_rows_have_is_null_in_the_others() -> None:
    assert names([failed(a=1), failed(b="x")], mode("hit", "row.b = 'x'")) == ["other", "hit"]


def test_a_fault_names_the_mode_and_what_is_wrong() -> None:
    with pytest.raises(PredicateError, match=r'"second".*nothing') as caught:
        names([failed()], mode("first", "answer = ''"), mode("second", "row.nothing = 1"))

    assert caught.value.index == 1


def test_a_predicate_cannot_read_files(tmp_path: Any) -> None:
    (tmp_path / "secret.txt").write_text("x")

    with pytest.raises(PredicateError):
        names([failed()], mode("spy", f"(SELECT content FROM read_text('{tmp_path}/secret.txt')) = 'x'"))


def test_every_faulty_predicate_is_found_before_anything_runs() -> None:
    modes = [mode("typo", "row.txt = ''"), mode("fine", "row.text = ''"), mode("syntax", "answer =="), OTHER]

    faults = check_predicates([{"text": "a"}], modes, ["v"])

    assert [index for index, _ in faults] == [0, 2]


def test_no_failures_need_no_predicates() -> None:
    assert names([], mode("broken", "this is no SQL")) == []
