"""What is observed: the nouns that rooms hand to each other. Plain frozen values, no behaviour but identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

from flywheel.hashing import canonical, fingerprint, fingerprint_of_text

Row = dict[str, Any]
"""A row's columns, as JSON values."""

Outcome = Literal["pass", "fail", "unknown"]


def row_id(row: Row) -> str:
    """Stable identity of a row: its content."""
    return fingerprint(row)[:16]


@dataclass(frozen=True)
class Subject:
    """An answer to be judged.

    `row` holds the input columns, `reference` the known right answer (gold, or a second opinion) or None; `trusted` is
    False where the reference is only another teacher's opinion, or missing.
    """

    subject_id: str
    task: str
    row: Row
    answer: str
    reference: str | None = None
    trusted: bool = True
    author: str = ""
    """The teacher that wrote the answer; empty where the student did."""


TOO_LONG = "prompt_length"
"""Who says "unknown" of a row that was not asked, because its prompt does not fit the model."""


@dataclass(frozen=True)
class Verdict:
    """What one verifier says of one subject. Unknown (time-out, crash, no reference) is never right or wrong."""

    subject_id: str
    verifier: str
    version: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    score: float | None = None
    """How good, in [0, 1], where the verifier grades; lessons are ranked by it."""
    advisory: bool = False
    """True where the verifier's word is not measured (an uncalibrated judge): it neither passes nor fails."""


@dataclass(frozen=True)
class Message:
    role: str
    content: str


class SharedRows(tuple[Row, ...]):
    """Rows that many requests show: written as canonical JSON once."""

    @cached_property
    def canonical(self) -> str:
        return canonical(list(self))


@dataclass(frozen=True)
class LessonRequest:
    """One call to a teacher, whatever its kind. `key` identifies it for ever: the same key is never paid twice."""

    teacher: str
    purpose: Literal["lessons", "answer", "judge"]
    task: str
    mode: str | None
    mode_description: str
    n: int
    failures: tuple[Row, ...]
    """`{"row": …, "gold": …, "answer": …, "reason": …}` of the mode."""
    seeds: tuple[Row, ...]
    row: Row | None
    """The row to answer, for purpose "answer"."""
    messages: tuple[Message, ...]
    parameters: Row
    """Everything of the teacher's spec that can change its answer, file hashes included; secrets never."""
    sample: int
    """Distinguishes samples of one prompt."""
    seed: int
    schema: Row | None = None
    """JSON schema of the answer, for teachers that can be held to one."""
    temperature: float | None = None
    """Instead of the teacher's own."""
    item: Row | None = None
    """What the lesson is made from: `{"row": …, "answer": …}`, and what the strategy adds (direction, tests)."""

    @cached_property
    def key(self) -> str:
        later = {"schema": self.schema, "temperature": self.temperature, "item": self.item}
        rest = canonical(
            {
                "teacher": self.teacher,
                "purpose": self.purpose,
                "mode": self.mode,
                "n": self.n,
                "row": self.row,
                "seeds": list(self.seeds),
                "messages": [[m.role, m.content] for m in self.messages],
                "parameters": self.parameters,
                "sample": self.sample,
                "seed": self.seed,
                **{name: value for name, value in later.items() if value is not None},
            }
        )
        shown = self.failures if isinstance(self.failures, SharedRows) else SharedRows(self.failures)
        # The canonical JSON of all: "failures" is the first key in order.
        return fingerprint_of_text(f'{{"failures":{shown.canonical},{rest[1:]}')[:32]


CallStatus = Literal["ok", "failed"]

FaultClass = Literal[
    "rate_limit", "timeout", "server", "connection", "malformed", "auth", "quota", "not_found", "wrong_model", "format",
    "bad_request", "context_length", "content_filter", "refusal", "truncated", "empty", "crashed", "unavailable",
    "interrupted",
]  # fmt: skip
"""How a call can fail; `teachers.faults` says what each means for trying again and for paying."""


@dataclass(frozen=True)
class Reply:
    """A teacher's answer, as received. `status` "failed" carries the class of the fault and no text to learn from."""

    key: str
    teacher: str
    status: CallStatus
    text: str = ""
    fault: FaultClass | Literal[""] = ""
    detail: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    attempts: int = 1
    model: str = ""
    cached: bool = field(default=False, compare=False)


ReferenceSource = Literal["person", "row", "teacher", "vote"]


@dataclass(frozen=True)
class Reference:
    """An answer to compare with. `source`: a person's, the row's own, another teacher's, or what most samples gave;
    `by`: which teacher, or how many votes of how many."""

    text: str
    source: ReferenceSource
    by: str = ""

    @property
    def trusted(self) -> bool:
        """Known to be right: not another teacher's opinion, nor a vote."""
        return self.source in ("person", "row")

    @property
    def origin(self) -> str:
        """As the store has it: `person`, `row`, `teacher:<name>`, `vote:<share>`."""
        return f"{self.source}:{self.by}" if self.by else self.source

    @classmethod
    def stored(cls, text: str | None, origin: str | None) -> Reference | None:
        """What the store has as text and origin."""
        source, _, by = (origin or "").partition(":")
        return None if text is None or not source else cls(text, cast(ReferenceSource, source), by)


@dataclass(frozen=True)
class Candidate:
    """A lesson proposed by a teacher, not yet judged."""

    candidate_id: str
    task: str
    generator: str
    teacher: str
    mode: str | None
    call_key: str
    row: Row
    target: str
    reference: Reference | None = None
    """The answer that it is compared with; None where none is known."""
    failure_ids: tuple[str, ...] = ()
    strategy: str = "targeted"
    group: str = ""
    """Samples of one question share it: at most one of them becomes a lesson."""
    depth: int = 0
    """How many machine-made rows stand between this one and a person's."""
    parent: str = ""
    """The row that it was made from, where there is one."""


@dataclass(frozen=True)
class Generation:
    """One answer of the student. `problem` says why it was not asked: its prompt does not fit the model."""

    prompt_id: str
    text: str
    tokens: int
    truncated: bool
    """True where the answer hit the token limit."""
    problem: str = ""


@dataclass(frozen=True)
class Counts:
    """The conservation law of a node that maps rows: `rows_in == kept + rejected + failed`."""

    rows_in: int = 0
    kept: int = 0
    rejected: int = 0
    failed: int = 0

    def balanced(self) -> bool:
        return self.rows_in == self.kept + self.rejected + self.failed
