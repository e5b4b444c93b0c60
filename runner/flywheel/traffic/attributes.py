"""The attributes of a span that is a call of a model, in every dialect: which keys say what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from flywheel.records.traffic import Flag, LoggedExchange
from flywheel.traffic.messages import as_exchange, decoded, messages_of, nested, number, whole

Attributes = Mapping[str, Any]


class Dialect:
    """One convention. The defaults are those of today's GenAI conventions."""

    def speaks(self, attributes: Attributes) -> bool:
        return any(key.startswith("gen_ai.") for key in attributes)

    def refused(self, attributes: Attributes) -> str:
        """Why the span is no call that answers, empty where it is one."""
        operation = attributes.get("gen_ai.operation.name")
        known = (None, "chat", "text_completion", "generate_content", "completion")
        return "" if operation in known else f"the operation {operation}"

    def asked(self, attributes: Attributes) -> Any:
        system = messages_of({"role": "system", "parts": decoded(attributes.get("gen_ai.system_instructions"))})
        before = [message for message in system if message["content"]]
        return [*before, *messages_of(attributes.get("gen_ai.input.messages"))]

    def answered(self, attributes: Attributes) -> Any:
        return attributes.get("gen_ai.output.messages")

    def finished(self, attributes: Attributes) -> Any:
        return attributes.get("gen_ai.response.finish_reasons")

    def facts(self, attributes: Attributes) -> dict[str, Any]:
        get = attributes.get
        return {
            "conversation": str(get("gen_ai.conversation.id") or ""),
            "name": str(get("gen_ai.prompt.name") or ""),
            "model": str(get("gen_ai.response.model") or get("gen_ai.request.model") or ""),
            "input_tokens": whole(get("gen_ai.usage.input_tokens", get("gen_ai.usage.prompt_tokens"))),
            "output_tokens": whole(get("gen_ai.usage.output_tokens", get("gen_ai.usage.completion_tokens"))),
            "tools": decoded(get("gen_ai.tool.definitions")),
        }

    def flags(self, attributes: Attributes) -> list[Flag]:
        return ["compacted"] if attributes.get("gen_ai.conversation.compacted") in (True, "true") else []


class Numbered(Dialect):
    """What Traceloop wrote: `gen_ai.prompt.0.content`; and events with `gen_ai.prompt` and `gen_ai.completion`."""

    def speaks(self, attributes: Attributes) -> bool:
        return any(key.startswith(("gen_ai.prompt.0.", "gen_ai.completion.0.")) for key in attributes) or any(
            key in attributes for key in ("gen_ai.prompt", "gen_ai.completion")
        )

    def refused(self, attributes: Attributes) -> str:
        kind = attributes.get("llm.request.type")
        return super().refused(attributes) if kind in (None, "chat", "completion") else f"the operation {kind}"

    def asked(self, attributes: Attributes) -> Any:
        return nested(attributes, "gen_ai.prompt") or attributes.get("gen_ai.prompt")

    def answered(self, attributes: Attributes) -> Any:
        return nested(attributes, "gen_ai.completion") or attributes.get("gen_ai.completion")

    def flags(self, attributes: Attributes) -> list[Flag]:
        return [*super().flags(attributes), *_cut(attributes, "gen_ai.prompt")]


class OpenInferenceDialect(Dialect):
    """Arize's: `llm.input_messages.0.message.content`."""

    def speaks(self, attributes: Attributes) -> bool:
        return "openinference.span.kind" in attributes or any(
            key.startswith("llm.input_messages") for key in attributes
        )

    def refused(self, attributes: Attributes) -> str:
        kind = str(attributes.get("openinference.span.kind") or "LLM")
        return "" if kind.upper() == "LLM" else f"a span of the kind {kind}"

    def asked(self, attributes: Attributes) -> Any:
        prompts = nested(attributes, "llm.prompts")
        return nested(attributes, "llm.input_messages") or prompts or decoded(attributes.get("input.value"))

    def answered(self, attributes: Attributes) -> Any:
        return nested(attributes, "llm.output_messages") or attributes.get("output.value")

    def finished(self, attributes: Attributes) -> Any:
        return attributes.get("llm.finish_reason")

    def facts(self, attributes: Attributes) -> dict[str, Any]:
        get = attributes.get
        names = ("llm.response.model_name", "llm.request.model_name", "llm.model_name")
        return {
            "conversation": str(get("session.id") or ""),
            "name": str(get("llm.prompt_template.name") or get("prompt.id") or ""),
            "model": str(next((get(name) for name in names if get(name)), "")),
            "input_tokens": whole(get("llm.token_count.prompt")),
            "output_tokens": whole(get("llm.token_count.completion")),
            "usd": number(get("llm.cost.total")),
        }

    def flags(self, attributes: Attributes) -> list[Flag]:
        return _cut(attributes, "llm.input_messages")


DIALECTS: tuple[Dialect, ...] = (OpenInferenceDialect(), Numbered(), Dialect())
"""The ones with the plainest marks first."""


def exchange_of(
    dialect: Dialect, attributes: Attributes, source_id: str, trace: str, at: datetime | None, flags: Iterable[Flag]
) -> LoggedExchange:
    answered = decoded(dialect.answered(attributes))
    reason = _reason(dialect.finished(attributes))
    if isinstance(answered, list) and answered and isinstance(answered[0], dict) and reason:
        answered = [{"finish_reason": reason, **answered[0]}]
    found = [*flags, *dialect.flags(attributes)]
    return as_exchange(
        source_id, dialect.asked(attributes), answered, found, trace=trace, at=at, **dialect.facts(attributes)
    )


def _cut(attributes: Attributes, prefix: str) -> list[Flag]:
    """Whether messages are missing, by their numbers: OpenTelemetry's Python SDK keeps the last 128 attributes of one
    span (findings/opentelemetry_forgets_how_a_conversation_began.sh)."""
    names = (key[len(prefix) + 1 :].partition(".")[0] for key in attributes if key.startswith(f"{prefix}."))
    numbers = {int(name) for name in names if name.isdecimal()}
    return ["truncated"] if numbers and len(numbers) <= max(numbers) else []


def _reason(value: Any) -> str:
    value = decoded(value)
    if isinstance(value, list):
        value = value[0] if value else None
    return str(value or "")
