"""Which budget policy pays: policies x seeds x students x data sets at small budgets, a line of CSV for each run.

    python bench/targeting.py [--data banking77 clinc150 arithmetic shop_sql] [--starts even gaps]
                              [--policies …] [--seeds 5] [--lessons 40 80 160] [--clinc data_full.json]

A student that fails everywhere leaves nothing to aim at, so each run starts from one that has learned something, as a
production model has: `even`, from rows as they come; `gaps`, from rows of two thirds of the kinds (labels, kinds of
problem), as where new ones came up after it was trained. That student (of `builtin:tiny`, merged) is the base; what it
learned is trained on again as human seeds; lessons are rows that it has not seen. Then one iteration, with another seed
for everything. Under one seed all policies have the same student and rows. `error_mass` and the control `uniform`
are run with each number of lessons (banking77 with twice as many), the others with the middle one.

What stands in the CSV is not run again. The tables at the end: each policy beside `uniform` at the same number of
lessons, over items and seeds (`stats.two_way`), and how many lessons `error_mass` needs for what `uniform` has with
all of its own (`stats.lessons_needed`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from measuring import add_run, known_runs

from flywheel import Project
from flywheel.engine.history import open_lookup
from flywheel.spec.policies import POLICIES
from flywheel.stats import lessons_needed, two_way

ROOT = Path(__file__).resolve().parents[1]
CONTROL, DEFAULT = "uniform", "error_mass"
#: `per_lesson` is `error_mass` until an iteration has told what a lesson brings.
RUN = [name for name in POLICIES if name != "per_lesson"]
#: Rows that the student has learned before, and steps in which it did.
LEARNED = {"clinc150": (360, 250), "banking77": (1500, 600), "arithmetic": (300, 250), "shop_sql": (300, 250)}
#: 77 labels want more lessons.
TIMES = {"banking77": 2}
COLUMNS = (
    "data",
    "start",
    "policy",
    "seed",
    "lessons",
    "steps",
    "trained",
    "items",
    "base",
    "score",
    "seconds",
    "right",
)
Row = dict[str, Any]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", default=list(LEARNED), choices=list(LEARNED))
    parser.add_argument("--starts", nargs="+", default=["even", "gaps"], choices=["even", "gaps"])
    parser.add_argument("--policies", nargs="+", default=RUN, choices=RUN)
    parser.add_argument("--lessons", nargs="+", type=int, default=[40, 80, 160])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--clinc", type=Path, help="CLINC150's own file")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "targeting")
    return parser.parse_args()


# --- projects ---------------------------------------------------------------------------------------------------------


def copied(data: str, folder: Path, clinc: Path | None) -> Path:
    """The project of a data set, fresh."""
    shutil.rmtree(folder, ignore_errors=True)
    homes = {"shop_sql": ROOT, "arithmetic": ROOT / "runner" / "flywheel" / "templates" / "arithmetic"}
    source = homes.get(data, ROOT / "examples" / data)
    folder.mkdir(parents=True)
    for name in ("flywheel.yaml", "teachers.py", "evals", "prompts", "rows"):
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name)
        elif (source / name).exists():
            shutil.copy(source / name, folder)
    if data == "banking77":
        subprocess.run([sys.executable, source / "prepare.py", "--out", folder / "data"], cwd=source, check=True)
    if data == "clinc150":
        twelve_intents(source / "prepare.py", clinc, folder / "data")
        # As in banking77: a student this small cannot use a list of labels, and would spend its time on reading it.
        (folder / "prompts" / "intent.md").write_text("message: {{ row.text }}\nlabel:\n")
    return folder / "flywheel.yaml"


def twelve_intents(script: Path, file: Path | None, out: Path) -> None:
    """With all 30 test rows of each intent and 16 of its 20 validation rows: no time goes into a large model here."""
    if file is None:
        raise SystemExit("clinc150 needs its file: --clinc data_full.json, from the repository clinc/oos-eval.")
    spec = importlib.util.spec_from_file_location("prepare", script)
    assert spec is not None
    assert spec.loader is not None
    prepare: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    prepare.FILES |= {"holdout": ("test", slice(0, 30)), "probes": ("val", slice(0, 16))}
    for name, rows in prepare.cut(json.loads(file.read_text(encoding="utf-8"))).items():
        write(out / f"{name}.jsonl", rows)
    (out / "labels.txt").write_text("\n".join(prepare.INTENTS) + "\n")


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def small(spec: Row, seed: int, policy: str, lessons: int, steps: int) -> Row:
    """The lessons of the errors alone, the target suite, one iteration; a model is trained whatever it is worth."""
    target = next(name for name, suite in spec["evals"].items() if suite.get("role", "target") == "target")
    first = next(generator for generator in spec["generate"] if generator.get("from", "errors") == "errors")
    kept = {key: spec[key] for key in spec if key not in ("ablate", "deploy", "curate")}
    return kept | {
        "seed": seed,
        "student": {"base": "builtin:tiny", "batch_size": 128, "max_new_tokens": spec["student"]["max_new_tokens"]},
        "budget": {"policy": policy},
        "generate": [{**first, "accept": lessons, "per_call": 10}],
        "curate": {"mix": {"seeds": 1.0}},
        "train": {"max_steps": steps, "batch_size": 16, "learning_rate": 0.003, "rank": 16, "max_length": 256},
        "evals": {target: spec["evals"][target]},
        "gate": [{"suite": target, "better_by": 0.0}],
        "loop": {"iterations": 1},
    }  # fmt: skip


def learned(data: str, start: str, seed: int, args: argparse.Namespace) -> Path:
    """The project of a student that has learned something; `base` in it is that student. Made once."""
    done: Path = args.out / "students" / f"{data}-{start}-{seed}"
    if done.is_dir():
        return done
    home = args.out / "student"
    file = copied(data, home, args.clinc)
    rows, steps = LEARNED[data]
    spec = small(yaml.safe_load(file.read_text()), seed, CONTROL, rows, steps)
    (task,) = spec["tasks"].values()
    probes = read(home / task["probes"])
    pools = [teacher for teacher in spec["teachers"].values() if teacher["kind"] == "dataset" and "match" in teacher]
    if pools:
        pool = pools[0]
        every = read(home / pool["path"])
        random.Random(seed).shuffle(every)
        kinds = sorted({row[pool["match"]] for row in every})
        away = set(random.Random(seed).sample(kinds, len(kinds) // 3 if start == "gaps" else 0))
        known = [row for row in every if row[pool["match"]] not in away][:rows]
        seen = {json.dumps(row) for row in known}
        unseen = [row for row in every if json.dumps(row) not in seen]
        write(home / pool["path"], known)
        write(home / task["probes"], (row for row in probes if row[pool["match"]] not in away))
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    turn(file)
    with Project.open(home) as project:
        project.export(home / "base", iteration=1, merged=True)
        found = project.query('SELECT "row", target FROM dataset')
    write(home / "known.jsonl", ({**row["row"], task["target"]: row["target"]} for row in found))
    if pools:
        write(home / pools[0]["path"], unseen)
    write(home / task["probes"], probes)
    shutil.rmtree(home / ".flywheel")
    done.parent.mkdir(parents=True, exist_ok=True)
    home.rename(done)
    return done


def turn(file: Path) -> None:
    with Project.open(file.parent) as project:
        outcome = project.apply()
    if outcome.error:
        raise SystemExit(f"{file}: {outcome.error}")


def run(data: str, start: str, policy: str, seed: int, lessons: int, args: argparse.Namespace) -> Row:
    home = learned(data, start, seed, args)
    folder = args.out / "project"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home, folder, ignore=shutil.ignore_patterns("reports", "deploy", "base"))
    file = folder / "flywheel.yaml"
    spec = small(yaml.safe_load(file.read_text()), seed, policy, lessons, args.steps)
    spec["student"]["base"] = os.path.relpath(home / "base", folder)
    spec["tasks"] = {name: {**its, "seeds": "known.jsonl"} for name, its in spec["tasks"].items()}
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    began = time.monotonic()
    turn(file)
    with open_lookup(folder / ".flywheel") as query:
        both = {
            arm: {row["item_id"]: row["score"] for row in query(
                "SELECT item_id, score FROM scores WHERE arm = ? AND score IS NOT NULL ORDER BY item_id", [arm])}
            for arm in ("incumbent", "candidate")
        }  # fmt: skip
        [trained] = query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")
    base, right = both["incumbent"], both["candidate"]
    return {
        "data": data, "start": start, "policy": policy, "seed": seed, "lessons": lessons, "steps": args.steps,
        "trained": trained["n"], "items": len(right), "base": round(sum(base.values()) / max(1, len(base)), 4),
        "score": round(sum(right.values()) / max(1, len(right)), 4), "seconds": round(time.monotonic() - began),
        "right": json.dumps(right),
    }  # fmt: skip


# --- tables -----------------------------------------------------------------------------------------------------------


def key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in COLUMNS[:6])


class Found:
    """The runs of one data set and student: scores of the items that all have, by policy, lessons and seed."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self.bases = {row["seed"]: float(row["base"]) for row in rows}
        self.right = {(row["policy"], int(row["lessons"]), row["seed"]): json.loads(row["right"]) for row in rows}
        self.items = sorted(set.intersection(*(set(right) for right in self.right.values())))
        self.sizes = sorted({lessons for _, lessons, _ in self.right})

    def seeds(self, *wanted: tuple[str, int]) -> list[str]:
        """The seeds under which all of these were run."""
        return [seed for seed in self.bases if all((*one, seed) in self.right for one in wanted)]

    def scores(self, policy: str, lessons: int, seed: str) -> list[float]:
        right = self.right[policy, lessons, seed]
        return [right[item] for item in self.items]


