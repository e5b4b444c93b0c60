"""Which budget policy pays: policies x seeds x data sets at small budgets, a line of CSV for each run.

    python bench/targeting.py [--data intents arithmetic banking77] [--policies …] [--seeds 3] [--lessons 90]
                              [--iterations 2] [--steps 60] [--out build/targeting]

Each run turns the wheel from the base in a folder of its own with `builtin:tiny`, short trainings, and another seed for
everything. What stands in the CSV is not run again. Under one seed all policies have the same rows; the table at the
end gives each policy's score after the last iteration beside `uniform`'s, over items and seeds (`stats.two_way`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flywheel.engine.apply import apply
from flywheel.engine.history import open_lookup
from flywheel.engine.project import open_project
from flywheel.spec.policies import POLICIES
from flywheel.stats import two_way

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "runner" / "flywheel" / "templates"
CONTROL = "uniform"
COLUMNS = ("data", "policy", "seed", "lessons", "iterations", "steps", "trained", "items", "score", "seconds", "right")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["intents", "arithmetic", "banking77"])
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    for name, value in (("seeds", 3), ("lessons", 90), ("iterations", 2), ("steps", 60)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "targeting")
    return parser.parse_args()


def written(data: str, folder: Path) -> Path:
    """The project of a data set, fresh."""
    shutil.rmtree(folder, ignore_errors=True)
    source = ROOT / "examples" / data if data == "banking77" else TEMPLATES / data
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".flywheel", "reports", "deploy"))
    if data == "banking77":
        subprocess.run([sys.executable, folder / "prepare.py", "--data", data_folder()], cwd=folder, check=True)
    return folder / "flywheel.yaml"


def data_folder() -> str:
    places = [os.environ.get("FLYWHEEL_TEST_DATA"), *(parent / "shared" / "data" for parent in ROOT.parents)]
    return next(str(place) for place in places if place and (Path(place) / "banking77").is_dir())


def small(file: Path, policy: str, seed: int, args: argparse.Namespace) -> None:
    """The lessons of the errors alone, short trainings, the target suite."""
    spec: dict[str, Any] = yaml.safe_load(file.read_text())
    target = next(name for name, suite in spec["evals"].items() if suite.get("role", "target") == "target")
    first = next(generator for generator in spec["generate"] if generator.get("from", "errors") == "errors")
    spec |= {
        "seed": seed,
        "budget": {"policy": policy},
        "generate": [{**first, "accept": args.lessons, "per_call": 10}],
        "evals": {target: spec["evals"][target]},
        "gate": [{"suite": target, "better_by": 0.0}],
        "loop": {"iterations": args.iterations},
    }
    spec["train"] |= {"max_steps": args.steps, "batch_size": 16}
    spec.pop("ablate", None)
    file.write_text(yaml.safe_dump(spec, sort_keys=False))


def run(data: str, policy: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    file = written(data, args.out / "project")
    small(file, policy, seed, args)
    began = time.monotonic()
    outcome = apply(open_project(file), shown=False)
    if outcome.error:
        raise SystemExit(f"{data}, {policy}, seed {seed}: {outcome.error}")
    with open_lookup(file.parent / ".flywheel") as query:
        scores = query(
            """SELECT item_id, score FROM scores WHERE arm = 'candidate' AND score IS NOT NULL AND node IN (
                   SELECT node FROM nodes WHERE kind = 'evaluate' AND iteration = ?) ORDER BY item_id""",
            [args.iterations],
        )
        [trained] = query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")
    right = {row["item_id"]: row["score"] for row in scores}
    return {
        "data": data, "policy": policy, "seed": seed, "lessons": args.lessons, "iterations": args.iterations,
        "steps": args.steps, "trained": trained["n"], "items": len(right),
        "score": round(sum(right.values()) / max(1, len(right)), 4), "seconds": round(time.monotonic() - began),
        "right": json.dumps(right),
    }  # fmt: skip


def known(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    csv.field_size_limit(1 << 24)
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in COLUMNS[:6])


def add(file: Path, row: dict[str, Any]) -> None:
    fresh = not file.exists()
    with file.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """One line a data set and policy: mean score, and the difference to the control of the seeds that both have."""
    yield "| data | policy | seeds | items | score | points against uniform | p |\n|---|---|---|---|---|---|---|"
    for data in dict.fromkeys(row["data"] for row in rows):
        of_data = [row for row in rows if row["data"] == data]
        control = {row["seed"]: json.loads(row["right"]) for row in of_data if row["policy"] == CONTROL}
        for policy in dict.fromkeys(row["policy"] for row in of_data):
            own = {row["seed"]: json.loads(row["right"]) for row in of_data if row["policy"] == policy}
            yield line(data, policy, own, {} if policy == CONTROL else control)


def line(data: str, policy: str, own: dict[str, Any], control: dict[str, Any]) -> str:
    items = sorted(set.intersection(*(set(right) for right in own.values())))
    score = sum(right[item] for right in own.values() for item in items) / (len(own) * len(items))
    shared = sorted(own.keys() & control.keys())
    said = "one seed" if len(shared) == 1 else ""
    p = ""
    if len(shared) > 1:
        both = [item for item in items if all(item in control[seed] for seed in shared)]
        found = two_way([[own[s][i] - control[s][i] for i in both] for s in shared], [1] * len(both))
        said, p = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})", f"{found.p_value:.2g}"
    return f"| {data} | `{policy}` | {len(own)} | {len(items)} | {100 * score:.1f}% | {said} | {p} |"


def main() -> None:
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "targeting.csv"
    for data in args.data:
        for seed in range(1, args.seeds + 1):
            for policy in args.policies:
                wanted = {**vars(args), "data": data, "policy": policy, "seed": seed}
                if key(wanted) in {key(row) for row in known(file)}:
                    continue
                row = run(data, policy, seed, args)
                add(file, row)
                print(f"{data:10} {policy:10} seed {seed}: {row['score']:.1%} after {row['seconds']} s", flush=True)
    print("\n".join(table(known(file))))


if __name__ == "__main__":
    main()
