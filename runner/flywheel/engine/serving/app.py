"""OpenAI's protocol over HTTP: `/v1/chat/completions`, `/v1/completions`, `/v1/models`; and `/feedback`, `/health`."""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from flywheel.engine.serving.batching import ANSWER_SECONDS, Batcher, ServedAnswer, ServedPart, Waiting, now
from flywheel.engine.serving.guard import Guard, body_of
from flywheel.engine.serving.log import ServedLog
from flywheel.engine.serving.models import Served
from flywheel.engine.serving.requests import (
    ChatBody,
    CompletionBody,
    FeedbackBody,
    Refusal,
    asked_of,
    read_body,
)
from flywheel.errors import FlywheelError
from flywheel.json_text import as_json
from flywheel.text import listing

Handler = Callable[[Request], Awaitable[Response]]
#: By HTTP status, what OpenAI calls a fault; all others are the request's.
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RECEIPT_HEADER = "x-flywheel-receipt"


def make_app(batcher: Batcher, log: ServedLog, guard: Guard) -> Starlette:
    """The application; it owns `batcher` and `log`, and closes both."""
    routes = Routes(batcher, log, guard)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        batcher.close()
        log.close()

    def guarded(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            guard.admit(request)
            return await handler(request)

        return handle

    return Starlette(
        routes=[
            Route("/v1/chat/completions", guarded(routes.chat), methods=["POST"]),
            Route("/v1/completions", guarded(routes.completions), methods=["POST"]),
            Route("/v1/models", guarded(routes.models)),
            Route("/v1/models/{name:path}", guarded(routes.model)),
            Route("/feedback", guarded(routes.feedback), methods=["POST"]),
            Route("/health", routes.health),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _no_such, Exception: _broken},
        lifespan=lifespan,
    )


class Routes:
    """What answers each address."""

    def __init__(self, batcher: Batcher, log: ServedLog, guard: Guard) -> None:
        self._batcher, self._log, self._guard = batcher, log, guard

    async def chat(self, request: Request) -> Response:
        return await self._answer(read_body(ChatBody, await body_of(request)))

    async def completions(self, request: Request) -> Response:
        return await self._answer(read_body(CompletionBody, await body_of(request)))

    async def feedback(self, request: Request) -> Response:
        said = read_body(FeedbackBody, await body_of(request))
        if not await self._log.knows(said.receipt):
            raise Refusal(404, "no answer was given under this receipt.", param="receipt")
        record = {"kind": "feedback", "id": f"feedback-{secrets.token_hex(8)}", "receipt": said.receipt, "at": now()}
        await self._log.append({**record, **said.model_dump(exclude={"receipt"})})
        return JSONResponse({"object": "feedback", "id": record["id"], "receipt": said.receipt})

    async def models(self, request: Request) -> Response:
        served = self._served
        return JSONResponse({"object": "list", "data": [_model(served, name) for name in served.names]})

    async def model(self, request: Request) -> Response:
        served, name = self._served, request.path_params["name"]
        if name not in served.names:
            known = listing(served.names, name)
            raise Refusal(404, f"no such model. Known: {known}.", param="model", code="model_not_found")
        return JSONResponse(_model(served, name))

    async def health(self, request: Request) -> Response:
        """To those who may ask, also which model answers, and why it is not the one that was deployed last."""
        if not self._guard.knows(request):
            return JSONResponse({"status": "ok"})
        deployed, waiting = self._batcher.deployed, self._batcher.waiting
        refused = {"refused": deployed.refused} if deployed.refused else {}
        trial = {"canary": deployed.trial} if deployed.trial else {}
        return JSONResponse({"status": "ok", "model_id": self._served.model_id, "waiting": waiting, **refused, **trial})

    @property
    def _served(self) -> Served:
        return self._batcher.deployed.served

    async def _answer(self, body: ChatBody | CompletionBody) -> Response:
        waiting = self._batcher.submit(asked_of(body, self._served))
        stream = _stream(waiting)
        first = await anext(stream)  # what is refused gets its status, in a stream too
        headers = {_RECEIPT_HEADER: waiting.receipt}
        if waiting.asked.streamed:
            return StreamingResponse(_sent(waiting, first, stream), media_type="text/event-stream", headers=headers)
        assert isinstance(first, ServedAnswer)
        return JSONResponse(_whole(waiting, first), headers=headers)


async def _stream(waiting: Waiting) -> AsyncIterator[ServedPart | ServedAnswer]:
    """More and more of an answer, where it is streamed, and then all of it. Raises Refusal."""
    try:
        while True:
            left = waiting.since + ANSWER_SECONDS - time.monotonic()
            event = await asyncio.wait_for(waiting.events.get(), left)
            if isinstance(event, Refusal):
                raise event
            yield event
            if isinstance(event, ServedAnswer):
                return
    except TimeoutError as error:
        raise Refusal(504, f"there was no answer within {ANSWER_SECONDS:.0f} s.") from error
    finally:
        waiting.is_gone = True


# --- what OpenAI's clients read ---------------------------------------------------------------------------------------


def _whole(waiting: Waiting, answer: ServedAnswer) -> dict[str, Any]:
    if waiting.asked.chat:
        said: dict[str, Any] = {"message": {"role": "assistant", "content": answer.text, "refusal": None}}
    else:
        said = {"text": answer.text}
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": answer.finish_reason}
    kind = "chat.completion" if waiting.asked.chat else "text_completion"
    return {**_head(waiting, kind, answer.model_id), "choices": [choice], "usage": _usage(answer)}


async def _sent(
    waiting: Waiting, first: ServedPart | ServedAnswer, stream: AsyncIterator[ServedPart | ServedAnswer]
) -> AsyncIterator[bytes]:
    """Server-sent events: words as they are written, and the end when the answer is in the log."""
    sent, event = "", first
    try:
        while isinstance(event, ServedPart):
            yield _chunk(waiting, event.model_id, event.text, is_first=not sent)
            sent += event.text
            event = await anext(stream)
    except Refusal as refusal:
        yield _data(_fault(refusal))
        return
    if rest := event.text.removeprefix(sent):
        yield _chunk(waiting, event.model_id, rest, is_first=not sent)
    yield _chunk(waiting, event.model_id, "", event.finish_reason)
    options = waiting.asked.body.stream_options
    if options is not None and options.include_usage:
        yield _data({**_head(waiting, _chunk_kind(waiting), event.model_id), "choices": [], "usage": _usage(event)})
    yield b"data: [DONE]\n\n"


def _chunk(waiting: Waiting, model_id: str, text: str, reason: str | None = None, is_first: bool = False) -> bytes:
    delta = {**({"role": "assistant"} if is_first else {}), **({"content": text} if text else {})}
    said = {"delta": delta} if waiting.asked.chat else {"text": text}
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": reason}
    return _data({**_head(waiting, _chunk_kind(waiting), model_id), "choices": [choice]})


def _chunk_kind(waiting: Waiting) -> str:
    return "chat.completion.chunk" if waiting.asked.chat else "text_completion"


def _head(waiting: Waiting, kind: str, model_id: str) -> dict[str, Any]:
    return {"id": waiting.receipt, "object": kind, "created": int(time.time()), "model": model_id}


def _usage(answer: ServedAnswer) -> dict[str, int]:
    asked, said = answer.prompt_tokens, answer.completion_tokens
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _data(value: dict[str, Any]) -> bytes:
    return f"data: {as_json(value)}\n\n".encode()


def _model(served: Served, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": served.since, "owned_by": "flywheel", "root": served.model_id}


# --- faults -----------------------------------------------------------------------------------------------------------


def _fault(refusal: Refusal) -> dict[str, Any]:
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return {"error": {"message": str(refusal), "type": kind, "param": refusal.param, "code": refusal.code}}


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after else {}
    return JSONResponse(_fault(refusal), refusal.status, headers)


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = "POST /v1/chat/completions, /v1/completions, /feedback; GET /v1/models, /health"
    return await _refused(request, Refusal(error.status_code, f"{error.detail}. There are: {known}."))


async def _broken(request: Request, error: Exception) -> Response:
    if isinstance(error, FlywheelError):
        return await _refused(request, Refusal(503, str(error)))
    traceback.print_exception(error)
    return await _refused(request, Refusal(500, "a fault of the server; its terminal says which."))
