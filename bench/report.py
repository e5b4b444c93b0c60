"""The report, `flywheel show` and `flywheel status` on a large store. The rows are synthetic.

    python bench/report.py [--rows 100000] [--rounds 3] [--store-gb 0] [--project DIR]

The tiny project of `unchanged_apply.py` is applied with two iterations. Then the rows of its store are copied by SQL
under new ids, texts with a number behind them and outcomes by a hash, until every iteration has `--rows` candidates, as
many training rows less those dropped, and as many suite items for each arm. The report step of the second iteration
runs on that, in a process of its own; `show` and `status` are commands. `--store-gb` adds candidates that belong to no
iteration of the plan until the file is that large. `--project` keeps the project there, and uses the one that is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from measuring import footer
from unchanged_apply import environment, finish, flywheel, make_project

STEP = """
import json, time
from pathlib import Path
from flywheel.engine import apply as engine
from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.engine.resources import Resources
from flywheel.nodes.verbs.report import report
from flywheel.store import Store

project = open_project(Path.cwd() / "flywheel.yaml")
with Store(project.store_path) as store, Resources(project, store, "bench") as resources:
    plan = make_plan(project, project.spec.loop.iterations, store.query)
    run = engine._Run(project, store, resources, plan, "bench", lambda event: None, "bench")
    node = plan.of("report")[-1]
    wall, cpu = time.perf_counter(), time.process_time()
    context = run._context(node)
    report(context)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    found["bytes"] = {path.name: path.stat().st_size for path in sorted(context.artifact.iterdir())}
print(json.dumps(found))
"""

_ID = "substr(md5({0} || copy), 1, 16) AS {0}"
_ROW = "json_object('question', json_extract_string(\"row\", '/question') || ' ' || copy) AS \"row\""
_FATE = "CASE hash({0}, copy, {1}) % 10 WHEN 0 THEN 'unknown' WHEN 1 THEN 'fail' WHEN 2 THEN 'fail' ELSE 'pass' END"
#: Table → what of a row is another in its copy.
COPIED = {
    "calls": _ID.format("key") + ", called_at + to_microseconds(copy) AS called_at",
    "candidates": f"{_ID.format('candidate_id')}, {_ID.format('call_key')}, {_ROW}, target || ' ' || copy AS target",
    "verdicts": f"{_ID.format('subject_id')}, reason || copy AS reason",
    "judged": f"{_ID.format('candidate_id')}, {_FATE.format('candidate_id', 1)} AS outcome, 'equal' AS verifier, "
    "'not the same as ' || copy AS reason",
    "curation": f"{_ID.format('candidate_id')}, rank + copy AS rank",
    "dataset": f"{_ID.format('lesson_id')}, {_ID.format('candidate_id')}, {_ROW}, target || ' ' || copy AS target, "
    "prompt || ' ' || copy AS prompt",
    "scores": f"{_ID.format('item_id')}, {_ROW}, gold || ' ' || copy AS gold, answer || ' ' || copy AS answer, "
    f"{_FATE.format('item_id', 'arm')} AS outcome, "
    f"if({_FATE.format('item_id', 'arm')} = 'pass', 1.0, 0.0) AS score, "
    f"if({_FATE.format('item_id', 'arm')} = 'pass', NULL, 'wrong') AS mode, "
    "json_object('kind', 'kind ' || (copy % 40)) AS slices",
}


def multiply(store: Path, rows: int) -> None:
    """Every table's rows of each iteration, as often as makes `rows` of them."""
    with duckdb.connect(str(store), config={"memory_limit": "2GB"}) as connection:
        counted = "SELECT count(*) // 2 FROM candidates UNION ALL SELECT count(*) // 4 FROM scores"
        candidates, items = (count for (count,) in connection.execute(counted).fetchall())
        for table, others in COPIED.items():
            copies = rows // (items if table == "scores" else candidates)
            connection.execute(
                f"INSERT INTO {table} SELECT {table}.* REPLACE ({others}) "
                f"FROM {table}, range(1, {copies}) AS again(copy)"
            )
        # A generate node knows the calls that it asked.
        connection.execute(
            "UPDATE nodes SET summary = json_merge_patch(summary, (SELECT json_object('keys', list(DISTINCT call_key)) "
            "FROM candidates WHERE candidates.node = nodes.node)) WHERE kind = 'generate' AND status = 'done'"
        )


def fill(store: Path, size: int) -> None:
    """Candidates of no node of the plan, with texts that do not compress, until the file has `size` bytes."""
    while store.stat().st_size < size:
        with duckdb.connect(str(store), config={"memory_limit": "2GB"}) as connection:
            connection.execute(
                'INSERT INTO candidates (node, candidate_id, task, generator, call_key, "row", target, status) '
                "SELECT 'another', substr(md5(uuid()::VARCHAR), 1, 16), 'first', 'targeted', "
                "substr(md5(uuid()::VARCHAR), 1, 16), json_object('question', list_aggregate(list_transform("
                "range(30), lambda n: uuid()::VARCHAR || n), 'string_agg', ' ')), uuid()::VARCHAR, 'parsed' "
                "FROM range(200_000)"
            )


def synthetic(folder: Path, rows: int, size: int) -> None:
    make_project(folder)
    spec = folder / "flywheel.yaml"
    spec.write_text(spec.read_text().replace("iterations: 1", "iterations: 2"))
    finish(folder)
    multiply(folder / ".flywheel" / "flywheel.duckdb", rows)
    fill(folder / ".flywheel" / "flywheel.duckdb", size)


def in_a_process(folder: Path) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", STEP], cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4_000:])
    return json.loads(done.stdout.splitlines()[-1])


def seconds(folder: Path, command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[3:]} exited {done.returncode}: {done.stderr[-2_000:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of each iteration (default: 100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="medians over so many (default: 3)")
    parser.add_argument("--store-gb", type=float, default=0.0, help="at least so large (default: as it comes)")
    parser.add_argument("--project", type=Path, help="made there unless it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.project or Path(scratch) / "project"
        if not folder.exists():
            folder.mkdir(parents=True)
            synthetic(folder, given.rows, int(given.store_gb * 1e9))
        store = folder / ".flywheel" / "flywheel.duckdb"
        print(f"a synthetic store of {store.stat().st_size / 1e9:.2f} GB")
        found = [in_a_process(folder) for _ in range(given.rounds)]
        for clock in ("wall", "cpu"):
            print(f"report, {clock} seconds  {statistics.median(f[clock] for f in found):8.2f}")
        for name, size in found[0]["bytes"].items():
            print(f"  {name:16s} {size / 1e6:10.3f} MB")
        with duckdb.connect(str(store), read_only=True) as connection:
            row_id, item_id = (
                connection.execute(f"SELECT max({column}) FROM {table} WHERE node <> 'another'").fetchone()[0]
                for column, table in (("candidate_id", "candidates"), ("item_id", "scores"))
            )
        commands = {
            "importing duckdb, pydantic, yaml, typer, rich": [
                sys.executable, "-c", "import duckdb, pydantic, yaml, typer, rich",
            ],
            "flywheel status": flywheel("status"),
            "flywheel show, a candidate": flywheel("show", row_id),
            "flywheel show, a suite item": flywheel("show", item_id),
        }  # fmt: skip
        for name, command in commands.items():
            print(f"{name:46s} {statistics.median(seconds(folder, command) for _ in range(given.rounds)):7.3f} s")
    print(footer())


if __name__ == "__main__":
    main()
