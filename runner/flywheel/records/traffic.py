"""What came in from production: one question with its answer, and what people said of it. Whatever wrote the file, it
is this from here on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from flywheel.records import Row

Flag = Literal[
    "truncated", "redacted", "no_content", "empty", "cached", "compacted", "not_last_turn", "failed", "filtered",
    "tool_call", "not_text",
]  # fmt: skip
"""Why an answer is kept and never learned from: it was cut (or a part of its question was); its text was hidden by who
logged it; the log has no text; nothing was answered; a cache answered; the history is a summary; a later call of the
conversation holds it; the call failed; a filter ended it; it calls a tool; a part is no text."""
FLAGS: tuple[Flag, ...] = get_args(Flag)


@dataclass(frozen=True)
class Opinion:
    """What was said of an answer. `about`: the exchange's id, or its trace's. `author`: "person", or what graded it."""

    opinion_id: str
    about: str
    at: datetime | None = None
    rating: Literal[1, -1] | None = None
    correction: str | None = None
    """What the answer should have been."""
    comment: str | None = None
    author: str = "person"


@dataclass(frozen=True)
class LoggedExchange:
    """One call of a model in production. `source_id` is the log's own, and for ever that call's."""

    source_id: str
    messages: tuple[Row, ...] = ()
    """`{role, content}`, in order, without the answer; `tool_calls` beside where there are some."""
    answer: str | None = None
    conversation: str = ""
    trace: str = ""
    name: str = ""
    """What the log calls the prompt; of our own server's log, the task."""
    row: Row | None = None
    """The row that was asked, where the log has it."""
    tools: tuple[Row, ...] = ()
    model: str = ""
    at: datetime | None = None
    """UTC."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    feedback: tuple[Opinion, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def turn(self) -> int:
        """Messages of the user in it."""
        return sum(message["role"] == "user" for message in self.messages)


@dataclass(frozen=True)
class LeftOut:
    """An item of the file that is no exchange and no opinion, and why."""

    reason: str


Found = LoggedExchange | Opinion | LeftOut
