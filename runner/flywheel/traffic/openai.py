"""OpenAI's JSON lines: data for fine-tuning, and stored completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Found, LeftOut, LoggedExchange
from flywheel.traffic.importer import Importer, first, mapping
from flywheel.traffic.messages import as_exchange, decoded, moment, whole


class OpenAI(Importer):
    name = "openai"
    about = "OpenAI JSON lines: `messages`, or a stored completion's `choices`"

    def sees(self, item: Row) -> bool:
        asked, choices = decoded(item.get("messages")), item.get("choices")
        messages = isinstance(asked, list) and bool(asked) and isinstance(asked[0], dict) and "role" in asked[0]
        return (messages and "call_type" not in item) or (
            item.get("object") == "chat.completion" and isinstance(choices, list)
        )

    def found(self, item: Row) -> Iterator[Found]:
        asked = decoded(first(item, "messages", "input")) or mapping(item, "request").get("messages")
        if isinstance(asked, list) and asked and isinstance(asked[-1], dict) and asked[-1].get("weight") == 0:
            yield LeftOut("weight 0: not to be trained on")
            return
        yield self._exchange(item, asked)

    def _exchange(self, item: Row, asked: Any) -> LoggedExchange:
        usage, metadata = mapping(item, "usage"), mapping(item, "metadata")
        return as_exchange(
            str(first(item, "id", "request_id") or ""),
            asked,
            {"choices": item["choices"]} if item.get("choices") else None,
            conversation=str(first(metadata, "conversation_id", "conversation", "session_id") or ""),
            name=str(first(metadata, "prompt_name", "prompt") or ""),
            tools=first(item, "tools", "functions"),
            model=str(item.get("model") or ""),
            at=moment(first(item, "created", "created_at")),
            input_tokens=whole(usage.get("prompt_tokens")),
            output_tokens=whole(usage.get("completion_tokens")),
        )
