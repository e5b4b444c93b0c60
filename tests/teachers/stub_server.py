"""A scripted OpenAI-compatible server on loopback: each request takes the next behaviour of a queue, then `usual`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Behaviour = Callable[["Hit"], Awaitable[web.StreamResponse]]


@dataclass
class Hit:
    """One request as the server saw it."""

    at: float
    request: web.Request
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])


def completion(text: str | None, finish: str = "stop", usage: Any = ..., **more: Any) -> dict[str, Any]:
    """The JSON of a chat completion."""
    body: dict[str, Any] = {
        "id": "stub",
        "object": "chat.completion",
        "created": 1,
        "model": "stub-1",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **more}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} if usage is ... else usage,
    }
    return body if usage is not None else {k: v for k, v in body.items() if k != "usage"}


def answers(text: str | None = None, delay: float = 0.0, **kwargs: Any) -> Behaviour:
    """A normal answer; without `text`, one that repeats the prompt."""

    async def behave(hit: Hit) -> web.StreamResponse:
        await asyncio.sleep(delay)
        return web.json_response(completion(f"re: {hit.prompt}" if text is None else text, **kwargs))

    return behave


def says(body: dict[str, Any]) -> Behaviour:
    """Exactly this JSON, status 200."""

    async def behave(hit: Hit) -> web.StreamResponse:
        return web.json_response(body)

    return behave


def status(number: int, message: str = "no", headers: dict[str, str] | None = None, **error: str) -> Behaviour:
    async def behave(hit: Hit) -> web.StreamResponse:
        return web.json_response({"error": {"message": message, **error}}, status=number, headers=headers)

    return behave


def raw(data: bytes, content_type: str = "application/json") -> Behaviour:
    async def behave(hit: Hit) -> web.StreamResponse:
        return web.Response(body=data, content_type=content_type)

    return behave


def echo_key(code: int = 401) -> Behaviour:
    """An error that repeats the caller's key."""

    async def behave(hit: Hit) -> web.StreamResponse:
        key = hit.request.headers.get("Authorization", "").removeprefix("Bearer ")
        return web.json_response({"error": {"message": f"Incorrect API key provided: {key}"}}, status=code)

    return behave


async def hang(hit: Hit) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError("unreachable")


async def drip(hit: Hit) -> web.StreamResponse:
    """A byte every 50 ms: no single read ever times out."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(hit.request)
    for byte in json.dumps(completion("slow" * 1000)).encode():
        await response.write(bytes([byte]))
        await asyncio.sleep(0.05)
    return response


async def reset(hit: Hit) -> web.StreamResponse:
    assert hit.request.transport is not None
    hit.request.transport.abort()
    return web.Response()


async def cut_short(hit: Hit) -> web.StreamResponse:
    """Half of the announced body, then the end."""
    data = json.dumps(completion("half")).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
    await response.prepare(hit.request)
    await response.write(data[: len(data) // 2])
    assert hit.request.transport is not None
    hit.request.transport.close()
    return response


async def huge(hit: Hit) -> web.StreamResponse:
    """80 MB of JSON."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(hit.request)
    await response.write(b'{"choices": [{"message": {"content": "')
    for _ in range(80):
        await response.write(b"x" * (1 << 20))
    await response.write(b'"}}]}')
    return response


@dataclass
class StubServer:
    """`with StubServer() as server:` serves on `server.url` (an `api_base`) from a thread of its own."""

    usual: Behaviour = field(default_factory=answers)
    script: deque[Behaviour] = field(default_factory=deque)
    hits: list[Hit] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    def enqueue(self, *behaviours: Behaviour) -> Self:
        self.script.extend(behaviours)
        return self

    def times(self) -> list[float]:
        """When requests came, by the monotonic clock."""
        return [hit.at for hit in self.hits]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        hit = Hit(time.monotonic(), request, await request.json())
        self.hits.append(hit)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await (self.script.popleft() if self.script else self.usual)(hit)
        finally:
            self.in_flight -= 1

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    def __exit__(self, *raised: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
