"""Start-up: `flywheel apply` with nothing to do, `validate`, `--help`, beside the bare import of what they need.

    python bench/unchanged_apply.py [--project DIR] [--rounds 7]

Without --project a tiny one is made (a recorded teacher, an exact verifier, a random student, 2 training steps) and
applied until it is done. Every command is a process of its own, byte-compiled; medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import footer, questions, tiny_student

LIMIT = "import duckdb, pydantic, yaml, typer, rich"
SPEC = """version: 1
name: bench
student: {base: student, max_new_tokens: 4, batch_size: 16}
tasks:
  first: {prompt: prompt.md, target: answer, probes: probes.jsonl, verify: [equal]}
taxonomy: [{name: wrong, description: Any wrong answer.}]
teachers:
  recorded: {kind: dataset, path: lessons.jsonl, simulated: true}
verifiers:
  equal: {kind: exact}
generate:
  - {name: targeted, teachers: [recorded], accept: 8}
train: {rank: 4, max_steps: 2, batch_size: 4}
evals:
  holdout: {task: first, data: holdout.jsonl}
gate:
  - {suite: holdout, better_by: 0.05}
loop: {iterations: 1}
"""


def flywheel(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from flywheel.cli import main; main()", *arguments]


def environment() -> dict[str, str]:
    """Ours, byte-compiled: where bytecode is not written, imports take twice as long or more."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)


def make_project(folder: Path) -> Path:
    texts = questions(60, seed=1)
    tiny_student(folder / "student", texts)
    (folder / "flywheel.yaml").write_text(SPEC)
    (folder / "prompt.md").write_text("{{ row.question }}")
    for name, some in (("probes", texts[:12]), ("lessons", texts[12:44]), ("holdout", texts[44:])):
        rows = [{"question": text, "answer": text.split()[0]} for text in some]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def finish(folder: Path) -> None:
    """Apply until nothing is left to do. An apply that promoted nothing exits 3, and is done too."""
    for _ in range(3):
        done = run(flywheel("apply", "--yes"), folder)
        if "Nothing to do" in done.stdout:
            return
    raise SystemExit(f"the project in {folder} does not finish:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


def measured(folder: Path, rounds: int) -> dict[str, float]:
    """Median seconds by command."""
    commands = {
        LIMIT: [sys.executable, "-c", LIMIT],
        "flywheel --help": flywheel("--help"),
        "flywheel validate": flywheel("validate"),
        "flywheel apply, nothing to do": flywheel("apply", "--yes"),
    }
    seen: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            done = run(command, folder)
            seen[name].append(time.perf_counter() - start)
            if done.returncode:
                raise SystemExit(f"{name} exited {done.returncode}: {done.stderr}")
    return {name: statistics.median(times) for name, times in seen.items()}


def report(seconds: dict[str, float]) -> str:
    limit = seconds[LIMIT]
    return "\n".join(f"{name:46s} {value:7.3f} s {value / limit:6.2f}x" for name, value in seconds.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--project", type=Path, help="a project folder; it is applied first")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = given.project or make_project(Path(folder))
        finish(project)
        print(report(measured(project, given.rounds)))
    print(footer())


if __name__ == "__main__":
    main()
