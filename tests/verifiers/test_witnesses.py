"""Rows made for a gold query: what is wrong only behind a join, at a border, in a group's size, is told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shop import subject

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.finding import Check, Finding
from flywheel.verifiers.sql import open_sql

#: Declared keys and no rows: all that there is to go by is the query.
SCRIPT = """
CREATE TABLE country (code VARCHAR PRIMARY KEY, name VARCHAR, population INTEGER);
CREATE TABLE city (id INT PRIMARY KEY, country VARCHAR REFERENCES country (code), name VARCHAR, size INTEGER);
CREATE TABLE visit (id INT PRIMARY KEY, city_id INT REFERENCES city (id), guest VARCHAR, day DATE, price INT,
    rate DOUBLE, leaves DATE, member BOOLEAN, state VARCHAR CHECK (state IN ('open', 'paid', 'gone')),
    stars INT CHECK (stars BETWEEN 1 AND 5));
"""
JOINED = "FROM visit v JOIN city c ON v.city_id = c.id JOIN country k ON c.country = k.code"


@pytest.fixture(scope="module", params=["duckdb", "sqlite"])
def check(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Check:
    return opened(tmp_path_factory.mktemp("empty"), engine=request.param)


def opened(root: Path, **keys: Any) -> Check:
    (root / "empty.sql").write_text(SCRIPT)
    return open_sql(
        SqlVerifier.model_validate({"kind": "sql", "check": "same_rows", "setup": "empty.sql"} | keys), root
    )


WRONG = [
    (f"SELECT v.guest {JOINED} WHERE k.name = 'Peru'", f"SELECT v.guest {JOINED} WHERE k.name = 'Chile'"),
    (f"SELECT v.guest {JOINED} WHERE k.population > 500", f"SELECT v.guest {JOINED} WHERE k.population >= 500"),
    (
        f"SELECT v.guest {JOINED} WHERE k.name = 'Peru' AND c.size < 10",
        f"SELECT v.guest {JOINED} WHERE k.name = 'Peru' OR c.size < 10",
    ),
    (
        f"SELECT v.guest {JOINED} WHERE k.name = 'Peru' AND c.size < 10",
        f"SELECT v.guest {JOINED} WHERE k.name = 'Peru'",
    ),
    (f"SELECT v.guest {JOINED} WHERE c.name LIKE 'San%'", f"SELECT v.guest {JOINED} WHERE c.name LIKE '%San%'"),
    (
        f"SELECT k.name {JOINED} GROUP BY k.code, k.name HAVING count(*) > 4",
        f"SELECT k.name {JOINED} GROUP BY k.code, k.name HAVING count(*) > 5",
    ),
    (
        f"SELECT k.name {JOINED} GROUP BY k.code, k.name ORDER BY count(*) DESC LIMIT 1",
        f"SELECT k.name {JOINED} GROUP BY k.code, k.name ORDER BY count(*) LIMIT 1",
    ),
    (
        "SELECT name FROM city WHERE size > (SELECT avg(size) FROM city)",
        "SELECT name FROM city WHERE size >= (SELECT avg(size) FROM city)",
    ),
    (
        "SELECT name FROM city WHERE id NOT IN (SELECT city_id FROM visit WHERE price > 9 AND city_id IS NOT NULL)",
        "SELECT name FROM city WHERE id NOT IN (SELECT city_id FROM visit WHERE price > 8 AND city_id IS NOT NULL)",
    ),
    (
        "SELECT name FROM city WHERE size = 3 INTERSECT SELECT name FROM city WHERE size = 4",
        "SELECT name FROM city WHERE size = 3 INTERSECT SELECT name FROM city WHERE size = 5",
    ),
    (
        "SELECT c.name FROM city c JOIN visit v ON v.city_id = c.id",
        "SELECT DISTINCT c.name FROM city c JOIN visit v ON v.city_id = c.id",
    ),
    (
        "SELECT k.name FROM country k JOIN city c ON c.country = k.code",
        "SELECT k.name FROM country k LEFT JOIN city c ON c.country = k.code",
    ),
    ("SELECT name FROM city ORDER BY size LIMIT 5", "SELECT name FROM city ORDER BY size LIMIT 6"),
    ("SELECT guest FROM visit WHERE day >= '2024-03-01'", "SELECT guest FROM visit WHERE day > '2024-03-01'"),
    ("SELECT name FROM city WHERE id = 40 AND size = 2", "SELECT name FROM city WHERE id = 41 AND size = 2"),
    (
        "WITH big AS (SELECT id FROM city WHERE size > 70) SELECT guest FROM visit JOIN big ON city_id = big.id",
        "WITH big AS (SELECT id FROM city WHERE size > 71) SELECT guest FROM visit JOIN big ON city_id = big.id",
    ),
    ("SELECT guest FROM visit WHERE price * 2 > 50", "SELECT guest FROM visit WHERE price * 2 >= 50"),
    ("SELECT guest FROM visit WHERE 2020 <= price + 10", "SELECT guest FROM visit WHERE 2020 < price + 10"),
    ("SELECT guest FROM visit WHERE price / 4 > 5", "SELECT guest FROM visit WHERE price / 5 > 5"),
    ("SELECT guest FROM visit WHERE 90 - price IN (4, 8)", "SELECT guest FROM visit WHERE 90 - price IN (4, 9)"),
    (
        "SELECT guest FROM visit WHERE abs(price - 500) BETWEEN 3 AND 5",
        "SELECT guest FROM visit WHERE price - 500 BETWEEN 3 AND 5",
    ),
    ("SELECT guest FROM visit WHERE round(rate) = 10", "SELECT guest FROM visit WHERE rate = 10"),
    ("SELECT guest FROM visit WHERE length(guest) > 6", "SELECT guest FROM visit WHERE length(guest) >= 6"),
    ("SELECT lower(guest) FROM visit WHERE length(guest) = 6", "SELECT guest FROM visit WHERE length(guest) = 6"),
    ("SELECT guest FROM visit WHERE trim(guest) <> guest", "SELECT guest FROM visit WHERE ltrim(guest) <> guest"),
    ("SELECT guest FROM visit WHERE substr(guest, 1, 1) = 'T'", "SELECT guest FROM visit WHERE guest LIKE '%T%'"),
    ("SELECT guest FROM visit WHERE price < rate", "SELECT guest FROM visit WHERE price <= rate"),
    ("SELECT guest FROM visit WHERE rate - price > 7", "SELECT guest FROM visit WHERE rate - price >= 7"),
    ("SELECT guest FROM visit WHERE day < leaves", "SELECT guest FROM visit WHERE day <= leaves"),
    (
        "SELECT city_id FROM visit GROUP BY city_id HAVING count(DISTINCT guest) >= 3",
        "SELECT city_id FROM visit GROUP BY city_id HAVING count(guest) >= 3",
    ),
    (
        f"SELECT DISTINCT k.population {JOINED} WHERE v.price > 20 AND c.name = 'Lima'",
        f"SELECT k.population {JOINED} WHERE v.price > 20 AND c.name = 'Lima'",
    ),
    (
        "WITH w AS (SELECT guest, row_number() OVER (PARTITION BY city_id ORDER BY price, id) AS r FROM visit)"
        " SELECT guest FROM w WHERE r = 1",
        "WITH w AS (SELECT guest, rank() OVER (PARTITION BY city_id ORDER BY price) AS r FROM visit)"
        " SELECT guest FROM w WHERE r = 1",
    ),
    ("SELECT sum(CASE WHEN price > 70 THEN 1 ELSE 0 END) FROM visit", "SELECT count(*) FROM visit WHERE price > 70"),
    ("SELECT guest FROM visit WHERE state = 'paid'", "SELECT guest FROM visit WHERE state <> 'open'"),
    ("SELECT guest FROM visit WHERE state = 'paid'", "SELECT guest FROM visit WHERE state IN ('paid', 'open')"),
    ("SELECT guest FROM visit WHERE stars > 4", "SELECT guest FROM visit WHERE stars >= 4"),
    ("SELECT guest FROM visit WHERE member", "SELECT guest FROM visit WHERE member IS NOT NULL"),
]


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_a_wrong_query_is_told_apart_without_any_row(check: Check, gold: str, answer: str) -> None:
    assert check(subject(answer, gold)).outcome == "fail"


RIGHT = [
    (f"SELECT v.guest {JOINED} WHERE k.name = 'Peru'", f"SELECT v.guest {JOINED} WHERE NOT k.name <> 'Peru'"),
    (
        f"SELECT v.guest {JOINED} WHERE k.name = 'Peru'",
        "SELECT guest FROM visit WHERE city_id IN (SELECT id FROM city WHERE country IN"
        " (SELECT code FROM country WHERE name = 'Peru'))",
    ),
    (
        "SELECT name FROM city c WHERE EXISTS (SELECT 1 FROM visit v WHERE v.city_id = c.id)",
        "SELECT name FROM city WHERE id IN (SELECT city_id FROM visit)",
    ),
    (
        "SELECT country, count(*) FROM city GROUP BY country HAVING count(*) > 4",
        "SELECT country, n FROM (SELECT country, count(*) AS n FROM city GROUP BY country) t WHERE n >= 5",
    ),
    ("SELECT name FROM city WHERE size BETWEEN 3 AND 5", "SELECT name FROM city WHERE size IN (3, 4, 5)"),
    ("SELECT max(size) FROM city", "SELECT max(size) + 0 FROM city"),
    ("SELECT guest FROM visit WHERE member", "SELECT guest FROM visit WHERE member = true"),
    ("SELECT guest FROM visit WHERE stars >= 4", "SELECT guest FROM visit WHERE stars IN (4, 5)"),
    ("SELECT guest FROM visit WHERE state <> 'paid'", "SELECT guest FROM visit WHERE state IN ('open', 'gone')"),
    ("SELECT guest FROM visit WHERE price * 2 > 50", "SELECT guest FROM visit WHERE price > 25"),
    ("SELECT guest FROM visit WHERE length(guest) > 6", "SELECT guest FROM visit WHERE length(guest) >= 7"),
    ("SELECT guest FROM visit WHERE price < rate", "SELECT guest FROM visit WHERE rate > price"),
    (
        "WITH RECURSIVE r AS (SELECT id FROM city WHERE size = 3"
        " UNION SELECT v.id FROM visit v, r WHERE city_id = r.id)"
        " SELECT count(*) FROM r",
        "WITH RECURSIVE q AS (SELECT id FROM city WHERE size = 3"
        " UNION SELECT v.id FROM visit v, q WHERE city_id = q.id)"
        " SELECT count(id) FROM q",
    ),
]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_another_wording_of_the_gold_passes(check: Check, gold: str, answer: str) -> None:
    assert check(subject(answer, gold)) == Finding("pass")


def test_the_rows_are_the_same_each_time(tmp_path: Path) -> None:
    gold, answer = WRONG[0]
    reasons = {opened(tmp_path, timeout_seconds=seconds)(subject(answer, gold)).reason for seconds in (4.0, 5.0)}
    assert len(reasons) == 1


@pytest.mark.parametrize("match", ["spider", "bird"])
def test_a_benchmarks_rule_looks_at_no_generated_database(tmp_path: Path, match: str) -> None:
    gold, answer = WRONG[0]
    assert opened(tmp_path, engine="sqlite", match=match)(subject(answer, gold)) == Finding("pass")
