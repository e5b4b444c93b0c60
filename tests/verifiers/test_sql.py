from __future__ import annotations

from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid
from flywheel.verifiers.sql import open_sql


@pytest.fixture(scope="module")
def parses(project: Path) -> Check:
    return open_sql(SqlVerifier(kind="sql", check="parses", setup="shop.sql"), project)


@pytest.fixture(scope="module")
def same_rows(project: Path) -> Check:
    """On the one database of the script; test_instances has the generated ones."""
    return open_sql(SqlVerifier(kind="sql", check="same_rows", setup="shop.sql", max_rows=100, instances=0), project)


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT name FROM city",
        "select 'a;b' as x, $$;$$ -- ;\n;",
        "FROM city",
        "VALUES (1), (2)",
        "WITH big AS (SELECT * FROM city WHERE population > 1) SELECT count(*) FROM big",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "SELECT * FROM range(3), generate_series(1, 2), unnest([1, 2])",
        "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
        "FROM larger_than(1)",
        "SELECT 'delete', 'DELETE_QUERY_NODE', '\"type\":\"DELETE_QUERY_NODE\"', \"id\" FROM city",
        "TABLE city",
        "PIVOT city ON capital IN (true, false) USING count(*)",
    ],
)
def test_queries_parse(parses: Check, answer: str) -> None:
    assert parses(subject(answer)) == Finding("pass")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("selec 1", 'parser error: syntax error at or near "selec"'),
        ("", "0 statements instead of one"),
        ("-- nothing", "0 statements instead of one"),
        ("select 1; select 2", "2 statements instead of one"),
        ("select nam from city", "unknown column: nam"),
        ("select c.nam from city c", "unknown column: nam"),
        ("select x.name from city", "unknown table: x"),
        ("select * from town", "unknown table: town"),
        ("select * from a.town", "unknown table: a.town"),
        ("select medium(id) from city", "unknown function: medium"),
        ("select * exclude (nam) from city", "unknown column: nam"),
        ("select name, count(*) from city", 'binder error: column "name" must appear in the GROUP BY clause'),
        ("select sum(name) from city", "binder error: No function matches"),
        ("select 1 union select 1, 2", "binder error: Set operations can only apply"),
        ("insert into city values (9)", "not a query: INSERT"),
        ("drop table city", "not a query: DROP"),
        ("with x as (delete from city returning *) select * from x", "not a query: DELETE in WITH"),
        ("with x as (insert into city values (1) returning id) from x", "not a query: INSERT in WITH"),
        ("select nextval('ticket')", "not a query: it writes"),
        ("show tables", "not a query: SHOW"),
        ("describe city", "not a query: SHOW"),
        ("explain select 1", "not a query: EXPLAIN"),
        ("pragma table_info('city')", "not a query: PRAGMA"),
        ("call range(3)", "not a query: CALL"),
        ("prepare p as select 1", "not a query: PREPARE"),
    ],
)
def test_what_does_not_parse_says_why(parses: Check, answer: str, reason: str) -> None:
    finding = parses(subject(answer))
    assert finding.outcome == "fail"
    assert finding.reason.startswith(reason)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("select count(*) from city", "SELECT COUNT(id) AS n FROM city"),
        ("select 1.0", "select 1"),
        ("select sum(price) from visit", "select 22"),
        ("select id, name from city order by name", "select id, name from city"),
        ("select name from city order by id desc", "select name from city order by id desc"),
        ("select name from city where false", "select name from city where id > 99"),
        ("select null", "select population from city where id = 4"),
        ("select 0.1 + 0.2", "select 0.3"),
        ("from larger_than(1)", "select name from city where population > 1"),
        ("select [name], {'a': id} from city", "select [name], {'a': id} from city where id > 0"),
    ],
)
def test_same_rows(same_rows: Check, answer: str, gold: str) -> None:
    assert same_rows(subject(answer, gold)).outcome == "pass"


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("select name from city", "select name from city where capital", "5 rows instead of 2"),
        ("select distinct name from city", "select name from city", "4 rows instead of 5"),
        ("select name, id from city", "select name from city", "2 columns instead of 1"),
        (
            "select name, 3 from city where id = 1",
            "select name, 4 from city where id = 1",
            "other rows: first difference (Berlin, 3) instead of (Berlin, 4)",
        ),
        (
            "select id from city order by id",
            "select id from city order by id desc",
            "other order: first difference (1) instead of (5)",
        ),
        ("select capital from city where id = 1", "select 1", "other rows: first difference (true) instead of (1)"),
        ("select name::int from city", "select 1", "conversion error: Could not convert string"),
        ("select nope from city", "select 1", "unknown column: nope"),
        ("select * from range(101)", "select 1", "more than 100 rows instead of 1"),
        ("delete from city", "select 1", "not a query: DELETE"),
    ],
)
def test_other_rows_say_how(same_rows: Check, answer: str, gold: str, reason: str) -> None:
    finding = same_rows(subject(answer, gold))
    assert finding.outcome == "fail"
    assert finding.reason.startswith(reason)


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        ("select nope from city", "the gold query fails: unknown column: nope"),
        ("", "the gold query fails: 0 statements instead of one"),
        ("select * from range(101)", "the gold query gives more than 100 rows; raise max_rows"),
    ],
)
def test_a_bad_gold_is_unknown(same_rows: Check, gold: str, reason: str) -> None:
    assert same_rows(subject("select 1", gold)) == Finding("unknown", reason)


def test_a_gold_too_large_to_keep_is_compared_all_the_same(project: Path) -> None:
    check = open_sql(SqlVerifier(kind="sql", check="same_rows", setup="shop.sql", instances=0), project)
    for _ in range(2):
        assert check(subject("select range from range(700)", "from range(700)")).outcome == "pass"
        assert check(subject("select range + 1 from range(700)", "from range(700)")).outcome == "fail"


def test_an_empty_gold_result_is_kept_too(same_rows: Check) -> None:
    for _ in range(2):
        assert same_rows(subject("select 1", "select 1 where false")).reason == "1 row instead of 0"


def test_order_inside_a_subquery_is_not_the_golds_order(same_rows: Check) -> None:
    gold = "select id from (select id from city order by id desc)"
    assert same_rows(subject("select id from city order by id", gold)) == Finding("pass")


def test_a_setup_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.sql").write_text("CREATE TABLE t (a NOTATYPE);")
    with pytest.raises(VerifierInvalid, match=r"setup bad\.sql fails: Catalog Error.*NOTATYPE"):
        open_sql(SqlVerifier(kind="sql", check="parses", setup="bad.sql"), tmp_path)


def test_a_setup_cannot_read_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    (tmp_path / "reads.sql").write_text(f"CREATE TABLE t AS FROM read_csv('{tmp_path}/rows.csv');")
    with pytest.raises(VerifierInvalid, match="file system operations are disabled"):
        open_sql(SqlVerifier(kind="sql", check="parses", setup="reads.sql"), tmp_path)
