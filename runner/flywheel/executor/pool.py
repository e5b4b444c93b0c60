"""Many small items over a few killable children: in order, in bounded memory, each at its own cost."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from flywheel.executor.faults import WorkerCrashed, WorkerTimeout
from flywheel.executor.process import Process
from flywheel.executor.worker import revived

#: Items read ahead of the one that is given next.
WINDOW = 2_048
#: Work sent to a child at a time, in seconds: with more, children idle at the end; with less, pipes cost.
BATCH_SECONDS = 0.02
_BATCH_LIMIT = 512
#: What it costs to start one more child, in seconds: it is not started for less work than that.
_START_SECONDS = 0.5
_SETUP_SECONDS = 120.0
#: One core each: the pool has as many children as it is meant to use cores.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Result(NamedTuple):
    """What became of one item: `value` where `status` is "ok", else `reason`, in words."""

    status: Literal["ok", "raised", "timed_out", "crashed"]
    value: Any = None
    reason: str = ""


class _Ticket(NamedTuple):
    place: int
    item: Any
    timeout: float
    crashes: int = 0


@dataclass
class _Child:
    process: Process
    ready: bool = False
    since: float = field(default_factory=time.monotonic)
    """When the batch (or the set-up) began, or a part of it was last answered."""
    tickets: deque[_Ticket] = field(default_factory=deque)
    """Of the batch, those that are not answered."""
    answered: int = 0

    @property
    def idle(self) -> bool:
        return self.ready and not self.tickets

    @property
    def limit(self) -> float | None:
        if not self.ready:
            return _SETUP_SECONDS
        return self.tickets[self.running].timeout if self.tickets else None

    @property
    def running(self) -> int:
        """Which of the tickets runs, by the child's own word; the first where it has not said so yet."""
        return self._now()[0]

    @property
    def began(self) -> float:
        """When what runs now began: never too early."""
        return self._now()[1] if self.ready else self.since

    def _now(self) -> tuple[int, float]:
        said = self.process.clock.read() if self.process.clock is not None else None
        if said is None or not 0 <= said[0] - self.answered < len(self.tickets):
            return 0, self.since
        return said[0] - self.answered, said[1]


