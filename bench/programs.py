"""HumanEval programs judged a second: ours, contained and value-out, beside a bare fork and a plain subprocess.

    python bench/programs.py [--size 164] [--rounds 3]

Needs HumanEval in ../shared/data/humaneval, or in the folder that FLYWHEEL_TEST_DATA names. Two workers each. The bare
fork (from a warm parent: the limit) and the plain subprocess (a new interpreter) run solution and tests in one process,
judge by exit status and contain nothing; below the rates stands how many of 13 cheats each accepts.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import footer, interleaved, options, rate_table

from flywheel.records import Subject
from flywheel.spec.models import Task
from flywheel.spec.verifiers import CodeVerifier
from flywheel.verifiers import Checker

WORKERS = 2
SPEC = CodeVerifier(kind="code", tests="test", prefix="prompt", entry_point="entry_point")
TASKS = {"t": Task(prompt="p", target="answer", verify=["code"])}
Row = dict[str, Any]

# --- cheats: none of these is the identity, and none touches anything outside its process ---

LIAR = "class L{}:\n    def __eq__(self, other): return True\n    __hash__ = None\n"
CHEATS = {
    "sys.exit(0)": "import sys\nsys.exit(0)",
    "os._exit(0)": "import os\nos._exit(0)",
    "posix._exit(0)": "import posix\nposix._exit(0)",
    "exit in the call": "def f(x):\n    raise SystemExit(0)",
    "equal to everything": LIAR.format("") + "def f(x):\n    return L()",
    "int subclass": LIAR.format("(int)") + "def f(x):\n    return L(7)",
    "True for 1": "def f(x):\n    return bool(x)",
    "1.0 for 1": "def f(x):\n    return float(x)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x):\n    return 7",
    "excepthook": "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x):\n    return 7",
    "forged result": "def f(x):\n    print('{\"value\": 1}', 'PASS', flush=True)\n    return 7",
    "frames": "import sys\ndef f(x):\n    frame = sys._getframe(1)\n"
    "    return next((c for c in frame.f_code.co_consts if c == x and type(c) is int), 7) if frame else 7",
    "gc": "import gc\ndef f(x):\n    held = [d.get('expected') for d in gc.get_objects() if type(d) is dict]\n"
    "    return next((v for v in held if type(v) is int and v == x), 7)",
}
CHEAT_TESTS = "def check(candidate):\n    assert candidate(1) == 1\n    assert candidate(0) == 0\n"


def problems(size: int) -> tuple[list[Row], list[str]]:
    shared = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("FLYWHEEL_TEST_DATA", shared)) / "humaneval" / "HumanEval.jsonl.gz"
    if not path.exists():
        sys.exit(f"no HumanEval at {path}; name the folder of the data sets in FLYWHEEL_TEST_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:size]
    return rows, [row["canonical_solution"] for row in rows]


def cheats() -> tuple[list[Row], list[str]]:
    row = {"prompt": "", "entry_point": "f", "test": CHEAT_TESTS}
    return [row] * len(CHEATS), list(CHEATS.values())


def script(row: Row, answer: str) -> str:
    return f"{row['prompt']}{answer}\n{row['test']}\ncheck({row['entry_point']})\n"


# --- the three ---


def ours(judge: Checker, rows: Sequence[Row], answers: Sequence[str]) -> list[bool]:
    subjects = (Subject(str(i), "t", row, answer) for i, (row, answer) in enumerate(zip(rows, answers, strict=True)))
    return [said[0].outcome == "pass" for said in judge.judge(subjects, TASKS)]


def in_subprocesses(rows: Sequence[Row], answers: Sequence[str]) -> list[bool]:
    def run(source: str) -> bool:
        return subprocess.run([sys.executable, "-I", "-"], input=source.encode(), capture_output=True).returncode == 0

    with ThreadPoolExecutor(WORKERS) as threads:
        return list(threads.map(run, map(script, rows, answers)))


def in_forks(rows: Sequence[Row], answers: Sequence[str]) -> list[bool]:
    running: dict[int, int] = {}
    passed = [False] * len(rows)

    def reap() -> None:
        pid, status = os.wait()
        passed[running.pop(pid)] = status == 0

    for place, source in enumerate(map(script, rows, answers)):
        if len(running) == WORKERS:
            reap()
        running[_forked(source)] = place
    while running:
        reap()
    return passed


def _forked(source: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    status = 1
    try:
        exec(source, {"__name__": "solution"})
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        os._exit(status)


def main() -> None:
    chosen = options(__doc__, size=164, rounds=3)
    rows, answers = problems(chosen.size)
    with Checker({"code": SPEC}, Path.cwd(), workers=WORKERS) as judge:
        runs: dict[str, Callable[[Sequence[Row], Sequence[str]], list[bool]]] = {
            "bare fork, exit status": in_forks,
            "ours": lambda rows, answers: ours(judge, rows, answers),
            "subprocess, exit status": in_subprocesses,
        }
        passed = {name: sum(run(rows, answers)) for name, run in runs.items()}  # warm, and right
        times = interleaved({name: lambda run=run: run(rows, answers) for name, run in runs.items()}, chosen.rounds)
        print(rate_table(times, dict.fromkeys(runs, len(rows)), "programs"))
        for name, run in runs.items():
            fooled = sum(run(*cheats()))
            print(f"{name:38s} {passed[name]} of {len(rows)} right, {fooled} of {len(CHEATS)} cheats accepted")
    print(footer())


if __name__ == "__main__":
    main()
