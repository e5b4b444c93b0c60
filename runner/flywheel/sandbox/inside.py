"""What runs beside untrusted code, in its process: one program from start to end, or a driver that calls its functions.

The program can reach and change anything here. There is nothing secret, and whatever it forges is a claim of its own
output: the other side compares. What the driver uses is bound at import, before the program is there, so that no
accident of the program (`json.dumps = …`, `print = …`) changes how a value is told.
"""

from __future__ import annotations

import atexit
import builtins
import io
import linecache
import os
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, NoReturn

from flywheel.sandbox.values import decode, encode, from_json, to_json

HEADER = struct.Struct(">I16s")
"""A frame: length of the document, identity of the request, then the document."""
CHANNEL = 3
"""The driver's descriptor."""
MEMORY_EXIT = 86
"""The driver's exit code where even a reply needs more memory than there is."""
STDOUT_KEPT = 4096
TEXT_KEPT = 2000
_NAME = "program.py"

_read, _write, _len, _min, _str, _type = os.read, os.write, len, min, str, type
_exit, _bytes, _dict, _list = os._exit, bytes, dict, list


# --- a program ---


def run_program(source: bytes) -> NoReturn:
    """Run it as `__main__`, with Python's own exit codes, and end the process."""
    _standard_streams()
    code = _main(source)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = _told()
    _exit(code)


def _standard_streams() -> None:
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(_buffered(fd, mode), "utf-8", "surrogateescape", line_buffering=fd == 2)
        for fd, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
    )


def _buffered(fd: int, mode: str) -> Any:
    return open(fd, mode, closefd=False)


def _main(source: bytes) -> int:
    module = _fresh("__main__", source)
    sys.argv[:] = [_NAME]
    try:
        exec(_compiled(source), module.__dict__)
    except SystemExit as request:
        return _exit_code(request)
    except MemoryError:
        module.__dict__.clear()
        return _memory()
    except BaseException:
        return _told()
    return 0


def _fresh(name: str, source: bytes) -> ModuleType:
    """A module in its place, and its lines where tracebacks look for them."""
    module = ModuleType(name)
    sys.modules[name] = module
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[_NAME] = (len(source), None, lines, _NAME)
    return module


def _compiled(source: bytes) -> CodeType:
    return compile(source, _NAME, "exec", dont_inherit=True)


def _exit_code(request: SystemExit) -> int:
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    print(request.code, file=sys.stderr)
    return 1


def _memory() -> int:
    _write(2, b"MemoryError\n")
    return 1


def _told() -> int:
    """The exception being handled, on standard error, as Python would, without our own frames."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        traceback.print_exception(kind, error, trace)
    except BaseException:  # its own __str__ fails, or the stack and memory are used up
        _write(2, f"{getattr(kind, '__name__', 'error')}\n".encode("utf-8", "replace"))
    return 1


# --- a driver ---


def serve(max_bytes: int) -> NoReturn:
    """Answer requests on CHANNEL until it closes; `max_bytes` is the longest request read.

    `{"source", "name", "remote"?}` runs the source in a fresh module, `{"function", "args", "kwargs"}` calls one of its
    functions, with encoded values. Answers: `{"value", "stdout"}` or `{"raised": "Type: text", "stdout"}`. Where
    `remote` names a function, the module has it: calling it sends `{"call": {"args", "kwargs"}}` and waits for
    `{"result"}` or `{"raise"}`.
    """
    try:
        driver = _Driver(max_bytes)
        while True:
            driver.answer(driver.request())
    except MemoryError:
        _exit(MEMORY_EXIT)
    except BaseException:
        _exit(1)


class _Gone(BaseException):
    """The other side has closed the channel."""


class _Kept(io.RawIOBase):
    """Standard output, of which the first part is told."""

    def __init__(self) -> None:
        self.text = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.text += _bytes(data[: STDOUT_KEPT - _len(self.text)])
        return _len(data)


class _Driver:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._identity = b""
        self._module = ModuleType("program")

    def request(self) -> Any:
        size, self._identity = HEADER.unpack(_exactly(HEADER.size))
        return from_json(_exactly(size), self._max_bytes)

    def answer(self, request: Any) -> None:
        """One request, and its reply. Whatever the program raises is its answer, SystemExit included."""
        kept = _Kept()
        sys.stdout = stream = io.TextIOWrapper(kept, "utf-8", "replace", write_through=True)  # type: ignore[type-var]
        try:
            reply = {"value": encode(self._perform(request))}
        except _Gone:
            raise
        except BaseException as error:
            reply = {"raised": _described(error)}
        del stream
        self._send({**reply, "stdout": kept.text.decode("utf-8", "replace")})

    def _perform(self, request: Any) -> Any:
        if "source" in request:
            self._load(request)
            return None
        function = self._module.__dict__.get(request["function"])
        if function is None:
            raise NameError(f"the program defines no {request['function']!r}")
        kwargs = {name: decode(value) for name, value in request.get("kwargs", {}).items()}
        return function(*[decode(value) for value in request.get("args", [])], **kwargs)

    def _load(self, request: Any) -> None:
        source = request["source"].encode("utf-8", "surrogatepass")
        self._module = _fresh(request["name"], source)
        if request.get("remote"):
            setattr(self._module, request["remote"], self._remote())
        exec(_compiled(source), self._module.__dict__)

    def _remote(self) -> Callable[..., Any]:
        def remote(*args: Any, **kwargs: Any) -> Any:
            named = {name: encode(value) for name, value in kwargs.items()}
            self._send({"call": {"args": [encode(value) for value in args], "kwargs": named}})
            answer = self.request()
            if "raise" in answer:
                raise _revived(answer["raise"])
            return decode(answer["result"])

        return remote

    def _send(self, document: Any) -> None:
        data = to_json(document).encode("ascii")
        view = HEADER.pack(_len(data), self._identity) + data
        while view:
            view = view[_write(CHANNEL, view) :]


def _exactly(size: int) -> bytes:
    parts = []
    while size:
        part = _read(CHANNEL, _min(size, 1 << 20))
        if not part:
            raise _Gone
        parts.append(part)
        size -= _len(part)
    return b"".join(parts)


def _described(error: BaseException) -> str:
    name = _type(error).__name__
    try:
        text = _str(error)
    except BaseException:  # the program's own __str__
        text = ""
    return f"{name}: {text}"[:TEXT_KEPT] if text else name


def _revived(text: str) -> BaseException:
    """The builtin exception that `Type: text` names, or a RuntimeError with all of it."""
    name, _, message = text.partition(": ")
    kind = _EXCEPTIONS.get(name)
    return kind(message) if kind is not None else RuntimeError(text)


_EXCEPTIONS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, (UnicodeError, BaseExceptionGroup))
}
