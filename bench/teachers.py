"""Teacher calls a second: the desk on its lean and its litellm path, beside plain loops over aiohttp and litellm.

    python bench/teachers.py [--calls 5000] [--litellm-calls 1000] [--rounds 3]

A loopback server in a process of its own answers each call after 50 ms; 128 are in flight. The desk journals every
answer durably, the plain loops keep nothing. Rounds are interleaved; medians and ratios are printed. Whole time of the
loop, imports and server start aside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flywheel.records import LessonRequest, Message
from flywheel.spec.models import LitellmTeacher
from flywheel.teachers import Desk

CONCURRENCY = 128
DELAY_SECONDS = 0.05
ANSWER = {
    "id": "bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 400}},
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
    import litellm

    async def call(prompt: str) -> None:
        messages = [{"role": "user", "content": prompt}]
        await litellm.acompletion(
            model="openai/m", api_base=base, api_key="none", messages=messages, max_tokens=256, max_retries=0
        )

    asyncio.run(in_flight(calls, call))


def desk(base: str, calls: int, model: str) -> None:
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
        replies = open_desk.ask([request(i, prompt) for i, prompt in enumerate(prompts(calls))])
        assert all(reply.status == "ok" for reply in replies), next(r for r in replies if r.status != "ok")


def request(sample: int, prompt: str) -> LessonRequest:
    return LessonRequest(
        teacher="t",
        purpose="lessons",
        task="bench",
        mode="wrong",
        mode_description="",
        n=5,
        failures=(),
        seeds=(),
        row=None,
        messages=(Message("user", prompt),),
        parameters={"model": "m"},
        sample=sample,
        seed=sample,
    )


def rate(run: Callable[[], None], calls: int) -> tuple[float, float]:
    """(calls a second, milliseconds of this process's CPU a call)."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return calls / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--litellm-calls", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    calls, few = min(options.calls, 10_000), min(options.litellm_calls, 10_000)
    port: multiprocessing.Queue[int] = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{port.get()}/v1"
    runs: dict[str, tuple[Callable[[], None], int]] = {
        "plain aiohttp loop": (lambda: plain_aiohttp(base, calls), calls),
        "desk, lean path": (lambda: desk(base, calls, "openai/m"), calls),
        "plain litellm loop": (lambda: plain_litellm(base, few), few),
        # A provider prefix that the lean path leaves to litellm; the same wire format.
        "desk, litellm path": (lambda: desk(base, few, "litellm_proxy/m"), few),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    # Imports of the first calls are nobody's speed.
    plain_aiohttp(base, 16)
    plain_litellm(base, 16)
    for _ in range(options.rounds):
        for name, (run, number) in runs.items():
            seen[name].append(rate(run, number))
    server.kill()
    for name, measured in seen.items():
        print(line(name, statistics.median(c for _, c in measured), seen))


def line(name: str, milliseconds: float, seen: dict[str, list[tuple[float, float]]]) -> str:
    calls = statistics.median(r for r, _ in seen[name])
    plain = {rival: statistics.median(r for r, _ in seen[f"plain {rival} loop"]) for rival in ("aiohttp", "litellm")}
    ratios = "  ".join(f"{calls / value:5.2f}x {rival}" for rival, value in plain.items())
    return f"{name:20s} {calls:7.0f} calls/s  {milliseconds:5.2f} ms CPU  {ratios}"


if __name__ == "__main__":
    main()
