"""Requests a second of `flywheel serve`, beside `transformers serve` on the same model, at 1, 8 and 32 clients.

    python bench/serving.py [--project DIR] [--size 64] [--rounds 2]

Without --project the default domain is applied for one iteration first. Theirs has the deployed model merged into one
(`flywheel export --merged`), ours the adapter beside its base, and every answer of ours is in the log before it leaves.
Both complete the same prompts of the holdout greedily, on the loopback of this machine; each client asks again when it
was answered. Rounds are interleaved; medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path

import aiohttp
from measuring import footer

from flywheel import Project
from flywheel.engine.asking import inputs_of, prompt_of
from flywheel.engine.project import open_project
from flywheel.records.rows import read_rows

CLIENTS = (1, 8, 32)
FLYWHEEL = [sys.executable, "-c", "from flywheel.cli import main; main()"]
TRANSFORMERS = [str(Path(sys.executable).with_name("transformers")), "serve"]


def make_project(folder: Path) -> Path:
    subprocess.run([*FLYWHEEL, "init", str(folder)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*FLYWHEEL, "apply", "--iterations", "1"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def prompts_of(project: Path, count: int) -> list[str]:
    """Of a suite's rows, in turn."""
    workspace = open_project(project / "flywheel.yaml")
    suite = next(suite for suite in workspace.spec.evals.values() if suite.task)
    name, task = str(suite.task), workspace.spec.tasks[str(suite.task)]
    rows = read_rows(project / str(suite.data))
    return [prompt_of(workspace, name, inputs_of(task, row)) for row in islice(cycle(rows), count)]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    """The address of a server that answers."""
    log = (folder / f"{port}.log").open("wb")
    process = subprocess.Popen([*command, "--port", str(port)], cwd=folder, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{command[-1]}: {Path(log.name).read_text()[-2_000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1/completions"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


async def completed(address: str, model: str, prompts: list[str], clients: int, tokens: int) -> list[str]:
    waiting = iter(enumerate(prompts))
    answers = [""] * len(prompts)

    async def client(session: aiohttp.ClientSession) -> None:
        for place, prompt in waiting:
            body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
            async with session.post(address, json=body) as said:
                answers[place] = (await said.json())["choices"][0]["text"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return answers


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--project", type=Path, help="a project folder in which something is deployed")
    parser.add_argument("--size", type=int, default=64, help="requests of a run (default: 64)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, interleaved; medians are printed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        project = (given.project or make_project(folder / "project")).absolute()
        with Project.open(project) as opened:
            opened.export(folder / "merged", merged=True)
            tokens = opened.spec.student.max_new_tokens
        prompts = prompts_of(project, given.size)
        ours, theirs = free_ports(2)
        merged = str(folder / "merged")
        device = [*TRANSFORMERS, "--device", "cpu", merged]
        servers = {
            "transformers serve": (stack.enter_context(running(device, theirs, folder)), merged),
            "flywheel serve": (stack.enter_context(running([*FLYWHEEL, "serve"], ours, project)), "deployed"),
        }
        print(measured(servers, prompts, given.rounds, tokens))
    print(footer())


def measured(servers: dict[str, tuple[str, str]], prompts: list[str], rounds: int, tokens: int) -> str:
    seconds: dict[tuple[str, int], list[float]] = {(name, n): [] for n in CLIENTS for name in servers}
    said: dict[str, list[str]] = {}
    for address, model in servers.values():
        asyncio.run(completed(address, model, prompts[:4], 1, tokens))
    for _ in range(rounds):
        for name, clients in seconds:
            address, model = servers[name]
            start = time.perf_counter()
            said[name] = asyncio.run(completed(address, model, prompts, clients, tokens))
            seconds[name, clients].append(time.perf_counter() - start)
    return report({key: len(prompts) / statistics.median(times) for key, times in seconds.items()}, said)


def report(rates: dict[tuple[str, int], float], said: dict[str, list[str]]) -> str:
    limit, ours = said
    lines = [f"{'clients':>8s} {limit + ', req/s':>26s} {ours + ', req/s':>22s}"]
    lines += [
        f"{n:8d} {rates[limit, n]:26.1f} {rates[ours, n]:22.1f} {rates[ours, n] / rates[limit, n]:8.2f}x"
        for n in CLIENTS
    ]
    same = sum(a.strip() == b.strip() for a, b in zip(said[limit], said[ours], strict=True))
    threads = os.environ.get("OMP_NUM_THREADS", "as many as torch takes")
    return "\n".join([*lines, f"{same} of {len(said[ours])} answers equal; threads: {threads}"])


if __name__ == "__main__":
    main()
