"""Naming failures: the first predicate that holds, else the fallback."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from flywheel.records import Verdict
from flywheel.spec.models import ErrorMode
from flywheel.store.taxonomy import Failed, Named, PredicateError, name_failures

OTHER = ErrorMode(name="other")


def failed(answer: str = "", gold: str | None = "", verdicts: tuple[Verdict, ...] = (), **row: Any) -> Failed:
    return Failed(row or {"text": "t"}, answer, gold, verdicts)


def mode(name: str, when: str) -> ErrorMode:
    return ErrorMode(name=name, when=when)


def names(failures: list[Failed], *modes: ErrorMode, verifiers: tuple[str, ...] = ("v",)) -> list[str]:
    return named(failures, *modes, verifiers=verifiers).modes


def named(failures: list[Failed], *modes: ErrorMode, verifiers: tuple[str, ...] = ("v",), **more: Any) -> Named:
    return name_failures(failures, [*modes, OTHER], verifiers, **more)


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
        ([True, 1], "row.v = 'true'"),
        ([[1, 2], [3]], "row.v = '[1,2]'"),
        ([["it's", None], ["é"]], """row.v->>'$[0]' = 'it''s'"""),
        ([{"a": {"b": True}}, {}], "row.v->>'$.a.b' = 'true'"),
        ([{"a": 1}, "{"], "try(json_extract(row.v, '$.a')) = '1'"),
        ([2**70, 1], "row.v = '1180591620717411303424'"),
    ],
)
def test_a_column_of_several_or_odd_types_is_text_as_json_writes_it(values: list[Any], when: str) -> None:
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


def test_no_failures_need_no_predicates() -> None:
    assert names([], mode("broken", "this is no SQL")) == []


@pytest.mark.parametrize(
    ("when", "answers", "modes", "why"),
    [
        ("json_extract(answer, '$.a') = '1'", ['{"a":1}', "no JSON"], ["hit", "next"], "Malformed JSON"),
        ("answer::INT = 7", ["7", "seven", "8"], ["hit", "next", "next"], "Could not convert string 'seven'"),
        ("10 % (length(answer) - 1) = 0", ["abc", "a"], ["hit", "next"], "Division by zero"),
        ("10 // (length(answer) - 1) = 5", ["abc", "a"], ["hit", "next"], "Division by zero"),
        ("strptime(answer, '%Y-%m-%d') > DATE '2020-01-01'", ["2021-01-01", "soon"], ["hit", "next"], "parse"),
        ("list_extract([1, 2], answer::INT) = 1", ["1", "one"], ["hit", "next"], "Could not convert"),
        ("answer", ["true", "maybe"], ["hit", "next"], "maybe"),
    ],
)
def test_a_predicate_that_cannot_be_computed_for_an_answer_is_unknown_for_it_alone(
    when: str, answers: list[str], modes: list[str], why: str
) -> None:
    found = named([failed(answer) for answer in answers], mode("hit", when), mode("next", "true"))

    assert found.modes == modes
    assert found.undecided["hit"].rows == 1
    assert why in found.undecided["hit"].why


def test_an_answer_that_an_earlier_mode_took_is_not_counted_as_unknown() -> None:
    guard, cast = mode("text", "try_cast(answer AS INT) IS NULL"), mode("even", "answer::INT % 2 = 0")

    assert named([failed("x"), failed("2")], guard, cast) == Named(["text", "even"])


def test_a_predicate_that_is_not_computed_row_by_row_is_unknown_for_all() -> None:
    """Windows and subqueries look at more than one row."""
    for when in (
        "count(*) OVER (PARTITION BY answer::INT) > 1",
        "length(answer) IN (SELECT f.answer::INT FROM failed f)",
    ):
        found = named([failed("1"), failed("1"), failed("x")], mode("common", when))
        assert found.modes == ["other"] * 3
        assert found.undecided["common"].rows == 3
        assert "'x'" in found.undecided["common"].why or "another row" in found.undecided["common"].why


@pytest.mark.parametrize("when", ["max(answer) = 'x'", "count(*) > 2", "sum(row.x) > 1"])
def test_an_aggregate_of_all_failures_names_none_of_them(when: str) -> None:
    with pytest.raises(PredicateError, match="must appear in the GROUP BY clause"):
        names([failed("1", x=1), failed("x", x=2)], mode("most", when))


def test_predicates_may_look_at_all_failures() -> None:
    often = mode("often", "count(*) OVER (PARTITION BY answer) > 1")

    assert names([failed("a"), failed("b"), failed("a")], often) == ["often", "other", "often"]


def test_types_are_those_of_the_file_not_of_its_failures() -> None:
    """Else a predicate that `validate` let pass would not bind to a failed row."""
    rows = [{"v": 1}, {"v": "one", "hint": "h"}]

    found = named([failed(v=1)], mode("hit", "row.v LIKE '1%' AND row.hint IS NULL"), like=rows)

    assert found.modes == ["hit"]


def test_columns_that_differ_in_letter_case_or_have_no_name_can_be_asked_for() -> None:
    one = failed(**{"Text": "upper", "text": "lower", "text_2": "own", "": "nameless"})

    assert names([one], mode("hit", "row.Text = 'upper' AND row.text_2 = 'lower' AND row.text_2_2 = 'own'")) == ["hit"]
    assert names([one], mode("hit", "row._ = 'nameless'")) == ["hit"]


def test_odd_characters_and_comments_are_no_trouble() -> None:
    odd = [failed("a\x00b"), failed("\u2028"), failed("'); DROP TABLE failed; --")]

    assert names(odd, mode("nul", "contains(answer, chr(0)) -- NUL"), mode("line", "answer = chr(8232)")) == [
        "nul",
        "line",
        "other",
    ]


#: Functions whose meaning moved with a version of DuckDB: by version, what it says.
MOVED: dict[str, dict[str, Any]] = {
    "levenshtein('é', 'e')": {"2.0.0": 2, "2.0.1": 1},
    "damerau_levenshtein('é', 'e')": {"2.0.0": 2, "2.0.1": 1},
    "editdist3('日本', '日')": {"2.0.0": 3, "2.0.1": 1},
    "try(hamming('é', 'ee'))": {"2.0.0": 2, "2.0.1": None},
    "jaccard('é', 'è') > 0": {"2.0.0": True, "2.0.1": False},
    "jaro_similarity('é', 'è') > 0": {"2.0.0": True, "2.0.1": False},
    "'abc' ~ 'b'": {"2.0.0": True, "2.0.1": True},
    "try(10 % 0)": {"2.0.0": None, "2.0.1": None},
    "10 / 0": {"2.0.0": float("inf"), "2.0.1": float("inf")},
    "regexp_extract('abc', 'x')": {"2.0.0": "", "2.0.1": ""},
}


@pytest.mark.parametrize("expression", MOVED)
def test_what_functions_mean_is_known_for_this_engine(expression: str) -> None:
    """The version is part of every fingerprint that a predicate reaches (`tests/plan`); a new one wants its column."""
    known = MOVED[expression]
    if duckdb.__version__ not in known:
        pytest.skip(f"what DuckDB {duckdb.__version__} says is not written down")

    assert duckdb.connect().execute(f"SELECT {expression}").fetchall() == [(known[duckdb.__version__],)]
