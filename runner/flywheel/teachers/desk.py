"""The one place through which all teachers are asked: cache, pace, money, journal, and one background event
loop.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flywheel.errors import BudgetStop, FlywheelError, SpecInvalid, UsageError
from flywheel.records import LessonRequest, Reply
from flywheel.spec.models import Loop
from flywheel.spec.teachers import Teacher
from flywheel.teachers.bill import Bill, doubted
from flywheel.teachers.chat import Completion
from flywheel.teachers.faults import ANSWERED, RETRIED, TeacherFault, is_final
from flywheel.teachers.journal import Entry, Journal, Sent, read_journal, request_json
from flywheel.teachers.lines import Line, Opener, open_line
from flywheel.teachers.money import NOTHING, Held, Ledger, Spent
from flywheel.teachers.pace import Place
from flywheel.teachers.prices import check_prices
from flywheel.teachers.secrets import Lookup, Redactor, redactor
from flywheel.teachers.structured import misfit, repair
from flywheel.teachers.student import Generate
from flywheel.text import did_you_mean

BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
EVENT_SECONDS = 0.25
"""Progress events of one teacher come at most this often."""
BLOCK = 256
"""Requests that are handed to the loop together."""
STOPPED = "stopped; answers received are kept. Run `flywheel apply` to go on."


class DeskStopped(FlywheelError):
    """The desk was stopped while answers were awaited. Those received are in the journal."""

    exit_code = 130


class Desk:
    """Asks teachers. Thread-safe: node threads call `ask`, everything else happens on the desk's own loop.

    `known(keys)` gives replies that the store already has; `lookup(NAME)` the value of an environment
    variable; `spent_before` what this run's earlier attempts cost, by teacher, as the store has it. Drain the
    journal (`flywheel.teachers.drain`) into the store before opening a desk: what is left there is used as
    cache and counted as spent, too. `on_event` gets progress as dicts, from the desk's thread. Raises
    `SpecInvalid` where a price, a file or an environment variable is missing.
    """

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        root: Path,
        journal: Path,
        *,
        limits: Loop | None = None,
        known: Callable[[Sequence[str]], Mapping[str, Reply]] = lambda keys: {},
        generate: Generate | None = None,
        on_event: Callable[[dict[str, Any]], None] = lambda event: None,
        lookup: Lookup = os.environ.get,
        spent_before: Mapping[str, Spent] | None = None,
        seed: int = 0,
    ) -> None:
        limits = limits or Loop()
        faults = check_prices(teachers, limits)
        if faults:
            raise SpecInvalid(faults)
        self._known = known
        self._on_event = on_event
        self._redact = redactor(teachers.values(), lookup)
        opener = Opener(root, lookup, generate, seed, limits)
        self._lines = {name: open_line(name, spec, opener) for name, spec in teachers.items()}
        self._answers, left = _left_behind(journal)
        self._ledger = Ledger(teachers, limits, _sum(spent_before or {}, left))
        self._journal = Journal(journal)
        self._flying: dict[str, asyncio.Task[Reply]] = {}
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._ids = (f"{uuid.uuid4().hex[:12]}-{n}" for n in itertools.count())
        self._entrance = threading.Lock()
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="teachers", daemon=True)
        self._thread.start()

    # --- for node threads ---

    def ask(self, requests: Sequence[LessonRequest]) -> list[Reply]:
        """One reply for each request, in order, each in the journal by now. A teacher's failure is a failed reply.

        Raises `BudgetStop` at a declared limit and `DeskStopped` after `stop`; both leave received answers
        saved.
        """
        lines = [self._line(name) for name in {request.teacher for request in requests}]
        # In blocks: the first calls are on their way while the keys of the rest are computed. A student's batches
        # must not depend on such timing.
        remote = all(line.spec.remote for line in lines)
        size = BLOCK if remote else max(1, len(requests))
        blocks = [self._submit(requests[i : i + size]) for i in range(0, len(requests), size)]
        wait(blocks)
        try:
            return [reply for block in blocks for reply in block.result()]
        except CancelledError:
            raise DeskStopped(STOPPED) from None

    def spent(self) -> dict[str, Spent]:
        """By teacher: this run's cost so far, earlier attempts included."""
        return dict(self._ledger.spent)

    def drain(self, commit: Callable[[list[Entry]], None]) -> int:
        """Hands journaled replies to `commit`; forgets them once it returns. The store answers for them from
        then on.
        """

        def commit_and_forget(entries: list[Entry]) -> None:
            commit(entries)
            for _, reply in entries:
                self._answers.pop(reply.key, None)

        return self._journal.drain(commit_and_forget)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Sends nothing more, gives calls in flight `grace_seconds`, saves what came. Everyone waiting is
        released.
        """
        with self._entrance:
            if self._stopped:
                return
            self._stopped = True
        asyncio.run_coroutine_threadsafe(self._shut(grace_seconds), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._journal.close()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _line(self, name: str) -> Line:
        if name not in self._lines:
            raise UsageError(f'there is no teacher "{name}". {did_you_mean(name, self._lines)}')
        return self._lines[name]

    def _stored(self, keys: Iterable[str]) -> dict[str, Reply]:
        wanted = sorted(keys)
        found = self._known(wanted) if wanted else {}
        return {key: reply for key, reply in found.items() if is_final(reply)}

    def _submit(self, requests: Sequence[LessonRequest]) -> Future[list[Reply]]:
        keyed = [(request.key, request) for request in requests]
        stored = self._stored({key for key, _ in keyed} - self._answers.keys())
        # Under the lock: what is handed in before the stop is seen by it, nothing is handed in after.
        with self._entrance:
            if self._stopped:
                raise DeskStopped(STOPPED)
            return asyncio.run_coroutine_threadsafe(self._ask(keyed, stored), self._loop)

    # --- on the loop ---

    async def _ask(self, keyed: list[tuple[str, LessonRequest]], stored: Mapping[str, Reply]) -> list[Reply]:
        teachers = {request.teacher for _, request in keyed}
        await asyncio.gather(*(self._open(self._lines[name]) for name in sorted(teachers)))
        found = [self._begin(key, request, stored) for key, request in keyed]
        waiting = {reply for reply, _ in found if isinstance(reply, asyncio.Task)}
        if waiting:
            # All of them, also when one fails: what is in flight is paid for and gets saved.
            await asyncio.wait(waiting)
        for name in teachers:
            self._show(self._lines[name], now=True)
        _raise_first(waiting)
        return [_reply(reply, cached) for reply, cached in found]

    def _begin(
        self, key: str, request: LessonRequest, stored: Mapping[str, Reply]
    ) -> tuple[Reply | asyncio.Task[Reply], bool]:
        """(the reply or who is getting it, whether it costs this asker nothing)."""
        line = self._lines[request.teacher]
        line.tally.asked += 1
        answer = self._answers.get(key) or stored.get(key)
        if answer is not None:
            line.tally.cached += 1
            return answer, True
        if key in self._flying:
            line.tally.cached += 1
            return self._flying[key], True
        task = self._loop.create_task(self._answer(line, _Flight(next(self._ids), key, request, request)))
        self._flying[key] = task
        line.tally.begin()
        task.add_done_callback(lambda _: self._ended(line, key))
        return task, False

    def _ended(self, line: Line, key: str) -> None:
        del self._flying[key]
        line.tally.end()

    async def _answer(self, line: Line, flight: _Flight) -> Reply:
        """Asks until there is an answer, a fault that will not pass, or no attempt left; saves what came of
        it.
        """
        try:
            return await self._save(line, flight, await self._result(line, flight))
        finally:
            self._settle(line, flight)

    async def _result(self, line: Line, flight: _Flight) -> Completion | TeacherFault:
        try:
            result = await self._attempts(line, flight)
            if line.spec.remote and flight.needs_repair(result):
                self._go_on(line, flight)
                result = await self._attempts(line, flight)
            return result
        except (BudgetStop, asyncio.CancelledError) as stop:
            # What came before the stop is paid for.
            left = flight.left_by(stop)
            if left is not None:
                await self._save(line, flight, left)
            raise

    async def _attempts(self, line: Line, flight: _Flight) -> Completion | TeacherFault:
        retries = line.spec.max_retries if line.spec.remote else 0
        failed = 0
        while True:
            result = await self._attempt(line, flight)
            if isinstance(result, Completion):
                return result
            flight.faults.append(result)
            failed += result.fault != "format"
            if result.fault not in RETRIED | {"format"} or failed > retries:
                return result
            self._go_on(line, flight)
            if result.fault == "format":
                continue
            self._between_calls()
            # Full jitter: those who failed together do not come back together.
            ceiling = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (failed - 1))
            await asyncio.sleep(random.uniform(0, ceiling))

    async def _attempt(self, line: Line, flight: _Flight) -> Completion | TeacherFault:
        self._between_calls()
        bound = line.bound(flight.asked)
        try:
            place = await line.pace.enter(bound.tokens)
        except TeacherFault as fault:
            return fault
        try:
            held = await self._ledger.reserve(line.name, bound)
        except BaseException:
            line.pace.abandon(place)
            raise
        return await self._send(line, flight, held, place)

    async def _open(self, line: Line) -> None:
        if line.name not in self._opening:
            self._opening[line.name] = self._loop.create_task(line.transport.open())
        # Shielded: one cancelled asker must not close the door for the others.
        await asyncio.shield(self._opening[line.name])

    async def _send(self, line: Line, flight: _Flight, held: Held, place: Place) -> Completion | TeacherFault:
        line.pace.send(place)
        flight.attempts += 1
        bound = held.bound
        # Whatever ends this attempt without a bill (a cancel, a bug) leaves it counted in full.
        actual, fault, failed = bound, None, "interrupted"
        try:
            self._note_cost(line, flight, flight.paid + bound)
            self._in_flight.add(_this_task())
            completion = await line.complete(flight.asked)
            actual = self._billed(line, flight, held, completion.bill, paid=True)
            failed = ""
            return completion
        except TeacherFault as raised:
            fault, failed = raised, raised.fault
            actual = self._billed(line, flight, held, fault.bill, fault.paid)
            return fault
        finally:
            flight.note(place, held, actual, failed)
            line.pace.leave(place, fault, actual.tokens)

    def _billed(self, line: Line, flight: _Flight, held: Held, said: Bill, paid: bool) -> Spent:
        """What an attempt cost, by the server's word where that can be believed."""
        bill = said.within(held.bound.tokens)
        cost = line.cost_of(held.bound, bill, paid)
        if bill.doubt:
            flight.doubts.append(doubted(bill))
            self._tell(line, doubted(bill))
        elif bill.is_known and self._ledger.learn(line.name, held, cost):
            self._tell(line, f"a call of at most {held.plain.tokens:,} tokens was billed {bill.tokens:,}")
        return cost

    def _tell(self, line: Line, detail: str) -> None:
        self._on_event({"event": "bill", "teacher": line.name, "detail": self._redact.detail(detail)})

    def _go_on(self, line: Line, flight: _Flight) -> None:
        """Another attempt will follow: what the last one cost is known now."""
        self._note_cost(line, flight, flight.paid)
        self._settle(line, flight)

    def _settle(self, line: Line, flight: _Flight) -> None:
        """Gives back what was reserved and not used; only when the journal has the cost, or a kill would count it on
        top of what others have reserved meanwhile.
        """
        if flight.unsettled is not None:
            self._ledger.settle(line.name, *flight.unsettled)
            flight.unsettled = None

    def _note_cost(self, line: Line, flight: _Flight, cost: Spent) -> None:
        """What the flight will have cost should the process end now."""
        if line.spec.remote:
            request = flight.request
            brief = {
                "key": flight.key,
                "teacher": line.name,
                "purpose": request.purpose,
                "mode": request.mode,
            }
            self._journal.sent(Sent(flight.flight, brief, line.name, flight.attempts, cost.tokens, cost.usd))

    async def _save(self, line: Line, flight: _Flight, result: Completion | TeacherFault) -> Reply:
        reply = flight.reply(line.name, result, self._redact)
        kept = request_json(flight.request, flight.key) | {"attempts": flight.log}
        if line.spec.recorded:
            del kept["failures"]  # up to 500 of them beside every slice of a file, and the key covers them
        await self._journal.append(kept, reply, flight.flight)
        if is_final(reply):
            self._answers[flight.key] = reply
        self._between_calls()
        line.tally.done += 1
        line.tally.failed += reply.status == "failed"
        self._show(line)
        return reply

    def _between_calls(self) -> None:
        """This task has nothing in flight; a stopped desk ends it here."""
        self._in_flight.discard(_this_task())
        if self._stopped:
            raise asyncio.CancelledError

    def _show(self, line: Line, now: bool = False) -> None:
        tally, clock = line.tally, time.monotonic()
        if not now and clock - tally.shown_at < EVENT_SECONDS:
            return
        tally.shown_at = clock
        spent = self._ledger.spent[line.name]
        self._on_event(
            {
                "event": "calls",
                "teacher": line.name,
                "asked": tally.asked,
                "done": tally.done,
                "failed": tally.failed,
                "cached": tally.cached,
                "calls_per_second": round(tally.rate(), 1),
                "usd": round(spent.usd, 6),
                "tokens": spent.tokens,
                "rate_limited": line.pace.rate_limited,
                "in_flight": line.pace.in_flight,
                "concurrency": int(line.pace.limit),
            }
        )

    async def _shut(self, grace_seconds: float) -> None:
        for task in set(self._flying.values()) - self._in_flight:
            task.cancel()
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=grace_seconds)
        left = list(self._flying.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._journal.flushed()
        for name, opening in self._opening.items():
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                await self._lines[name].transport.close()
        # Litellm leaves workers of its own on the loop.
        rest = asyncio.all_tasks() - {_this_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


@dataclass
class _Flight:
    """One asking of a request, over all its attempts."""

    flight: str
    key: str
    request: LessonRequest
    asked: LessonRequest
    """What is sent: the request, or its repair."""
    attempts: int = 0
    unsettled: tuple[Held, Spent] | None = None
    """Of the last attempt, what was reserved and what it cost."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Each attempt, as the journal has it."""
    paid: Spent = NOTHING
    faults: list[TeacherFault] = field(default_factory=list)
    draft: Completion | None = None
    """The first answer, where a second one was asked for because this one cannot be read."""
    problem: str = ""
    doubts: list[str] = field(default_factory=list)
    """Bills that were not believed."""
    started_at: float = field(default_factory=time.monotonic)

    def note(self, place: Place, held: Held, cost: Spent, fault: str) -> None:
        """One attempt and what it cost; `fault` is empty where an answer came."""
        self.paid += cost
        self.unsettled = held, cost
        seconds = round(time.monotonic() - place.sent_at, 4)
        at = round(time.time() - seconds, 3)
        self.log.append({"sent_at": at, "seconds": seconds, "fault": fault, "tokens": cost.tokens, "usd": cost.usd})

    def needs_repair(self, result: Completion | TeacherFault) -> bool:
        """Whether `result` cannot be read as the request's schema asks; the request then goes on with saying so."""
        if self.request.schema is None or not isinstance(result, Completion):
            return False
        self.problem = misfit(result.text, self.request.schema)
        if self.problem:
            self.draft, self.asked = result, repair(self.request, result.text, self.problem)
        return bool(self.problem)

    def left_by(self, stop: BaseException) -> TeacherFault | None:
        """What is to be saved when `stop` ends the flight: nothing where nothing has come."""
        if self.draft is not None:
            return TeacherFault("interrupted", "the run was stopped")
        return self.faults[-1] if self.faults and isinstance(stop, BudgetStop) else None

    def reply(self, teacher: str, result: Completion | TeacherFault, redact: Redactor) -> Reply:
        """`output_tokens` are the answer's; all else that was paid, failed attempts included, is
        `input_tokens`.
        """
        seconds = round(time.monotonic() - self.started_at, 4)
        output = min(result.bill.output_tokens, self.paid.tokens)
        common: dict[str, Any] = {
            "key": self.key,
            "teacher": teacher,
            "input_tokens": self.paid.tokens - output,
            "output_tokens": output,
            "usd": self.paid.usd,
            "seconds": seconds,
            "attempts": self.attempts,
        }
        detail = _storable(redact.detail("; ".join(filter(None, [self._detail(result), *self.doubts]))))
        # An answer that could not be repaired is still one.
        answer = result if isinstance(result, Completion) else self.draft
        if answer is None:
            assert isinstance(result, TeacherFault)
            said = _storable(redact(result.text)) if result.fault in ANSWERED else ""
            return Reply(status="failed", fault=result.fault, text=said, detail=detail, **common)
        text, model = _storable(redact(answer.text)), _storable(redact(answer.model))
        return Reply(status="ok", text=text, model=model, detail=detail, **common)

    def _detail(self, result: Completion | TeacherFault) -> str:
        if isinstance(result, TeacherFault):
            return f"{self.problem}; not repaired: {result}" if self.draft is not None else result.detail
        return f"repaired: {self.problem}. The first answer: {self.draft.text}" if self.draft is not None else ""


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _storable(text: str) -> str:
    """Half a surrogate pair, which JSON can carry and no store or file can, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _left_behind(folder: Path) -> tuple[dict[str, Reply], dict[str, Spent]]:
    """(answers, cost by teacher) that an earlier process journaled and nobody has drained."""
    answers: dict[str, Reply] = {}
    spent: dict[str, Spent] = {}
    for _, reply in read_journal(folder):
        cost = Spent(reply.usd, reply.attempts, reply.input_tokens + reply.output_tokens)
        spent[reply.teacher] = spent.get(reply.teacher, NOTHING) + cost
        if is_final(reply):
            answers[reply.key] = reply
    return answers, spent


def _sum(first: Mapping[str, Spent], second: Mapping[str, Spent]) -> dict[str, Spent]:
    return {name: first.get(name, NOTHING) + second.get(name, NOTHING) for name in {*first, *second}}


def _raise_first(tasks: Iterable[asyncio.Task[Reply]]) -> None:
    """Raises what ended the tasks, if anything did: a bug or a full disk before a limit, a limit before a
    stop.
    """
    errors = [task.exception() for task in tasks if not task.cancelled()]
    raised = sorted((e for e in errors if e is not None), key=lambda e: isinstance(e, BudgetStop))
    if raised:
        raise raised[0]
    if any(task.cancelled() for task in tasks):
        raise DeskStopped(STOPPED)


def _reply(found: Reply | asyncio.Task[Reply], cached: bool) -> Reply:
    reply = found.result() if isinstance(found, asyncio.Task) else found
    return replace(reply, cached=True) if cached else reply
