"""When the next call to a teacher may go out: adaptive concurrency, `Retry-After`, and a circuit breaker.

Concurrency follows additive increase, multiplicative decrease (Chiu and Jain 1989) with TCP's slow start: it doubles
a round until the first sign of overload (429, or a share of 503 and time-outs), then halves once an episode and grows
by a tenth a round. After `TRIP` failures in a row of any other passing kind nothing goes out but a single probe, with
growing pauses; when `PROBES` probes fail too, callers are told at once (fault "unavailable") until a longer pause is
over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

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


class Pace:
    """One teacher's pace. `enter` before a call, `leave` after it, always both; on one event loop only."""

    def __init__(self, ceiling: int, start: int) -> None:
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
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> float:
        """Waits for a turn; returns when it came, by the monotonic clock. Raises `TeacherFault`: nothing was
        sent.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._free()
            raise
        return time.monotonic()

    def leave(self, sent_at: float, fault: TeacherFault | None) -> None:
        """Notes how the call that entered at `sent_at` ended; frees its place."""
        self._slow.append(fault is not None and fault.overloaded)
        busy = self.in_flight >= self.limit * 0.8
        if fault is None:
            self._succeeded(busy)
        elif fault.fault in STOPPING:
            self._stop, self._stop_until = fault, float("inf")
        else:
            self._slow_down(sent_at, fault)
        self._free()

    def abandon(self) -> None:
        """Frees the place of a call that was never sent, or was cancelled."""
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
            turn = self._queue.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _refuse_all(self, stop: TeacherFault) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(TeacherFault(stop.fault, f"not sent: {stop.detail}"))

    def _admit_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._timer_over)

    def _timer_over(self) -> None:
        self._timer = None
        self._admit()
