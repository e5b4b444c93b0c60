"""A teacher that is a function in the project, `def teach(request: dict) -> str`, or a stranger's kind: in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from flywheel.project_code import where
from flywheel.records import LessonRequest
from flywheel.spec.teachers import Teacher
from flywheel.teachers.chat import Completion
from flywheel.teachers.faults import TeacherFault

Teach = Callable[[dict[str, Any]], str]


class Function:
    """`Transport` to a function. The project's code is trusted like the spec: it runs in this process. `name`: what the
    lessons call it; `options`: what the spec gives it."""

    def __init__(self, name: str, teach: Teach, teacher: Teacher, options: dict[str, Any]) -> None:
        self._name, self._teach, self._teacher, self._options = name, teach, teacher, options

    async def open(self) -> None:
        return None

    async def complete(self, request: LessonRequest) -> Completion:
        asked = function_request(self._teacher, request, self._options)
        text = await _in_thread(lambda: self._teach(asked))
        if not isinstance(text, str):
            raise TeacherFault("malformed", f"{self._name} returned {type(text).__name__}, not text")
        if not text.strip():
            raise TeacherFault("empty", f"{self._name} returned no text")
        return Completion(text, model=self._name)

    async def close(self) -> None:
        return None


def function_request(teacher: Teacher, request: LessonRequest, options: dict[str, Any]) -> dict[str, Any]:
    """What the function sees; a copy of its own."""
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    return {
        "purpose": request.purpose,
        "task": request.task,
        "mode": request.mode,
        "mode_description": request.mode_description,
        "n": request.n,
        "failures": deepcopy(list(request.failures)),
        "seeds": deepcopy(list(request.seeds)),
        "row": deepcopy(request.row),
        "prompt": messages[-1]["content"] if messages else "",
        "messages": messages,
        "style": teacher.style_of(request.sample),
        "item": deepcopy(request.item),
        "options": dict(options),
        "sample": request.sample,
        "seed": request.seed,
    }


async def _in_thread(call: Callable[[], Any]) -> Any:
    """Runs `call` in a daemon thread: one that hangs past the time-out is left behind and never blocks the
    exit.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result(result) if error is None else done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            # SystemExit of a project's function must not end the process either.
            error = TeacherFault("crashed", where(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="teacher", daemon=True).start()
    return await done
