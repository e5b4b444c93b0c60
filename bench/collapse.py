"""Do lessons become alike over ten iterations, with and without replay, human seeds and the seeds in the prompt?

    python bench/collapse.py [--iterations 10] [--lessons 120] [--steps 60] [--seed 7] [--out build/collapse]

The template `intents`, with a teacher that learns from the wheel's own lessons, as a student of itself does: it writes
messages by the word pairs of the examples in its prompt (`bench/imitator.py`, simulated). Three wheels, each in a
folder of its own:

- `kept`: the examples are always seeds; earlier lessons and seeds are trained on again;
- `alone`: from the second iteration on the examples are the last iteration's lessons, and nothing but the new ones is
  trained on;
- `alone, alike`: so, too, and near-duplicates stay.

The figures and their limits are the report's (`flywheel.report.collapse`): a `!` is a warning that the report shows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flywheel import Project

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent / "runner" / "flywheel" / "templates" / "intents"
FIGURES = ("real", "distinct", "entropy", "length", "tail")
SHOWN = {"kept": (40, 0), "alone": (0, 40), "alone, alike": (0, 40)}
"""Wheel → seeds and own lessons in a prompt."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, value in (("iterations", 10), ("lessons", 120), ("steps", 60), ("seed", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "collapse")
    return parser.parse_args()


def written(name: str, args: argparse.Namespace) -> Path:
    home: Path = args.out / name.replace(", ", "-")
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(TEMPLATE, home)
    shutil.copy(HERE / "imitator.py", home)
    (home / "prompts" / "imitate.md").write_text('{"seeds": {{ seeds | tojson }}, "lessons": {{ lessons | tojson }}}\n')
    (home / "prompts" / "read.md").write_text("{{ row.message }}\n")
    file = home / "flywheel.yaml"
    spec: dict[str, Any] = yaml.safe_load(file.read_text())
    seeds, own = SHOWN[name]
    spec |= {
        "seed": args.seed,
        "teachers": {
            name: {"kind": "python", "function": f"imitator.py:{function}", "simulated": True}
            for name, function in (("imitator", "write"), ("reader", "read"))
        },
        "generate": [{
            "name": "imitated", "strategy": "self_instruct", "teachers": ["imitator"], "from": "seeds", "parse": "rows",
            "prompt": "prompts/imitate.md", "examples": seeds or own, "own_examples": own, "per_call": 10,
            "novelty": 0.999, "second_opinion": ["reader"], "second_opinion_prompt": "prompts/read.md",
            "accept": args.lessons, "max_candidates": 20 * args.lessons,
        }],
        "gate": [{"suite": "holdout", "better_by": 0.0}],
        "loop": {"iterations": args.iterations},
    }  # fmt: skip
    spec["train"] |= {"max_steps": args.steps}
    spec["curate"] = {"mix": {"seeds": 0.2} if name == "kept" else {"replay": 0.0, "window": 1, "seeds": 0.0}}
    if name == "alone, alike":
        spec["curate"]["dedup"] = {"near": None}
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return home


def turned(home: Path) -> Iterator[dict[str, Any]]:
    """Each iteration's figures from its report, and the score on the holdout."""
    with Project.open(home) as project:
        outcome = project.apply()
        if outcome.error:
            print(f"{home.name} ended early: {outcome.error}", file=sys.stderr)
        last = max(project.reports())
        rows = {row["iteration"]: row for row in project.report(last)["collapse"]["rows"]}
        scores = project.query(
            """SELECT n.iteration, avg(s.score) AS score FROM scores s JOIN nodes n USING (node)
               WHERE s.arm = 'candidate' AND s.suite = 'holdout' GROUP BY 1"""
        )
        of = {row["iteration"]: row["score"] for row in scores}
        lessons = project.query(
            """SELECT n.iteration, count(*) FILTER (d.origin = 'new') AS new FROM dataset d JOIN nodes n USING (node)
               GROUP BY 1"""
        )
        new = {row["iteration"]: row["new"] for row in lessons}
    for iteration, row in sorted(rows.items()):
        yield {**row, "score": of.get(iteration), "new": new.get(iteration, 0)}


def shown(name: str, row: Mapping[str, Any]) -> str:
    figures = (
        "" if row[figure] is None else f"{row[figure]:.2f}{' !' * (figure in row['warnings'])}" for figure in FIGURES
    )
    score = "" if row["score"] is None else f"{row['score']:.1%}"
    return f"| {name} | {row['iteration']} | {row['new']} | {' | '.join(figures)} | {score} |"


def main() -> None:
    args = options()
    lines = [
        f"| wheel | iteration | new lessons | {' | '.join(FIGURES)} | holdout |",
        "|---" * (len(FIGURES) + 4) + "|",
    ]
    for name in SHOWN:
        for row in turned(written(name, args)):
            lines.append(shown(name, row))
            print(json.dumps({"wheel": name, **row}), flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
