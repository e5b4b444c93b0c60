"""Messages, texts, times and ids as logs write them → one form of each.

Messages come as lists of any vendor's dialect, as JSON inside JSON (twice, even), flattened into keys, or as text.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from flywheel.json_text import as_json
from flywheel.records import Row
from flywheel.records.traffic import FLAGS, Flag, LoggedExchange
from flywheel.traffic.files import parsed

ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system", "function": "tool"}
"""What others call a role → what it is here."""
LEFT_OUT = "left_out"
"""Key of a message with the kinds of its parts that are no text."""
_MARKS: Mapping[str, Flag] = {
    "litellm_truncated": "truncated",
    "redacted-by-litellm": "redacted",
    "__REDACTED__": "redacted",
    "[REDACTED]": "redacted",
}
"""What loggers write where they cut or hid a text."""
ENDINGS: Mapping[str, Flag] = {
    "length": "truncated", "max_tokens": "truncated", "MAX_TOKENS": "truncated", "model_length": "truncated",
    "content_filter": "filtered", "content-filter": "filtered", "SAFETY": "filtered", "refusal": "filtered",
    "error": "failed",
}  # fmt: skip
"""Reasons to finish that say something of the answer."""


def decoded(value: Any) -> Any:
    """What JSON text holds, and that again where it is JSON text itself; anything else as it is."""
    for _ in range(3):
        if not (isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"')):
            return value
        try:
            value = parsed(value)
        except ValueError:
            return value
    return value


def messages_of(value: Any) -> list[Row]:
    """`{role, content, tool_calls?, left_out?}` of each message; a text alone is a user's."""
    value = decoded(value)
    if isinstance(value, Mapping):
        inner = next((value[key] for key in ("messages", "contents", "input") if value.get(key)), None)
        if inner is None:
            return [message_of(value)] if _is_message(value) else []
        before = [{"role": "system", "content": value["system"]}] if value.get("system") else []
        return [*map(message_of, before), *messages_of(inner)]
    if isinstance(value, str):
        return [{"role": "user", "content": value}] if value else []
    if not isinstance(value, list):
        return []
    if len(value) == 1 and isinstance(value[0], list):  # LangChain asks in batches
        return messages_of(value[0])
    return [message_of(item) for item in map(decoded, value) if isinstance(item, Mapping)]


def _is_message(value: Mapping[str, Any]) -> bool:
    return bool({"role", "content", "parts", "kwargs"} & set(value))


