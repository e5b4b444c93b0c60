"""Any provider that litellm reaches. Transport only: retries, cache, budget and time-outs are the desk's own."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flywheel.records import FaultClass, LessonRequest
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers.chat import MAX_BODY_BYTES, Completion, payload, read_completion, retry_after, too_long
from flywheel.teachers.faults import MAYBE_PAID, TeacherFault, fault_of_status
from flywheel.teachers.money import Price
from flywheel.teachers.structured import Ladder


@lru_cache(maxsize=1)
def _litellm() -> Any:
    # Without this, importing it asks the network for prices.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = True
    # Of a server whose numbers are no numbers, litellm itself would say so on the user's terminal.
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
    _cap_bodies()
    _count_nothing()
    return litellm


@lru_cache(maxsize=4)
def packaged(name: str) -> Any:
    """What a JSON file of litellm's package holds: to import litellm takes seconds. None where a release has no such
    file."""
    found = find_spec("litellm")
    try:
        return json.loads((Path(str(found and found.origin)).parent / name).read_bytes())
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def _prices() -> dict[str, Any]:
    """Litellm's table; asked of litellm itself where its file is missing."""
    table = packaged("model_prices_and_context_window_backup.json")
    if not isinstance(table, dict):
        table = _litellm().model_cost
    return {name: entry for name, entry in table.items() if "litellm_provider" in entry}


def known_price(model: str) -> Price | None:
    """Litellm's price of `model`, or None. (For a model that it does not know, litellm itself says 0.)"""
    entry = _prices().get(model) or _prices().get(model.partition("/")[2])
    if not entry or entry.get("input_cost_per_token") is None or entry.get("output_cost_per_token") is None:
        return None
    cached = entry.get("cache_read_input_token_cost")
    return Price(
        entry["input_cost_per_token"] * 1e6,
        entry["output_cost_per_token"] * 1e6,
        None if cached is None else cached * 1e6,
    )


def priced_models() -> list[str]:
    """The models of litellm's table of prices."""
    return list(_prices())


def is_refused(model: str, api_base: str | None) -> bool:
    """Whether litellm finds no provider for `model`, by its name or its address; any other complaint of litellm's may
    pass by the time of the call."""
    litellm = _litellm()
    try:
        litellm.get_llm_provider(model=model, api_base=api_base)
    except litellm.BadRequestError as error:
        return "LLM Provider NOT provided" in str(error)
    except Exception:
        return False
    return False


class Litellm:
    """`Transport` through `litellm.acompletion`. The model's name in an answer is not checked: routes and deployments
    have names of their own.
    """

    def __init__(self, teacher: LitellmTeacher, api_base: str | None, api_key: str | None) -> None:
        self._teacher = teacher
        self._ladder = Ladder(teacher.output)
        self._fixed = {"model": teacher.model, "api_base": api_base, "api_key": api_key}

    async def open(self) -> None:
        # Seconds of import: not on the loop, and before any deadline runs.
        await asyncio.to_thread(_litellm)

    async def complete(self, request: LessonRequest) -> Completion:
        litellm = _litellm()
        form = self._ladder.form(request)
        try:
            answer = await litellm.acompletion(
                **self._fixed,
                **payload(self._teacher, request, form),
                num_retries=0,
                max_retries=0,
                caching=False,
                timeout=self._teacher.timeout_seconds,
            )
        except Exception as error:
            # Litellm raises its own tree, the SDKs' and plain ValueErrors: every one is a fault of this call.
            raise self._ladder.judged(form, _fault(error, litellm)) from error
        if answer is None:
            # After two refusals with status 422, where litellm leaves out what it takes for the cause in between.
            asked = "" if form == "text" else f" (response_format {form})"
            raise self._ladder.judged(form, TeacherFault("bad_request", f"HTTP 422: the server refuses this{asked}"))
        return read_completion(answer.model_dump(warnings=False))

    async def close(self) -> None:
        return None


def _fault(error: Exception, litellm: Any) -> TeacherFault:
    """The class of what litellm raised."""
    for cause in _causes(error):
        if isinstance(cause, TeacherFault):
            return cause
    text = f"{type(error).__name__}: {error} {getattr(error, 'body', None) or ''}".strip()
    named: tuple[tuple[Any, FaultClass], ...] = (
        (litellm.Timeout, "timeout"),
        (litellm.ContextWindowExceededError, "context_length"),
        (litellm.ContentPolicyViolationError, "content_filter"),
        (litellm.APIConnectionError, "connection"),
    )
    for kind, fault in named:
        if isinstance(error, kind):
            return TeacherFault(fault, text, paid=fault in MAYBE_PAID)
    headers = getattr(error, "litellm_response_headers", None)
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return TeacherFault("bad_request", text)
    if status == 500 and headers is None:
        # No answer of the server at all (or one that is no JSON): litellm calls that a 500 too.
        return TeacherFault("connection", text)
    return fault_of_status(status, text, retry_after({k.lower(): v for k, v in (headers or {}).items()}))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _count_nothing() -> None:
    """Leaves out what litellm works out after each call and nobody here reads: a cost (ours is the ledger) and a log
    entry for callbacks (there are none). Together a quarter of its CPU a call.
    """
    from litellm.litellm_core_utils.litellm_logging import Logging

    Logging.response_cost_calculator = lambda *_, **__: None
    Logging.claim_async_success_log = lambda *_: False


def _cap_bodies() -> None:
    """Puts the body cap into litellm's HTTP transport, the one place that all its providers read through."""
    from litellm.llms.custom_httpx.aiohttp_transport import AiohttpResponseStream

    read = AiohttpResponseStream.__aiter__

    async def capped(stream: Any) -> AsyncIterator[bytes]:
        size = 0
        async for part in read(stream):
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise too_long()
            yield part

    AiohttpResponseStream.__aiter__ = capped
