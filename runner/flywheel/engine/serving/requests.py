"""What clients ask, by OpenAI's protocol: read, checked, and refused with the parameter's name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flywheel.engine.asking import inputs_of, prompt_of, task_of
from flywheel.engine.serving.models import ALIAS, Served
from flywheel.errors import FlywheelError
from flywheel.json_text import distinct
from flywheel.records import Row
from flywheel.student.serving import Question
from flywheel.text import did_you_mean, listing, one_line

#: Parameters that change no answer of this server: taken, and not looked at.
_WITHOUT_EFFECT = frozenset(
    ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"]
)
#: Parameters that this server has no use for, with the one value beside null that asks for nothing.
_NEUTRAL: Mapping[str, Any] = {
    "n": 1, "best_of": 1, "logprobs": False, "echo": False, "frequency_penalty": 0, "presence_penalty": 0,
    "logit_bias": {}, "tools": [], "tool_choice": "none", "functions": [], "function_call": "none",
    "response_format": {"type": "text"}, "modalities": ["text"], "suffix": "", "top_logprobs": 0,
}  # fmt: skip

Body = TypeVar("Body", bound=BaseModel)


class Refusal(FlywheelError):
    """A request that is not answered: the HTTP status, and what OpenAI's clients want to know."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A turn; `developer` is the newer word for `system`."""

    model_config = ConfigDict(strict=True, extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None

    @property
    def text(self) -> str:
        """All of its parts, one after the other."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class RowOfTask(BaseModel):
    """The extension `flywheel`: a row of a task of the spec, asked by the task's own prompt."""

    model_config = ConfigDict(strict=True, extra="forbid")
    task: str
    row: dict[str, Any]


class _StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    include_usage: bool = False


class _Sampling(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    model: str = ALIAS
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """As a list, whatever it was; empty ones stop nothing."""
        return tuple(filter(None, [self.stop] if isinstance(self.stop, str) else self.stop or []))


class ChatBody(_Sampling):
    """POST /v1/chat/completions"""

    messages: list[ChatMessage] = []
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    flywheel: RowOfTask | None = None

    @model_validator(mode="after")
    def _asks(self) -> ChatBody:
        if self.flywheel is None and (not self.messages or self.messages[-1].role != "user"):
            raise ValueError("the last of the messages must be the user's, or `flywheel` name a task and a row")
        late = any(message.role in ("system", "developer") for message in self.messages[1:])
        if late and self.flywheel is None:
            raise ValueError("a system message stands before all others, and there is one at most")
        return self


class CompletionBody(_Sampling):
    """POST /v1/completions"""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]


class FeedbackBody(BaseModel):
    """POST /feedback"""

    model_config = ConfigDict(strict=True, extra="forbid")
    receipt: str
    rating: Literal[1, -1] | None = None
    correction: str | None = None
    comment: str | None = None

    @model_validator(mode="after")
    def _says(self) -> FeedbackBody:
        if self.rating is None and self.correction is None and not self.comment:
            raise ValueError("it says nothing: give a rating (1 or -1), a correction or a comment")
        return self


@dataclass(frozen=True)
class Asked:
    """A request that can be answered. `chat` tells the two protocols apart."""

    body: ChatBody | CompletionBody
    model: str
    chat: bool
    seed: int

    @property
    def streamed(self) -> bool:
        return bool(self.body.stream)

    @property
    def task(self) -> RowOfTask | None:
        return self.body.flywheel if isinstance(self.body, ChatBody) else None

    def as_logged(self) -> dict[str, Any]:
        """What was asked, as the log has it: a row of a task, or a conversation, or a prompt; the others are null."""
        row = self.task
        body = self.body
        messages = [{"role": m.role, "content": m.text} for m in body.messages] if isinstance(body, ChatBody) else None
        return {
            "task": row.task if row else None,
            "row": row.row if row else None,
            "messages": None if row else messages,
            "prompt": _text(body) if isinstance(body, CompletionBody) else None,
        }


def read_body(kind: type[Body], content: bytes) -> Body:
    """Raises Refusal for what is no JSON, no such request, or asks for what this server cannot do."""
    value = _json(content)
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object.")
    known = set(kind.model_fields)
    fields = {name: part for name, part in value.items() if name in known}
    for name in value.keys() - known - _WITHOUT_EFFECT:
        if value[name] is not None and (name not in _NEUTRAL or value[name] != _NEUTRAL[name]):
            hint = did_you_mean(name, known)
            raise Refusal(400, f'"{one_line(name, 60)}" is not supported here. {hint}'.strip(), param=name[:60])
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from error


def _json(content: bytes) -> Any:
    try:
        value = json.loads(content, object_pairs_hook=distinct, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a character is none, and no tokenizer takes it
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise Refusal(400, f"the body is not JSON: {one_line(str(why))}.") from error
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refusal(error: ValidationError) -> Refusal:
    """The fault that lies deepest: where a value may be one thing or another, it is of the one that it nearly is."""
    first = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
    place = ".".join(str(part) for part in first["loc"] if part != "str" and not str(part).startswith("list["))
    said = first["msg"].removeprefix("Value error, ")
    return Refusal(400, f"{place}: {said}." if place else f"{said}.", param=place or None)


def asked_of(body: ChatBody | CompletionBody, served: Served) -> Asked:
    """The request, once it is clear who is asked. Raises Refusal for a model that is not served."""
    refuse_other_model(body.model, served)
    seed = secrets.randbits(63) if body.seed is None else body.seed % 2**63
    return Asked(body, body.model, isinstance(body, ChatBody), seed)


def refuse_other_model(name: str, served: Served) -> None:
    """Raise Refusal where `name` is none of the served model's; it is looked at again when the model has changed."""
    if name not in served.names:
        raise Refusal(
            404,
            f'no model "{one_line(name, 80)}" is served here. Known: {listing(served.names, name)}.',
            param="model",
            code="model_not_found",
        )


def question_of(asked: Asked, served: Served) -> Question:
    """As the worker is asked. Greedy and as long as evaluated, unless the request says otherwise. Raises a
    FlywheelError for a task or a row that is none."""
    refuse_other_model(asked.model, served)
    body, student = asked.body, served.project.spec.student
    wanted = body.max_tokens
    if isinstance(body, ChatBody):
        wanted = body.max_completion_tokens or wanted
    turns, system, stop = _turns(asked, served)
    return Question(
        turns=turns,
        text=_text(body) if isinstance(body, CompletionBody) else None,
        system=system,
        max_new_tokens=wanted or student.max_new_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=asked.seed,
        stop=stop if body.stop is None else body.stops,
        streamed=asked.streamed,
    )


def _turns(asked: Asked, served: Served) -> tuple[tuple[tuple[str, str], ...], str | None, tuple[str, ...]]:
    """The conversation, its own system message, and where an answer stops unless the request says so."""
    body = asked.body
    if asked.task is not None:
        return _of_task(asked.task.task, asked.task.row, served)
    if not isinstance(body, ChatBody):
        return (), None, ()
    said = [(message.role, message.text) for message in body.messages]
    system = said.pop(0)[1] if said[0][0] in ("system", "developer") else None
    return tuple(said), system, ()


def _of_task(name: str, row: Row, served: Served) -> tuple[tuple[tuple[str, str], ...], None, tuple[str, ...]]:
    task = task_of(served.project, name)
    prompt = prompt_of(served.project, name, inputs_of(task, row))
    return (("user", prompt),), None, tuple(task.stop)


def _text(body: CompletionBody) -> str:
    return body.prompt if isinstance(body.prompt, str) else body.prompt[0]
