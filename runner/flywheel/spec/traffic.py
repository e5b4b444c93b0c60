"""What production was asked, and answered: how it comes in, and which of it is a row of which task."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from flywheel.spec.base import Name, Positive, SpecModel
from flywheel.spec.verifiers import pattern_faults

Personal = Literal["email", "iban", "card", "phone", "ip", "key"]


class Columns(SpecModel):
    """Which column of plain rows (JSON lines, JSON, CSV, Parquet) holds what. All others are the row's own columns."""

    answer: str = "answer"
    """What was answered."""
    prompt: str | None = None
    """What was asked: text, or a list of messages. Without it the row's own columns are all that is known."""
    id: str | None = None
    """What identifies a row, for ever. Without it a row is known by its content."""
    conversation: str | None = None
    """What the turns of one conversation share."""
    at: str | None = None
    """When: ISO 8601 (UTC where it names no zone), or seconds, milliseconds or nanoseconds since 1970."""
    model: str | None = None
    """Who answered."""
    rating: str | None = None
    """What a person said of the answer: 1 or true, -1, 0 or false; blank where nobody spoke."""
    correction: str | None = None
    """What a person says the answer should have been."""


class Match(SpecModel):
    """Which answers of production are rows of a task. All that is given must hold."""

    name: str | None = None
    """The prompt's name, where the log has one; of our own server's log, the task's. Default there: this task."""
    system: str | None = None
    """Regular expression found in the system message."""
    user: str | None = None
    """Regular expression with named groups, found in the last message of the user: the groups are the row's columns.
    Without it the row is the one that our own server or a plain row names, or the user's message where that is a JSON
    object."""
    limit: Positive = 1000
    """So many rows, the newest."""

    @field_validator("system", "user")
    @classmethod
    def _reads(cls, pattern: str | None) -> str | None:
        for _, fault, _ in pattern_faults((), pattern or ""):
            raise ValueError(fault.rstrip("."))
        return pattern

    @field_validator("user")
    @classmethod
    def _names_columns(cls, pattern: str | None) -> str | None:
        if pattern is not None and "(?P<" not in pattern:
            raise ValueError("names no group: write (?P<column>.+) where a column of the row stands")
        return pattern


class Traffic(SpecModel):
    """Production traffic: how `flywheel ingest` takes it in, and what of it is looked at for failures."""

    match: dict[Name, Match] = {}
    """By task: which answers are its rows. What is matched is judged beside the task's probes."""
    shadow: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of the matched rows, the share that incumbent and candidate answer before a promotion (docs/howto-traffic.md).
    No lesson is made from them. Null: none is kept."""
    columns: Columns = Columns()
    """How plain rows are read."""
    redact: list[Personal] = ["email", "iban", "card", "phone", "ip", "key"]
    """What is replaced by a pseudonym, such as `<email:3f2a9c01>`, before anything is stored; `[]`: nothing."""
    keep_days: Positive | None = None
    """What is older is not taken in, and removed by the next `flywheel ingest`. Null: it is kept."""

    @field_validator("shadow")
    @classmethod
    def _has_rows(cls, share: float | None, others: ValidationInfo) -> float | None:
        if share is not None and not others.data.get("match", True):
            raise ValueError("no row is matched that could be kept: say in traffic.match which are a task's")
        return share
