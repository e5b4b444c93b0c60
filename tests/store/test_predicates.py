"""What `validate` says of predicates before any answer is there."""

from __future__ import annotations

import pytest

from flywheel.spec.models import ErrorMode
from flywheel.store.predicates import check_predicates, never_holds


def mode(when: str | None) -> ErrorMode:
    return ErrorMode(name="m", when=when)


def test_every_faulty_predicate_is_found_before_anything_runs() -> None:
    modes = [mode("row.txt = ''"), mode("row.text = ''"), mode("answer =="), mode("f(answer)"), mode(None)]

    faults, doubts = check_predicates([{"text": "a"}], modes, ["v"])

    assert [index for index, _ in faults] == [0, 2, 3]
    assert doubts == []


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("row.stile = 'a'", 'no column "stile". Did you mean "style"?'),
        ("verdict.w = 'fail'", 'no column "w". Known: v.'),
        ("anwser = 'a'", 'no value "anwser". Did you mean "answer"?'),
        ("place = 1 AND plaice = 2", 'no value "plaice". Known: answer, gold, reason, row, verdict.'),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(when: str, said: str) -> None:
    assert check_predicates([{"style": "a"}], [mode(when)], ["v"])[0] == [(0, said)]


@pytest.mark.parametrize(
    "when", ["split_part(answer, ' ', 1) != split_part(gold, ' ', 1)", "split_part(answer, ';', 2) = 'x'"]
)
def test_an_engine_that_knows_all_answers_to_be_null_still_runs_it(when: str) -> None:
    assert check_predicates([{"q": "a"}, {"q": "b"}], [ErrorMode(name="m", when=when)], ["v"]) == ([], [])


def test_a_predicate_that_some_rows_make_raise_is_a_doubt() -> None:
    rows = [{"n": "1"}, {"n": "two"}, {"n": None}]

    faults, doubts = check_predicates(rows, [mode("row.n::INT > 0"), mode(None)], ["v"])

    assert faults == []
    assert [index for index, _ in doubts] == [0]
    assert "for 1 of 3 rows" in doubts[0][1]
    assert "'two'" in doubts[0][1]


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("regexp_extract(answer, 'x') IS NULL", "regexp_extract gives '' where nothing matches"),
        ("answer = '' OR REGEXP_EXTRACT(answer, '(x)', 1) IS NULL", "write = ''"),
        ("regexp_extract(answer, 'x') IS NOT NULL", "always holds: write != ''"),
        ("regexp_extract_all(answer, 'x') IS NULL", "write = []"),
        ("split_part(answer, ',', 2) IS NULL", "split_part gives ''"),
        ("answer = NULL", "write IS NULL or IS NOT NULL"),
        ("NOT (row.x <> NULL)", "write IS NULL or IS NOT NULL"),
        ("NULL < length(answer)", "write IS NULL or IS NOT NULL"),
        ("CASE row.x WHEN NULL THEN true END", "write IS NULL or IS NOT NULL"),
        ("answer IN (NULL)", "write IS NULL or IS NOT NULL"),
        ("answer NOT IN ('a', NULL)", "NOT IN is never true with a NULL among its values"),
        ("verdict.v = 'failed'", 'no verdict is "failed": write pass, fail or unknown'),
        ("verdict.v IN ('wrong', 'bad')", 'no verdict is "wrong"'),
    ],
)
def test_what_never_holds_is_told(when: str, says: str) -> None:
    assert says in " ".join(never_holds([when])[0])


@pytest.mark.parametrize(
    "when",
    [
        "regexp_extract(answer, 'x') = ''",
        "try(regexp_extract(answer, row.pattern)) IS NULL",
        "answer IS NULL",
        "answer IS DISTINCT FROM NULL",
        "verdict.v = 'fail' AND verdict.w != 'passed'",
        "verdict.v IN ('fail', 'failed')",
        "verdict.v = reason.v",
        "answer IN ('a', NULL)",
        "answer NOT IN ('a', 'b')",
        "row.verdict = 'failed'",
        "coalesce(row.x, NULL) = 'a'",
        "this is no SQL",
        "); SELECT (1",
    ],
)
def test_nothing_is_told_of_what_may_hold(when: str) -> None:
    assert never_holds([when]) == [[]]
