"""Does learning from judged answers reach beyond the lessons? Methods x seeds x domains, a line of CSV for each run.

    python bench/beyond.py [--data order formulas nim20 nim30] [--methods sft grpo dpo] [--seeds 3] [--rates 40 10]

First the student (`builtin:tiny`) learns a few lessons until more steps on them bring nothing; merged, it is the
incumbent. Then, from that student and with another adapter: `sft`, the same lessons again; `grpo` and `dpo`, its own
answers to questions whose answers nobody says, judged by a program. Other lessons are in nobody's reach. `--rates`: of
the rate at which lessons are learned, so many parts. The holdout is the same under every seed; which rows are lessons,
and all that is drawn, hangs on the seed. One iteration, its evaluation and its gate are the wheel's own.

What stands in the CSV is not run again. The table at the end: each method against the incumbent and against `sft`,
over items and seeds (`stats.two_way`); `pass@1` and `pass@8`: what the first round's samples earn, one by one and the
best of a question's eight. CPU is of the whole iteration, starting up included.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from measuring import add_run, known_runs

from flywheel import Project
from flywheel.engine.history import open_lookup
from flywheel.stats import two_way
from flywheel.training.recipe import Size, learning_rate

ROOT = Path(__file__).resolve().parents[1]
HOLDOUT, PROBES, STEPS = 200, 40, 150
METHODS = ("sft", "grpo", "dpo")
COLUMNS = (
    "data", "method", "part", "seed", "lessons", "practice", "steps", "rounds", "questions", "samples",
    "items", "base", "score", "decision", "pass_1", "pass_8", "rewards", "seconds", "cpu", "right",
)  # fmt: skip
KEY = COLUMNS[:10]
Row = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """`verifier`: a function of the first of the `programs`; `lessons`: how many rows are learned."""

    programs: tuple[str, ...]
    verifier: str
    prompt: str
    target: str
    lessons: int
    tokens: int


DOMAINS = {
    "order": Domain(("examples/practice/order.py",), "ordered", "practice/prompts/order.md", "ordered", 40, 20),
    "formulas": Domain(
        ("bench/measuring/carried_out.py", "examples/phi4/words.py"),
        "carried_out",
        "phi4/prompts/formula.md",
        "formula",
        40,
        32,
    ),
    **{
        name: Domain(("examples/selfplay/nim.py",), "referee", "selfplay/prompts/move.md", "leave", 20, 8)
        for name in ("nim20", "nim30")
    },
}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", default=list(DOMAINS), choices=list(DOMAINS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--rates", nargs="+", type=int, default=[10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--practice", type=int, default=512)
    parser.add_argument("--nll", type=float, default=1.0, help="of dpo; another value wants another --out")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the further lessons")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "beyond")
    return parser.parse_args()


# --- projects ---------------------------------------------------------------------------------------------------------


def every(data: str) -> list[Row]:
    """Rows of a domain, always in the same order; the first are the holdout."""
    rng = random.Random(7)
    if data.startswith("nim"):
        return positions(rng, int(data.removeprefix("nim")))
    return orders(rng) if data == "order" else formulas(rng)


def orders(rng: random.Random) -> list[Row]:
    rows = program("practice/make_rows.py")
    return [rows.row(numbers, answered=True) for numbers in rows.drawn(rng, 2000)]


def formulas(rng: random.Random) -> list[Row]:
    """No formula twice; long ones, of which there are more, not all at the end."""
    words, found = program("phi4/words.py"), dict[str, Row]()
    while len(found) < 2000:
        steps = words.drawn(rng)
        found.setdefault(words.formula(steps), {"question": words.said(steps, rng), "formula": words.formula(steps)})
    rows = list(found.values())
    rng.shuffle(rows)
    return rows


def positions(rng: random.Random, largest: int) -> list[Row]:
    """All that can be won, of heaps of so many stones at most."""
    nim = program("selfplay/nim.py")
    heaps = [(a, b) for a in range(largest + 1) for b in range(largest + 1) if not nim.wins((a, b))]
    rng.shuffle(heaps)
    won = (next(left for left in nim.moves(each) if nim.wins(left)) for each in heaps)
    return [{"heaps": nim.written(each), "leave": nim.written(left)} for each, left in zip(heaps, won, strict=True)]


def program(name: str) -> ModuleType:
    file = ROOT / "examples" / name
    sys.path.insert(0, str(file.parent))
    return importlib.import_module(file.stem)


def write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def project(folder: Path, data: str, seed: int, practice: int) -> None:
    """Its files, without a spec."""
    shutil.rmtree(folder, ignore_errors=True)
    domain, rows = DOMAINS[data], every(data)
    rest = rows[HOLDOUT:]
    random.Random(seed).shuffle(rest)
    lessons, probes, others = (rest[: domain.lessons], rest[domain.lessons :][:PROBES], rest[domain.lessons + PROBES :])
    write(folder / "rows" / "holdout.jsonl", rows[:HOLDOUT])
    write(folder / "rows" / "lessons.jsonl", lessons)
    write(folder / "rows" / "probes.jsonl", probes)
    asked = ({k: v for k, v in row.items() if k != domain.target} for row in others[:practice])
    write(folder / "rows" / "practice.jsonl", asked)
    for file in (*domain.programs, f"examples/{domain.prompt}"):
        shutil.copy(ROOT / file, folder)


def spec_of(data: str, seed: int, base: str, train: Row) -> Row:
    domain = DOMAINS[data]
    task = {"prompt": Path(domain.prompt).name, "target": domain.target, "verify": ["judge"]}
    files = {key: f"rows/{key}.jsonl" for key in ("probes", "practice")}
    return {
        "version": 1,
        "name": "beyond",
        "seed": seed,
        "student": {"base": base, "batch_size": 256, "max_new_tokens": domain.tokens},
        "tasks": {"task": {**task, **files}},
        "taxonomy": [{"name": "wrong"}],
        "teachers": {"recorded": {"kind": "dataset", "path": "rows/lessons.jsonl", "simulated": True}},
        "verifiers": {"judge": {"kind": "python", "function": f"{Path(domain.programs[0]).name}:{domain.verifier}"}},
        "generate": [{"name": "lessons", "teachers": ["recorded"], "accept": domain.lessons}],
        "curate": {"dedup": {"near": None}},
        "train": {"epochs": 1000, "batch_size": 32, "rank": 16, "max_length": 128, **train},
        "evals": {"holdout": {"task": "task", "data": "rows/holdout.jsonl"}},
        "gate": [{"suite": "holdout", "better_by": 0.0}],
        "loop": {"iterations": 1},
    }


#: Of lessons, for `builtin:tiny`; what judged answers are learned at is a part of `recipe.learning_rate`.
LESSONS = {"max_steps": STEPS, "learning_rate": 0.003}
#: The lessons are known already: the adapter that judged answers teach begins as nothing.
KNOWN = {"max_steps": 1, "learning_rate": 1e-9}


def turn(folder: Path, spec: Row) -> None:
    (folder / "flywheel.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    with Project.open(folder) as opened:
        outcome = opened.apply()
    if outcome.error:
        raise SystemExit(f"{folder}: {outcome.error}")


def learned(data: str, seed: int, args: argparse.Namespace) -> Path:
    """The project of the student that knows the lessons; `base` in it is that student. Made once."""
    done: Path = args.out / "students" / f"{data}-{seed}-{args.practice}"
    if not done.is_dir():
        home = args.out / "student"
        project(home, data, seed, args.practice)
        turn(home, spec_of(data, seed, "builtin:tiny", LESSONS))
        with Project.open(home) as opened:
            opened.export(home / "base", iteration=1, merged=True)
        shutil.rmtree(home / ".flywheel")
        done.parent.mkdir(parents=True, exist_ok=True)
        home.rename(done)
    return done


def training(method: str, part: int, args: argparse.Namespace) -> Row:
    if method == "sft":
        return {**LESSONS, "max_steps": args.steps}
    rate = float(f"{learning_rate(Size(128, 0)) / part:.2g}")
    chosen = {"questions": args.questions, "samples": args.samples, "rounds": args.rounds, "learning_rate": rate}
    chosen |= {"nll": args.nll} if method == "dpo" else {}
    return {**KNOWN, "method": method, "preference": chosen}


def run(data: str, method: str, part: int, seed: int, args: argparse.Namespace) -> Row:
    home = learned(data, seed, args)
    folder = args.out / f"{data}-{method}-{part}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home, folder, ignore=shutil.ignore_patterns("reports", "deploy", "base"))
    began, before = time.monotonic(), cpu()
    turn(folder, spec_of(data, seed + 1000, os.path.relpath(home / "base", folder), training(method, part, args)))
    with open_lookup(folder / ".flywheel") as query:
        scores = query("SELECT arm, item_id, score FROM scores WHERE score IS NOT NULL ORDER BY item_id")
        [decision] = query("SELECT outcome FROM decisions")
        rewards = query(
            """SELECT avg(passed) AS one, avg(any_passed) AS best FROM (
                 SELECT round, question_id, avg((outcome = 'pass')::INT) AS passed,
                   max((outcome = 'pass')::INT) AS any_passed
                 FROM samples WHERE outcome <> 'unknown' GROUP BY round, question_id) GROUP BY round ORDER BY round"""
        )
    base, right = ({r["item_id"]: r["score"] for r in scores if r["arm"] == arm} for arm in ("incumbent", "candidate"))
    first = rewards[0] if rewards else {"one": None, "best": None}
    return {
        **dict(zip(KEY, key(data, method, part, seed, args), strict=True)),
        "items": len(right), "base": sum(base.values()) / len(base), "score": sum(right.values()) / len(right),
        "decision": decision["outcome"], "pass_1": first["one"], "pass_8": first["best"],
        "rewards": json.dumps([round(each["one"], 4) for each in rewards]),
        "seconds": round(time.monotonic() - began), "cpu": round(cpu() - before),
        "right": json.dumps({item: [base[item], right[item]] for item in sorted(right)}),
    }  # fmt: skip


def cpu() -> float:
    """Seconds of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


