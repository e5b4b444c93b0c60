"""What an iteration costs when there is a history: CPU seconds of curate, and of the gate's look at the training rows.

    python bench/history.py [--iterations 10] [--size 10000] [--replay 1.0] [--against CHECKOUT]

Every iteration a function writes `--size` candidates; one of ten errs, and one of ten repeats itself. The model worker
answers a few probes before and takes no part; nothing is trained. `--replay`: the share of earlier lessons that is
learned again (`curate.mix.replay`). `--against`: the same with another checkout's build, in the same run. Every build
runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import footer
from million import make_project

RUN = """
import json, time
from dataclasses import replace
from pathlib import Path
from flywheel.engine import apply as engine
from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.engine.resources import Resources
from flywheel.nodes.verbs import gate
from flywheel.store import Store

STEPS = ("probe", "diagnose", "budget", "generate", "verify", "curate")
project = open_project(Path.cwd() / "flywheel.yaml")
begun, found = {}, {"curate": [], "gate": [], "rows": [], "hashes": []}


def listen(event):
    node = event.get("node", "")
    if event["event"] == "node_started":
        begun[node] = time.process_time()
    if event["event"] == "node_done" and ".curate" in node:
        found["curate"].append(time.process_time() - begun[node])


with Store(project.store_path) as store, Resources(project, store, "bench") as resources:
    plan = make_plan(project, project.spec.loop.iterations, store.query)
    steps = replace(plan, nodes=tuple(node for node in plan.nodes if node.kind in STEPS))
    engine.THREADS = 1
    run = engine._Run(project, store, resources, steps, "bench", listen, "bench")
    run.plan = steps
    run.done |= {node.name for node in plan.nodes if node.kind not in STEPS}
    run.execute()
    run.plan = plan
    for node in plan.nodes:
        if node.kind == "gate":
            ctx = run._context(node)
            began = time.process_time()
            assert gate._contamination(ctx)
            gate._verified(ctx)
            found["gate"].append(time.process_time() - began)
    for row in store.query("SELECT summary FROM nodes WHERE kind = 'curate' ORDER BY iteration"):
        found["rows"].append(sum(row["summary"]["origins"].values()))
        found["hashes"].append(row["summary"]["dataset_hash"][:12])
print(json.dumps(found))
"""

TEACHER = '''"""Writes rows: one of ten with a label that is none, one of ten that it wrote before."""
import json
import random

WORDS = open("words.txt").read().split()


def write(request):
    rng, rows = random.Random(request["seed"]), []
    for _ in range(request["n"]):
        told = random.Random(rng.randrange(1000)) if rng.random() < 0.1 else rng
        text = " ".join(told.choices(WORDS, k=told.randint(25, 55)))
        rows.append({"text": text, "label": "none" if rng.random() < 0.1 else f"label{rng.randrange(20)}"})
    return json.dumps(rows)
'''


def spec_of(text: str, iterations: int, replay: float) -> str:
    """The other bench's spec, with the function alone, and a loop."""
    text = text.replace("teachers: [recorded, written]", "teachers: [written]")
    text = text.replace("  recorded: {kind: dataset, path: lessons.jsonl, simulated: true}\n", "")
    return text.replace("iterations: 1", f"iterations: {iterations}") + f"curate: {{mix: {{replay: {replay}}}}}\n"


def measured(folder: Path, code: Path) -> dict[str, list[float]]:
    environment = os.environ | {"PYTHONPATH": str(code / "runner"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4_000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--iterations", type=int, default=10, help="iterations (default: 10)")
    parser.add_argument("--size", type=int, default=10_000, help="candidates an iteration (default: 10,000)")
    parser.add_argument("--replay", type=float, default=1.0, help="share of earlier lessons learned again (default: 1)")
    parser.add_argument("--against", type=Path, help="another checkout to measure in the same run")
    chosen = parser.parse_args()
    builds = {"ours": Path(__file__).resolve().parent.parent} | ({"other": chosen.against} if chosen.against else {})
    print(f"{'':8s}{'iteration':>10s}{'curate s':>10s}{'gate s':>8s}{'rows':>9s}  dataset")
    with tempfile.TemporaryDirectory() as scratch:
        for name, code in builds.items():
            folder = make_project(Path(scratch) / name, chosen.size, 100)
            (folder / "teacher.py").write_text(TEACHER)
            spec = folder / "flywheel.yaml"
            spec.write_text(spec_of(spec.read_text(), chosen.iterations, chosen.replay))
            found = measured(folder, code.resolve())
            steps = zip(found["curate"], found["gate"], found["rows"], found["hashes"], strict=True)
            for number, (curate, gate, rows, digest) in enumerate(steps, 1):
                print(f"{name:8s}{number:10d}{curate:10.2f}{gate:8.2f}{rows:9,}  {digest}", flush=True)
    print(footer())


if __name__ == "__main__":
    main()
