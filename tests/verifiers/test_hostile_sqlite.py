"""Hostile answers on SQLite: nothing gets out, nothing hangs, and honest answers are judged as before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import memory_of_judging, tasks

from flywheel.records import Subject, Verdict
from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers import Checker
from flywheel.verifiers.checker import MEMORY_BYTES
from flywheel.verifiers.sqlite import HEAP_BYTES, SqliteFixture

LIMIT_SECONDS = 1.0
GOLD = "select name from city where capital"
SCRIPT = """
CREATE TABLE city (id INTEGER, name TEXT, population REAL, capital INTEGER);
INSERT INTO city VALUES (1, 'Berlin', 3.7, 1), (2, 'Rome', 2.8, 1), (3, 'Turin', 0.8, 0), (4, 'Bonn', NULL, 0);
"""
SOURCES = {"script": {"setup": "shop.sql"}, "file": {"database": "shop.sqlite"}}


def written(root: Path, source: str) -> dict[str, object]:
    """A verifier's keys; the database is in `root`."""
    (root / "shop.sql").write_text(SCRIPT)
    with sqlite3.connect(root / "shop.sqlite") as connection:
        connection.executescript(SCRIPT)
    connection.close()
    return {"kind": "sql", "engine": "sqlite", "timeout_seconds": LIMIT_SECONDS, **SOURCES[source]}


@pytest.fixture(scope="module", params=list(SOURCES))
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checker]:
    root = tmp_path_factory.mktemp("hostile")
    keys = written(root, request.param)
    verifiers = {check: SqlVerifier.model_validate(keys | {"check": check}) for check in ("parses", "same_rows")}
    with Checker(verifiers, root) as made:
        list(made.judge([Subject("warm", "t", {}, GOLD, GOLD)] * 20, tasks(t=["parses", "same_rows"])))
        yield made


def judged(judge: Checker, answers: list[str], check: str = "same_rows") -> list[Verdict]:
    asked = [Subject(answer, "t", {}, answer, GOLD) for answer in answers]
    return [verdict for [verdict] in judge.judge(asked, tasks(t=[check]))]


ESCAPES = [
    "attach '{folder}/other.db' as other",
    "attach ':memory:' as other",
    "attach database '{secret}' as crafted",
    "detach main",
    "select load_extension('{secret}')",
    "select readfile('{secret}')",
    "select writefile('{folder}/new.txt', 'x')",
    "select edit('x', 'vi')",
    "select fts3_tokenizer('simple')",
    "select * from fsdir('{folder}')",
    "vacuum into '{folder}/copy.db'",
    "vacuum",
    "pragma database_list",
    "pragma query_only = off",
    "pragma writable_schema = on",
    "pragma hard_heap_limit = 0",
    "pragma journal_mode = wal",
    "select * from pragma_database_list",
    "select * from pragma_table_info('city')",
    "select * from pragma_function_list()",
    "select * from sqlite_dbpage",
    "select * from dbstat",
    "select * from bytecode('select 1')",
    "select 1; drop table city",
    "select 1; select name from city where capital",
    "drop table city",
    "delete from city",
    "update city set name = 'X'",
    "insert into city values (9, 'X', 1, 1)",
    "insert into city values (9, 'X', 1, 1) returning name",
    "replace into city values (9, 'X', 1, 1)",
    "with x as (select 1) delete from city",
    "with x as (select 1) insert into city select 9, 'X', 1, 1 returning name",
    "/* select */ delete from city",
    "create table x (a)",
    "create table x as select 1",
    "create temp table x (a)",
    "create view v as select 1",
    "create trigger g after insert on city begin delete from city; end",
    "create virtual table v using fts5(body)",
    "alter table city rename to town",
    "begin",
    "commit",
    "rollback",
    "savepoint x",
    "release further",
    "reindex",
    "analyze",
    "explain select name from city where capital",
    "explain query plan select name from city",
]


def test_nothing_escapes_and_nothing_changes(judge: Checker, tmp_path: Path) -> None:
    secret = tmp_path / "secret.db"
    secret.write_text("secret")
    answers = [escape.format(secret=secret, folder=tmp_path) for escape in ESCAPES]
    for check in ("parses", "same_rows"):
        verdicts = judged(judge, answers, check)
        assert [v.subject_id for v in verdicts if v.outcome != "fail"] == []
    assert [p.name for p in tmp_path.iterdir()] == ["secret.db"]
    [after] = judged(judge, ["select name from city where capital and 2"])
    assert after.outcome == "pass"


