"""`flywheel report --serve`: the reports and every item, for this machine only, and only to look."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from flywheel.engine.viewer import answer, viewer
from mini_domain import Domain


def text(domain: Domain, address: str, status: int = 200) -> str:
    found, _, body = answer(domain.root, address)
    assert found == status, body
    return body.decode()


def test_reports_and_their_files_are_served(applied: Domain) -> None:
    assert "Iterations" in text(applied, "/")
    page = text(applied, "/iter-001/")
    assert 'id="x-served">' in page
    assert '"suite","item_id"' in text(applied, "/iter-001/items.csv")


OUTSIDE = [
    "/../flywheel.yaml", "/iter-001/../../flywheel.yaml", "/%2e%2e/flywheel.yaml", "/iter-009/", "/iter-009/items",
    "/.flywheel/flywheel.duckdb", "/iter-001/%2e%2e/%2e%2e/flywheel.yaml", "/row/nothing-like-it", "/x",
]  # fmt: skip


@pytest.mark.parametrize("address", OUTSIDE)
def test_nothing_else_is(applied: Domain, address: str) -> None:
    text(applied, address, 404)


def test_every_item_can_be_found_and_filters_narrow(applied: Domain) -> None:
    total = applied.query(
        "SELECT count(*) AS n FROM scores JOIN nodes USING (node) WHERE arm = 'incumbent' AND iteration = 1"
    )[0]["n"]
    assert f"{total:,} of {total:,} items; page 1" in text(applied, "/iter-001/items")
    fixed = applied.query(
        """SELECT count(*) AS n FROM scores a JOIN scores b USING (node, suite, item_id) JOIN nodes USING (node)
           WHERE iteration = 1 AND a.arm = 'incumbent' AND b.arm = 'candidate' AND a.outcome = 'fail'
               AND b.outcome = 'pass' AND suite = 'holdout'"""
    )[0]["n"]
    assert fixed > 0
    assert (
        text(applied, "/iter-001/items?suite=holdout&movement=fixed")
        .split('role="status">')[1]
        .startswith(f"{fixed} of")
    )
    assert "0 of" in text(applied, "/iter-001/items?text=no+such+text")


@pytest.mark.parametrize("field", ["text", "suite", "movement", "mode", "slice", "verdict", "item", "sort", "page"])
def test_hostile_filters_are_text(applied: Domain, field: str) -> None:
    hostile = "'; DROP TABLE scores; --<script>alert(1)</script>\"$x\x00"
    page = text(applied, f"/iter-001/items?{field}={quote(hostile)}")
    assert "<script" not in page
    assert applied.query("SELECT count(*) AS n FROM scores")[0]["n"] > 0


def test_pages_follow_each_other_and_hold_every_item_once(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.report.items.PAGE", 7)
    seen: list[str] = []
    for number in range(1, 10):
        page = text(applied, f"/iter-001/items?sort=suite&page={number}")
        seen += re.findall(r'href="\.\./row/([^"]+)"', page)
        if "next page" not in page:
            break
    assert len(seen) == len(set(seen)) > 7


def test_an_items_whole_life_is_a_link_away(applied: Domain) -> None:
    item = re.findall(r'href="\.\./(row/[^"]+)"', text(applied, "/iter-001/items"))[0]
    assert "<h2>score</h2>" in text(applied, f"/{item}")


@pytest.fixture
def port(applied: Domain) -> Iterator[int]:
    server = viewer(applied.root)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("localhost", 200), ("evil.example", 403)])
def test_it_answers_to_its_own_name_only(port: int, host: str, status: int) -> None:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/", headers={"Host": f"{host}:{port}"})
    assert connection.getresponse().status == status
    connection.close()


def test_it_takes_no_orders(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/", body="x", headers={"Host": f"127.0.0.1:{port}"})
    assert connection.getresponse().status == 501
    connection.close()
