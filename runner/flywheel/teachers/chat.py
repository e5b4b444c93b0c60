"""Chat completions as OpenAI wrote them down: what is asked, and what an answer must look like to be one."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flywheel.records import FaultClass, LessonRequest
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers.faults import TeacherFault, fault_of_status
from flywheel.teachers.structured import Form, response_format

MAX_BODY_BYTES = 8 << 20
"""No chat answer is longer; reading stops there."""


@dataclass(frozen=True)
class Completion:
    """A usable answer. Token counts are 0 where the teacher did not say (or said nonsense)."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""


class Transport(Protocol):
    """One kind of teacher. `open` comes once before all else, `complete` is one attempt and raises
    `TeacherFault`.
    """

    async def open(self) -> None: ...

    async def complete(self, request: LessonRequest) -> Completion: ...

    async def close(self) -> None: ...


def too_long() -> TeacherFault:
    return TeacherFault("malformed", f"the answer is longer than {MAX_BODY_BYTES >> 20} MB; reading stopped there")


def payload(teacher: LitellmTeacher, request: LessonRequest, form: Form) -> dict[str, Any]:
    """The request's body, but for the model's name."""
    body: dict[str, Any] = {
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "temperature": teacher.temperature if request.temperature is None else request.temperature,
        "max_tokens": teacher.max_tokens,
    }
    optional = {"top_p": teacher.top_p, "presence_penalty": teacher.presence_penalty}
    body.update((name, value) for name, value in optional.items() if value is not None)
    return body | response_format(form, request.schema)


def read_completion(body: Any) -> Completion:
    """The first choice. Raises `TeacherFault`: truncated, content_filter, refusal, empty or malformed."""
    if isinstance(body, Mapping) and body.get("error") and not body.get("choices"):
        raise _error_in_body(body["error"])
    if not isinstance(body, Mapping) or not isinstance(body.get("choices"), list):
        raise TeacherFault("malformed", f"not a chat completion: {str(body)[:2_000]}")
    used = _usage(body)
    if not body["choices"]:
        raise TeacherFault("empty", "the answer has no choices", None, "", *used)
    choice = body["choices"][0]
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        raise TeacherFault("malformed", f"a choice without a message: {str(choice)[:2_000]}", None, "", *used)
    text = _text(message.get("content"))
    fault = _finish_fault(choice.get("finish_reason"), message, text)
    if fault:
        raise TeacherFault(*fault, None, text, *used)
    return Completion(text, *used, model=str(body.get("model") or ""))


def check_model(asked: str, completion: Completion) -> Completion:
    """`completion`, where it is from the model `asked` for; versions and folders around the name do not count.

    Raises `TeacherFault`: another model's lessons would pass for this one's.
    """
    said = completion.model
    ours, theirs = _bare(asked), _bare(said)
    if not theirs or ours in theirs or theirs in ours:
        return completion
    detail = (
        f'"{asked}" was asked and "{said}" answered. If that is the model you want, name it in the spec; behind a '
        f'gateway that has names of its own, write "model: litellm_proxy/{asked}".'
    )
    raise TeacherFault(
        "wrong_model", f"{detail} It said: {completion.text}", None, completion.text,
        completion.input_tokens, completion.output_tokens, paid=True,
    )  # fmt: skip


def _bare(model: str) -> str:
    """Letters and digits of the last part of a model's name."""
    return "".join(filter(str.isalnum, model.rstrip("/").rpartition("/")[2].lower()))


def _error_in_body(error: Any) -> TeacherFault:
    """Some gateways send an error with status 200, its real status inside."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return fault_of_status(code if type(code) is int and 400 <= code < 600 else 500, json.dumps(error))


def _finish_fault(reason: Any, message: Mapping[str, Any], text: str) -> tuple[FaultClass, str] | None:
    if reason == "length":
        return "truncated", f"the answer met max_tokens: {text}"
    if reason == "content_filter":
        return "content_filter", f"stopped by a content filter: {text}"
    # Litellm moves the field it does not know.
    refusal = message.get("refusal") or (message.get("provider_specific_fields") or {}).get("refusal")
    if refusal:
        return "refusal", str(refusal)
    return None if text.strip() else ("empty", f"no text (finish_reason {reason!r})")


def _text(content: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _usage(body: Mapping[str, Any]) -> tuple[int, int]:
    """(input, output) tokens; (0, 0) unless both are there and positive: half a bill is no bill."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return 0, 0
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if all(type(count) is int and count > 0 for count in counts):
        return counts  # type: ignore[return-value]
    return 0, 0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None without."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()) if value else None
    except (ValueError, OverflowError):
        return None