class Pool:
    """At most `size` children. `function` ("package.module:name") is called once in each with `setup`, and gives the
    function that is then called with every item.

    Items go to the children in small batches. A time-out or a crash costs only the item that caused it; the rest of its
    batch, and what was answered in the last milliseconds, is run again in a new child. A crash counts when it happens
    twice: the first may be an earlier item's doing, or the kernel's.
    """

    def __init__(
        self,
        function: str,
        size: int,
        *,
        setup: Any = None,
        log: Path | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._request = pickle.dumps((function, setup))
        self._function = function
        self._size = size
        self._log = log
        self._memory_bytes = memory_bytes
        self._children: list[_Child] = []
        self._item_seconds = BATCH_SECONDS  # first batches hold one item
        self._busy = False

    def map(self, items: Iterable[Any], timeout_of: Callable[[Any], float]) -> Iterator[Result]:
        """One Result for each item, in order; at most WINDOW items are held at a time. `timeout_of`: seconds.

        One map at a time. Raises what the set-up raised; WorkerTimeout, WorkerCrashed if it hung or died.
        """
        if self._busy:
            raise RuntimeError("this pool is already mapping; give each thread a pool of its own")
        self._busy = True
        try:
            yield from self._map(iter(items), timeout_of)
        finally:
            self._busy = False
            for child in [c for c in self._children if not c.idle]:
                self._drop(child)

    def close(self) -> None:
        for child in list(self._children):
            self._drop(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _map(self, items: Iterator[Any], timeout_of: Callable[[Any], float]) -> Iterator[Result]:
        waiting: deque[_Ticket] = deque()
        done: dict[int, Result] = {}
        read = given = 0
        exhausted = False
        while True:
            while not exhausted and read - given < WINDOW:
                try:
                    item = next(items)
                except StopIteration:
                    exhausted = True
                    break
                waiting.append(_Ticket(read, item, timeout_of(item)))
                read += 1
            if exhausted and given == read:
                return
            self._hand_out(waiting)
            self._take_in(waiting, done)
            while given in done:
                yield done.pop(given)
                given += 1

    # --- handing out ---

    def _hand_out(self, waiting: deque[_Ticket]) -> None:
        """Batches for idle children. Only idle ones: sending to a child that is sending may deadlock."""
        for _ in range(self._wanted(waiting)):
            self._start()
        for child in self._children:
            if waiting and child.idle:
                self._send(child, waiting)

    def _wanted(self, waiting: deque[_Ticket]) -> int:
        """How many more children are worth their start."""
        unserved = len(waiting) - sum(child.idle or not child.ready for child in self._children)
        longest = max((time.monotonic() - child.began for child in self._children if child.tickets), default=0.0)
        worth = int(unserved * max(self._item_seconds, longest) / _START_SECONDS)
        least = 1 if waiting and not self._children else 0
        return max(least, min(unserved, worth, self._size - len(self._children)))

    def _start(self) -> None:
        child = _Child(Process("items", self._log, self._memory_bytes, _ONE_THREAD))
        self._children.append(child)
        self._tell(child, self._request)

    def _send(self, child: _Child, waiting: deque[_Ticket]) -> None:
        count = max(1, min(_BATCH_LIMIT, len(waiting), int(BATCH_SECONDS / max(self._item_seconds, 1e-6))))
        child.tickets.extend(waiting.popleft() for _ in range(count))
        child.since, child.answered = time.monotonic(), 0
        self._tell(child, pickle.dumps([ticket.item for ticket in child.tickets]))

    def _tell(self, child: _Child, message: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # a dead child is seen by the next read
            child.process.wire.send_bytes(message)

    # --- taking in ---

    def _take_in(self, waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        by_wire = {child.process.wire: child for child in self._children}
        for wire in wait(list(by_wire), timeout=self._patience(bool(waiting))):
            child = by_wire[wire]  # type: ignore[index]
            try:
                self._receive(child, done)
            except (EOFError, ConnectionError):
                self._bury(child, waiting, done)
        for child in list(self._children):
            if child.limit is not None and time.monotonic() - child.began > child.limit:
                self._overdue(child, waiting, done)

    def _patience(self, more_wait: bool) -> float | None:
        """Seconds until the first child is overdue, or until what waits may be worth one more."""
        now = time.monotonic()
        left = [child.began + child.limit - now for child in self._children if child.limit is not None]
        if more_wait and len(self._children) < self._size:
            left.append(_START_SECONDS)
        return max(0.0, min(left)) + 0.001 if left else None

    def _receive(self, child: _Child, done: dict[int, Result]) -> None:
        wire = child.process.wire
        while True:
            message = pickle.loads(wire.recv_bytes())
            now = time.monotonic()
            if child.ready:
                for kind, content in message:
                    done[child.tickets.popleft().place] = _result(kind, content)
                child.answered += len(message)
                weight = 1 - 0.9 ** len(message)
                self._item_seconds += weight * ((now - child.since) / len(message) - self._item_seconds)
            elif message[0] == "raised":
                self._drop(child)
                raise revived(message[1], self._function)
            child.ready = True
            child.since = now
            if not wire.poll():
                return

    def _overdue(self, child: _Child, waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        if child.process.wire.poll():  # it answered between the wait and now
            return
        limit, running = child.limit, child.running
        self._drop(child)
        if not child.ready:
            raise WorkerTimeout(f"{self._function} was not set up within {limit:g} s")
        culprit = child.tickets[running]
        waiting.extendleft(ticket for ticket in reversed(child.tickets) if ticket is not culprit)
        done[culprit.place] = Result("timed_out", reason=f"timed out after {limit:g} s")

    def _bury(self, child: _Child, waiting: deque[_Ticket], done: dict[int, Result]) -> None:
        cause, tail, running = child.process.cause_of_death(), child.process.log_tail(), child.running
        self._drop(child)
        if not child.ready:
            raise WorkerCrashed(f"{self._function}: its process {cause} while it was set up\n{tail}", tail)
        if not child.tickets:
            return
        culprit = child.tickets[running]
        waiting.extendleft(ticket for ticket in reversed(child.tickets) if ticket is not culprit)
        if culprit.crashes:
            done[culprit.place] = Result("crashed", reason=f"crashed: {cause.removeprefix('was ')}")
        else:
            again = _Ticket(culprit.place, culprit.item, culprit.timeout, crashes=1)
            waiting.appendleft(again)

    def _drop(self, child: _Child) -> None:
        self._children.remove(child)
        child.process.close()


def _result(kind: str, content: Any) -> Result:
    return Result("ok", content) if kind == "ok" else Result("raised", reason=content)
