"""One teacher as the desk sees it: its kind opened, its pace, its price, its progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.errors import UsageError
from flywheel.project_code import load
from flywheel.records import LessonRequest
from flywheel.spec.models import Loop
from flywheel.spec.teachers import DatasetTeacher, LitellmTeacher, PythonTeacher, StudentTeacher, Teacher
from flywheel.teachers.bill import Bill
from flywheel.teachers.chat import Completion, Transport
from flywheel.teachers.dataset import Dataset
from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.function import Function
from flywheel.teachers.litellm import Litellm
from flywheel.teachers.money import Price, Spent, declared_price, input_bound, schema_bound
from flywheel.teachers.openai_compatible import OpenAICompatible, serves
from flywheel.teachers.pace import START, Pace
from flywheel.teachers.parameters import at_its_place
from flywheel.teachers.prices import price_of
from flywheel.teachers.secrets import Lookup, resolve
from flywheel.teachers.student import Generate, StudentSampler

EVERYTHING_AT_ONCE = 1_000_000_000
"""Concurrency of a teacher that batches by itself."""


@dataclass
class CallTally:
    """Progress of one teacher since the desk opened; `cached` never waited."""

    asked: int = 0
    done: int = 0
    failed: int = 0
    cached: int = 0
    waiting: int = 0
    busy_since: float = 0.0
    done_before: int = 0
    shown_at: float = 0.0

    def begin(self) -> None:
        if self.waiting == 0:
            self.busy_since, self.done_before = time.monotonic(), self.done
        self.waiting += 1

    def end(self) -> None:
        self.waiting -= 1

    def rate(self) -> float:
        """Calls a second since there was last nothing to do."""
        return (self.done - self.done_before) / max(time.monotonic() - self.busy_since, 1e-3)


@dataclass(frozen=True)
class Line:
    """All that belongs to one teacher."""

    name: str
    spec: Teacher
    transport: Transport
    pace: Pace
    price: Price | None
    tally: CallTally

    def bound(self, request: LessonRequest) -> Spent:
        """Upper bound of one attempt; teachers without tokens cost a call."""
        longest = self.spec.answer_tokens
        if longest is None:
            return Spent(calls=1)
        return self._cost(Bill(input_bound(request.messages) + schema_bound(request.schema), longest))

    def cost_of(self, bound: Spent, bill: Bill, paid: bool) -> Spent:
        """What an attempt cost: what the server reported, else all of its bound where it may have been paid."""
        if bill.is_known:
            return self._cost(bill)
        return bound if paid else Spent(calls=1)

    async def complete(self, request: LessonRequest) -> Completion:
        """One attempt under its total deadline, where it has one."""
        limit = self.spec.deadline
        try:
            async with asyncio.timeout(limit):
                return await self.transport.complete(request)
        except TimeoutError as error:
            raise TeacherFault("timeout", f"no answer within {limit:g} s") from error

    def _cost(self, bill: Bill) -> Spent:
        return Spent(self.price.usd(bill) if self.price else 0.0, 1, bill.tokens)


@dataclass(frozen=True)
class Opener:
    """What the kinds of teachers are opened with. `limits`: those of the run."""

    root: Path
    lookup: Lookup
    generate: Generate | None
    seed: int
    limits: Loop


def open_line(name: str, spec: Teacher, opener: Opener) -> Line:
    """Raises SpecInvalid where a file or a variable is missing, UsageError where a student is asked and none loaded."""
    if spec.origin is not None:
        return _line(name, spec, Function(spec.kind, spec.teach, spec, {}))
    return OPEN[spec.kind](name, spec, opener)


def _line(name: str, spec: Teacher, transport: Transport) -> Line:
    return Line(name, spec, transport, Pace(spec.concurrency, spec.concurrency), None, CallTally())


def _open_litellm(name: str, spec: LitellmTeacher, opener: Opener) -> Line:
    at = ("teachers", name)
    base = resolve(spec.api_base, opener.lookup, (*at, "api_base")) if spec.api_base else None
    key = resolve(spec.api_key, opener.lookup, (*at, "api_key")) if spec.api_key else None
    transport = OpenAICompatible(spec, base, key) if base and serves(spec) else Litellm(spec, base, key)
    # Litellm is asked only where it is loaded anyway or a limit hangs on it.
    limited = spec.usd_limit is not None or opener.limits.max_usd is not None
    price = price_of(spec) if limited or not serves(spec) else declared_price(spec)
    return Line(name, spec, transport, Pace(spec.concurrency, START, spec.rpm, spec.tpm), price, CallTally())


def _open_python(name: str, spec: PythonTeacher, opener: Opener) -> Line:
    with at_its_place(("teachers", name, "function")):
        return _line(name, spec, Function(spec.function, load(spec.function, opener.root), spec, spec.options))


def _open_dataset(name: str, spec: DatasetTeacher, opener: Opener) -> Line:
    return _line(name, spec, Dataset(name, spec, opener.root, opener.seed))


def _open_student(name: str, spec: StudentTeacher, opener: Opener) -> Line:
    if opener.generate is None:
        raise UsageError(f'the teacher "{name}" is the student, and no student is loaded here.')
    pace = Pace(EVERYTHING_AT_ONCE, EVERYTHING_AT_ONCE)
    return Line(name, spec, StudentSampler(spec, opener.generate), pace, None, CallTally())


OPEN: Mapping[str, Callable[[str, Any, Opener], Line]] = {
    "litellm": _open_litellm,
    "python": _open_python,
    "dataset": _open_dataset,
    "student": _open_student,
}
"""What runs each kind of teacher. A kind's keys and facts are its class in `spec.teachers`."""
