"""A child that judges untrusted text with our own checks can do nothing else, whatever flaw the text finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from confined_jobs import ATTEMPTS
from shop import subject, tasks

from flywheel.executor import Pool
from flywheel.spec.verifiers import (
    ExactVerifier,
    JsonSchemaVerifier,
    LabelVerifier,
    MathVerifier,
    PythonVerifier,
    RegexVerifier,
    SqlVerifier,
    Verifier,
)
from flywheel.verifiers import Checker
from flywheel.verifiers.checker import MEMORY_BYTES

VERIFIERS: dict[str, Verifier] = {
    "sql": SqlVerifier(kind="sql", check="same_rows", setup="shop.sql"),
    "sqlite": SqlVerifier(kind="sql", engine="sqlite", check="same_rows", database="dbs/{{ row.db }}.sqlite"),
    "math": MathVerifier(kind="math"),
    "json": JsonSchemaVerifier(kind="json_schema", schema_file="any.schema.json"),
    "label": LabelVerifier(kind="label", labels="labels.txt"),
    "regex": RegexVerifier(kind="regex", pattern=".*"),
    "exact": ExactVerifier(kind="exact"),
}


SAID = "on the empty database: 1 row instead of 0"


@pytest.fixture(scope="module")
def root(project: Path) -> Path:
    (project / "any.schema.json").write_text("{}")
    (project / "labels.txt").write_text("1\n2\n")
    (project / "dbs").mkdir(exist_ok=True)
    with sqlite3.connect(project / "dbs" / "one.sqlite") as connection:
        connection.executescript("CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)")
    connection.close()
    return project


@pytest.fixture(scope="module")
def pool(root: Path) -> Iterator[Pool]:
    with Pool(
        "confined_jobs:make_intruder", 1, setup=(VERIFIERS, root, True, False), memory_bytes=MEMORY_BYTES
    ) as made:
        yield made


@pytest.fixture(scope="module")
def tier(root: Path) -> str:
    with Checker(VERIFIERS, root, workers=1) as judge:
        list(judge.judge([subject("1", "1")], tasks(t=["exact"])))
        return judge.tiers["checks"]


@pytest.mark.parametrize("attempt", list(ATTEMPTS))
def test_an_intruder_is_refused(pool: Pool, tier: str, tmp_path: Path, attempt: str) -> None:
    if tier == "none":
        pytest.skip("this kernel confines nobody (flywheel doctor says why)")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    target = tmp_path if attempt == "list" else tmp_path / "new.txt" if "write" in attempt else secret
    [found] = pool.map([(attempt, str(target))], lambda _: 10.0)
    assert found.status == "raised", found
    assert not found.reason.startswith("ModuleNotFoundError")
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


def test_the_same_attempts_succeed_where_nobody_is_confined(root: Path, tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    done = ["read", "environment of the parent", "program", "kill", "socket", "duckdb reads", "duckdb writes"]
    asked = [(attempt, str(secret if "write" not in attempt else tmp_path / "new.txt")) for attempt in done]
    with Pool("confined_jobs:make_intruder", 1, setup=({}, root, False, False)) as pool:
        assert [found.status for found in pool.map(asked, lambda _: 10.0)] == ["ok"] * len(done)


def test_all_our_kinds_work_confined(root: Path) -> None:
    with Checker(VERIFIERS, root, workers=1) as judge:
        [found] = judge.judge([subject("1", "1")], tasks(t=["math", "json", "label", "regex", "exact"]))
        assert [verdict.outcome for verdict in found] == ["pass"] * 5
        [found] = judge.judge([subject("\\sqrt{8}", "2\\sqrt{2}")], tasks(t=["math"]))
        assert [verdict.outcome for verdict in found] == ["pass"]
        [found] = judge.judge([subject("select 1 + 1", "select 2")], tasks(t=["sql"]))
        assert [verdict.outcome for verdict in found] == ["pass"]
        [found] = judge.judge([subject("select 1", "select a from t", db="one")], tasks(t=["sqlite"]))
        assert [(verdict.outcome, verdict.reason) for verdict in found] == [("fail", SAID)]


def test_the_projects_own_code_is_not_confined(root: Path, tmp_path: Path) -> None:
    (root / "writes.py").write_text("def check(subject):\n    open(subject['answer'], 'w').close()\n    return True\n")
    verifiers: dict[str, Verifier] = {
        "mine": PythonVerifier(kind="python", function="writes.py:check"),
        "regex": VERIFIERS["regex"],
    }
    with Checker(verifiers, root) as judge:
        [found] = judge.judge([subject(str(tmp_path / "made"))], tasks(t=["mine", "regex"]))
    assert [verdict.outcome for verdict in found] == ["pass", "pass"]
    assert (tmp_path / "made").exists()
