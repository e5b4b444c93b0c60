"""The sql verifier on a PostgreSQL server: Debian's, started here on a socket of its own where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import subject, tasks

from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers import Checker
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid
from flywheel.verifiers.sql import open_sql

SCRIPT = """
CREATE TABLE city (id INTEGER, name TEXT, population NUMERIC, capital BOOLEAN);
INSERT INTO city VALUES (1, 'Berlin', 3.7, true), (2, 'Rome', 2.8, true), (3, 'Turin', 0.8, false),
    (4, 'Bonn', NULL, false);
CREATE ROLE judge LOGIN; GRANT pg_read_all_data TO judge;
"""


def programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def as_postgres(*command: object) -> list[str]:
    """The server refuses to run as root."""
    words = [str(word) for word in command]
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'flywheel[postgres]'")
    binaries = programs()
    if binaries is None or (os.geteuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    folder = Path(
        subprocess.run(
            as_postgres("mktemp", "-d", "/tmp/pg.XXXXXX"), capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    try:
        run = {"check": True, "capture_output": True, "cwd": "/tmp"}
        subprocess.run(
            as_postgres(binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "owner", "-N"), **run
        )
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        control = (binaries / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log")
        subprocess.run(as_postgres(*control, "-o", options, "start"), **run)
        try:
            import psycopg

            with psycopg.connect(f"host={folder} user=owner dbname=postgres") as connection:
                connection.execute(SCRIPT)
            yield folder
        finally:
            subprocess.run(as_postgres(*control, "-m", "immediate", "stop"), **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


SPEC = SqlVerifier(kind="sql", engine="postgres", check="same_rows", dsn="${env:JUDGE_DSN}", timeout_seconds=2.0)


@pytest.fixture
def check(socket: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    monkeypatch.setenv("JUDGE_DSN", f"host={socket} user=judge dbname=postgres")
    return open_sql(SPEC, tmp_path)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("SELECT name FROM city WHERE capital", "select name from city where capital = true;"),
        ("SELECT name FROM city WHERE name ILIKE 'b%'", "SELECT name FROM city WHERE lower(name) LIKE 'b%'"),
        ("SELECT 7 / 2", "SELECT 3"),
        ("SELECT avg(population) FROM city", "SELECT sum(population) / count(population) FROM city"),
        ("WITH a AS (SELECT 1 AS x) SELECT x FROM a", "VALUES (1)"),
        ("SELECT array_agg(id ORDER BY id) FROM city", "SELECT ARRAY[1, 2, 3, 4]"),
    ],
)
def test_same_rows(check: Check, gold: str, answer: str) -> None:
    assert check(subject(answer, gold)) == Finding("pass")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("SELECT name FROM city", "4 rows instead of 2"),
        ("SELECT nam FROM city", "unknown column"),
        ("SELECT name FROM town", "unknown table"),
        ("SELECT medium(id) FROM city", "unknown function"),
        ("SELEC 1", "not a query: SELEC"),
        ("SELECT FROM WHERE", "parser error"),
        ("DELETE FROM city", "not a query: DELETE"),
        ("DROP TABLE city", "not a query: DROP"),
        ("SELECT 1; DROP TABLE city", "parser error"),
        ("SELECT 1; COMMIT; DELETE FROM city", "parser error"),
        ("SELECT 1; SELECT 2", "parser error: cannot insert multiple commands"),
        ("WITH x AS (DELETE FROM city RETURNING *) SELECT name FROM x", "error: DECLARE CURSOR must not contain"),
        ("SELECT name INTO town FROM city", "parser error"),
        ("SELECT pg_read_file('/etc/passwd')", "error: permission denied"),
        ("SELECT lo_import('/etc/passwd')", "error"),
        ("SELECT set_config('statement_timeout', '0', false)", "1 row instead of 2"),
        ("COPY city TO PROGRAM 'touch /tmp/x'", "not a query: COPY"),
        ("SELECT nextval('s')", "unknown table"),
        ("", "0 statements instead of one"),
    ],
)
def test_other_answers_fail_and_say_why(check: Check, answer: str, reason: str) -> None:
    found = check(subject(answer, "SELECT name FROM city WHERE capital"))
    assert found.outcome == "fail"
    assert found.reason.startswith(reason)
    assert check(subject("SELECT count(*) FROM city", "SELECT 4")) == Finding("pass")


def test_what_takes_too_long_is_stopped_by_the_server(check: Check) -> None:
    found = check(subject("SELECT pg_sleep(60)", "SELECT 1"))
    assert found == Finding("unknown", "timed out after 2 s")
    assert check(subject("SELECT 1", "SELECT 1 + 0")) == Finding("pass")


def test_a_bad_gold_is_unknown(check: Check) -> None:
    assert check(subject("SELECT 1", "SELECT nope FROM city")).reason.startswith("the gold query fails: unknown column")


def test_a_judge_asks_the_server_from_a_child_that_is_not_confined(check: Check, tmp_path: Path) -> None:
    with Checker({"sql": SPEC}, tmp_path, workers=1) as judge:
        [[verdict]] = judge.judge([subject("SELECT 4", "SELECT count(*) FROM city")], tasks(t=["sql"]))
    assert verdict.outcome == "pass"
    assert "checks" not in judge.tiers


def test_a_superuser_is_refused(socket: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OWNER_DSN", f"host={socket} user=owner dbname=postgres")
    with pytest.raises(VerifierInvalid, match="superuser"):
        open_sql(SPEC.model_copy(update={"dsn": "${env:OWNER_DSN}"}), tmp_path)


def test_a_server_that_does_not_answer_is_told_without_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("NOWHERE_DSN", "host=127.0.0.1 port=1 user=judge password=hush")
    with pytest.raises(VerifierInvalid, match="does not answer") as told:
        open_sql(SPEC.model_copy(update={"dsn": "${env:NOWHERE_DSN}"}), tmp_path)
    assert "hush" not in str(told.value)
    monkeypatch.delenv("NOWHERE_DSN")
    with pytest.raises(VerifierInvalid, match="NOWHERE_DSN is not set"):
        open_sql(SPEC.model_copy(update={"dsn": "${env:NOWHERE_DSN}", "timeout_seconds": 3.0}), tmp_path)
