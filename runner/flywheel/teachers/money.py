"""What calls may cost: prices, upper bounds, and a ledger that cannot be overdrawn.

The upper bound of a call is reserved before it is sent and settled when its answer is in: spent + reserved
stays within every limit, whatever the concurrency. A request that would fit if others cost less than their
bound waits for them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flywheel.errors import BudgetStop
from flywheel.records import Message, Row
from flywheel.spec.models import Loop
from flywheel.spec.teachers import Teacher
from flywheel.teachers.bill import Bill

_MILLION = 1_000_000
_TEMPLATE_TOKENS = 64
"""Allowance for what a server's chat template puts around the messages, and again for each message."""


@dataclass(frozen=True)
class Spent:
    """Dollars, attempts, tokens (input and output)."""

    usd: float = 0.0
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.usd + other.usd, self.calls + other.calls, self.tokens + other.tokens)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.usd - other.usd, self.calls - other.calls, self.tokens - other.tokens)


NOTHING = Spent()


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens; `cached` of prompt that the provider had in its cache (None: as any other)."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def usd(self, bill: Bill) -> float:
        saved = 0.0 if self.cached is None else (self.input - self.cached) * bill.cached_tokens
        return (self.input * bill.input_tokens - saved + self.output * bill.output_tokens) / _MILLION


@dataclass(frozen=True)
class Cap:
    """One declared limit."""

    label: str
    unit: str
    limit: float


def input_bound(messages: Sequence[Message]) -> int:
    """No tokenizer makes more tokens of a text than it has UTF-8 bytes."""
    text = sum(len(m.content.encode("utf-8", "replace")) for m in messages)
    return text + _TEMPLATE_TOKENS * (len(messages) + 1)


def schema_bound(schema: Row | None) -> int:
    """What a server may put into the prompt to tell the model of a schema."""
    return 0 if schema is None else len(json.dumps(schema)) + _TEMPLATE_TOKENS


def declared_price(teacher: Teacher) -> Price | None:
    """The spec's price."""
    return None if teacher.price is None else Price(*teacher.price)


@dataclass(eq=False)
class Held:
    """What is set aside for one call: its own bound (`plain`), and on top what its teacher was seen to bill beyond."""

    plain: Spent
    bound: Spent


class Ledger:
    """Spent and reserved, by teacher and over all. Lives on the desk's event loop; not for other threads.

    A server may bill more than `max_tokens` allows (reasoning that nobody sees). What a call cost above its bound is
    learned: twice the largest excess is set aside with every further call, and with those in flight. So that there is
    something to learn from, a server with a limit of dollars or tokens gets one call before it gets many at a time.
    """

    def __init__(self, teachers: Mapping[str, Teacher], loop: Loop, spent_before: Mapping[str, Spent]) -> None:
        self._caps = {name: tuple(_teacher_caps(name, teacher)) for name, teacher in teachers.items()}
        self._run_caps = tuple(_run_caps(loop))
        self.spent = {name: spent_before.get(name, NOTHING) for name in teachers}
        # A teacher that was renamed or removed since still spent this run's money.
        self._elsewhere = sum((s for n, s in spent_before.items() if n not in teachers), NOTHING)
        self._reserved = dict.fromkeys(teachers, NOTHING)
        self._held: dict[str, set[Held]] = {name: set() for name in teachers}
        self._excess = dict.fromkeys(teachers, NOTHING)
        self._unproven = {n for n, t in teachers.items() if t.remote and self._is_bounded(n)}
        self._settled = asyncio.Event()

    async def reserve(self, teacher: str, plain: Spent) -> Held:
        """Sets a call's bound aside. Raises `BudgetStop` when no settling of others could make room for it."""
        while True:
            bound = plain + self._excess[teacher]
            if self._blocked(teacher, bound, waiting=True) is None and not self._awaits_first(teacher):
                break
            if (final := self._blocked(teacher, bound, waiting=False)) is not None:
                raise BudgetStop(_stop_message(*final, billed_beyond=self._excess[teacher]))
            self._settled.clear()
            await self._settled.wait()
        held = Held(plain, bound)
        self._held[teacher].add(held)
        self._reserved[teacher] += bound
        return held

    def settle(self, teacher: str, held: Held, actual: Spent) -> None:
        """Replaces a reservation by what the call cost."""
        self._held[teacher].discard(held)
        self._reserved[teacher] -= held.bound
        self.spent[teacher] += actual
        if actual.tokens:
            self._unproven.discard(teacher)
        self._settled.set()

    def learn(self, teacher: str, held: Held, billed: Spent) -> bool:
        """Raises the teacher's bounds where a bill is above all that was seen; says whether it did."""
        over, known = billed - held.plain, self._excess[teacher]
        usd = max(known.usd, 2 * over.usd) if over.usd > 1e-9 else known.usd
        more = Spent(usd, 0, max(known.tokens, 2 * over.tokens))
        if more == known:
            return False
        self._excess[teacher] = more
        for one in self._held[teacher]:
            raised = one.plain + more
            self._reserved[teacher] += raised - one.bound
            one.bound = raised
        return True

    def _is_bounded(self, teacher: str) -> bool:
        return any(cap.unit != "calls" for cap in (*self._caps[teacher], *self._run_caps))

    def _awaits_first(self, teacher: str) -> bool:
        return teacher in self._unproven and bool(self._held[teacher])

    @property
    def total(self) -> Spent:
        return sum(self.spent.values(), self._elsewhere)

    def _blocked(self, teacher: str, bound: Spent, waiting: bool) -> tuple[Cap, float, float] | None:
        """The first cap that `bound` would break, with what is used and what the call may take."""
        own, everyone = self.spent[teacher], self.total
        if waiting:
            own += self._reserved[teacher]
            everyone += sum(self._reserved.values(), NOTHING)
        for used, caps in ((own, self._caps[teacher]), (everyone, self._run_caps)):
            for cap in caps:
                have, need = getattr(used, cap.unit), getattr(bound, cap.unit)
                if have + need > cap.limit + 1e-9:
                    return cap, have, need
        return None


def _teacher_caps(name: str, teacher: Teacher) -> Iterator[Cap]:
    if teacher.max_calls is not None:
        yield Cap(f"teachers.{name}.max_calls", "calls", teacher.max_calls)
    if teacher.usd_limit is not None:
        yield Cap(f"teachers.{name}.max_usd", "usd", teacher.usd_limit)


def _run_caps(loop: Loop) -> Iterator[Cap]:
    if loop.max_usd is not None:
        yield Cap("loop.max_usd", "usd", loop.max_usd)
    if loop.max_calls is not None:
        yield Cap("loop.max_calls", "calls", loop.max_calls)
    if loop.max_tokens is not None:
        yield Cap("loop.max_tokens", "tokens", loop.max_tokens)


def _stop_message(cap: Cap, used: float, need: float, billed_beyond: Spent = NOTHING) -> str:
    spent, limit, most = (f"${x:,.4f}" if cap.unit == "usd" else f"{x:,.0f}" for x in (used, cap.limit, need))
    why = "" if billed_beyond == NOTHING else " (it was seen to bill more than max_tokens allows)"
    return (
        f"{cap.label}: {spent} of {limit} {cap.unit} are spent and the next call may take {most}{why}. "
        f"All answers received are kept. Raise {cap.label} in the spec and run `flywheel apply` again to go on."
    )
