"""Requests of many clients, answered together by one model: a queue with an end, and one batch after the other.

While a batch runs the next one gathers. The requests of a batch need have nothing in common: each row has its own
length, sampling and stops, and its answer leaves when it is done, not when the last one is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flywheel.engine.serving.log import ServedLog
from flywheel.engine.serving.models import CurrentModel, Served
from flywheel.engine.serving.requests import Asked, Refusal, question_of
from flywheel.errors import FlywheelError
from flywheel.executor import Worker, WorkerCancelled
from flywheel.records import Generation
from flywheel.student.serving import Question, QuestionJob
from flywheel.student.work import Asking

#: So long a batch waits for those who ask at the same time, in seconds; nobody waits where only one client asks.
GATHERING = 0.005
#: Batches that may wait; who comes after is told to come again.
WAITING_BATCHES = 8
#: A batch that takes longer is given up, in seconds; so is a request that was not answered by then.
ANSWER_SECONDS = 300.0


@dataclass(frozen=True)
class ServedPart:
    """More of an answer that is streamed."""

    model_id: str
    text: str


@dataclass(frozen=True)
class ServedAnswer:
    """An answer that is in the log."""

    model_id: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


Event = ServedPart | ServedAnswer | Refusal
"""More of an answer; the whole of it; or why there is none."""


@dataclass(eq=False)
class Waiting:
    """A request on its way. `events` ends with an answer or an error."""

    asked: Asked
    receipt: str
    since: float = field(default_factory=time.monotonic)
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    is_gone: bool = False
    """Nobody waits for it any more."""
    is_over: bool = False
    trial: str | None = None
    """For which its model was drawn (`canary`)."""


class Batcher:
    """The one who asks the model. `run` until cancelled; then `close`."""

    def __init__(self, deployed: CurrentModel, worker: Worker, log: ServedLog, say: Callable[[str], None]) -> None:
        self.deployed, self._worker, self._log, self._say = deployed, worker, log, say
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flywheel-batches")
        self._logging: set[asyncio.Task[None]] = set()
        self._size = 0
        self._seconds = 1.0

    @property
    def waiting(self) -> int:
        """Requests that are in no batch yet."""
        return self._queue.qsize()

    def submit(self, asked: Asked) -> Waiting:
        """Put a request into the queue. Raises Refusal (429) where it is full."""
        size = self.deployed.served.project.spec.student.batch_size
        if self.waiting >= WAITING_BATCHES * size:
            seconds = math.ceil(self._seconds * (1 + self.waiting / size))
            message = f"{self.waiting:,} requests wait already. Ask again in {seconds} s."
            raise Refusal(429, message, code="overloaded", retry_after=seconds)
        waiting = Waiting(asked, self._log.new_receipt())
        self._queue.put_nowait(waiting)
        return waiting

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gathered()
            start = time.monotonic()
            await loop.run_in_executor(self._thread, self._answer, batch, loop)
            self._size, self._seconds = len(batch), time.monotonic() - start

    def close(self) -> None:
        """Kill the model; whoever still waits is told."""
        self._worker.close()
        self._thread.shutdown()
        while not self._queue.empty():
            self._end(self._queue.get_nowait(), Refusal(503, "the server ends."))

    async def _gathered(self) -> list[Waiting]:
        batch = [await self._queue.get()]
        size = self.deployed.served.project.spec.student.batch_size
        if self._size > 1 or self.waiting:
            await asyncio.sleep(GATHERING)
        while self.waiting and len(batch) < size:
            batch.append(self._queue.get_nowait())
        return [waiting for waiting in batch if not waiting.is_gone]

    # --- in the thread that waits for the model

    def _answer(self, batch: Sequence[Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """Whatever goes wrong, every request of the batch ends."""
        try:
            self.deployed.look()
            for served, shared in self._shared_out(batch):
                asked = [(waiting, self._question(waiting, served, loop)) for waiting in shared]
                rows = [(waiting, question) for waiting, question in asked if question is not None]
                if rows:
                    self._ask(served, rows, loop)
            left = Refusal(500, "the model gave no answer.")
        except Exception as error:
            self._say(f"{len(batch)} requests were not answered: {error}")
            left = _refusal(error)
        loop.call_soon_threadsafe(self._end_all, batch, left)

    def _shared_out(self, batch: Sequence[Waiting]) -> list[tuple[Served, list[Waiting]]]:
        """By the model that answers: one, or two while a promotion is under test."""
        found: dict[str, tuple[Served, list[Waiting]]] = {}
        for waiting in batch:
            served, waiting.trial = self.deployed.answering(waiting.asked.model, waiting.asked.as_logged())
            found.setdefault(served.model_id, (served, []))[1].append(waiting)
        return list(found.values())

    def _question(self, waiting: Waiting, served: Served, loop: asyncio.AbstractEventLoop) -> Question | None:
        try:
            return question_of(waiting.asked, served)
        except FlywheelError as error:
            refusal = error if isinstance(error, Refusal) else Refusal(400, str(error), param="flywheel")
            loop.call_soon_threadsafe(self._end, waiting, refusal)
            return None

    def _ask(self, served: Served, rows: Sequence[tuple[Waiting, Question]], loop: asyncio.AbstractEventLoop) -> None:
        waiting = [one for one, _ in rows]
        arm = self.deployed.loaded_as(served)
        job = QuestionJob(arm, Asking.of(served.project.spec.student), tuple(question for _, question in rows))

        def hear(told: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._hear, told, waiting, served.model_id)

        self._worker.call("flywheel.student.serving:respond", job, timeout=ANSWER_SECONDS, on_progress=hear)

    # --- in the loop

    def _hear(self, told: dict[str, Any], rows: Sequence[Waiting], model_id: str) -> None:
        for place, more in told["said"]:
            rows[place].events.put_nowait(ServedPart(model_id, more))
        for place, said, prompt_tokens in told["done"]:
            rows[place].is_over = True
            task = asyncio.create_task(self._finish(rows[place], said, prompt_tokens, model_id))
            self._logging.add(task)
            task.add_done_callback(self._logging.discard)

    async def _finish(self, waiting: Waiting, said: Generation, prompt_tokens: int, model_id: str) -> None:
        """Nobody is told of an answer before it is in the log, whether or not its client still listens."""
        if said.problem:
            waiting.events.put_nowait(Refusal(400, f"{said.problem}.", code="cannot_be_asked"))
            return
        reason = "length" if said.truncated else "stop"
        answer = ServedAnswer(model_id, said.text, reason, prompt_tokens, said.tokens)
        try:
            await self._log.append(_record(waiting, answer))
            waiting.events.put_nowait(answer)
        except FlywheelError as error:
            waiting.events.put_nowait(Refusal(503, str(error)))

    def _end_all(self, batch: Sequence[Waiting], why: Refusal) -> None:
        for waiting in batch:
            self._end(waiting, why)

    def _end(self, waiting: Waiting, why: Refusal) -> None:
        if not waiting.is_over:
            waiting.is_over = True
            waiting.events.put_nowait(why)


def _record(waiting: Waiting, answer: ServedAnswer) -> dict[str, Any]:
    return {
        "kind": "answer",
        "id": waiting.receipt,
        "at": now(),
        "model_id": answer.model_id,
        **waiting.asked.as_logged(),
        **({"trial": waiting.trial} if waiting.trial else {}),
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": round(time.monotonic() - waiting.since, 4),
    }


def now() -> str:
    """UTC, as ISO 8601 with a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _refusal(error: Exception) -> Refusal:
    """What clients are told where the model fails: to come again, and no trace of ours."""
    if isinstance(error, WorkerCancelled):
        return Refusal(503, "the server ends.")
    return Refusal(503, "the model failed on this batch; the server's terminal says how. Ask again.", retry_after=1)