# --- tables -----------------------------------------------------------------------------------------------------------


def key(data: str, method: str, part: int, seed: int, args: argparse.Namespace) -> tuple[Any, ...]:
    settings = (args.steps, 0, 0, 0) if method == "sft" else (0, args.rounds, args.questions, args.samples)
    return data, method, part, seed, DOMAINS[data].lessons, args.practice, *settings


Runs = dict[str, dict[str, list[float]]]


def tables(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    yield (
        "| data | method, rate | seeds | pass@1, pass@8 | reward by round | incumbent | holdout | points | "
        "points against `sft` | promoted | CPU s |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("data", "method", "part", *KEY[4:])), []).append(row)
    more = {row["data"]: {r["seed"]: r for r in rows if r["data"] == row["data"] and r["method"] == "sft"}
            for row in rows}  # fmt: skip
    order = sorted(groups.items(), key=lambda one: (list(DOMAINS).index(one[0][0]), METHODS.index(one[0][1])))
    for (data, method, part, *_), its in order:
        yield f"| {data} | {line(method, part, its, more[data])} |"


def line(method: str, part: str, rows: Sequence[dict[str, str]], more: dict[str, dict[str, str]]) -> str:
    gains = [[after - before for before, after in items(row)] for row in rows]
    beside = [
        [after - other for (_, after), (_, other) in zip(items(row), items(more[row["seed"]]), strict=True)]
        for row in rows
        if row["seed"] in more and method != "sft"
    ]
    name = "`sft`, the lessons again" if method == "sft" else f"`{method}`, 1/{part}, {rows[0]['rounds']} rounds"
    sampled = "" if method == "sft" else f"{mean(rows, 'pass_1'):.1%}, {mean(rows, 'pass_8'):.1%}"
    rewards = zip(*(json.loads(row["rewards"]) for row in rows), strict=True)
    fewer = f", {len(beside)} seeds" if 1 < len(beside) < len(rows) else ""
    rounds = " → ".join(f"{sum(each) / len(each):.1%}" for each in rewards)
    promoted = sum(row["decision"] == "promote" for row in rows)
    return (
        f"{name} | {len(rows)} | {sampled} | {rounds} | {mean(rows, 'base'):.1%} | {mean(rows, 'score'):.1%} "
        f"| {points(gains)} | {points(beside)}{fewer} | {promoted} of {len(rows)} | {mean(rows, 'cpu'):.0f}"
    )


def items(row: dict[str, str]) -> list[tuple[float, float]]:
    return [(before, after) for _, (before, after) in sorted(json.loads(row["right"]).items())]


def mean(rows: Sequence[dict[str, str]], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)


def points(gains: Sequence[Sequence[float]]) -> str:
    """Over items and seeds, in points; of one seed no interval."""
    if not gains:
        return ""
    if len(gains) == 1:
        return f"{100 * sum(gains[0]) / len(gains[0]):+.1f} (one seed)"
    found = two_way(gains, [1] * len(gains[0]))
    return f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def wanted(args: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Seed by seed, so that a run that is stopped leaves a table of fewer seeds."""
    for seed in range(1, args.seeds + 1):
        for data in args.data:
            for method in args.methods:
                for part in [1] if method == "sft" else args.rates:
                    yield data, method, part, seed


def main() -> None:
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "beyond.csv"
    done = {tuple(row[name] for name in KEY) for row in known_runs(file)}
    for one in wanted(args):
        if tuple(map(str, key(*one, args))) in done:
            continue
        row = run(*one, args)
        add_run(file, COLUMNS, row)
        print(*one, f"{row['base']:.1%} -> {row['score']:.1%}, {row['decision']}, {row['seconds']} s", flush=True)
    print("\n".join(tables(known_runs(file))))


if __name__ == "__main__":
    main()
