"""A teacher's server that fails in every way, and a process that is killed: is every row there, paid once, in budget?

    python bench/faulty.py [--calls 5000] [--kills 10] [--seed 1]

A server in a process of its own answers after 50 ms and fails one call in five: bursts of 429 with Retry-After, 500s,
hangs, slow drips, truncated and malformed JSON, HTML, dropped connections. It keeps its own log, which is what is
believed. Three runs, each with 128 calls in flight: (1) all calls to their end; (2) killed with SIGKILL at random
moments and started again, on a server that does not fail, so that whatever it sees twice is the kills' doing; (3) the
failing server, killed too, and a budget that the calls do not fit in ($1 for 5,000). Exits 1 where a claim fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web
from measuring import lesson_request

from flywheel.errors import BudgetStop
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import Desk, read_journal

IN_FLIGHT = 128
DELAY_SECONDS = 0.05
TIMEOUT_SECONDS = 1.0
INPUT_USD, OUTPUT_USD = 1.0, 4.0
"""A million tokens."""
MAX_TOKENS = 200
FAULTS = ("500", "hang", "drip", "truncated", "malformed", "html", "dropped", "429")
SHARE = 0.2
"""Calls that fail."""
BURST_SECONDS = 0.3
"""So long everything is answered with 429, from time to time."""


class FaultyServer:
    """Answers chat completions, or fails; bills what it answered and what it processed before it failed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.begin(SHARE)

    def begin(self, share: float) -> None:
        self.share = share
        self.burst_until = 0.0
        self.hits = 0
        self.usd = 0.0
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        body = await request.json()
        fault = self._fault()
        if fault:
            self.faults[fault] += 1
        if fault in ("429", "500"):
            headers = {"Retry-After": str(BURST_SECONDS)} if fault == "429" else {}
            return web.json_response({"error": {"message": "not now"}}, status=int(fault), headers=headers)
        answer = self._bill(body)
        await asyncio.sleep(DELAY_SECONDS)
        if fault:
            return await getattr(self, f"_{fault}")(request, json.dumps(answer).encode())
        self.answered[body["messages"][-1]["content"]] += 1
        return web.json_response(answer)

    def _fault(self) -> str:
        if time.monotonic() < self.burst_until:
            return "429"
        if self.random.random() >= self.share:
            return ""
        fault = self.random.choices(FAULTS, [7] * (len(FAULTS) - 1) + [1])[0]
        if fault == "429":
            self.burst_until = time.monotonic() + BURST_SECONDS
        return fault

    def _bill(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens = self.random.randint(10, 40), self.random.randint(20, MAX_TOKENS)
        self.usd += (INPUT_USD * tokens[0] + OUTPUT_USD * tokens[1]) / 1e6
        message = {"role": "assistant", "content": "x" * 200}
        return {
            "id": "faulty",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        }

    async def _hang(self, request: web.Request, data: bytes) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError("unreachable")

    async def _drip(self, request: web.Request, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for byte in data:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.1)
        return response

    async def _truncated(self, request: web.Request, data: bytes) -> web.StreamResponse:
        return web.Response(body=data[: len(data) // 2], content_type="application/json")

    async def _malformed(self, request: web.Request, data: bytes) -> web.StreamResponse:
        return web.Response(body=data.replace(b":", b";"), content_type="application/json")

    async def _html(self, request: web.Request, data: bytes) -> web.StreamResponse:
        return web.Response(body=b"<html>bad gateway</html>", content_type="text/html")

    async def _dropped(self, request: web.Request, data: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def log(self, request: web.Request) -> web.StreamResponse:
        twice = sum(count - 1 for count in self.answered.values())
        log = {"hits": self.hits, "usd": self.usd, "prompts": len(self.answered), "twice": twice, "faults": self.faults}
        return web.json_response(log)

    async def reset(self, request: web.Request) -> web.StreamResponse:
        self.begin(float(request.query["share"]))
        return web.Response()


def serve(port: multiprocessing.Queue[int], seed: int) -> None:
    server = FaultyServer(seed)
    # Clients that go away in the middle are the point here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.chat)
        app.router.add_get("/log", server.log)
        app.router.add_get("/reset", server.reset)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


# --- the process that asks


def ask(folder: str, base: str, calls: str, max_usd: str) -> int:
    """Asks all; exit code 5 at the limit. The last line printed is the state of the replies."""
    teacher = LitellmTeacher(
        kind="litellm",
        model="openai/faulty",
        api_base=f"{base}/v1",
        concurrency=IN_FLIGHT,
        timeout_seconds=TIMEOUT_SECONDS,
        max_retries=12,
        max_tokens=MAX_TOKENS,
        usd_per_million_input=INPUT_USD,
        usd_per_million_output=OUTPUT_USD,
        max_usd=float(max_usd),
    )
    with Desk({"t": teacher}, Path(folder), Path(folder) / "calls") as desk:
        try:
            replies = desk.ask([lesson_request(i, f"Write question number {i}.") for i in range(int(calls))])
        except BudgetStop as stop:
            return stop.exit_code
    print(json.dumps(Counter(reply.fault or reply.status for reply in replies)))
    return 0


def start(folder: Path, base: str, calls: int, max_usd: float) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--ask", str(folder), base, str(calls), str(max_usd)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# --- what is measured


def say(line: str) -> None:
    print(line, flush=True)


def fetch(base: str, path: str) -> Any:
    with urllib.request.urlopen(f"{base}{path}", timeout=10) as response:
        return json.loads(response.read() or b"null")


def in_flight_at_kills(folder: Path) -> int:
    """Calls that were sent and never answered, by the journal that the killed processes left."""
    return sum(reply.fault == "interrupted" for _, reply in read_journal(folder / "calls"))


def kill_at_random(folder: Path, base: str, calls: int, max_usd: float, kills: int, chance: random.Random) -> int:
    """Starts the asking process, kills it while it asks, and so on; returns how often it was killed."""
    for number in range(kills):
        before = fetch(base, "/log")["hits"]
        process = start(folder, base, calls, max_usd)
        while process.poll() is None and fetch(base, "/log")["hits"] == before:
            time.sleep(0.02)
        # The calls that are left are spread over the kills that are left.
        time.sleep(chance.uniform(0, 0.8) * calls / 1000 / kills)
        if process.poll() is not None:
            return number
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return kills


def finish(folder: Path, base: str, calls: int, max_usd: float) -> tuple[int, dict[str, int]]:
    process = start(folder, base, calls, max_usd)
    printed, _ = process.communicate()
    return process.returncode, json.loads(printed.splitlines()[-1]) if printed else {}


def all_calls(folder: Path, base: str, calls: int) -> bool:
    began = time.perf_counter()
    code, states = finish(folder, base, calls, 1e6)
    seconds = time.perf_counter() - began
    log = fetch(base, "/log")
    replies = [reply for _, reply in read_journal(folder / "calls")]
    attempts = sum(reply.attempts for reply in replies)
    say(f"faulty server: {calls} calls in {seconds:.1f} s, ended with {code}; replies {states}")
    say(f"  the server saw {log['hits']} requests, the ledger has {attempts}; faults {log['faults']}")
    say(f"  answered twice {log['twice']}; billed ${log['usd']:.4f}, counted ${sum(r.usd for r in replies):.4f}")
    accounted = sum(states.values()) == len({reply.key for reply in replies}) == len(replies) == calls
    counted = sum(reply.usd for reply in replies) >= log["usd"] - 1e-9
    return code == 0 and accounted and attempts == log["hits"] and counted


def killed(folder: Path, base: str, calls: int, kills: int, chance: random.Random) -> bool:
    fetch(base, "/reset?share=0")
    done = kill_at_random(folder, base, calls, 1e6, kills, chance)
    code, states = finish(folder, base, calls, 1e6)
    log, lost = fetch(base, "/log"), in_flight_at_kills(folder)
    say(f"killed {done} times: ended with {code}; replies {states}; {log['hits']} requests for {calls} calls")
    say(f"  answered twice {log['twice']}, sent twice {log['hits'] - calls}; in flight at the kills {lost}")
    sent_twice = log["hits"] - calls
    return code == 0 and states == {"ok": calls} and sent_twice <= lost <= done * IN_FLIGHT


def budgeted(folder: Path, base: str, calls: int, kills: int, chance: random.Random) -> bool:
    # An answer bills $0.00046 on average: fewer than half of them fit.
    budget = calls / 5_000
    fetch(base, f"/reset?share={SHARE}")
    done = kill_at_random(folder, base, calls, budget, kills, chance)
    code, _ = finish(folder, base, calls, budget)
    log = fetch(base, "/log")
    counted = sum(reply.usd for _, reply in read_journal(folder / "calls"))
    say(f"budget ${budget:.2f}, killed {done} times: ended with {code}; {log['hits']} requests")
    say(f"  the server billed ${log['usd']:.4f}, the ledger counted ${counted:.4f}")
    return code == BudgetStop.exit_code and log["usd"] <= counted + 1e-9 and counted <= budget + 1e-9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ask", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        return ask(*options.ask)
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    server = context.Process(target=serve, args=(port, options.seed), daemon=True)
    server.start()
    base, chance = f"http://127.0.0.1:{port.get()}", random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        held = [
            all_calls(Path(scratch) / "all", base, options.calls),
            killed(Path(scratch) / "killed", base, options.calls, options.kills, chance),
            budgeted(Path(scratch) / "budget", base, options.calls, options.kills, chance),
        ]
    server.kill()
    print("every claim holds" if all(held) else f"DOES NOT HOLD: {held}")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