def tables(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["start"]), []).append(row)
    found = {group: Found(its) for group, its in groups.items()}
    yield "| data | student | lessons | policy | seeds | items | base | score | points against uniform | p |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for group, runs in found.items():
        for lessons in runs.sizes:
            for policy in RUN:
                if seeds := runs.seeds((policy, lessons), (CONTROL, lessons)):
                    yield f"| {group[0]} | {group[1]} | {lessons} | `{policy}` {beside(runs, policy, lessons, seeds)} |"
    yield "\n| data | student | seeds | `uniform` has | `error_mass` needs, of as many | interval |"
    yield "|---|---|---|---|---|---|"
    for group, runs in found.items():
        if seeds := runs.seeds(*((policy, lessons) for policy in (DEFAULT, CONTROL) for lessons in runs.sizes)):
            yield f"| {group[0]} | {group[1]} | {len(seeds)} | {needs(runs, seeds)} |"


def beside(runs: Found, policy: str, lessons: int, seeds: list[str]) -> str:
    own = [runs.scores(policy, lessons, seed) for seed in seeds]
    base = sum(runs.bases[seed] for seed in seeds) / len(seeds)
    said = f"| {len(seeds)} | {len(runs.items)} | {base:.1%} | {sum(map(sum, own)) / (len(own) * len(runs.items)):.1%} "
    if policy == CONTROL or len(seeds) == 1:
        return f"{said}| |"
    control = [runs.scores(CONTROL, lessons, seed) for seed in seeds]
    gains = [[mine - other for mine, other in zip(*pair, strict=True)] for pair in zip(own, control, strict=True)]
    found = two_way(gains, [1] * len(runs.items))
    return f"{said}| {100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}) | {found.p_value:.2g}"


