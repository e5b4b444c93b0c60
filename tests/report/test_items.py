"""Every item of every suite: on the page as far as it has room, whole in the files beside it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest

from flywheel.records.nodes import Query
from flywheel.report import Report, items, render
from flywheel.report.model import ItemAnswer, ShownItem

Turns = Sequence[dict[str, list[str]]]


@pytest.fixture(scope="module")
def rows(shared_query: Query, turns: Turns) -> list[dict[str, Any]]:
    return items.item_rows(shared_query, turns[1])


@pytest.fixture(scope="module")
def page(rows: list[dict[str, Any]], rejected: Report, shared_query: Query, turns: Turns) -> list[ShownItem]:
    """The second iteration's, in which a guard's items broke."""
    past = items.pasts(shared_query, {1: turns[0], 2: turns[1]})
    return list(items.page_items(rows, dict(rejected.items.targets), past))


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="item-data">(.*?)</script>', html, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def item(answer: str = "", movement: Any = "fixed") -> ShownItem:
    said = ItemAnswer(outcome="pass", answer=answer, mode="", reason="")
    return ShownItem(
        suite="s", item_id="x", movement=movement, slices=(), question="", gold="", first=said, second=said, past=()
    )  # fmt: skip


def test_no_item_of_any_suite_is_missing(rejected: Report, page: list[ShownItem], shared_query: Query) -> None:
    counts = {score.suite: score.items + score.unknown for score in rejected.scores.suites}
    assert rejected.items.total == sum(counts.values()) == len(page)
    assert len(data_of(render(rejected, page))["items"]) == len(page)
    assert len(shared_query(rejected.items.query)) == len(page)


def test_movements_are_those_of_the_scores(rejected: Report, page: list[ShownItem]) -> None:
    for score in rejected.scores.suites:
        own = [item.movement for item in page if item.suite == score.suite]
        assert own.count("fixed") == score.fixed
        assert own.count("broken") == score.broken
        assert own.count("unknown") == score.unknown


def test_an_item_has_the_verifiers_reason_and_its_past(page: list[ShownItem]) -> None:
    broken = next(item for item in page if item.movement == "broken")
    assert broken.second
    assert broken.second.outcome == "fail"
    assert broken.second.reason.startswith("right: ")
    assert [past.iteration for past in broken.past] == [1, 2]
    assert (broken.past[1].before, broken.past[1].after) == ("pass", "fail")


def test_without_a_candidate_an_item_has_no_movement(shared_query: Query, turns: Turns, untrained: Report) -> None:
    found = list(items.page_items(items.item_rows(shared_query, turns[3]), {}, {}))
    assert len(found) == untrained.items.total > 0
    assert {(item.movement, item.second) for item in found} == {("", None)}


def test_the_page_stays_within_its_size_and_says_what_it_leaves_out(rejected: Report) -> None:
    many = [item("x" * 500) for _ in range(4000)]
    report = rejected.model_copy(update={"items": rejected.items.model_copy(update={"total": 4000})})
    html = render(report, many)
    held = len(data_of(html)["items"])
    assert 0 < held < 4000
    assert len(html.encode()) < 1_500_000
    assert f"room for {held:,} of 4,000 items" in html


def test_what_moved_comes_first_where_room_is_short(rows: list[dict[str, Any]]) -> None:
    order = [items.MOVEMENTS.index(item.movement) for item in items.page_items(rows, {}, {})]
    assert order == sorted(order)


def test_the_files_hold_whole_texts(rows: list[dict[str, Any]]) -> None:
    long = [{**rows[0], "answer_b": "y" * 5000}, *rows[1:]]
    data = items.data_rows(long)
    read = list(csv.DictReader(io.StringIO(items.csv_text(data))))
    table = pq.read_table(io.BytesIO(items.parquet_bytes(data))).to_pylist()
    assert len(read) == len(table) == len(rows)
    assert read[0]["candidate_answer"] == table[0]["candidate_answer"] == "y" * 5000
    assert json.loads(table[0]["row"])["text"]
    assert table[0]["incumbent_score"] in (0.0, 1.0, None)


@pytest.mark.parametrize(
    ("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-5", "-5"), ("-5,3", "-5,3"), ("-a", "'-a")]
)
def test_no_cell_is_a_formula(rows: list[dict[str, Any]], text: str, cell: str) -> None:
    data = items.data_rows([{**rows[0], "answer_a": text}])
    assert next(csv.DictReader(io.StringIO(items.csv_text(data))))["incumbent_answer"] == cell
    assert pq.read_table(io.BytesIO(items.parquet_bytes(data))).to_pylist()[0]["incumbent_answer"] == text


def test_half_a_character_does_not_keep_a_file_from_being_written(rows: list[dict[str, Any]]) -> None:
    data = items.data_rows([{**rows[0], "answer_a": "a\ud800"}])
    assert "a?" in items.csv_text(data)
    assert pq.read_table(io.BytesIO(items.parquet_bytes(data))).num_rows == 1


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(2)>\u2028", "</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;"]
)
def test_hostile_text_does_not_leave_the_data(rejected: Report, text: str) -> None:
    html = render(rejected, [item(text)])
    assert html.count("<script") == html.count("</script") == 2
    assert data_of(html)["items"][0][6][1] == text
