"""Generated databases: what they hold, what they catch, and what they must not fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.finding import Check, Finding
from flywheel.verifiers.fixture import Fixture
from flywheel.verifiers.sql import expected_rows, open_sql

SCRIPT = """
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE TABLE staff (id INTEGER PRIMARY KEY, boss INTEGER REFERENCES staff (id), name VARCHAR NOT NULL,
    pay DECIMAL(8,2) CHECK (pay > 0), mood mood, since DATE, tags VARCHAR[], place STRUCT(town VARCHAR, floor INTEGER));
CREATE TABLE badge (code VARCHAR UNIQUE, staff_id INTEGER NOT NULL REFERENCES staff (id), active BOOLEAN,
    twice INTEGER GENERATED ALWAYS AS (staff_id * 2), zip VARCHAR);
CREATE TABLE "odd ""name" ("a b" DOUBLE, c UTINYINT, PRIMARY KEY ("a b", c));
CREATE TABLE note (text VARCHAR);
CREATE SCHEMA side; CREATE TABLE side.log (moment TIMESTAMP, u UUID);
CREATE VIEW named AS SELECT name FROM staff;
CREATE INDEX by_name ON staff (name); CREATE UNIQUE INDEX one_zip ON badge (zip);
INSERT INTO staff VALUES (1, NULL, 'Ada', 10.5, 'calm', '2020-01-02', ['x'], {'town': 'Rome', 'floor': 1});
INSERT INTO staff VALUES (2, 1, 'Bo', 20, 'loud', '2021-03-04', [], NULL);
INSERT INTO staff VALUES (3, 1, 'Cy', 30, 'calm', '2022-05-06', ['x', 'y'], NULL);
INSERT INTO badge (code, staff_id, active, zip) VALUES ('k1', 1, true, '00123'), ('k2', 3, false, '45678');
INSERT INTO side.log VALUES ('2024-01-01 10:00:00', uuid());
"""


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return Fixture(SCRIPT, 5.0, instances=5)


@pytest.fixture(scope="module")
def shop(project: Path) -> Fixture:
    return Fixture((project / "shop.sql").read_text(), 5.0, instances=3)


@pytest.fixture(scope="module")
def check(project: Path) -> Check:
    return open_sql(SqlVerifier(kind="sql", check="same_rows", setup="shop.sql"), project)


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Check:
    root = tmp_path_factory.mktemp("staff")
    (root / "staff.sql").write_text(SCRIPT)
    return open_sql(SqlVerifier(kind="sql", check="same_rows", setup="staff.sql"), root)


def count(fixture: Fixture, place: int, query: str) -> int:
    [(found,)] = fixture.instances[place].database.fetch(query)
    return int(found)


def test_the_first_instance_is_empty_and_all_others_but_that_for_the_gold_have_rows_in_every_table(
    fixture: Fixture,
) -> None:
    for table in ("staff", "badge", '"odd ""name"', "note", "side.log"):
        counts = [count(fixture, place, f"SELECT count(*) FROM {table}") for place in (0, 1, 2, 4)]
        assert counts[0] == 0
        assert min(counts[1:]) >= 3, (table, counts)


@pytest.mark.parametrize("place", [1, 2, 4])
def test_rows_find_their_partners(fixture: Fixture, place: int) -> None:
    assert count(fixture, place, "SELECT count(*) FROM badge JOIN staff ON staff.id = staff_id") >= 3
    assert count(fixture, place, "SELECT count(*) FROM staff s JOIN staff b ON s.boss = b.id") >= 3
    assert count(fixture, place, "SELECT count(*) FROM named") >= 3


def test_the_database_with_nulls_has_them_where_they_may_be(fixture: Fixture) -> None:
    for column in ("pay", "mood", "since"):
        assert count(fixture, 1, f"SELECT count(*) FROM staff WHERE {column} IS NULL") >= 1, column
    assert count(fixture, 1, "SELECT count(*) FROM staff WHERE name IS NULL") == 0
    assert count(fixture, 1, "SELECT count(*) - count(DISTINCT text) FROM note") >= 3


def test_the_same_script_gives_the_same_rows(fixture: Fixture) -> None:
    again = Fixture(SCRIPT.replace("uuid()", "NULL"), 5.0, instances=5)
    for one, other in zip(fixture.instances, again.instances, strict=True):
        assert [rows for table, rows in one.content if "log" not in table.name] == [
            rows for table, rows in other.content if "log" not in table.name
        ]
    assert fixture.instances[2].content != fixture.instances[4].content


LUCKY = [
    ("select name from city where population > 2", "select name from city where capital"),
    ("select count(*) from city", "select count(population) + 1 from city"),
    ("select distinct city_id from visit", "select city_id from visit where price > 5"),
    ("select 22", "select sum(price) from visit"),
    ("select name from city where population >= 2.8", "select name from city where population > 2.7"),
    ("select name from city where name = 'Rome'", "select name from city where lower(name) = 'rome'"),
    ("select name from city where name in ('Bonn', 'Oslo')", "select name from city where name = 'Bonn'"),
    ("select name from city where name like 'B%n'", "select name from city where name = 'Bonn' or name = 'Berlin'"),
    ("select id from city where capital", "select id from city where capital is not false"),
    ("select max(day) from visit", "select day from visit where day is not null order by day desc limit 1"),
    ("select name from city where id < 6", "select name from city"),
    ("select day from visit where day < '2024-01-03'", "select day from visit"),
    ("select max(population) from city", "select population from city order by population desc nulls last limit 1"),
    (
        "select name from city left join visit on city_id = id",
        "select c.name from city c left join visit v on v.city_id = c.id and v.price > 1",
    ),
    (
        "select count(*) from visit, city where id = city_id",
        "select count(*) from visit where city_id in (select id from city)",
    ),
    ("select name from city where capital group by name", "select name from city where capital"),
    (
        "select avg(population) from city",
        "select sum(population) / count(population) from city where population is not null and id > 0",
    ),
]


@pytest.mark.parametrize(("answer", "gold"), LUCKY)
def test_a_match_on_one_database_only_fails_and_says_where(check: Check, project: Path, answer: str, gold: str) -> None:
    alone = open_sql(SqlVerifier(kind="sql", check="same_rows", setup="shop.sql", instances=0), project)
    assert alone(subject(answer, gold)) == Finding("pass")
    found = check(subject(answer, gold))
    assert found.outcome == "fail"
    assert found.reason.startswith("on the ")


HONEST = [
    ("select name from city where capital = true", "select name from city where capital"),
    ("select name from city where not population <= 2", "select name from city where population > 2"),
    ("select count(*) from city where population is not null", "select count(population) from city"),
    ("select name from city where id in (1, 2)", "select name from city where id = 1 or id = 2"),
    (
        "select c.name, v.price from visit v join city c on c.id = v.city_id",
        "select name, price from city, visit where id = city_id",
    ),
    ("select name, count(*) from city group by 1", "select name, count(*) as n from city group by name"),
    ("with c as (select * from city) select sum(population) from c", "select sum(population) from city"),
    ("select avg(price) from visit", "select sum(price) / count(price) from visit"),
    ("select name from city where name like 'R%'", "select name from city where starts_with(name, 'R')"),
    (
        "select day from visit where day between '2024-01-01' and '2024-01-31'",
        "select day from visit where day >= '2024-01-01' and day < '2024-02-01'",
    ),
    ("select id from city order by id desc", "select id from city order by -id"),
]


@pytest.mark.parametrize(("answer", "gold"), HONEST)
def test_an_equivalent_query_passes_everywhere(check: Check, answer: str, gold: str) -> None:
    assert check(subject(answer, gold)) == Finding("pass")


def test_the_reason_names_the_database(check: Check) -> None:
    gold = "select count(*) from city"
    assert (
        check(subject("select 5", gold)).reason
        == "on the empty database: other rows: first difference (5) instead of (0)"
    )
    found = check(subject("select name from city where capital", "select name from city where capital is not false"))
    assert found.reason.startswith("on the database with NULLs: ")
    found = check(subject("select id from city where population > 2.8", "select id from city where population > 2.9"))
    assert found.reason.startswith("on the generated database 3: ")


TIES = [
    ("select name from city order by capital", "order"),
    ("select id from city order by population desc", "order"),
    ("select id from city order by capital limit 3", "nothing"),
    ("select id from city limit 3", "nothing"),
    ("select id, row_number() over (order by capital) from city", "nothing"),
    ("select first(id) from city", "nothing"),
    ("select list(id) from city", "nothing"),
    ("select distinct on (capital) id from city", "nothing"),
    ("select arg_min(id, capital) from city", "nothing"),
    ("select random() from city", "nothing"),
    ("select capital from city order by capital limit 3", ""),
    ("select max(id) from city", ""),
]


@pytest.mark.parametrize(("gold", "left_open"), TIES)
def test_what_hangs_on_the_order_of_insertion_is_not_held_against_an_answer(
    shop: Fixture, gold: str, left_open: str
) -> None:
    found = expected_rows(shop.query(gold), shop.instances[1], (), shop, 1_000)
    match left_open:
        case "nothing":
            assert found is None
        case "order":
            assert found is not None
            assert not found.ordered
        case _:
            assert found is not None
            assert found.ordered == ("order by" in gold)


def test_orders_without_ties_count_on_a_generated_database(shop: Fixture) -> None:
    query = shop.query("select name from city order by id limit 3")
    found = expected_rows(query, shop.instances[2], (), shop, 1_000)
    assert found is not None
    assert found.ordered
    assert len(found.table.rows) == 3


def test_a_database_on_which_the_gold_fails_decides_nothing(check: Check) -> None:
    gold = "select case when count(*) = 0 then error('none') else 1 end from city"
    assert check(subject(f"({gold})", gold)) == Finding("pass")


def test_an_answer_that_fails_on_a_generated_database_says_so(check: Check) -> None:
    gold = "select id from city where id < 3"
    answer = "select id from city where id < 3 and (name <> '' or error('empty name'))"
    assert "empty name" in check(subject(answer, gold)).reason


def test_numbers_kept_as_text_stay_numbers(staff: Check) -> None:
    gold = "select code from badge where zip = '00123'"
    assert staff(subject("select code from badge where cast(zip as integer) = 123", gold)).outcome in ("pass", "fail")
    assert staff(subject("select code from badge where cast(zip as double) = 123 and zip = '00123'", gold)) == Finding(
        "pass"
    )


@pytest.mark.slow
def test_a_deep_expression_is_judged_like_any_other(check: Check) -> None:
    deep = " + ".join(["id"] * 400)
    assert check(subject(f"select {deep} from city", "select id * 400 from city")) == Finding("pass")


def test_answers_leave_the_generated_databases_as_they_were(shop: Fixture, check: Check) -> None:
    before = [instance.database.fetch("select count(*), sum(id) from city") for instance in shop.instances]
    for n in range(20):
        assert check(
            subject(f"select id from city where id <> {n} and id < 3", "select id from city where id < 3")
        ).outcome
    assert [instance.database.fetch("select count(*), sum(id) from city") for instance in shop.instances] == before


@pytest.mark.parametrize("instances", [0, 1, 2, 3, 6])
def test_as_many_databases_as_were_asked_for(instances: int) -> None:
    assert len(Fixture("CREATE TABLE t (a INTEGER)", 5.0, instances).instances) == instances


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE t (a VARCHAR, b INTEGER); CREATE UNIQUE INDEX i ON t (lower(a)); INSERT INTO t VALUES ('A', 1)",
        "CREATE TABLE t (a INTEGER NOT NULL CHECK (a * a = 49)); INSERT INTO t VALUES (7)",
        "CREATE TABLE t (a DATE, b DATE, CHECK (a <= b), c VARCHAR CHECK (length(c) = 3), d VARCHAR CHECK (d = 'x'));"
        " INSERT INTO t VALUES ('2024-01-01', '2024-02-01', 'abc', 'x')",
        "CREATE TABLE t (a VARCHAR CHECK (a IN ('on', 'off')), b INTEGER CHECK (b BETWEEN 10 AND 20))",
        "CREATE TABLE p (a INTEGER, b VARCHAR, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 'x'), (2, 'y');"
        " CREATE TABLE t (x INTEGER, y VARCHAR, FOREIGN KEY (x, y) REFERENCES p (a, b))",
        "CREATE SCHEMA s; USE s; CREATE TABLE t (a INTEGER[], b JSON, c UUID, d STRUCT(x INTEGER), e TIME, f HUGEINT)",
        'CREATE SCHEMA "s ""x"; USE "s ""x"; CREATE TABLE t ("A ""b" INTEGER PRIMARY KEY, "order" VARCHAR)',
        "CREATE SEQUENCE q; CREATE TABLE t (id INTEGER DEFAULT nextval('q') PRIMARY KEY, z INTEGER)",
        "CREATE TEMP TABLE hidden (a INTEGER); CREATE TABLE t (a INTEGER); CREATE VIEW v AS SELECT * FROM t",
    ],
)
def test_constraints_and_odd_schemas_are_filled_all_the_same(script: str) -> None:
    fixture = Fixture(script, 5.0, instances=3)
    assert count(fixture, 0, "SELECT count(*) FROM t") == 0
    assert count(fixture, 1, "SELECT count(*) FROM t") >= 1
    assert count(fixture, 2, "SELECT count(*) FROM t") >= 1


def test_rows_that_cannot_be_added_are_not_held_against_an_answer(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a VARCHAR); CREATE UNIQUE INDEX i ON t (lower(a)); INSERT INTO t VALUES ('A'), ('b')"
    (tmp_path / "t.sql").write_text(script)
    check = open_sql(SqlVerifier(kind="sql", check="same_rows", setup="t.sql"), tmp_path)
    assert check(subject("select a from t where 'A' = a", "select a from t where a = 'A'")) == Finding("pass")


def test_a_script_without_tables_has_instances_too(tmp_path: Path) -> None:
    (tmp_path / "none.sql").write_text("CREATE MACRO twice(x) AS x * 2")
    check = open_sql(SqlVerifier(kind="sql", check="same_rows", setup="none.sql"), tmp_path)
    assert check(subject("select 4", "select twice(2)")) == Finding("pass")
