"""A teacher that is a function in the project: `def teach(request: dict) -> str`, run in a thread."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from flywheel.errors import Fault, SpecInvalid
from flywheel.hashing import fingerprint, hash_file, short
from flywheel.records import LessonRequest
from flywheel.spec.models import PythonTeacher
from flywheel.teachers.chat import Completion
from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.parameters import function_file, project_file
from flywheel.text import did_you_mean

Teach = Callable[[dict[str, Any]], str]


class Function:
    """`Transport` to a function. The project's code is trusted like the spec: it runs in this process."""

    def __init__(self, name: str, teacher: PythonTeacher, root: Path) -> None:
        self._teach = load_function(teacher.function, root, ("teachers", name, "function"))
        self._teacher = teacher

    async def open(self) -> None:
        return None

    async def complete(self, request: LessonRequest) -> Completion:
        text = await _in_thread(lambda: self._teach(function_request(self._teacher, request)))
        if not isinstance(text, str):
            raise TeacherFault("malformed", f"{self._teacher.function} returned {type(text).__name__}, not text")
        if not text.strip():
            raise TeacherFault("empty", f"{self._teacher.function} returned no text")
        return Completion(text, model=self._teacher.function)

    async def close(self) -> None:
        return None


def function_request(teacher: PythonTeacher, request: LessonRequest) -> dict[str, Any]:
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
        "options": dict(teacher.options),
        "sample": request.sample,
        "seed": request.seed,
    }


def load_function(function: str, root: Path, path: tuple[str | int, ...]) -> Teach:
    """The function of `file.py:function`, its file loaded once a content. Raises `SpecInvalid`."""
    file = project_file(function_file(function), root, path)
    name = function.rpartition(":")[2]
    # By place and content: what a module keeps beside its file belongs to one project.
    module_name = f"flywheel_project_{file.stem}_{short(fingerprint([str(file), hash_file(file)]))}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise SpecInvalid([Fault(f"{file.name} is not a Python file.", path, "Name it *.py.")])
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise SpecInvalid([Fault(f"{file.name} cannot be loaded: {_where(error)}", path)]) from error
        sys.modules[module_name] = module
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise SpecInvalid([Fault(f'{file.name} has no function "{name}".', path, did_you_mean(name, known))])
    return found  # type: ignore[no-any-return]


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
            error = TeacherFault("crashed", _where(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="teacher", daemon=True).start()
    return await done


def _where(error: BaseException) -> str:
    """`file.py:12: ValueError: …`, the innermost place."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}: {error}"
