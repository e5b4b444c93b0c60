"""Production traffic into the store: `flywheel ingest` of OpenAI's JSON lines beside DuckDB's own reader.

    python bench/ingest.py [--size 100000] [--rounds 3]

DuckDB reads the lines into a table and does nothing else; ours parses messages, takes personal data out, finds turns
that a later call holds, and joins what is known. The last figure is of the same file twice: then nothing is new.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from measuring import footer, interleaved, options, questions, rate_table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from flywheel.engine.ingest import ingest
from mini_domain import Domain


def written(folder: Path, size: int) -> Path:
    """Every fifth question names an address, as production does."""
    texts = questions(min(size, 20_000), seed=1)
    path = folder / "log.jsonl"
    with path.open("w") as handle:
        for i in range(size):
            mail = f" Write to person{i}@mail.example." if i % 5 == 0 else ""
            asked = {"role": "user", "content": texts[i % len(texts)] + mail}
            line = {"id": f"c{i}", "model": "m", "messages": [asked, {"role": "assistant", "content": f"Answer {i}."}]}
            handle.write(json.dumps(line) + "\n")
    return path


def bare(log: Path) -> None:
    """The limit."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/bare.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT * FROM read_json(?, format = 'newline_delimited')", [str(log)])


def ours(log: Path, times: int = 1) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project: Any = Domain.written(Path(folder)).open()
        for _ in range(times):
            list(ingest(project, [log]))


def main() -> None:
    given = options(__doc__, 100_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        log = written(Path(folder), given.size)
        runs: dict[str, Callable[[], None]] = {
            "DuckDB read_json": partial(bare, log),
            "flywheel ingest": partial(ours, log),
            "flywheel ingest, twice": partial(ours, log, 2),
        }
        times = interleaved(runs, given.rounds)
        print(f"{given.size:,} rows of {log.stat().st_size // given.size} bytes")
        print(rate_table(times, dict.fromkeys(times, given.size), "rows"))
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
        print(footer())


if __name__ == "__main__":
    main()
