"""One teacher as the desk sees it: its kind opened, its pace, its price, its progress."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from flywheel.errors import UsageError
from flywheel.records import LessonRequest
from flywheel.spec.models import DatasetTeacher, LitellmTeacher, Loop, PythonTeacher, StudentTeacher, Teacher
from flywheel.teachers.bill import Bill
from flywheel.teachers.chat import Completion, Transport
from flywheel.teachers.dataset import Dataset
from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.function import Function
from flywheel.teachers.litellm import Litellm
from flywheel.teachers.money import Price, Spent, declared_price, input_bound, price_of, schema_bound
from flywheel.teachers.openai_compatible import OpenAICompatible, serves
from flywheel.teachers.pace import START, Pace
from flywheel.teachers.secrets import Lookup, resolve
from flywheel.teachers.student import Generate, StudentSampler

EVERYTHING_AT_ONCE = 1_000_000_000
"""Concurrency of a teacher that batches by itself."""


@dataclass
class Tally:
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
    tally: Tally

    def bound(self, request: LessonRequest) -> Spent:
        """Upper bound of one attempt; teachers without tokens cost a call."""
        if not isinstance(self.spec, LitellmTeacher):
            return Spent(calls=1)
        prompt = input_bound(request.messages) + schema_bound(request.schema)
        return self._cost(Bill(prompt, self.spec.max_tokens))

    def cost_of(self, bound: Spent, bill: Bill, paid: bool) -> Spent:
        """What an attempt cost: what the server reported, else all of its bound where it may have been paid."""
        if bill.is_known:
            return self._cost(bill)
        return bound if paid else Spent(calls=1)

    async def complete(self, request: LessonRequest) -> Completion:
        """One attempt under its total deadline. The student's batches and files have none."""
        limit = self.spec.timeout_seconds if isinstance(self.spec, LitellmTeacher | PythonTeacher) else None
        try:
            async with asyncio.timeout(limit):
                return await self.transport.complete(request)
        except TimeoutError as error:
            raise TeacherFault("timeout", f"no answer within {limit:g} s") from error

    def _cost(self, bill: Bill) -> Spent:
        return Spent(self.price.usd(bill) if self.price else 0.0, 1, bill.tokens)


@dataclass(frozen=True)
class Opener:
    """What the kinds of teachers are opened with."""

    root: Path
    lookup: Lookup
    generate: Generate | None
    seed: int

    def transport(self, name: str, spec: Teacher) -> Transport:
        if isinstance(spec, LitellmTeacher):
            return self._chat(name, spec)
        if isinstance(spec, PythonTeacher):
            return Function(name, spec, self.root)
        if isinstance(spec, DatasetTeacher):
            return Dataset(name, spec, self.root, self.seed)
        if self.generate is None:
            raise UsageError(f'the teacher "{name}" is the student, and no student is loaded here.')
        return StudentSampler(spec, self.generate)

    def _chat(self, name: str, spec: LitellmTeacher) -> Transport:
        at = ("teachers", name)
        base = resolve(spec.api_base, self.lookup, (*at, "api_base")) if spec.api_base else None
        key = resolve(spec.api_key, self.lookup, (*at, "api_key")) if spec.api_key else None
        if base and serves(spec):
            return OpenAICompatible(spec, base, key)
        return Litellm(spec, base, key)


def open_line(name: str, spec: Teacher, opener: Opener, limits: Loop) -> Line:
    ceiling = EVERYTHING_AT_ONCE if isinstance(spec, StudentTeacher) else spec.concurrency
    if not isinstance(spec, LitellmTeacher):
        return Line(name, spec, opener.transport(name, spec), Pace(ceiling, ceiling), None, Tally())
    # Litellm is asked only where it is loaded anyway or a limit hangs on it.
    limited = spec.max_usd is not None or limits.max_usd is not None
    price = price_of(spec) if limited or not serves(spec) else declared_price(spec)
    pace = Pace(ceiling, START, spec.rpm, spec.tpm)
    return Line(name, spec, opener.transport(name, spec), pace, price, Tally())
