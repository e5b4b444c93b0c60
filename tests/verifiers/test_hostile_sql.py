"""Hostile answers to the sql verifier: nothing gets out, nothing hangs, and honest answers are judged as before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from shop import memory_of_judging, tasks

from flywheel.records import Subject, Verdict
from flywheel.sandbox import Tier
from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers import Checker
from flywheel.verifiers.checker import MEMORY_BYTES

LIMIT_SECONDS = 1.0
GOLD = "select name from city where capital"


@pytest.fixture(scope="module")
def judge(project: Path) -> Iterator[Checker]:
    verifiers = {
        check: SqlVerifier(kind="sql", check=check, setup="shop.sql", timeout_seconds=LIMIT_SECONDS)
        for check in ("parses", "same_rows")
    }
    with Checker(verifiers, project) as made:
        list(made.judge([Subject("warm", "t", {}, GOLD, GOLD)] * 20, tasks(t=["parses", "same_rows"])))
        yield made


def judged(judge: Checker, answers: list[str], check: str = "same_rows") -> list[Verdict]:
    asked = [Subject(answer, "t", {}, answer, GOLD) for answer in answers]
    return [verdict for [verdict] in judge.judge(asked, tasks(t=[check]))]


ESCAPES = [
    "select * from read_csv('{secret}')",
    "select * from read_text('{secret}')",
    "select * from read_blob('{secret}')",
    "select * from glob('{folder}/*')",
    "from '{secret}'",
    "select * from 'http://127.0.0.1:1/x.csv'",
    "copy city to '{folder}/out.csv'",
    "export database '{folder}/out'",
    "attach '{folder}/other.duckdb' as other",
    "attach ':memory:' as other",
    "install httpfs",
    "load httpfs",
    "set threads = 4",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma enable_profiling",
    "select 1; drop table city",
    "select 1; select name from city where capital",
    "with x as (delete from city returning *) select name from x where capital",
    "with x as (update city set name = 'X' returning *) select name from x",
    "select * from query('drop table city')",
    "select * from query('select name from city where capital')",
    "select * from query_table('city')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select * from checkpoint()",
    "select * from enable_logging()",
    "select * from host_rows",
    "select getenv('PATH')",
    "select nextval('ticket')",
    "create table x as select 1",
    "create or replace macro larger_than(least) as table select 1",
    "begin transaction",
    "vacuum",
    "select * from query($$select 1$$)",
    "with x as (select * from query('drop table city')) from x",
    "select (select count(*) from read_text('{secret}'))",
    "select name from city where capital and exists (from glob('{folder}/*'))",
    "from read_parquet('{secret}')",
    "from sniff_csv('{secret}')",
    "from duckdb_settings()",
    "from duckdb_secrets()",
    "from pragma_database_list()",
    "attach '{secret}' as crafted (type duckdb)",
    "select * from '{secret}.duckdb'",
    "with x as (insert into city select * from city returning *) select name from x",
    "with recursive x as (delete from city returning *) select name from x",
    "select name from (with y as (delete from city returning *) select * from y)",
    "merge into city using visit on id = city_id when matched then delete",
    "truncate city",
    "comment on table city is 'x'",
    "use generated_2",
    "detach generated_2",
    "insert into generated_2.city values (9)",
    "with x as (delete from generated_2.city returning *) select name from x",
    "set search_path = 'generated_1'",
    "checkpoint",
    "execute x",
    "from force_checkpoint()",
    "from write_log('x')",
    "from test_all_types()",
]


def test_nothing_escapes_and_nothing_changes(judge: Checker, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("name\nBerlin\nRome\n")
    host_rows = [("Berlin",), ("Rome",)]
    answers = [escape.format(secret=secret, folder=tmp_path) for escape in ESCAPES]
    for check in ("parses", "same_rows"):
        verdicts = judged(judge, answers, check)
        assert [v.subject_id for v in verdicts if v.outcome != "fail"] == []
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]
    assert len(host_rows) == 2
    [after] = judged(judge, ["select name from city where capital and true"])
    assert after.outcome == "pass"


@pytest.mark.parametrize(
    "answer",
    [
        "select name from city where capital and 'b' <> 'a;b'",
        "select name from city where capital -- ; drop table city",
        "select name from city where capital and '' <> $$;drop table city;$$",
        "select name /* ; */ from city where capital;",
    ],
)
def test_semicolons_in_literals_are_no_statements(judge: Checker, answer: str) -> None:
    assert [v.outcome for v in judged(judge, [answer])] == ["pass"]


BOMBS = {
    "repeat": "select repeat('x', 2000000000)",
    "lpad": "select lpad('x', 2000000000, 'y')",
    "printf": "select printf('%999999999d', 1)",
    "list": "select len(range(0, 500000000))",
    "nested lists": "select list_transform(range(0, 30000), lambda x: range(0, 30000))",
    "unions": " union all ".join(["select name from city"] * 20_000),
    "parentheses": "select " + "(" * 5_000 + "1" + ")" * 5_000,
    "additions": "select " + "+".join(["1"] * 50_000),
    "cross join": "select count(*) from range(1000000) a, range(1000000) b where a.range + b.range = -1",
    "recursion": "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
    "sleep": "select sleep_ms(60000)",
    "many rows": "select * from range(100000000)",
    "wide rows": "select repeat('x', 1000000) from range(1000000)",
    "string_agg": "select string_agg(repeat('x', 1000), '') from range(10000000)",
    "regexp": "select regexp_matches(repeat('a', 100000), '(a*)*b')",
}


QUICK = {"repeat", "printf", "parentheses", "cross join", "sleep", "many rows"}


@pytest.mark.parametrize(
    "bomb", [pytest.param(bomb, marks=[] if bomb in QUICK else [pytest.mark.slow]) for bomb in BOMBS]
)
def test_bombs_end_in_time_and_hurt_nobody(judge: Checker, bomb: str) -> None:
    answer = BOMBS[bomb]
    started = time.monotonic()
    first, hostile, last = judged(judge, ["select name from city where capital = true", answer, GOLD])
    elapsed = time.monotonic() - started
    assert hostile.outcome in ("fail", "unknown")
    assert hostile.seconds <= LIMIT_SECONDS + 0.5
    assert elapsed < LIMIT_SECONDS + 5  # a new child on a loaded machine takes seconds
    assert (first.outcome, last.outcome) == ("pass", "pass")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_a_thousand_mixed_answers(judge: Checker) -> None:
    honest = ["select name from city where capital = true", "select name from city"]
    hostile = [BOMBS["repeat"], BOMBS["printf"], BOMBS["parentheses"], BOMBS["many rows"], ESCAPES[0]]
    answers = [(honest[n % 2] if n % 5 else hostile[n // 5 % 5]) for n in range(1_000)]
    before = resident_bytes()
    verdicts = judged(judge, answers)
    assert resident_bytes() - before < 50 << 20
    outcomes = [v.outcome for n, v in enumerate(verdicts) if n % 5]
    assert outcomes == [("pass", "fail")[n % 2] for n in range(1_000) if n % 5]
    assert not any(v.outcome == "pass" for n, v in enumerate(verdicts) if n % 5 == 0)


def test_the_children_are_confined_as_far_as_the_kernel_helps(judge: Checker) -> None:
    judged(judge, [GOLD + " and true"])
    assert judge.tiers["checks"] in get_args(Tier)


@pytest.mark.slow
def test_no_bomb_takes_more_memory_than_the_limit(project: Path) -> None:
    verifier = SqlVerifier(kind="sql", check="same_rows", setup="shop.sql", timeout_seconds=LIMIT_SECONDS)
    asked = [Subject(answer, "t", {}, answer, GOLD) for answer in BOMBS.values()]
    assert 0 < memory_of_judging(verifier, project, asked) <= MEMORY_BYTES