def needs(runs: Found, seeds: list[str]) -> str:
    own, control = (
        [[runs.scores(policy, lessons, seed) for lessons in runs.sizes] for seed in seeds]
        for policy in (DEFAULT, CONTROL)
    )
    found = lessons_needed(own, runs.sizes, control, [1] * len(runs.items), seed=7)
    share, low, high = (value / runs.sizes[-1] for value in (found.lessons, found.low, found.high))
    return f"{found.score:.1%} with {runs.sizes[-1]} | {share:.2f}x | {low:.2f} to {high:.2f}"


def wanted(args: argparse.Namespace) -> Iterator[tuple[str, str, str, int, int]]:
    """Seed by seed, so that a run that is stopped leaves a table of fewer seeds."""
    middle = sorted(args.lessons)[len(args.lessons) // 2]
    for seed in range(1, args.seeds + 1):
        for data in args.data:
            for start in args.starts:
                if start == "gaps" and data == "shop_sql":
                    continue  # its teachers are programs, told a mode: no kind of row can be held back
                for policy in args.policies:
                    for lessons in args.lessons if policy in (CONTROL, DEFAULT) else [middle]:
                        yield data, start, policy, seed, TIMES.get(data, 1) * lessons


def main() -> None:
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "targeting.csv"
    done = {key(row) for row in known_runs(file)}
    for one in wanted(args):
        if tuple(map(str, (*one, args.steps))) in done:
            continue
        row = run(*one, args)
        add_run(file, COLUMNS, row)
        print(
            *one, f"{row['base']:.1%} -> {row['score']:.1%}, {row['trained']} lessons, {row['seconds']} s", flush=True
        )
    print("\n".join(tables(known_runs(file))))


if __name__ == "__main__":
    main()
