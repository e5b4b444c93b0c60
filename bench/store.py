"""Rows into the store: `Store.write` beside bare Arrow into DuckDB and a JSONL file.

    python bench/store.py [--size 100000] [--rounds 3]

Rows of about 560 bytes for the `dataset` table, in chunks of 10,000, each chunk its own transaction.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from measuring import footer, interleaved, options, questions, rate_table

from flywheel.store import Store

CHUNK = 10_000


def rows(size: int) -> list[dict[str, Any]]:
    texts = questions(min(size, 20_000), seed=1)
    return [
        {
            "node": "f" * 16, "position": i, "lesson_id": f"{i:016x}", "candidate_id": f"{i:016x}", "origin": "new",
            "task": "solve", "mode": "wrong", "teacher": "someone", "row": {"question": texts[i % len(texts)]},
            "target": str(i), "prompt": texts[i % len(texts)],
        }
        for i in range(size)
    ]  # fmt: skip


def chunks(found: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(found), CHUNK):
        yield found[start : start + CHUNK]


def ours(found: list[dict[str, Any]], folder: Path) -> None:
    with Store(folder / "store.duckdb") as store:
        for chunk in chunks(found):
            store.write("dataset", chunk)


def bare(found: list[dict[str, Any]], folder: Path) -> None:
    """The limit: nothing but Python values to Arrow to a table; the JSON column is encoded once."""
    with duckdb.connect(str(folder / "bare.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t (node VARCHAR, position BIGINT, lesson_id VARCHAR, candidate_id VARCHAR, origin VARCHAR,"
            ' task VARCHAR, mode VARCHAR, teacher VARCHAR, "row" JSON, target VARCHAR, prompt VARCHAR)'
        )
        for chunk in chunks(found):
            columns = {name: [row[name] for row in chunk] for name in chunk[0]}
            columns["row"] = [json.dumps(value) for value in columns["row"]]
            connection.register("incoming", pa.table(columns))
            connection.execute("INSERT INTO t SELECT * FROM incoming")
            connection.unregister("incoming")


def jsonl(found: list[dict[str, Any]], folder: Path) -> None:
    with (folder / "rows.jsonl").open("w") as handle:
        for chunk in chunks(found):
            handle.writelines(json.dumps(row) + "\n" for row in chunk)
            handle.flush()
            os.fsync(handle.fileno())


def in_a_folder(write: Callable[[list[dict[str, Any]], Path], None], found: list[dict[str, Any]]) -> Callable[[], None]:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(found, Path(folder))

    return run


def main() -> None:
    given = options(__doc__, 100_000, 3)
    found = rows(given.size)
    runs = {"bare Arrow into DuckDB": bare, "JSONL, synced by chunk": jsonl, "flywheel Store.write": ours}
    times = interleaved({name: in_a_folder(write, found) for name, write in runs.items()}, given.rounds)
    size = sum(len(json.dumps(row)) for row in found[:1_000]) // len(found[:1_000])
    print(f"{given.size:,} rows of {size} bytes")
    print(rate_table(times, dict.fromkeys(times, given.size), "rows"))
    print(footer())


if __name__ == "__main__":
    main()
