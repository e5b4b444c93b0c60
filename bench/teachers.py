"""Teacher calls a second: the desk on its lean and its litellm path, beside plain loops over aiohttp and litellm.

    python bench/teachers.py [--calls 10000] [--rounds 1]

A loopback server in a process of its own answers each call after 50 ms; 128 are in flight. The desk journals every
answer durably, the plain loops keep nothing. Each run is a process of its own, timed from its start to its end, imports
included. Rounds are interleaved; medians and ratios are printed. "lean, schema" sends a JSON schema and checks the
answers against it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import lesson_request

from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import Desk

CONCURRENCY = 128
DELAY_SECONDS = 0.05
ROWS = {"rows": [{"question": "x" * 60, "answer": "y" * 10}] * 4}
ROW = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "array", "items": ROW}},
    "required": ["rows"],
    "additionalProperties": False,
}
ANSWER = {
    "id": "bench",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(ROWS)}},
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
}


def serve(port: multiprocessing.Queue[int]) -> None:
    """The smallest HTTP server that keeps connections: it must not be what is measured."""
    body = json.dumps(ANSWER).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(header.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(DELAY_SECONDS)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def prompts(calls: int) -> list[str]:
    return [f"Write question number {i}. " + "Take care. " * 30 for i in range(calls)]


async def in_flight(calls: int, call: Callable[[str], object]) -> None:
    waiting = iter(prompts(calls))

    async def worker() -> None:
        for prompt in waiting:
            await call(prompt)  # type: ignore[misc]

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


def plain_aiohttp(base: str, calls: int) -> None:
    import aiohttp

    async def main() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(prompt: str) -> None:
                body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "max_tokens": 256}
                async with session.post(f"{base}/chat/completions", json=body) as response:
                    (await response.json())["choices"][0]["message"]["content"]

            await in_flight(calls, call)

    asyncio.run(main())


def plain_litellm(base: str, calls: int) -> None:
    # Without this it asks the network for prices first, and waits where there is none.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    async def call(prompt: str) -> None:
        messages = [{"role": "user", "content": prompt}]
        await litellm.acompletion(
            model="openai/m", api_base=base, api_key="none", messages=messages, max_tokens=256, max_retries=0
        )

    asyncio.run(in_flight(calls, call))


def desk(base: str, calls: int, model: str = "openai/m", schema: dict[str, Any] | None = None) -> None:
    teacher = LitellmTeacher(
        kind="litellm",
        model=model,
        api_base=base,
        api_key="none",
        max_tokens=256,
        concurrency=CONCURRENCY,
        usd_per_million_input=0.1,
        usd_per_million_output=0.4,
        max_usd=1000.0,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Desk({"t": teacher}, Path(folder), Path(folder) / "calls") as open_desk,
    ):
        replies = open_desk.ask([lesson_request(i, prompt, schema) for i, prompt in enumerate(prompts(calls))])
        assert all(reply.status == "ok" for reply in replies), next(r for r in replies if r.status != "ok")


RUNS: dict[str, Callable[[str, int], None]] = {
    "plain aiohttp": plain_aiohttp,
    "desk, lean": desk,
    "desk, lean, schema": lambda base, calls: desk(base, calls, schema=SCHEMA),
    "plain litellm": plain_litellm,
    # A provider prefix that the lean path leaves to litellm; the same wire format.
    "desk, litellm": lambda base, calls: desk(base, calls, "litellm_proxy/m"),
}


def measured(name: str, base: str, calls: int) -> tuple[float, float]:
    """(calls a second, milliseconds of CPU a call) of a whole process."""
    wall, before = time.perf_counter(), children_cpu()
    subprocess.run([sys.executable, __file__, "--run", name, base, str(calls)], check=True)
    return calls / (time.perf_counter() - wall), 1000 * (children_cpu() - before) / calls


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, base, calls = options.run
        RUNS[name](base, int(calls))
        return
    port: multiprocessing.Queue[int] = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{port.get()}/v1"
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in RUNS}
    for _ in range(options.rounds):
        for name in RUNS:
            seen[name].append(measured(name, base, options.calls))
    server.kill()
    for name, found in seen.items():
        print(line(name, statistics.median(cpu for _, cpu in found), seen), flush=True)


def line(name: str, milliseconds: float, seen: dict[str, list[tuple[float, float]]]) -> str:
    calls = statistics.median(r for r, _ in seen[name])
    plain = {rival: statistics.median(r for r, _ in seen[f"plain {rival}"]) for rival in ("aiohttp", "litellm")}
    ratios = "  ".join(f"{calls / value:5.2f}x {rival}" for rival, value in plain.items())
    return f"{name:20s} {calls:7.0f} calls/s  {milliseconds:5.2f} ms CPU  {ratios}"


if __name__ == "__main__":
    main()
