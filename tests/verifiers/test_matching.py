"""The rules by which rows are the same: ours with its options, Spider's and BIRD's."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from shop import subject

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.finding import Check, Finding
from flywheel.verifiers.sql import open_sql

SCRIPT = """
CREATE TABLE t (a INTEGER, b TEXT, c REAL, value INTEGER);
INSERT INTO t VALUES (1, 'x', 0.333333, 7), (2, 'y', 1.5, 8), (2, 'y', 1.5, 8), (10, 'z', 9.0, 9);
"""


def rule(root: Path, **keys: Any) -> Check:
    (root / "t.sql").write_text(SCRIPT)
    settings = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "setup": "t.sql"} | keys
    if settings.get("match", "ours") == "ours":
        settings |= {"instances": 0}
    return open_sql(SqlVerifier.model_validate(settings), root)


#: gold, answer, and what each rule says of it.
CASES = [
    ("SELECT a, b FROM t", "SELECT b, a FROM t", "fail", "pass", "fail"),
    ("SELECT a, b FROM t", "SELECT DISTINCT a, b FROM t", "fail", "pass", "pass"),
    ("SELECT DISTINCT a FROM t", "SELECT a FROM t", "fail", "pass", "pass"),
    ("SELECT count(DISTINCT a) FROM t", "SELECT count(a) FROM t", "fail", "pass", "fail"),
    ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", "fail", "fail", "pass"),
    ("SELECT a FROM t", "SELECT a FROM t ORDER BY a DESC", "pass", "pass", "pass"),
    ("SELECT a FROM (SELECT a FROM t ORDER BY a)", "SELECT a FROM t ORDER BY a DESC", "pass", "fail", "pass"),
    ("SELECT a FROM t WHERE 0", "SELECT a, b FROM t WHERE 0", "fail", "pass", "pass"),
    ("SELECT a FROM t WHERE a > = 2", "SELECT a FROM t WHERE a >= 2", "unknown", "pass", "unknown"),
    ("SELECT a FROM t WHERE a >= 2", "SELECT a FROM t WHERE a > = 2", "fail", "pass", "fail"),
    ("SELECT 0.1 + 0.2", "SELECT 0.3", "pass", "fail", "fail"),
    ("SELECT a FROM t", "SELECT 1.0 * a FROM t", "pass", "pass", "pass"),
    ("SELECT 1, 10", "SELECT 1.0, 10", "pass", "fail", "pass"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t; SELECT 1", "fail", "fail", "fail"),
    ("SELECT 1", "SELECT 1; SELECT 2", "fail", "pass", "fail"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = value", "fail", "pass", "fail"),
    ("SELECT a, a FROM t", "SELECT a, b FROM t", "fail", "fail", "fail"),
    ("SELECT 1, 2, 2 UNION ALL SELECT 2, 1, 2", "SELECT 2, 1, 2 UNION ALL SELECT 2, 2, 1", "fail", "pass", "fail"),
    ("SELECT 2020", "SELECT YEAR(CURDATE())", "fail", "pass", "fail"),
    ("SELECT 'distinct'", "SELECT DISTINCT 'distinct'", "pass", "pass", "pass"),
]


@pytest.mark.parametrize(("gold", "answer", "ours", "spider", "bird"), CASES)
def test_what_each_rule_says(tmp_path: Path, gold: str, answer: str, ours: str, spider: str, bird: str) -> None:
    said = {match: rule(tmp_path, match=match)(subject(answer, gold)).outcome for match in ("ours", "spider", "bird")}
    assert said == {"ours": ours, "spider": spider, "bird": bird}


@pytest.mark.parametrize(
    ("keys", "gold", "answer", "outcome"),
    [
        ({"any_column_order": True}, "SELECT a, b FROM t", "SELECT b, a FROM t", "pass"),
        (
            {"any_column_order": True},
            "SELECT a, value, c FROM t ORDER BY a, c",
            "SELECT c, a, value FROM t ORDER BY c",
            "pass",
        ),
        ({"any_column_order": True}, "SELECT a, b FROM t", "SELECT b, value FROM t", "fail"),
        ({"any_column_order": True}, "SELECT a, b FROM t ORDER BY a", "SELECT b, a FROM t ORDER BY a DESC", "fail"),
        ({"any_column_order": True}, "SELECT 1, 2 UNION ALL SELECT 2, 1", "SELECT 1, 1 UNION ALL SELECT 2, 2", "fail"),
        ({"ignore_duplicates": True}, "SELECT a FROM t", "SELECT DISTINCT a FROM t", "pass"),
        ({"ignore_duplicates": True}, "SELECT a FROM t", "SELECT a FROM t WHERE a < 9", "fail"),
        ({"decimals": 2}, "SELECT c FROM t", "SELECT round(c, 2) FROM t", "pass"),
        ({"decimals": 2}, "SELECT round(c, 2) FROM t", "SELECT c FROM t", "pass"),
        ({"decimals": 2}, "SELECT 0.33", "SELECT 0.34", "fail"),
        ({"decimals": 2}, "SELECT 1", "SELECT 2", "fail"),
        ({"decimals": 0}, "SELECT 7 / 2.0", "SELECT 4", "pass"),
        ({"decimals": 1}, "SELECT '1.04'", "SELECT '1.0'", "fail"),
        ({"decimals": 2}, "SELECT 0.004, 1 UNION ALL SELECT 0.001, 2", "SELECT 0.0, 2 UNION ALL SELECT 0.0, 1", "pass"),
    ],
)
def test_the_options_of_ours(tmp_path: Path, keys: dict[str, Any], gold: str, answer: str, outcome: str) -> None:
    assert rule(tmp_path, **keys)(subject(answer, gold)).outcome == outcome


def test_spider_asks_every_database_of_the_folder(tmp_path: Path) -> None:
    for name, rows in (("shop", "(1), (2)"), ("shop_fuzz", "(1), (3)")):
        with sqlite3.connect(tmp_path / f"{name}.sqlite") as connection:
            connection.executescript(f"CREATE TABLE t (a); INSERT INTO t VALUES {rows}")
        connection.close()
    keys = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "database": "shop.sqlite"}
    asked = subject("SELECT count(*) FROM t WHERE a < 3", "SELECT count(*) FROM t")
    assert open_sql(SqlVerifier.model_validate(keys | {"match": "bird"}), tmp_path)(asked) == Finding("pass")
    found = open_sql(SqlVerifier.model_validate(keys | {"match": "spider"}), tmp_path)(asked)
    assert found.reason == "on shop_fuzz: other rows: first difference (1) instead of (2)"


def test_all_of_spiders_dev_golds_pass_against_themselves() -> None:
    shared = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FLYWHEEL_TEST_DATA", shared)) / "spider"
    if not (folder / "dev.json").exists():
        pytest.skip(f"no Spider at {folder}; name its parent in FLYWHEEL_TEST_DATA (dev.json, database/)")
    path = "database/{{ row.db_id }}/{{ row.db_id }}.sqlite"
    rows = json.loads((folder / "dev.json").read_text())
    for match in ("ours", "spider", "bird"):
        keys = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "database": path, "match": match}
        check = open_sql(SqlVerifier.model_validate(keys | {"timeout_seconds": 30.0}), folder)
        findings = [check(subject(f"{r['query']} ", f"{r['query']}", db_id=r["db_id"])) for r in rows]
        assert [f for f in findings if f.outcome != "pass"] == []
    assert len(rows) == 1_034
