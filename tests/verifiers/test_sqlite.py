"""The sql verifier on SQLite: its own dialect, files and scripts, one database a row; nothing but reading."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from shop import subject

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid
from flywheel.verifiers.kinds import parts
from flywheel.verifiers.sql import open_sql

SINGERS = """
CREATE TABLE singer(singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER);
INSERT INTO singer VALUES (1,'Ann','France',30),(2,'bob','france',25),(3,'Cid','Spain',NULL),(4,'Dee','Spain',41);
"""
SHARED = Path(__file__).parents[3] / "shared" / "cases" / "sqlite.jsonl"


def checked(root: Path, script: str = SINGERS, **keys: object) -> Check:
    (root / "setup.sql").write_text(script)
    settings = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "setup": "setup.sql"} | keys
    return open_sql(SqlVerifier.model_validate(settings), root)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    return checked(tmp_path_factory.mktemp("singers"))


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (
            'SELECT count(*) FROM singer WHERE country = "France"',
            "SELECT count(*) FROM singer WHERE country = 'France'",
        ),
        ("SELECT name, max(age) FROM singer", "SELECT name, age FROM singer ORDER BY age DESC LIMIT 1"),
        (
            "SELECT name, min(age) FROM singer",
            "SELECT name, age FROM singer WHERE age IS NOT NULL ORDER BY age LIMIT 1",
        ),
        (
            "SELECT name FROM singer WHERE country LIKE 'FRANCE'",
            "SELECT name FROM singer WHERE lower(country) = 'france'",
        ),
        (
            "SELECT name FROM singer WHERE country GLOB 'F*'",
            "SELECT name FROM singer WHERE substr(country, 1, 1) = 'F'",
        ),
        ("SELECT 7 / 2", "SELECT 3"),
        ("SELECT 7 / 2.0", "SELECT 3.5"),
        ("SELECT '1' + 1", "SELECT 2"),
        (
            "SELECT name FROM singer ORDER BY age LIMIT 1",
            "SELECT name FROM singer ORDER BY age IS NOT NULL, age LIMIT 1",
        ),
        ("SELECT `name` FROM [singer]", 'SELECT "name" FROM "singer"'),
        (
            "SELECT sum(age > 26) FROM singer",
            "SELECT sum(CASE WHEN age > 26 THEN 1 WHEN age <= 26 THEN 0 END) FROM singer",
        ),
        ("SELECT iif(1, 'a', 'b')", "SELECT 'a'"),
        ("SELECT strftime('%Y', '2001-02-03')", "SELECT '2001'"),
        (
            "SELECT name FROM singer WHERE age BETWEEN 25 AND 30;",
            "select name from singer where age >= 25 and age <= 30 -- x",
        ),
        ("VALUES (1), (2)", "SELECT 1 UNION SELECT 2"),
        ("SELECT name FROM singer;", "SELECT name FROM singer WHERE 1; ;"),
        ("WITH a AS (SELECT 1 AS x) SELECT x FROM a", "SELECT 1"),
        (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT count(*) FROM r",
            "SELECT 3",
        ),
        ("SELECT value FROM json_each('[1, 2]')", "VALUES (1), (2)"),
        ("SELECT count(*) > 0 FROM sqlite_master", "SELECT 1"),
    ],
)
def test_what_sqlite_takes_for_the_same_is_the_same(check: Check, gold: str, answer: str) -> None:
    assert check(subject(answer, gold)) == Finding("pass")
    assert check(subject(gold, gold)) == Finding("pass")


@pytest.mark.parametrize(
    ("gold", "answer", "reason"),
    [
        ("SELECT 7 / 2", "SELECT 3.5", "other rows: first difference (3.5) instead of (3)"),
        ("SELECT name, max(age) FROM singer", "SELECT name, age FROM singer ORDER BY age LIMIT 1", "other rows"),
        (
            "SELECT name FROM singer WHERE country = 'France'",
            "SELECT name FROM singer WHERE country LIKE 'France'",
            "2 rows",
        ),
        ("SELECT '2001'", "SELECT 2001", "other rows: first difference (integer 2001) instead of (text '2001')"),
        ("SELECT 1", "SELECT 1.5", "other rows: first difference (1.5) instead of (1)"),
        ("SELECT name FROM singer", "SELECT nam FROM singer", "unknown column: nam"),
        ("SELECT name FROM singer", "SELECT name FROM singers", "unknown table: singers"),
        ("SELECT name FROM singer", "SELECT medium(age) FROM singer", "unknown function: medium"),
        ("SELECT name FROM singer", "SELEC name FROM singer", 'parser error: near "SELEC": syntax error'),
        ("SELECT name FROM singer", "SELECT name FROM", "parser error: incomplete input"),
        ("SELECT name FROM singer", "", "0 statements instead of one"),
        ("SELECT name FROM singer", "SELECT 1; SELECT 2", "2 statements or more instead of one"),
    ],
)
def test_what_differs_fails_and_says_how(check: Check, gold: str, answer: str, reason: str) -> None:
    found = check(subject(answer, gold))
    assert found.outcome == "fail"
    assert found.reason.startswith(reason)


def test_the_shared_cases(tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip(f"no cases at {SHARED}")
    for number, line in enumerate(SHARED.read_text().splitlines()):
        case = json.loads(line)
        (tmp_path / str(number)).mkdir()
        check = checked(tmp_path / str(number), case["setup"])
        assert check(subject(case["answer"], case["gold"])).outcome == case["expect"], case


def test_a_dump_is_a_setup(tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(SINGERS + "CREATE TABLE odd (a, b BLOB); INSERT INTO odd VALUES ('it''s', x'00ff');")
        dump = "\n".join(connection.iterdump())
    check = checked(tmp_path, f"PRAGMA foreign_keys=OFF;\n{dump}")
    assert check(subject("SELECT count(*) FROM singer, odd", "SELECT count(*) FROM odd, singer")) == Finding("pass")


#: What the command `sqlite3 FILE .dump` writes of a table of full-text search: its entry in the catalogue, by hand.
DUMPED_FTS = """PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
PRAGMA writable_schema=ON;
CREATE TABLE t(a);
INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','ft','ft',0,'CREATE VIRTUAL TABLE ft USING fts5(body)');
CREATE TABLE IF NOT EXISTS 'ft_data'(id INTEGER PRIMARY KEY, block BLOB);
INSERT INTO ft_data VALUES(1,X'');
INSERT INTO ft_data VALUES(10,X'00000000000000');
CREATE TABLE IF NOT EXISTS 'ft_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS 'ft_content'(id INTEGER PRIMARY KEY, c0);
CREATE TABLE IF NOT EXISTS 'ft_docsize'(id INTEGER PRIMARY KEY, sz BLOB);
CREATE TABLE IF NOT EXISTS 'ft_config'(k PRIMARY KEY, v) WITHOUT ROWID;
INSERT INTO ft_config VALUES('version',4);
CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO ft VALUES (new.a); END;
PRAGMA writable_schema=OFF;
COMMIT;
"""  # noqa: E501


@pytest.mark.parametrize("instances", [0, 4])
@pytest.mark.parametrize("source", ["file", "script"])
@pytest.mark.parametrize(
    "script",
    [
        "CREATE VIRTUAL TABLE ft USING fts5(body)",
        "CREATE VIRTUAL TABLE ft USING fts4(body)",
        "CREATE VIRTUAL TABLE ft USING rtree(id, low, high)",
        DUMPED_FTS,
    ],
)
def test_virtual_tables_are_read(tmp_path: Path, script: str, source: str, instances: int) -> None:
    keys: dict[str, object] = {"instances": instances}
    if source == "file":
        make_database(tmp_path / "t.sqlite", script)
        keys |= {"setup": None, "database": "t.sqlite"}
    check = checked(tmp_path, script, **keys)
    gold = (
        "SELECT count(*) FROM ft WHERE low < 3" if "rtree" in script else "SELECT count(*) FROM ft WHERE ft MATCH 'a'"
    )
    assert check(subject(gold, gold)) == Finding("pass")
    assert check(subject(gold.replace("(*)", "(1)"), gold)) == Finding("pass")
    assert check(subject("INSERT INTO ft (ft) VALUES ('optimize')", gold)) == Finding("fail", "not a query: INSERT")


def test_a_script_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(VerifierInvalid, match="null character"):
        checked(tmp_path, "CREATE TABLE t (a);\0")
    with pytest.raises(VerifierInvalid, match=r"setup setup\.sql fails: near .*CREAT"):
        checked(tmp_path, "CREAT TABLE t (a)")


def make_database(path: Path, script: str = SINGERS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    return path


PER_ROW = "databases/{{ row.db_id }}/{{ row.db_id }}.sqlite"


def per_row(root: Path, **keys: object) -> SqlVerifier:
    for name, value in (("one", 1), ("two", 2)):
        make_database(root / f"databases/{name}/{name}.sqlite", f"CREATE TABLE t (a); INSERT INTO t VALUES ({value})")
    settings = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "database": PER_ROW, "instances": 0} | keys
    return SqlVerifier.model_validate(settings)


def test_each_row_has_its_own_database(tmp_path: Path) -> None:
    check = open_sql(per_row(tmp_path), tmp_path)
    assert check(subject("SELECT 1", "SELECT a FROM t", db_id="one")) == Finding("pass")
    assert check(subject("SELECT 1", "SELECT a FROM t", db_id="two")).outcome == "fail"


@pytest.mark.parametrize("name", ["three", "../one", "one/../two", "", ".", "..", "/etc/passwd", 7, None, ["one"]])
def test_a_row_without_a_database_is_unknown_and_reaches_no_other_file(tmp_path: Path, name: object) -> None:
    found = open_sql(per_row(tmp_path), tmp_path)(subject("SELECT 1", "SELECT 1", db_id=name))
    assert found.outcome == "unknown"
    assert "database" in found.reason


def test_the_databases_are_part_of_the_version(tmp_path: Path) -> None:
    spec = per_row(tmp_path)
    before = parts("v", spec, tmp_path)
    assert before["sqlite"] == sqlite3.sqlite_version
    make_database(tmp_path / "databases/three/three.sqlite")
    added = parts("v", spec, tmp_path)
    assert {key for key in before if before[key] != added[key]} == {"databases"}
    with sqlite3.connect(tmp_path / "databases/one/one.sqlite") as connection:
        connection.execute("INSERT INTO t VALUES (9)")
    connection.close()
    assert parts("v", spec, tmp_path)["databases"] != added["databases"]


def test_a_file_is_opened_read_only_and_left_as_it_was(tmp_path: Path) -> None:
    path = make_database(tmp_path / "shop.sqlite")
    before = path.read_bytes()
    spec = SqlVerifier(kind="sql", engine="sqlite", check="same_rows", database="shop.sqlite")
    check = open_sql(spec, tmp_path)
    assert check(subject("SELECT name FROM singer WHERE 1", "SELECT name FROM singer")) == Finding("pass")
    assert check(subject("DELETE FROM singer", "SELECT name FROM singer")) == Finding("fail", "not a query: DELETE")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shop.sqlite"]


def test_text_that_is_no_utf8_is_read_all_the_same(tmp_path: Path) -> None:
    make_database(tmp_path / "shop.sqlite", "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'41ff42' AS TEXT))")
    spec = SqlVerifier(kind="sql", engine="sqlite", check="same_rows", database="shop.sqlite", instances=0)
    assert open_sql(spec, tmp_path)(subject("SELECT 'AB'", "SELECT a FROM t")) == Finding("pass")


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        (
            "CREATE TABLE a (x INT PRIMARY KEY, y REFERENCES b); CREATE TABLE b (x INT PRIMARY KEY, y REFERENCES a)",
            "a",
        ),
        ("CREATE TABLE t (x INT REFERENCES nowhere (y), z)", "t"),
        ("CREATE TABLE t (x TEXT PRIMARY KEY, y) WITHOUT ROWID", "t"),
        ("CREATE TABLE t (x INT, y INT GENERATED ALWAYS AS (x * 2))", "t"),
        ("CREATE TABLE p (x INTEGER PRIMARY KEY); CREATE TABLE t (x INT REFERENCES p, y)", "t"),
        ('CREATE TABLE t ("a b" INT, [c]]d] TEXT)'.replace("[c]]d]", "[c d]"), "t"),
        ("CREATE TABLE t (x VARCHAR(3) CHECK (x IN ('on', 'off')), y REAL NOT NULL)", "t"),
        ("CREATE VIRTUAL TABLE v USING fts5(body); CREATE TABLE t (x)", "t"),
        (
            "CREATE TABLE t (x); CREATE VIEW w AS SELECT x FROM t; CREATE TRIGGER g INSERT ON t BEGIN SELECT 1; END",
            "t",
        ),
        (
            "CREATE TABLE t (i INTEGER PRIMARY KEY AUTOINCREMENT, d DATE, b BOOLEAN, n NUMERIC, k TEXT COLLATE NOCASE)",
            "t",
        ),
    ],
)
def test_odd_schemas_get_generated_databases_too(tmp_path: Path, schema: str, table: str) -> None:
    check = checked(tmp_path, schema + ";")
    assert check(subject(f"SELECT count(1) FROM {table}", f"SELECT count(*) FROM {table}")) == Finding("pass")
    assert check(subject("SELECT 0", f"SELECT count(*) FROM {table}")).reason.startswith("on the database with NULLs")


def test_a_lucky_match_fails_on_sqlite_as_well(check: Check) -> None:
    gold = "SELECT name FROM singer WHERE age > 28"
    assert check(subject("SELECT name FROM singer WHERE age > 27", gold)).reason.startswith("on the ")
    assert check(subject("SELECT name FROM singer WHERE age >= 29", gold)) == Finding("pass")
