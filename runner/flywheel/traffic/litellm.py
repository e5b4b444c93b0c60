"""litellm's logs: its standard payload (an object a call, as it lies in buckets) and its proxy's table of spend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Flag, Found, LeftOut
from flywheel.traffic.importer import Importer, first, mapping
from flywheel.traffic.messages import as_exchange, decoded, moment, number, whole

_ANSWERING = ("completion", "text_completion", "responses", "anthropic_messages", "generate_content", "")
"""Kinds of call, without what says how it was made."""


class LitellmLogs(Importer):
    name = "litellm"
    about = "litellm's StandardLoggingPayload, or its proxy's spend logs"

    def sees(self, item: Row) -> bool:
        return "call_type" in item and ("response" in item or "spend" in item or "response_cost" in item)

    def found(self, item: Row) -> Iterator[Found]:
        kind = str(item.get("call_type") or "")
        plain = kind.removeprefix("CallTypes.").removeprefix("a") if kind != "anthropic_messages" else kind
        if plain not in _ANSWERING and kind not in _ANSWERING:
            yield LeftOut(f"a call of the kind {kind}")
            return
        metadata = decoded(item.get("metadata")) or {}
        sent = decoded(item.get("proxy_server_request")) or {}
        parameters = decoded(item.get("model_parameters")) or {}
        prompt = mapping(metadata, "prompt_management_metadata").get("prompt_id")
        yield as_exchange(
            str(first(item, "request_id", "id", "litellm_call_id") or ""),
            _text(item.get("messages")) or (sent.get("messages") if isinstance(sent, dict) else None),
            _text(item.get("response")),
            _flags(item),
            conversation=str(item.get("session_id") or ""),
            trace=str(item.get("trace_id") or ""),
            name=str(prompt or ""),
            tools=parameters.get("tools") if isinstance(parameters, dict) else None,
            model=str(item.get("model") or ""),
            at=moment(item.get("startTime")),
            input_tokens=whole(item.get("prompt_tokens")),
            output_tokens=whole(item.get("completion_tokens")),
            usd=number(first(item, "response_cost", "spend")),
        )


def _text(value: Any) -> Any:
    """The table has `{}` where prompts are not stored."""
    value = decoded(value)
    return None if value in ({}, [], "") else value


def _flags(item: Row) -> list[Flag]:
    flags: list[Flag] = []
    if str(item.get("status") or "").lower() == "failure" or item.get("error_str"):
        flags.append("failed")
    if str(item.get("cache_hit")).lower() == "true":
        flags.append("cached")
    return flags
