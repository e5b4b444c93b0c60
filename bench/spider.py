"""Spider's and BIRD's own scripts beside `match: spider` and `match: bird`, item by item.

    python bench/spider.py --data DIR --suite DIR --bird DIR [--size N]

`--data`: `dev.json` and `database/<db_id>/<db_id>.sqlite` of Spider. `--suite`: a checkout of
taoyds/test-suite-sql-eval. `--bird`: one of bird-bench/mini_dev. `--predictions FILE`: a prediction a line, with
`--golds FILE` (gold, tab, db_id), as in taoyds/spider's `evaluation_examples`. None of them is part of this project.

Answers: every gold itself, the predictions, and the golds with one thing changed. Spider's script is called as its
`evaluation.py` calls it (`exec` without `--plug_value`), BIRD's as its `evaluation_ex.py` does. A disagreement is
printed with what each says. "Unknown" is no pass: what the script calls wrong because it was stopped agrees with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring.mutants import mutants

from flywheel.records import Subject
from flywheel.spec.verifiers import SqlVerifier
from flywheel.verifiers.sql import open_sql

Item = tuple[str, str, str, str]
"""Where the answer is from, database, gold, answer."""
Says = Callable[[str, str, str], bool]


def items(data: Path, predictions: Path | None, golds: Path | None, size: int) -> Iterator[Item]:
    dev = json.loads((data / "dev.json").read_text())[:size]
    for row in dev:
        yield "gold", row["db_id"], row["query"], row["query"]
    if predictions and golds:
        pairs = zip(golds.read_text().splitlines()[:size], predictions.read_text().splitlines(), strict=False)
        for gold, answer in pairs:
            query, db = gold.split("\t")
            yield "prediction", db, query, answer.split("\t")[0]
    for row in dev:
        for kind, changed in [*mutants(row["query"], "sqlite"), *rewritten(row["query"])]:
            yield kind, row["db_id"], row["query"], changed


def rewritten(gold: str) -> list[tuple[str, str]]:
    """Answers on which the rules part: other order of columns, DISTINCT added, signs apart, two statements."""
    from sqlglot import exp, parse_one

    tree = parse_one(gold, dialect="sqlite")
    found = [("signs apart", gold.replace(">=", "> =").replace("!=", "! =")), ("second statement", gold + "; SELECT 1")]
    if isinstance(tree, exp.Select):
        if len(tree.expressions) > 1:
            turned = tree.copy()
            turned.set("expressions", turned.expressions[::-1])
            found.append(("columns turned", turned.sql(dialect="sqlite")))
        found.append(("distinct added", tree.copy().distinct().sql(dialect="sqlite")))
        found.append(("as decimal", gold.replace("SELECT", "SELECT 1.0 * ", 1)))
    return found


def ours(match: str, data: Path) -> Callable[[str, str, str], tuple[bool, str]]:
    path = "database/{{ row.db_id }}/{{ row.db_id }}.sqlite"
    keys = {"kind": "sql", "engine": "sqlite", "check": "same_rows", "database": path, "match": match}
    check = open_sql(SqlVerifier.model_validate(keys | {"timeout_seconds": 30.0}), data)

    def judged(db: str, gold: str, answer: str) -> tuple[bool, str]:
        found = check(Subject("s", "t", {"db_id": db}, answer, gold))
        return found.outcome == "pass", f"{found.outcome} {found.reason}"

    return judged


def official_spider(suite: Path, data: Path) -> Says:
    sys.path.insert(0, str(suite))
    import exec_eval

    def says(db: str, gold: str, answer: str) -> bool:
        path = str(data / "database" / db / f"{db}.sqlite")
        try:
            return bool(exec_eval.eval_exec_match(path, answer.replace("value", "1"), gold, False, False, False))
        except AssertionError:
            return False

    return says


def official_bird(bird: Path, data: Path) -> Says:
    sys.path.insert(0, str(bird / "evaluation"))
    for absent in ("psycopg2", "pymysql"):  # its other engines' clients
        sys.modules.setdefault(absent, types.ModuleType(absent))
    import evaluation_ex

    def says(db: str, gold: str, answer: str) -> bool:
        path = str(data / "database" / db / f"{db}.sqlite")
        return bool(evaluation_ex.execute_model(answer, gold, path, 0, 30.0, "SQLite")["res"])

    return says


def compared(name: str, says: Says, judge: Any, found: list[Item]) -> None:
    agreed: Counter[str] = Counter()
    count: Counter[str] = Counter()
    apart = []
    for kind, db, gold, answer in found:
        mine, reason = judge(db, gold, answer)
        theirs = says(db, gold, answer)
        count[kind] += 1
        agreed[kind] += mine == theirs
        if mine != theirs:
            apart.append(
                f"  {kind}, {db}: script {'pass' if theirs else 'wrong'}, ours {reason}\n    {gold}\n    {answer}"
            )
    total, same = sum(count.values()), sum(agreed.values())
    print(f"\nmatch: {name}: {same:,} of {total:,} agree ({same / total:.3%})")
    for kind in count:
        print(f"  {kind:18} {agreed[kind]:5,} of {count[kind]:5,}")
    print("\n".join(apart[:40]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--data", "--suite", "--bird", "--predictions", "--golds"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--size", type=int, default=10_000)
    given = parser.parse_args()
    found = list(items(given.data, given.predictions, given.golds, given.size))
    golds = [item for item in found if item[0] == "gold"]
    for match in ("ours", "spider", "bird"):
        judge = ours(match, given.data)
        passed = sum(judge(db, gold, answer)[0] for _, db, gold, answer in golds)
        print(f"match: {match}: {passed:,} of {len(golds):,} golds pass against themselves")
    if given.suite:
        compared("spider", official_spider(given.suite, given.data), ours("spider", given.data), found)
    if given.bird:
        compared("bird", official_bird(given.bird, given.data), ours("bird", given.data), found)


if __name__ == "__main__":
    main()
