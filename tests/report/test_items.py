"""Every item of every suite: on the page as far as it has room, whole in the files beside it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.records.nodes import Query
from flywheel.report import Report, items, queries, render, words
from flywheel.report.model import ItemAnswer, ShownItem

Turns = Sequence[dict[str, list[str]]]
ARM = ("outcome", "score", "mode", "answer")


@pytest.fixture(scope="module")
def rows(shared_query: Query, turns: Turns) -> list[dict[str, Any]]:
    return items.item_rows(shared_query, turns[1], 1_000)


@pytest.fixture(scope="module")
def data(shared: duckdb.DuckDBPyConnection, turns: Turns) -> pa.Table:
    """The same items, as the files have them."""
    return shared.sql(queries.item_data(turns[1])).to_arrow_table()


def with_answer(data: pa.Table, text: str) -> pa.Table:
    """Its first row, which answers so."""
    place = data.schema.get_field_index("incumbent_answer")
    return data.slice(0, 1).set_column(place, "incumbent_answer", [[text]])


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
    found = list(items.page_items(items.item_rows(shared_query, turns[3], 1_000), {}, {}))
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


def test_the_files_hold_every_item_with_whole_texts(data: pa.Table, rows: list[dict[str, Any]]) -> None:
    long = with_answer(data, "y" * 5000)
    assert next(csv.DictReader(io.StringIO(items.csv_bytes(long).decode())))["incumbent_answer"] == "y" * 5000
    read = list(csv.DictReader(io.StringIO(items.csv_bytes(data).decode())))
    table = pq.read_table(io.BytesIO(items.parquet_bytes(data))).to_pylist()
    by_id = {(row["suite"], row["item_id"]): row for row in rows}
    assert len(read) == len(table) == len(by_id)
    for cells, row in zip(read, table, strict=True):
        held = by_id[row["suite"], row["item_id"]]
        assert row["row"] == held["question"]
        assert json.loads(row["slices"]) == held["slices"]
        assert (row["movement"], row["gold"]) == (held["movement"], held["gold"])
        for arm, side in (("incumbent", "a"), ("candidate", "b")):
            assert row[f"{arm}_reason"] == words.objections(json.loads(held[f"verdicts_{side}"] or "[]"))
            assert [row[f"{arm}_{name}"] for name in ARM] == [held[f"{name}_{side}"] for name in ARM]
        assert cells["candidate_reason"] == row["candidate_reason"]


@pytest.mark.parametrize(
    "verdicts",
    [
        [],
        [("a", "pass", ""), ("b", "fail", "no"), ("c", "unknown", None)],
        [("a", "fail", "no"), ("b", "unknown", "why"), ("c", "fail", "no"), ("d", "fail", "")],
        [("a", "fail", 'it\'s "x"; \n{"y": 1}')],
    ],
)
def test_the_store_says_objections_as_python_does(
    db: duckdb.DuckDBPyConnection, turns: Turns, verdicts: list[tuple[str, str, str | None]]
) -> None:
    said = [{"verifier": name, "outcome": outcome, "reason": reason, "more": [1]} for name, outcome, reason in verdicts]
    db.execute("UPDATE scores SET verdicts = ?", [json.dumps(said)])
    data = db.sql(queries.item_data(turns[1])).to_arrow_table().to_pylist()
    assert {row["candidate_reason"] for row in data} == {words.objections(said)}


@pytest.mark.parametrize(
    ("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-5", "-5"), ("-5,3", "-5,3"), ("-a", "'-a")]
)
def test_no_cell_is_a_formula(data: pa.Table, text: str, cell: str) -> None:
    changed = with_answer(data, text)
    assert next(csv.DictReader(io.StringIO(items.csv_bytes(changed).decode())))["incumbent_answer"] == cell
    assert pq.read_table(io.BytesIO(items.parquet_bytes(changed))).to_pylist()[0]["incumbent_answer"] == text


def test_a_large_run_has_a_sample_of_its_items_on_the_page(
    rejected: Report, shared_query: Query, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "SMALL", 9)
    monkeypatch.setattr(items, "SAMPLE", 3)
    held = items.item_rows(shared_query, turns[1], rejected.items.total)
    assert [row["movement"] for row in held] == ["broken"] * 3
    many = rejected.model_copy(update={"items": rejected.items.model_copy(update={"total": 4000})})
    html = render(many, [item("x" * 500) for _ in range(4000)])
    assert len(html.encode()) < 1_000_000
    assert "--serve</code> goes through all of them" in html


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(2)>\u2028", "</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;"]
)
def test_hostile_text_does_not_leave_the_data(rejected: Report, text: str) -> None:
    html = render(rejected, [item(text)])
    assert html.count("<script") == html.count("</script") == 2
    assert data_of(html)["items"][0][6][1] == text