@pytest.mark.parametrize(
    "answer",
    [
        "select name from city where capital and 'b' <> 'a;b'",
        "select name from city where capital -- ; drop table city",
        "select name /* ; */ from city where capital;",
        "select name from city where capital and 'load_extension' <> 'delete'",
    ],
)
def test_words_in_literals_are_no_statements(judge: Checker, answer: str) -> None:
    assert [v.outcome for v in judged(judge, [answer])] == ["pass"]


FOREVER = "with recursive r(n) as (select 1 union all select n + 1 from r) "
BOMBS = {
    "zeroblob": "select zeroblob(2000000000)",
    "randomblob": "select randomblob(1000000000)",
    "hex of a blob": "select hex(zeroblob(60000000))",
    "printf": "select printf('%999999999d', 1)",
    "printf of text": "select printf('%.*c', 2000000000, 'x')",
    "replace": "select replace(hex(zeroblob(30000)), '0', hex(zeroblob(30000)))",
    "group_concat": FOREVER + "select group_concat(hex(zeroblob(10000))) from r",
    "recursion": FOREVER + "select count(*) from r",
    "recursion of rows": FOREVER + "select n, hex(zeroblob(100000)) from r",
    "sort": FOREVER + "select n, hex(zeroblob(1000)) from r order by n desc",
    "distinct": FOREVER + "select count(distinct hex(randomblob(1000))) from r",
    "cross join": FOREVER
    + ", s(n) as (select n from r limit 100000) select count(*) from s a, s b, s c where a.n + b.n = c.n",
    "like": "select hex(zeroblob(200000)) like '%' || replace(hex(zeroblob(2000)), '00', '0%_') || '1'",
    "unions": " union all ".join(["select name from city"] * 20_000),
    "parentheses": "select " + "(" * 5_000 + "1" + ")" * 5_000,
    "additions": "select " + "+".join(["1"] * 50_000),
    "json": "select json_group_array(n) from (" + FOREVER + "select n from r)",
    "window": FOREVER + "select sum(n) over (order by n) from r",
}
QUICK = {"zeroblob", "printf", "recursion", "sort", "parentheses"}


@pytest.mark.parametrize(
    "bomb", [pytest.param(bomb, marks=[] if bomb in QUICK else [pytest.mark.slow]) for bomb in BOMBS]
)
def test_bombs_end_in_time_and_hurt_nobody(judge: Checker, bomb: str) -> None:
    started = time.monotonic()
    first, hostile, last = judged(judge, ["select name from city where capital and 1", BOMBS[bomb], GOLD])
    assert hostile.outcome in ("fail", "unknown")
    assert hostile.seconds <= LIMIT_SECONDS + 0.5
    assert time.monotonic() - started < LIMIT_SECONDS + 5
    assert (first.outcome, last.outcome) == ("pass", "pass")


STOPPED = {
    "zeroblob": "out of memory",
    "hex of a blob": "out of memory",
    "replace": "out of memory",
    "recursion": f"timed out after {LIMIT_SECONDS:g} s",
    "window": f"timed out after {LIMIT_SECONDS:g} s",
}


@pytest.mark.parametrize("bomb", list(STOPPED))
def test_what_is_stopped_is_unknown_and_says_by_what(judge: Checker, bomb: str) -> None:
    [verdict] = judged(judge, [BOMBS[bomb]])
    assert verdict.outcome == "unknown"
    assert verdict.reason.startswith(STOPPED[bomb])


def test_sqlite_itself_bounds_its_memory(tmp_path: Path) -> None:
    fixture = SqliteFixture(5.0, setup=SCRIPT)
    [(limit,)] = fixture.original.fetch("PRAGMA hard_heap_limit")
    assert limit == HEAP_BYTES < MEMORY_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("source", list(SOURCES))
def test_no_bomb_takes_more_memory_than_the_limit(tmp_path: Path, source: str) -> None:
    verifier = SqlVerifier.model_validate(written(tmp_path, source) | {"check": "same_rows"})
    asked = [Subject(answer, "t", {}, answer, GOLD) for answer in BOMBS.values()]
    assert 0 < memory_of_judging(verifier, tmp_path, asked) <= MEMORY_BYTES
