"""Many candidates through generate → verify → curate → store: CPU seconds and memory of every step.

    python bench/million.py [--size 10000] [--rows 8] [--against CHECKOUT]

Half the candidates come from a file (a `dataset` teacher), half from a function (a `python` teacher) that errs in one
of ten and repeats itself in one of ten. The model worker answers a few probes before and takes no part; nothing is
trained. `--rows`: rows a call of the function. `--against`: the same with another checkout's build, in the same run.
Every build runs in a process of its own; memory and CPU are sampled over that process and its judges, without the
worker, whose CPU is in the sum alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import footer, questions, tiny_student

LABELS = 20
SPEC = """version: 1
name: bench
student: {{base: student, max_new_tokens: 4, batch_size: 16}}
tasks:
  first: {{prompt: prompt.md, target: label, probes: probes.jsonl, verify: [known]}}
taxonomy: [{{name: wrong, description: Any wrong answer.}}]
teachers:
  recorded: {{kind: dataset, path: lessons.jsonl, simulated: true}}
  written: {{kind: python, function: "teacher.py:write", simulated: true}}
verifiers:
  known: {{kind: regex, pattern: "label[0-9]+"}}
generate:
  - {{name: targeted, teachers: [recorded, written], accept: {size},
     max_candidates: {size}, rounds: 1, per_call: {rows}}}
evals:
  holdout: {{task: first, data: holdout.jsonl}}
gate:
  - {{suite: holdout, better_by: 0.05}}
loop: {{iterations: 1}}
"""
TEACHER = '''"""Writes rows: one of ten with a label that is none, one of ten that it wrote before."""
import json
import random

WORDS = open("words.txt").read().split()


def write(request):
    rng = random.Random(request["seed"])
    rows = []
    for _ in range(request["n"]):
        if rng.random() < 0.1:
            rng = random.Random(rng.randrange(1000))
        text = " ".join(rng.choices(WORDS, k=rng.randint(25, 55)))
        rows.append({"text": text, "label": "none" if rng.random() < 0.1 else f"label{rng.randrange(20)}"})
    return json.dumps(rows)
'''
RUN = '''
import json, os, resource, sys, threading, time
from dataclasses import replace
from pathlib import Path
from flywheel.engine import apply as engine
from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.engine.resources import Resources
from flywheel.store import Store

STEPS = ("probe", "diagnose", "budget", "generate", "verify", "curate")


def tree(root):
    """(process, resident bytes, CPU seconds) of this process and its children; the model worker apart."""
    found, ticks, page = [], os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
                memory = int((entry / "statm").read_text().split()[1]) * page
            except OSError:
                continue
            if int(entry.name) == root or (int(stat[1]) == root and b"\\0items" in command):
                found.append((int(entry.name), memory, (int(stat[11]) + int(stat[12])) / ticks))
    return found


class Watch(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.cpu = 0, {}

    def run(self):
        while True:
            self.look()
            time.sleep(0.05)

    def look(self):
        found = tree(os.getpid())
        self.peak = max(self.peak, sum(memory for _, memory, _ in found))
        self.cpu |= {process: cpu for process, _, cpu in found}
        return sum(self.cpu.values())


watch = Watch()
watch.start()
project = open_project(Path.cwd() / "flywheel.yaml")
seen, begun = {}, {}


def listen(event):
    node = event.get("node", "")
    if event["event"] == "node_started":
        begun[node] = (watch.look(), time.time())
        watch.peak = 0
    if event["event"] in ("node_done", "node_failed"):
        cpu, wall = begun[node]
        step = node.split(".")[1]
        old = seen.get(step, (0, 0, 0))
        now = watch.look()
        seen[step] = (old[0] + now - cpu, old[1] + time.time() - wall, max(old[2], watch.peak))
        if event["event"] == "node_failed":
            print(event["error"], file=sys.stderr)


with Store(project.store_path) as store, Resources(project, store, "bench") as resources:
    plan = make_plan(project, 1, store.query)
    plan = replace(plan, nodes=tuple(node for node in plan.nodes if node.kind in STEPS))
    engine.THREADS = 1
    engine._Run(project, store, resources, plan, "bench", listen, "bench").execute()
    candidates = store.query("SELECT count(*) AS n FROM candidates")[0]["n"]
    kept = store.query("SELECT count(*) AS n FROM dataset")[0]["n"]
used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
whole = sum(one.ru_utime + one.ru_stime for one in used)
print(json.dumps({"steps": seen, "candidates": candidates, "kept": kept, "whole": whole}))
'''


def make_project(folder: Path, size: int, rows: int) -> Path:
    rng = random.Random(0)
    folder.mkdir()
    words = questions(400, seed=1)
    tiny_student(folder / "student", words)
    labels = [f"label{i}" for i in range(LABELS)]
    (folder / "words.txt").write_text(" ".join(words))
    (folder / "labels.txt").write_text("\n".join(labels))
    (folder / "prompt.md").write_text("{{ row.text }}\nLabel: ")
    (folder / "teacher.py").write_text(TEACHER)
    for name, count, seed in (("probes", 40, 2), ("holdout", 1_000, 3), ("lessons", size // 2 + 1, 4)):
        lines = [json.dumps({"text": text, "label": rng.choice(labels)}) for text in questions(count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "flywheel.yaml").write_text(SPEC.format(size=size, rows=rows))
    return folder


def measured(folder: Path, code: Path) -> dict[str, object]:
    environment = os.environ | {"PYTHONPATH": str(code / "runner"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4_000:])
    sys.stderr.write(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=10_000, help="candidates (default: 10,000)")
    parser.add_argument("--rows", type=int, default=8, help="rows a call of the teachers (default: 8)")
    parser.add_argument("--against", type=Path, help="another checkout to measure in the same run")
    chosen = parser.parse_args()
    builds = {"ours": Path(__file__).resolve().parent.parent} | ({"other": chosen.against} if chosen.against else {})
    print(f"{'':8s}{'step':12s}{'CPU s':>9s}{'wall s':>9s}{'µs a candidate':>16s}{'peak MB':>9s}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, code in builds.items():
            found = measured(make_project(Path(scratch) / name, chosen.size, chosen.rows), code.resolve())
            total = 0.0
            for step, (cpu, wall, peak) in found["steps"].items():  # type: ignore[attr-defined]
                total += cpu
                micros = cpu / found["candidates"] * 1e6  # type: ignore[operator]
                print(f"{name:8s}{step:12s}{cpu:9.1f}{wall:9.1f}{micros:16.0f}{peak / 1e6:9.0f}", flush=True)
            rows = f"{found['candidates']:,} candidates, {found['kept']:,} rows kept"
            print(f"{name:8s}{rows}, {total:.1f} CPU s; with the model worker and the start {found['whole']:.1f}")
    print(footer())


if __name__ == "__main__":
    main()
