"""How many wrong queries pass as right on generated databases alone: declared keys, no rows.

    python bench/instances.py --data DIR [--size 200] [--engine sqlite] [--show 40]

`--data`: `dev.json` and `tables.json` of Spider. Each of `size` gold queries (spread over all, those that run with the
engine) meets its mutants, one of a kind, on a database that has the declared tables and keys and no row at all. Some
mutants mean the same as the gold (DISTINCT over a key, a left join along a key that must be there), so what passes is
printed. Golds are judged against themselves as sqlglot writes them, too: none may fail.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring.mutants import mutants
from sqlglot import parse_one, transpile

from flywheel.records import Subject
from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.sql import open_sql

_TYPES = {"text": "TEXT", "number": "INTEGER", "time": "TEXT", "boolean": "BOOLEAN", "others": "TEXT"}


def script(table_of: Mapping[str, Any]) -> str:
    """The declared tables with their keys, parents first."""
    names = table_of["table_names_original"]
    columns, primary = table_of["column_names_original"], set(table_of["primary_keys"])
    foreign: dict[int, list[str]] = {}
    types = [_TYPES[kind] for kind in table_of["column_types"]]
    parents: dict[int, set[int]] = {p: set() for p, name in enumerate(names) if not name.startswith("sqlite_")}
    for own, theirs in table_of["foreign_keys"]:
        place, parent = columns[own][0], columns[theirs][0]
        if theirs in primary and place != parent and place not in parents[parent]:
            parents[place].add(parent)
            types[own] = types[theirs]
            line = f'FOREIGN KEY ("{columns[own][1]}") REFERENCES "{names[parent]}" ("{columns[theirs][1]}")'
            foreign.setdefault(place, []).append(line)
    made, order = [], []
    while len(order) < len(parents):
        order.append(next(p for p in parents if p not in order and (parents[p] <= set(order))))
    for place in order:
        lines = [
            f'"{name}" {types[number]}{" PRIMARY KEY" if number in primary else ""}'
            for number, (table, name) in enumerate(columns)
            if table == place
        ]
        made.append(f'CREATE TABLE "{names[place]}" ({", ".join([*lines, *foreign.get(place, [])])});')
    return "\n".join(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--show", type=int, default=40)
    parser.add_argument("--engine", default="sqlite")
    parser.add_argument("--instances", type=int, default=4)
    given = parser.parse_args()
    dev = json.loads((given.data / "dev.json").read_text())
    tables = {entry["db_id"]: entry for entry in json.loads((given.data / "tables.json").read_text())}
    made, slipped, own, skipped, began, shown = Counter[str](), Counter[str](), 0, 0, time.process_time(), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        checks: dict[str, Any] = {}
        for row in dev[:: max(1, len(dev) // given.size)]:
            db, gold = row["db_id"], row["query"]
            if db not in checks:
                (root / f"{db}.sql").write_text(script(tables[db]))
                keys = {"kind": "sql", "engine": given.engine, "check": "same_rows", "setup": f"{db}.sql"}
                spec = SqlVerifier.model_validate(keys | {"instances": given.instances, "timeout_seconds": 30.0})
                checks[db] = open_sql(spec, root)
            if given.engine != "sqlite":
                gold = transpile(gold, read="sqlite", write=given.engine)[0]
            written = parse_one(gold, dialect=given.engine).sql(dialect=given.engine)
            itself = checks[db](Subject("s", "t", {}, f"{written} -- itself", gold))
            if itself.outcome == "unknown":
                skipped += 1
                continue
            own += itself.outcome == "pass"
            if itself.outcome == "fail":
                print(f"FAILS ITSELF {db}: {itself.reason}\n    {gold}")
            for kind, changed in mutants(gold, given.engine):
                found = checks[db](Subject("s", "t", {}, changed, gold))
                made[kind] += 1
                if found.outcome == "pass":
                    slipped[kind] += 1
                    shown.append(f"  {kind}, {db}\n    {gold}\n    {changed}")
    joins = made.pop("left join", 0), slipped.pop("left join", 0)
    total = sum(made.values())
    print(f"{own} golds pass against themselves, {skipped} do not run with {given.engine}")
    print(f"{sum(slipped.values())} of {total} mutants pass ({sum(slipped.values()) / total:.1%})")
    for kind, count in made.items():
        print(f"  {kind:16} {slipped[kind]:4} of {count:4}")
    print(f"  beside them {joins[1]} of {joins[0]} joins turned into left joins, which keys often make the same")
    print(f"{(time.process_time() - began) / (total + own) * 1000:.1f} ms of CPU a verdict")
    print("\n".join(shown[: given.show]))


if __name__ == "__main__":
    main()
