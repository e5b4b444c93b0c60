"""Chat completions as OpenAI wrote them down: what is asked, and what an answer must look like to be one."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flywheel.answers import without_thoughts
from flywheel.records import FaultClass, LessonRequest
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers.bill import NO_BILL, Bill, read_bill
from flywheel.teachers.faults import TeacherFault, fault_of_status
from flywheel.teachers.structured import Form, response_format

MAX_BODY_BYTES = 8 << 20
"""No chat answer is longer; reading stops there."""
LONGEST_ASKED_WAIT = 86_400.0
"""A day: a server that asks for more, or for ever, is away as long."""


_THINK = re.compile(r"</?think>")


@dataclass(frozen=True)
class Completion:
    """A usable answer."""

    text: str
    bill: Bill = NO_BILL
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
    """The first choice; every field that is read may be of any type. Raises `TeacherFault`: truncated, content_filter,
    refusal, empty or malformed.
    """
    if not isinstance(body, Mapping):
        raise TeacherFault("malformed", f"not a chat completion: {_shown(body)}")
    choices = body.get("choices")
    if body.get("error") and not choices:
        raise _error_in_body(body["error"])
    if not isinstance(choices, list):
        raise TeacherFault("malformed", f"not a chat completion: {_shown(body)}")
    bill = read_bill(body.get("usage"))
    if not choices:
        raise TeacherFault("empty", "the answer has no choices", bill=bill)
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        raise TeacherFault("malformed", f"a choice without a message: {_shown(choice)}", bill=bill)
    text = _text(message.get("content"))
    fault = _finish_fault(choice.get("finish_reason"), message, text)
    if fault:
        raise TeacherFault(*fault, text=text, bill=bill)
    model = body.get("model")
    return Completion(_thought(message, text) + text, bill, model if isinstance(model, str) else "")


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
    said = f"{detail} It said: {completion.text}"
    raise TeacherFault("wrong_model", said, text=completion.text, bill=completion.bill, paid=True)


def _bare(model: str) -> str:
    """Letters and digits of the last part of a model's name."""
    return "".join(filter(str.isalnum, model.rstrip("/").rpartition("/")[2].lower()))


def _error_in_body(error: Any) -> TeacherFault:
    """Some gateways send an error with status 200, its real status inside."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return fault_of_status(code if type(code) is int and 400 <= code < 600 else 500, _shown(error))


def _finish_fault(reason: Any, message: Mapping[str, Any], text: str) -> tuple[FaultClass, str] | None:
    if reason == "length":
        return "truncated", f"the answer met max_tokens: {text}"
    if reason == "content_filter":
        return "content_filter", f"stopped by a content filter: {text}"
    # Litellm moves the field it does not know.
    further = message.get("provider_specific_fields")
    refusal = message.get("refusal") or (further.get("refusal") if isinstance(further, Mapping) else None)
    if refusal:
        return "refusal", refusal if isinstance(refusal, str) else _shown(refusal)
    return None if text.strip() else ("empty", f"no text (finish_reason {_shown(reason)})")


def _text(content: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _thought(message: Mapping[str, Any], text: str) -> str:
    """What the server took out of the text, back in tags before it: readers leave it out, a task may keep it."""
    said = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(said, str) or not said.strip() or without_thoughts(text) != text:
        return ""
    # A tag of its own would end the thought early.
    return f"<think>\n{_THINK.sub('', said).strip()}\n</think>\n\n"


def _shown(value: Any) -> str:
    """What a server sent, as JSON where it is that, cut."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:2_000]
    except (TypeError, ValueError, RecursionError) as error:
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date); None without."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif value := headers.get("retry-after", "").strip():
            is_number = value.replace(".", "", 1).isdigit()
            seconds = float(value) if is_number else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_ASKED_WAIT) if seconds == seconds else None  # "nan" is a float too
