"""When the next call to a teacher may go out: adaptive concurrency, limits a minute, `Retry-After`, a circuit breaker.

Concurrency follows additive increase, multiplicative decrease (Chiu and Jain 1989) with TCP's slow start: it doubles
a round until the first sign of overload (429, or a share of 503 and time-outs), then halves once an episode and grows
by a tenth a round. After `TRIP` failures in a row of any other passing kind nothing goes out but a single probe, with
growing pauses; when `PROBES` probes fail too, callers are told at once (fault "unavailable") until a longer pause is
over. Requests and tokens a minute are counted over a sliding window, not in a bucket that fills up: no minute, wherever
it begins, holds more than the limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from flywheel.teachers.faults import STOPPING, TeacherFault

TRIP = 8
PROBES = 3
FIRST_PAUSE_SECONDS = 1.0
LONG_PAUSE_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 120.0
"""A server that asks for a longer wait counts as unavailable."""
GROWTH = 0.1
"""A round without overload makes the limit greater by this share, or by one."""
RECENT, SLOW = 50, 5
"""So many 503s and time-outs among so many recent calls are overload; fewer are single calls that went wrong."""
START = 16
"""Calls in flight to a server before anything is known of it, where the spec allows so many."""
WINDOW_SECONDS = 61.0
"""A minute, and a second for calls that overtake each other on their way."""


@dataclass(eq=False)
class Place:
    """One call that was let in. It counts in every window from then until a minute after it is sent."""

    tokens: int
    sent_at: float = 0.0
    forgotten: bool = False


class Windows:
    """Requests and tokens of the last minute; a limit that is None is none. Times by a clock of the caller's."""

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._limits = (requests or float("inf"), tokens or float("inf"))
        self._used = (0, 0)
        self._sent: deque[Place] = deque()

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until a call of so many tokens fits. One that alone is over the limit goes when nothing else counts:
        its bound is far above what it will use.
        """
        while self._sent and self._sent[0].sent_at + WINDOW_SECONDS <= now:
            gone = self._sent.popleft()
            self._add(-1, -gone.tokens)
            gone.forgotten = True
        over = [used + more - limit for used, more, limit in zip(self._used, (1, tokens), self._limits, strict=True)]
        if max(over) <= 0 or self._used[0] == 0:
            return 0.0
        for place in self._sent:
            over = [over[0] - 1, over[1] - place.tokens]
            if max(over) <= 0:
                return place.sent_at + WINDOW_SECONDS - now
        return WINDOW_SECONDS if not self._sent else self._sent[-1].sent_at + WINDOW_SECONDS - now

    def hold(self, tokens: int) -> Place:
        self._add(1, tokens)
        return Place(tokens)

    def send(self, place: Place, now: float) -> None:
        place.sent_at = now
        self._sent.append(place)

    def settle(self, place: Place, tokens: int) -> None:
        """Puts what a call used in the place of what it might use."""
        if not place.forgotten:
            self._add(0, tokens - place.tokens)
            place.tokens = tokens

    def drop(self, place: Place) -> None:
        """A call that was never sent does not count."""
        self._add(-1, -place.tokens)

    def _add(self, requests: int, tokens: int) -> None:
        self._used = (self._used[0] + requests, self._used[1] + tokens)


class Pace:
    """One teacher's pace: `enter`, then `send` and `leave`, or `abandon`; on one event loop only. `rpm` and `tpm` are
    limits a minute.
    """

    def __init__(self, ceiling: int, start: int, rpm: int | None = None, tpm: int | None = None) -> None:
        self.ceiling = ceiling
        self.limit = float(min(ceiling, start))
        self.in_flight = 0
        self.rate_limited = 0
        self._slow_start = True
        self._cut_at = 0.0
        self._not_before = 0.0
        self._slow: deque[bool] = deque(maxlen=RECENT)
        self._failures = 0
        self._tripped_at = 0.0
        self._probes_failed = 0
        self._stop: TeacherFault | None = None
        self._stop_until = 0.0
        self._windows = Windows(rpm, tpm) if rpm or tpm else None
        self._queue: deque[tuple[asyncio.Future[Place], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, tokens: int = 0) -> Place:
        """Waits for the turn of a call that may use so many tokens. Raises `TeacherFault`: nothing was sent."""
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._queue.append((turn, tokens))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.abandon(turn.result())
            raise

    def send(self, place: Place) -> None:
        """Notes that the call goes out now."""
        place.sent_at = time.monotonic()
        if self._windows is not None:
            self._windows.send(place, place.sent_at)

    def leave(self, place: Place, fault: TeacherFault | None, tokens: int) -> None:
        """Notes how a call that was sent ended, and the tokens it used; frees its place."""
        if self._windows is not None:
            self._windows.settle(place, tokens)
        self._slow.append(fault is not None and fault.overloaded and fault.fault != "rate_limit")
        # Whole calls: a limit of 1.9 lets one in, and that one is all there can be.
        busy = self.in_flight >= int(self.limit) * 0.8
        if fault is None:
            self._succeeded(busy)
        elif fault.fault in STOPPING:
            self._stop, self._stop_until = fault, float("inf")
        else:
            self._slow_down(place.sent_at, fault)
        self._free()

    def abandon(self, place: Place) -> None:
        """Frees the place of a call that was never sent."""
        if self._windows is not None:
            self._windows.drop(place)
        self._free()

    def _succeeded(self, busy: bool) -> None:
        self._failures = self._probes_failed = 0
        self._tripped_at = 0.0
        if busy:
            growth = 1.0 if self._slow_start else max(1.0 / self.limit, GROWTH)
            self.limit = min(self.ceiling, self.limit + growth)

    def _slow_down(self, sent_at: float, fault: TeacherFault) -> None:
        now = time.monotonic()
        self.rate_limited += fault.fault == "rate_limit"
        overloaded = fault.fault == "rate_limit" or (fault.overloaded and sum(self._slow) >= SLOW)
        if overloaded and sent_at > self._cut_at:
            # Calls sent before the last cut tell nothing about the pace after it.
            self.limit, self._slow_start, self._cut_at = max(1.0, self.limit / 2), False, now
        if fault.retry_after is not None:
            self._wait(now, fault)
        elif fault.fault in ("server", "connection", "timeout"):
            self._count_failure(sent_at, now, fault)

    def _wait(self, now: float, fault: TeacherFault) -> None:
        seconds = fault.retry_after or 0.0
        if seconds > LONGEST_WAIT_SECONDS:
            detail = f"the teacher asked to wait {seconds:,.0f} s: {fault.detail}"
            self._stop, self._stop_until = TeacherFault("unavailable", detail), now + seconds
        self._not_before = max(self._not_before, now + seconds)

    def _count_failure(self, sent_at: float, now: float, fault: TeacherFault) -> None:
        self._failures += 1
        if self._failures < TRIP or sent_at < self._tripped_at:
            return
        if self._tripped_at:
            self._probes_failed += 1
        self._tripped_at = now
        pause = FIRST_PAUSE_SECONDS * 2**self._probes_failed
        if self._probes_failed >= PROBES:
            pause = LONG_PAUSE_SECONDS
            detail = f"{self._failures} failures in a row, the last one: {fault.fault}: {fault.detail}"
            self._stop, self._stop_until = TeacherFault("unavailable", detail), now + pause
        self._not_before = max(self._not_before, now + pause)

    def _free(self) -> None:
        self.in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        now = time.monotonic()
        if self._stop is not None and now < self._stop_until:
            self._refuse_all(self._stop)
            return
        self._stop = None
        if now < self._not_before:
            self._admit_later(self._not_before - now)
            return
        allowed = 1 if self._tripped_at else int(self.limit)
        while self._queue and self.in_flight < allowed:
            turn, tokens = self._queue[0]
            if turn.done():
                self._queue.popleft()
                continue
            if self._windows is not None and (wait := self._windows.wait(tokens, now)) > 0:
                self._admit_later(wait)
                return
            self._queue.popleft()
            self.in_flight += 1
            turn.set_result(Place(tokens) if self._windows is None else self._windows.hold(tokens))

    def _refuse_all(self, stop: TeacherFault) -> None:
        while self._queue:
            turn, _ = self._queue.popleft()
            if not turn.done():
                turn.set_exception(TeacherFault(stop.fault, f"not sent: {stop.detail}"))

    def _admit_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._timer.when() <= loop.time() + seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._timer_over)

    def _timer_over(self) -> None:
        self._timer = None
        self._admit()
