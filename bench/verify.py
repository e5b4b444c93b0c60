"""Verdicts a second: SQL answers beside a plain loop over one kept DuckDB, gsm8k answers beside math-verify, and what a
small one costs.

    python bench/verify.py [--size 500] [--rounds 3]

SQL: `size` answers to a fifth as many gold queries, over 3 tables of 1,000 rows; two answers of five are right, in
other words. The gold queries are new in each round. Maths: gsm8k's answers (in `../shared/data`, or the folder in
FLYWHEEL_TEST_DATA), and as many with another number; math-verify judges a sample of them. Small ones: 40 x `size`
answers by kinds that take microseconds; CPU of this process and its children beside that of the check alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import duckdb
from measuring import footer, interleaved, options, rate_table, timed

from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import (
    ExactVerifier,
    JsonSchemaVerifier,
    LabelVerifier,
    MathVerifier,
    RegexVerifier,
    SqlVerifier,
)
from flywheel.verifiers import Checker
from flywheel.verifiers.kinds import open_check
from flywheel.verifiers.maths import open_math
from flywheel.verifiers.sql import open_sql

ROWS = 1_000
COLORS = ("red", "green", "blue", "grey", "white")


def script(chance: random.Random) -> str:
    made = []
    for table in ("shops", "items", "sales"):
        made.append(f"CREATE TABLE {table} (id INTEGER, other INTEGER, color VARCHAR, price INTEGER, day DATE);")
        rows = (
            f"({n}, {chance.randrange(ROWS)}, '{chance.choice(COLORS)}', {chance.randrange(500)},"
            f" '2024-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}')"
            for n in range(ROWS)
        )
        made.append(f"INSERT INTO {table} VALUES {', '.join(rows)};")
    return "\n".join(made)


def pairs(size: int, chance: random.Random) -> list[tuple[str, str]]:
    """(answer, gold): two of five answers are right."""
    found = []
    for n in range(max(1, size // 5)):
        table, color, price = (
            chance.choice(("shops", "items", "sales")),
            chance.choice(COLORS),
            chance.randrange(9, 490),
        )
        where = f"color = '{color}' AND price > {price}"
        joined = f"FROM sales a JOIN {table} b ON a.other = b.id WHERE b.color = '{color}' AND b.price > {price}"
        gold, wrong = [
            (f"SELECT COUNT(*) FROM {table} WHERE {where}", f"SELECT COUNT(*) FROM {table} WHERE color = '{color}'"),
            (f"SELECT id FROM {table} WHERE {where}", f"SELECT id FROM {table} WHERE price > {price}"),
            (
                f"SELECT color, SUM(price) FROM {table} WHERE price > {price} GROUP BY color",
                f"SELECT color, MAX(price) FROM {table} WHERE price > {price} GROUP BY color",
            ),
            (f"SELECT a.id {joined} AND a.color = 'red'", f"SELECT b.id {joined} AND a.color = 'red'"),
            (
                f"SELECT id FROM {table} WHERE {where} ORDER BY id",
                f"SELECT id FROM {table} WHERE {where} ORDER BY price",
            ),
        ][n % 5]
        right = gold.replace("color = 'red'", "'red' = color").replace(f"price > {price}", f"price >= {price + 1}")
        other = gold.replace(f"{price}", f"{price + 1}") if n % 2 else gold.replace("sales", "shops", 1) + " LIMIT 3"
        found += [(f"({gold})", gold), (right if right != gold else f"{gold} ", gold), (wrong, gold), (other, gold)]
        found.append((f"SELECT nope FROM {table}", gold))
    return found


def plain(connection: duckdb.DuckDBPyConnection, found: list[tuple[str, str]]) -> int:
    """The limit: one kept database, results of golds kept, multisets."""
    golds: dict[str, Counter[tuple[object, ...]]] = {}
    right = 0
    for answer, gold in found:
        if gold not in golds:
            golds[gold] = Counter(connection.execute(gold).fetchall())
        try:
            right += Counter(connection.execute(answer).fetchall()) == golds[gold]
        except duckdb.Error:
            continue
    return right


def checked(root: Path, found: list[tuple[str, str]], instances: int) -> Callable[[], None]:
    spec = SqlVerifier(kind="sql", check="same_rows", setup="setup.sql", instances=instances)

    def run() -> None:
        check = open_sql(spec, root)  # the database is kept, the golds' results are not
        for answer, gold in found:
            check(Subject("s", "t", {}, answer, gold))

    return run


def sql(size: int, rounds: int) -> None:
    chance = random.Random(1)
    found = pairs(size, chance)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        setup = script(chance)
        (root / "setup.sql").write_text(setup)
        connection = duckdb.connect(":memory:", config={"threads": 1})
        connection.execute(setup)
        spec = SqlVerifier(kind="sql", check="same_rows", setup="setup.sql")
        tasks = {"t": Task(prompt="p", target="y", verify=["rows"])}
        subjects = [Subject(f"{n}", "t", {}, answer, gold) for n, (answer, gold) in enumerate(found)]
        with Checker({"rows": spec}, root) as judge:
            list(judge.judge(subjects[:20], tasks))  # the children start
            runs: dict[str, Callable[[], object]] = {
                "DuckDB loop, one database": lambda: plain(connection, found),
                "flywheel, one database": checked(root, found, 0),
                "flywheel, and 3 generated ones": checked(root, found, 3),
                "flywheel, and that for the gold": checked(root, found, 4),
                "the same, by a Judge's 2 children": lambda: list(judge.judge(subjects, tasks)),
            }
            runs["flywheel, and that for the gold"]()
            times = interleaved(runs, rounds)
            golds = len({gold for _, gold in found})
            print(f"{len(found):,} answers to {golds:,} gold queries; confined: {judge.tiers['checks']}")
    print(rate_table(times, dict.fromkeys(times, len(found)), "answers"))


def maths(rounds: int) -> None:
    from math_verify import parse, verify

    path = Path(os.environ.get("FLYWHEEL_TEST_DATA", "../shared/data")) / "gsm8k" / "train.jsonl"
    if not path.exists():
        print(f"no gsm8k at {path}; name its folder in FLYWHEEL_TEST_DATA")
        return
    golds = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    numbers = [gold.rpartition("####")[2].strip() for gold in golds]
    others = [
        gold.rpartition("####")[0] + f"#### {Fraction(n.replace(',', '')) + 1}"
        for gold, n in zip(golds, numbers, strict=True)
    ]
    check = open_math(MathVerifier(kind="math"), Path())
    sample = range(0, len(golds), 30)

    def neighbour() -> None:
        for n in sample:
            verify(parse(golds[n]), parse(golds[n]))
            verify(parse(golds[n]), parse(others[n]))

    def ours() -> tuple[int, int]:
        accepted = sum(check(Subject("s", "t", {}, gold, gold)).outcome == "pass" for gold in golds)
        rejected = sum(check(Subject("s", "t", {}, o, g)).outcome == "fail" for o, g in zip(others, golds, strict=True))
        return accepted, rejected

    times = interleaved({"math-verify, a sample": neighbour, "flywheel": ours}, rounds)
    print("gsm8k: {:,} golds; {:,} accepted, {:,} changed ones rejected".format(len(golds), *ours()))
    print(rate_table(times, {"math-verify, a sample": 2 * len(sample), "flywheel": 2 * len(golds)}, "answers"))


def small(size: int) -> None:
    """CPU microseconds a verdict through a Checker's children, and of the same check called in this process."""
    chance = random.Random(2)
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    labels = [f"label{n}" for n in range(20)]
    row = {"text": " ".join(chance.choices(COLORS, k=45))}
    said = {
        "regex": (RegexVerifier(kind="regex", pattern="label[0-9]+"), lambda: chance.choice(labels)),
        "exact": (ExactVerifier(kind="exact"), lambda: chance.choice(labels)),
        "label": (LabelVerifier(kind="label", labels=labels), lambda: chance.choice(labels)),
        "json_schema": (
            JsonSchemaVerifier(kind="json_schema", schema="schema.json"),
            lambda: f'{{"id": {chance.randrange(9)}}}',
        ),
    }
    print(f"{'µs of CPU a verdict':24s}{'judged':>8s}{'alone':>8s}{'beside':>8s}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "schema.json").write_text(json.dumps(schema))
        for name, (spec, answer) in said.items():
            subjects = [Subject(f"{n:016x}", "t", row, answer(), answer()) for n in range(size)]
            check = open_check(name, spec, root, False)
            alone, _ = timed(lambda check=check, subjects=subjects: [check(subject) for subject in subjects])
            before = cpu_of_children()
            with Checker({name: spec}, root) as judge:
                tasks = {"t": Task(prompt="p", target="y", verify=[name])}
                list(judge.judge(subjects[:100], tasks))  # the children start
                started = cpu_of_children() - before
                ours, _ = timed(lambda judge=judge, all_=subjects, tasks=tasks: list(judge.judge(all_, tasks)))
                judged = ours.cpu + cpu_of_children() - before - started
            beside = (judged - alone.cpu) / size
            print(f"{name:24s}{judged / size * 1e6:8.1f}{alone.cpu / size * 1e6:8.1f}{beside * 1e6:8.1f}")


def cpu_of_children() -> float:
    """CPU seconds of this process's children that live."""
    found, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if entry.name.isdigit():
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                found += (int(stat[11]) + int(stat[12])) / ticks if int(stat[1]) == os.getpid() else 0.0
    return found


def main() -> None:
    given = options(__doc__, 500, 3)
    sql(given.size, given.rounds)
    maths(given.rounds)
    small(40 * given.size)
    print(footer())


if __name__ == "__main__":
    main()