def message_of(raw: Mapping[str, Any]) -> Row:
    if isinstance(inner := raw.get("message"), Mapping):  # OpenInference, choices
        raw = inner
    if isinstance(raw.get("kwargs"), Mapping):  # LangChain's own serialisation
        kind = str((raw.get("id") or ["human"])[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        raw = {"role": kind, **raw["kwargs"]}
    role = str(raw.get("role") or raw.get("type") or "user").lower()
    text, calls, left_out = _content(raw)
    message: Row = {"role": ROLES.get(role, role), "content": text}
    if calls:
        message["tool_calls"] = calls
    if left_out:
        message[LEFT_OUT] = left_out
    return message


def _content(raw: Mapping[str, Any]) -> tuple[str, list[Row], list[str]]:
    """(text, tool calls, kinds of parts that are neither)."""
    content = next((raw[key] for key in ("content", "parts", "contents", "text") if raw.get(key) is not None), None)
    calls = [_call(call) for call in raw.get("tool_calls") or () if isinstance(call, Mapping)]
    if isinstance(raw.get("function_call"), Mapping):  # before there were tools
        calls.append(_call(raw["function_call"]))
    if isinstance(content, str) or content is None:
        return content or "", calls, []
    texts: list[str] = []
    left_out: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        _take(part, texts, calls, left_out)
    return "".join(texts), calls, left_out


_SILENT = frozenset(("reasoning", "thinking", "redacted_thinking"))
"""Parts that are no part of what is said."""


def _take(part: Any, texts: list[str], calls: list[Row], left_out: list[str]) -> None:
    if isinstance(part, str):
        texts.append(part)
        return
    if not isinstance(part, Mapping):
        left_out.append(type(part).__name__)
        return
    part = part.get("message_content") or part  # OpenInference
    kind = str(part.get("type") or "text")
    if kind in ("tool_call", "tool_use", "function_call"):
        calls.append(_call(part))
    elif kind in ("tool_call_response", "tool_result", "function_response"):
        said = next((part[key] for key in ("response", "result", "content") if part.get(key) is not None), "")
        texts.append(said if isinstance(said, str) else as_json(said))
    elif isinstance(text := part.get("text", part.get("content")), str):
        if kind not in _SILENT:
            texts.append(text)
    elif kind not in _SILENT:
        left_out.append(kind)


def _call(raw: Mapping[str, Any]) -> Row:
    """`{id?, name, arguments}`: arguments are an object here, and text where they are no JSON."""
    if isinstance(outer := raw.get("tool_call"), Mapping):
        raw = outer
    inner = raw["function"] if isinstance(raw.get("function"), Mapping) else raw
    arguments: Any = next((inner[key] for key in ("arguments", "args", "input") if inner.get(key) is not None), {})
    call = {"name": str(inner.get("name") or ""), "arguments": decoded(arguments)}
    return {"id": str(raw["id"]), **call} if raw.get("id") else call


# --- the answer -------------------------------------------------------------------------------------------------------


def answer_of(value: Any) -> tuple[str | None, list[Flag]]:
    """What was answered, and what is to be said of it. `value`: text, a message, a list of them, or a vendor's whole
    response; None where there is nothing of the kind."""
    value = decoded(value)
    reasons: list[str] = []
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list) and value["choices"]:
        value = value["choices"]
    if isinstance(value, list):
        value = next((item for item in map(decoded, value) if isinstance(item, Mapping | str)), None)
    if value is None or value == {}:
        return None, []
    if not isinstance(value, Mapping):
        return str(value), []
    reasons.append(str(value.get("finish_reason") or value.get("stop_reason") or ""))
    if isinstance(value.get("message"), Mapping):
        value = value["message"]
    if not _is_message(value) and "tool_calls" not in value:
        return as_json(value), []  # an answer that is JSON
    message = message_of(value)
    flags = [ENDINGS[reason] for reason in reasons if reason in ENDINGS]
    if message.get("tool_calls"):
        return as_json(message["tool_calls"]), [*flags, "tool_call"]
    return message["content"], flags


def split_answer(messages: list[Row]) -> tuple[list[Row], str | None, list[Flag]]:
    """A conversation that ends with the answer: (what came before, the answer, what is to be said of it)."""
    if not messages or messages[-1]["role"] != "assistant":
        return messages, None, []
    answer, flags = answer_of(messages[-1])
    return messages[:-1], answer, flags


def flags_of(messages: Iterable[Row], answer: str | None, also: Iterable[Flag] = ()) -> tuple[Flag, ...]:
    """Every reason not to learn from it, in one order."""
    messages = list(messages)
    found: set[Flag] = set(also)
    if not messages and answer is None:
        found.add("no_content")
    elif answer is None or not answer.strip():
        found.add("empty" if answer is not None or "failed" in found else "no_content")
    texts = [message["content"] for message in messages] + [answer or ""]
    found |= {flag for text in texts for mark, flag in _MARKS.items() if mark in text}
    if any(LEFT_OUT in message for message in messages):
        found.add("not_text")
    return tuple(flag for flag in FLAGS if flag in found)


# --- keys flattened ---------------------------------------------------------------------------------------------------


def nested(attributes: Mapping[str, Any], prefix: str) -> Any:
    """`{"a.0.b": 1}` → `[{"b": 1}]` below `a`; None where nothing stands there."""
    tree: Any = {}
    for key, value in attributes.items():
        if key.startswith(f"{prefix}."):
            *path, last = key[len(prefix) + 1 :].split(".")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
                if not isinstance(place, dict):
                    break
            else:
                place[last] = value
    return _lists(tree) if tree else None


def _lists(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree and all(key.isdigit() for key in tree):
        return [_lists(tree[key]) for key in sorted(tree, key=int)]
    return {key: _lists(value) for key, value in tree.items()}


# --- times, numbers, ids ----------------------------------------------------------------------------------------------


def moment(value: Any) -> datetime | None:
    """UTC, of ISO 8601 (which is UTC where it names no zone) or of a number of seconds, milliseconds, microseconds or
    nanoseconds since 1970, whichever makes a year of this century; None where it is no time."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value.strip()):
        try:
            return moment(datetime.fromisoformat(value.strip()))
        except ValueError:
            return None
    try:
        seconds = float(value)
        for _ in range(3):
            seconds = seconds / 1_000 if seconds > 1e11 else seconds
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def whole(value: Any) -> int | None:
    """A count; of a number as text, too."""
    try:
        return None if value is None or isinstance(value, bool) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def number(value: Any) -> float | None:
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None


_HEX = re.compile(r"(0x)?[0-9a-fA-F]+")


def hexadecimal(value: Any) -> str:
    """An id of a trace (16 bytes) or span (8) in hexadecimal, of base64 too."""
    text = str(value or "").strip()
    if _HEX.fullmatch(text) and len(text.removeprefix("0x")) in (16, 32):
        return text.removeprefix("0x").lower()
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return text
    return data.hex() if len(data) in (8, 16) else text


def grade(value: Any) -> Literal[1, -1] | None:
    """1 or -1, of what people's buttons write; None of anything else, as of a scale whose ends nobody knows."""
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if isinstance(value, bool):
        return 1 if value else -1
    found = number(value)
    return None if found not in (1, 0, -1) else 1 if found == 1 else -1


_WORDS = {
    **dict.fromkeys(("true", "yes", "good", "correct", "pass", "up", "positive", "like", "thumbs_up", "👍"), True),
    **dict.fromkeys(("false", "no", "bad", "incorrect", "wrong", "fail", "down", "negative", "dislike"), False),
    **dict.fromkeys(("thumbs_down", "👎"), False),
}


def as_exchange(source_id: str, messages: Any, answer: Any, flags: Iterable[Flag] = (), **facts: Any) -> LoggedExchange:
    """An exchange of raw messages and a raw answer. Where there is no answer apart, the last message may be it."""
    asked = messages_of(messages)
    text, more = answer_of(answer)
    if text is None and asked:
        asked, text, more = split_answer(asked)
    tools = tuple(tool for tool in facts.pop("tools", None) or () if isinstance(tool, dict))
    return LoggedExchange(
        source_id, tuple(asked), text, tools=tools, flags=flags_of(asked, text, [*flags, *more]), **facts
    )


def dumped(value: Any) -> str:
    """Canonical enough to be hashed: keys in order."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
