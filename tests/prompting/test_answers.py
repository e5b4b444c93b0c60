"""Raw text → rows: everything usable, a word on everything dropped, never an exception."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.prompting import parse_rows

ONE = {"q": "one?", "a": "1"}
TWO = {"q": "two?", "a": "2"}
BOTH = json.dumps([ONE, TWO])


@pytest.mark.parametrize(
    "text",
    [
        BOTH,
        json.dumps([ONE, TWO], indent=2),
        f"```json\n{BOTH}\n```",
        f"Here you go [1]:\n\n```\n{BOTH}\n```\nHope this {{helps}}!",
        f"{json.dumps(ONE)}\n{json.dumps(TWO)}\n",
        f"{json.dumps(ONE)}, {json.dumps(TWO)}",
        f"1. {json.dumps(ONE)}\n2. {json.dumps(TWO)}",
        json.dumps({"rows": [ONE, TWO]}),
        json.dumps({"note": "x", "lessons": [ONE, TWO]}),
        BOTH.replace("}]", "},]"),
        BOTH.replace('"}', '",}'),
        f"<think>maybe {json.dumps({'q': 'no', 'a': 'no'})}</think>{BOTH}",
        f"\ufeff{BOTH}",
        json.dumps([{**ONE, "why": "extra"}, TWO]),
        f"{json.dumps([ONE])}\nand\n{json.dumps([TWO])}",
    ],
)
def test_rows_are_found(text: str) -> None:
    assert parse_rows(text, ["q", "a"]) == ([ONE, TWO], [])


def test_braces_in_strings_and_values_that_are_not_text() -> None:
    row = {"q": 'a } "b" {{ ] \\ [', "a": {"x": [1, 2.5, True, {"y": "}"}]}}
    assert parse_rows(json.dumps([row, row]), ["q", "a"]) == ([row, row], [])


@pytest.mark.parametrize(
    ("text", "rows", "problem"),
    [
        (BOTH[:-10], [ONE], 'cut off in the middle of a row: {"q": "two?"'),
        (BOTH[:-1], [ONE, TWO], None),
        ("", [], "no JSON object in the answer: (empty)"),
        ("I'd rather not.", [], "no JSON object in the answer: I'd rather not."),
        ("[1, 2]", [], "no JSON object in the answer"),
        (json.dumps([ONE, 5]), [ONE], "a row must be an object, not int: 5"),
        (json.dumps([ONE, {"q": "x"}]), [ONE], 'column "a" is missing'),
        (json.dumps([ONE, {"q": "x", "A": "2"}]), [ONE], 'column "a" is missing'),
        (json.dumps([ONE, {"q": None, "a": "2"}]), [ONE], 'column "q" is null'),
        ('[{"q": "x", "a": NaN}, ' + json.dumps(ONE) + "]", [ONE], "not valid JSON (NaN is not JSON)"),
        ("[{'q': 'x', 'a': 'y'}, " + json.dumps(ONE) + "]", [ONE], "not valid JSON"),
        ('{"q": "x, "a": 1}\n' + json.dumps(ONE), [ONE], None),
        ('{"q": "x", "a": 1, "a": 2}\n' + json.dumps(ONE), [ONE], 'not valid JSON (the key "a" stands twice)'),
        ('[{"q": "x", "a": "\\ud800"}, ' + json.dumps(ONE) + "]", [ONE], "not valid Unicode"),
    ],
)
def test_what_is_dropped_is_said(text: str, rows: list[object], problem: str | None) -> None:
    found, problems = parse_rows(text, ["q", "a"])
    assert found == rows
    if problem is not None:
        assert len(problems) == 1
        assert problems[0].startswith(problem)
    "".join(problems).encode()


def test_a_missing_column_comes_with_the_nearest_one() -> None:
    _, problems = parse_rows('[{"question": "x", "sqll": "y"}]', ["question", "sql"])
    assert problems[0].startswith('column "sql" is missing. Did you mean "sqll"?')


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"q":' * 50_000, '[{"q":"' * 50_000, "{" * 200_000, '{"a":\n' * 50_000]
)
def test_hostile_text_ends_soon(text: str) -> None:
    started = time.monotonic()
    rows, problems = parse_rows(text, ["q", "a"])
    assert time.monotonic() - started < 60
    assert rows == []
    assert problems


pieces = st.sampled_from(
    [BOTH, json.dumps(ONE), "```json\n", "\n```", "{", "}", "[", "]", '"', ",", "\\", "text ", "\n", "{'", "NaN"]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join)))
def test_nothing_raises_and_rows_are_whole(text: str) -> None:
    rows, problems = parse_rows(text, ["q", "a"])
    assert all(list(row) == ["q", "a"] for row in rows)
    assert rows or problems
    json.dumps([rows, problems], allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.fixed_dictionaries({"q": st.text(), "a": st.one_of(st.text(), st.integers())}), min_size=1))
def test_any_rows_survive_the_way(rows: list[dict[str, object]]) -> None:
    wanted = [row for row in rows if encodable(row)]
    found, problems = parse_rows(f"Sure!\n```json\n{json.dumps(rows)}\n```\n", ["q", "a"])
    assert found == wanted
    assert len(problems) == len(rows) - len(wanted)


def encodable(row: dict[str, object]) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for value in row.values() if isinstance(value, str) for c in value)
