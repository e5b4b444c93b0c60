"""Golds that are wrong or doubtful in themselves, each with its line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from flywheel.engine.golds import gold_doubts, gold_faults, validated
from flywheel.engine.project import open_project
from flywheel.errors import SpecInvalid
from flywheel.spec.loader import LoadedSpec, load
from flywheel.verifiers import Checker

SPEC = """version: 1
name: shop
student: {base: builtin:tiny}
tasks:
  ask:
    prompt: prompt.md
    target: query
    probes: probes.jsonl
    verify: [right]
  sort: {prompt: prompt.md, target: label, probes: labels.jsonl, verify: [known]}
teachers:
  people: {kind: dataset, path: lessons.jsonl}
verifiers:
  right: {kind: sql, check: same_rows, SOURCE}
  known: {kind: label, labels: [up, down]}
generate:
  - {name: targeted, task: ask, teachers: [people], accept: 8}
evals:
  holdout: {task: ask, data: holdout.jsonl}
gate:
  - {suite: holdout, better_by: 0.05}
"""
SCRIPT = """
CREATE TABLE player (name VARCHAR, score INTEGER, size VARCHAR);
INSERT INTO player VALUES ('Ann', 3, '9'), ('Bea', 5, '10'), ('Cleo', 5, '11'), ('Dora', NULL, '100');
"""


def project(
    root: Path, golds: list[str], source: str = "setup: setup.sql", labels: tuple[str, ...] = ("up",)
) -> LoadedSpec:
    (root / "prompt.md").write_text("{{ row.question }}")
    (root / "setup.sql").write_text(SCRIPT)
    rows = [{"question": f"q{n}", "query": gold, "db": "one"} for n, gold in enumerate(golds)]
    write(root / "probes.jsonl", rows)
    write(root / "lessons.jsonl", [{"question": "l", "query": "SELECT 1", "db": "one"}])
    write(root / "holdout.jsonl", [{"question": "h", "query": "SELECT 2", "db": "one"}])
    write(root / "labels.jsonl", [{"question": f"l{n}", "label": label} for n, label in enumerate(labels)])
    (root / "flywheel.yaml").write_text(SPEC.replace("SOURCE", source))
    return load(root / "flywheel.yaml")


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("source", ["setup: setup.sql", "engine: sqlite, setup: setup.sql"])
def test_golds_that_do_not_bind_are_told_with_their_lines(tmp_path: Path, source: str) -> None:
    golds = ["SELECT name FROM player", "SELECT nam FROM player", "SELEC 1", "DROP TABLE player", "SELECT 1; SELECT 2"]
    faults = gold_faults(project(tmp_path, golds, source), tmp_path)
    assert [(Path(fault.file).name, fault.line) for fault in faults] == [("probes.jsonl", n) for n in (2, 3, 4, 5)]
    assert faults[0].message == "right refuses the gold: unknown column: nam."


def test_golds_outside_the_declared_labels_are_told_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(SpecInvalid) as told:
        project(tmp_path, ["SELECT 1"], labels=("up", "sideways", "down"))
    [fault] = told.value.faults
    assert (Path(fault.file).name, fault.line) == ("labels.jsonl", 2)
    assert fault.message == 'the right answer "sideways" is no label of verifiers.known.'


@pytest.mark.slow
def test_golds_that_were_right_are_asked_about_again_when_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> int:
        before = len(opened)
        validated(open_project(tmp_path / "flywheel.yaml"))
        return len(opened) - before

    opened: list[object] = []
    monkeypatch.setattr("flywheel.verifiers.Checker", lambda *a, **k: opened.append(a) or Checker(*a, **k))
    project(tmp_path, ["SELECT name FROM player"])
    assert [asked(), asked()] == [1, 0]
    (tmp_path / "setup.sql").write_text(SCRIPT.replace("size", "bulk"))
    assert [asked(), asked()] == [1, 0]
    write(tmp_path / "probes.jsonl", [{"question": "q", "query": "SELECT size FROM player", "db": "one"}])
    for _ in range(2):  # what is wrong is said each time
        with pytest.raises(SpecInvalid, match="unknown column: size"):
            asked()


DOUBTS = {
    "SELECT name FROM player ORDER BY score DESC LIMIT 1": "",
    "SELECT name FROM player WHERE score > 1 ORDER BY score DESC LIMIT 1": (
        "LIMIT 1 cuts through 2 rows that tie in score."
    ),
    "SELECT name FROM player WHERE score > 1 ORDER BY score DESC LIMIT 2": "",
    "SELECT score FROM player WHERE score > 1 ORDER BY score DESC LIMIT 1": "",
    "SELECT name FROM player ORDER BY score": (
        "ORDER BY score sorts 1 NULL among its rows, which engines put at different ends."
    ),
    "SELECT name FROM player ORDER BY size": (
        "ORDER BY size sorts numbers that are kept as text: '10' comes before '9'."
    ),
    "SELECT name FROM player ORDER BY CAST(size AS INTEGER)": "",
    "SELECT name FROM player ORDER BY name LIMIT 2": "",
    # sqlglot gives DATE(…) back for SQLite's cast, which is a number there: the NULLs were of its own making.
    "SELECT name, CAST(size || '-01-01' AS DATE) AS day FROM player ORDER BY day": "",
    "SELECT name FROM player": "",
    "SELECT score, count(*) AS n FROM player WHERE score > 1 GROUP BY score ORDER BY n LIMIT 1": "",
    "SELECT size, count(*) AS n FROM player WHERE score > 1 GROUP BY size ORDER BY n LIMIT 1": (
        "LIMIT 1 cuts through 3 rows that tie in n."
    ),
    "SELECT size, count(*) FROM player WHERE score > 1 GROUP BY size ORDER BY 2 LIMIT 1": (
        "LIMIT 1 cuts through 3 rows that tie in 2."
    ),
}
#: NULLs come last in DuckDB, first in a descending order of SQLite never.
_TIES_IN_BOTH = {"SELECT name FROM player ORDER BY score DESC LIMIT 1"}


@pytest.mark.parametrize("source", ["setup: setup.sql", "engine: sqlite, setup: setup.sql"])
def test_doubtful_golds_are_told_with_their_lines(tmp_path: Path, source: str) -> None:
    asked = [gold for gold in DOUBTS if gold not in _TIES_IN_BOTH]
    loaded = project(tmp_path, asked, source)
    found = {(fault.line, fault.message) for fault in gold_doubts(loaded.spec, tmp_path)}
    assert found == {(line, DOUBTS[gold]) for line, gold in enumerate(asked, start=1) if DOUBTS[gold]}


def databases(root: Path) -> None:
    (root / "dbs").mkdir()
    with sqlite3.connect(root / "dbs" / "one.sqlite") as connection:
        connection.executescript(SCRIPT)
    connection.close()


PER_ROW = 'engine: sqlite, database: "dbs/{{ row.db }}.sqlite"'


def test_each_row_is_looked_at_in_its_own_database(tmp_path: Path) -> None:
    databases(tmp_path)
    loaded = project(tmp_path, ["SELECT nam FROM player", "SELECT name FROM player"], PER_ROW)
    [fault] = gold_faults(loaded, tmp_path)
    assert (fault.line, fault.message) == (1, "right refuses the gold: unknown column: nam.")


def test_a_row_whose_database_is_not_there_is_a_fault_of_the_spec(tmp_path: Path) -> None:
    databases(tmp_path)
    project(tmp_path, ["SELECT 1"], PER_ROW)
    rows = [{"question": "a", "query": "SELECT 1", "db": db} for db in ("one", "onee", "onee", "../one", "")]
    write(tmp_path / "probes.jsonl", [*rows, {"question": "b", "query": "SELECT 1"}])
    with pytest.raises(SpecInvalid) as told:
        load(tmp_path / "flywheel.yaml")
    messages = [(fault.line, fault.message) for fault in told.value.faults]
    assert (2, 'there is no database "dbs/onee.sqlite" (2 rows of it).') in messages
    assert (4, 'the column "db" is no name of a database: "../one".') in messages
    assert (5, 'the column "db" is no name of a database: "".') in messages
    assert (6, 'the row lacks the column "db".') in messages


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("engine: sqlite", "no database: setup or database is missing."),
        ("engine: duckdb, database: a.sqlite", "engine duckdb has no database."),
        ("engine: sqlite, setup: setup.sql, database: a.sqlite", "setup names the database already."),
        ("engine: sqlite, database: a.sqlite", 'there is no database "a.sqlite".'),
        ("engine: sqlite, database: prompt.md", '"prompt.md" is no SQLite database.'),
        ("engine: sqlite, database: ../a.sqlite", '"../a.sqlite" leads out of its folder (..).'),
        ('engine: sqlite, database: "{{ row.db }}.sqlite"', "begins with a hole, so that any file could be meant."),
        ('engine: sqlite, database: "dbs/{{ db }}.sqlite"', "a hole is {{ row.column }} and nothing else."),
        ("setup: setup.sql, match: spider, decimals: 2", "counts with match: ours alone, not with spider."),
        ("setup: setup.sql, match: bird, instances: 3", "counts with match: ours alone, not with bird."),
        ("engine: postgres, setup: setup.sql", "engine postgres has no setup."),
        ("engine: postgres, dsn: host=a password=b", "it may hold a password."),
        ("engine: postgres, dsn: '${env:A_DSN}', instances: 2", "a role that can only read makes no databases."),
    ],
)
def test_keys_that_do_not_fit_are_told(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(SpecInvalid) as told:
        project(tmp_path, ["SELECT 1"], source)
    assert message in [fault.message for fault in told.value.faults]
