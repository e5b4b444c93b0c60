"""The student as a teacher: sampled in batches on rows whose answer is known. The verifiers referee."""

from __future__ import annotations

import asyncio
from typing import Protocol

from flywheel.errors import FlywheelError
from flywheel.hashing import seed_from
from flywheel.records import Generation, LessonRequest
from flywheel.spec.teachers import StudentTeacher
from flywheel.teachers.chat import Completion
from flywheel.teachers.faults import TeacherFault

MAX_BATCH = 512
"""Answers are saved after each batch; a longer one would lose more to a crash."""


class Generate(Protocol):
    """Sampled answers of the student, in the order of `prompts`; one seed each."""

    def __call__(
        self, prompts: list[str], temperature: float, top_p: float, seeds: list[int], stop: tuple[str, ...] = ()
    ) -> list[Generation]: ...


class StudentSampler:
    """`Transport` to the student: what is asked in one turn of the loop goes out as one batch."""

    def __init__(self, teacher: StudentTeacher, generate: Generate) -> None:
        self._teacher = teacher
        self._generate = generate
        self._waiting: list[tuple[LessonRequest, asyncio.Future[Generation]]] = []
        self._run: asyncio.Task[None] | None = None

    async def open(self) -> None:
        return None

    async def complete(self, request: LessonRequest) -> Completion:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Generation] = loop.create_future()
        self._waiting.append((request, done))
        if self._run is None or self._run.done():
            self._run = loop.create_task(self._run_waiting())
        answer = await done
        if answer.truncated:
            detail = f"the answer met the student's max_new_tokens: {answer.text}"
            raise TeacherFault("truncated", detail, text=answer.text)
        if not answer.text.strip():
            raise TeacherFault("empty", "the student said nothing")
        return Completion(answer.text, model="student")

    async def close(self) -> None:
        return None

    async def _run_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                answers = await asyncio.to_thread(self._answers, [request for request, _ in batch])
            except Exception as error:
                # The worker's own errors go to those who asked, whatever they are.
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), answer in zip(batch, answers, strict=True):
                if not done.done():
                    done.set_result(answer)

    def _answers(self, requests: list[LessonRequest]) -> list[Generation]:
        """One batch for each temperature and each way to stop."""
        found: dict[int, Generation] = {}
        for manner in sorted({self._manner(r) for r in requests}):
            batch = [i for i, r in enumerate(requests) if self._manner(r) == manner]
            found |= zip(batch, self._batch([requests[i] for i in batch], *manner), strict=True)
        return [found[i] for i in range(len(requests))]

    def _manner(self, request: LessonRequest) -> tuple[float, tuple[str, ...]]:
        temperature = self._teacher.temperature if request.temperature is None else request.temperature
        return temperature, tuple(request.parameters.get("stop", ()))

    def _batch(self, requests: list[LessonRequest], temperature: float, stop: tuple[str, ...]) -> list[Generation]:
        answers = self._generate(
            ["\n\n".join(m.content for m in r.messages if m.role == "user") for r in requests],
            temperature,
            self._teacher.top_p,
            [seed_from(r.seed, r.sample) for r in requests],
            *([stop] if stop else []),
        )
        if len(answers) != len(requests):
            raise FlywheelError(f"the student gave {len(answers)} answers to {len(requests)} prompts")
        return answers
