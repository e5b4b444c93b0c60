"""A contained process answers requests; whatever else it does ends the session with a typed reason."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from flywheel.sandbox import Limits, Sandbox, Session, SessionEnded
from flywheel.sandbox.values import decode, encode, from_json

LIMITS = Limits(seconds=2.0)


def asked(session: Session, request: dict[str, Any], seconds: float | None = None) -> Any:
    return from_json(session.call(json.dumps(request).encode(), seconds), 1 << 20)


def loaded(sandbox: Sandbox, source: str, limits: Limits = LIMITS, **more: str) -> Session:
    session = sandbox.serve(limits)
    assert asked(session, {"source": source, "name": "solution", **more})["value"] is None
    return session


def call(session: Session, function: str, *args: Any, seconds: float | None = None) -> Any:
    request = {"function": function, "args": [encode(arg) for arg in args], "kwargs": {}}
    return asked(session, request, seconds)


def test_functions_are_called_with_exact_values(sandbox: Sandbox) -> None:
    with loaded(
        sandbox, "state = []\ndef f(x, y=None):\n    state.append(x); print('seen', x); return (x, y, len(state))"
    ) as it:
        request = {"function": "f", "args": [{"tuple": [1, 2]}], "kwargs": {"y": {"set": [1]}}}
        assert asked(it, request) == {
            "value": {"tuple": [{"tuple": [1, 2]}, {"set": [1]}, 1]},
            "stdout": "seen (1, 2)\n",
        }
        assert decode(call(it, "f", 3)["value"]) == (3, None, 2)


@pytest.mark.parametrize(
    ("body", "raised"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("return (n for n in [])", "NotPlain: a generator is not a plain value"),
        ("return type('I', (int,), {})(3)", "NotPlain: a I is not a plain value"),
        ("return bytearray(4 << 30)", "MemoryError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def g(): g()\n    g()", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_what_a_function_raises_is_told_and_the_session_goes_on(best: Sandbox, body: str, raised: str) -> None:
    with loaded(best, f"def f():\n    {body}\ndef g(): return 1") as session:
        assert call(session, "f")["raised"].startswith(raised)
        assert call(session, "g")["value"] == 1


def test_an_exception_with_hostile_words_is_told_by_its_name(best: Sandbox) -> None:
    source = """
class E(Exception):
    def __str__(self): raise SystemExit
def f(): raise E
def g(): raise ValueError('x' * 9**6)
"""
    with loaded(best, source) as session:
        assert call(session, "f")["raised"] == "E"
        assert len(call(session, "g")["raised"]) == 2000


def test_a_program_that_does_not_load_says_why(best: Sandbox) -> None:
    with best.serve(LIMITS) as session:
        assert asked(session, {"source": "x = (", "name": "s"})["raised"].startswith("SyntaxError")
        assert asked(session, {"function": "f"})["raised"].startswith("NameError: the program defines no 'f'")


def test_a_program_that_replaces_builtins_and_json_is_still_told(best: Sandbox) -> None:
    source = """
import builtins, io, json, os, sys
def f():
    for name in ("print", "len", "type", "map", "list", "str", "repr", "isinstance", "min", "getattr", "hex", "bytes"):
        setattr(builtins, name, None)
    json.dumps = json.loads = json.JSONDecoder.decode = json.JSONEncoder.encode = None
    os.read = os.write = os._exit = None
    sys.stdout.close(); sys.stdout = sys.stderr = None
    return [2 ** 70, (1.5, "x")]
"""
    with loaded(best, source) as session:
        for _ in range(2):
            assert decode(call(session, "f")["value"]) == [2**70, (1.5, "x")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(99)", "timeout"),
        ("10 ** 10 ** 8", "timeout"),
        ("import os; os._exit(0)", "failed"),
        ("import os; os._exit(3)", "failed"),
        ("import os; os.abort()", "crash"),
        ("import ctypes; ctypes.string_at(0)", "crash"),
        ("import os; os.close(3); return 1", "failed"),
        ("return 'x' * (5 << 20)", "output"),
        ("import os; os.write(3, b'garbage' * 100); return 1", "forged"),
        ("import os; os.write(3, b'\\0' * 20); return 1", "forged"),
        ("import os\n    while True: os.write(3, b'x' * 65536)", "forged"),
    ],
)
def test_breaking_off_ends_the_session_in_time(sandbox: Sandbox, body: str, status: str) -> None:
    with loaded(sandbox, f"def f():\n    {body}\n") as session:
        began = time.monotonic()
        with pytest.raises(SessionEnded) as ended:
            call(session, "f", seconds=0.4)
        assert ended.value.status == status, ended.value
        assert time.monotonic() - began <= 10
        with pytest.raises(SessionEnded):
            call(session, "f")


def test_a_deep_reply_is_refused_by_the_reader(best: Sandbox) -> None:
    source = """
import os, struct, sys
def f():
    driver = sys._getframe(2).f_locals["self"]
    reply = b'{"value":' + b"[" * 10000 + b"]" * 10000 + b"}"
    os.write(3, struct.pack(">I16s", len(reply), driver._identity) + reply)
    os._exit(0)
"""
    with loaded(best, source) as session:
        reply = session.call(b'{"function": "f"}')
        with pytest.raises(ValueError, match="deep"):  # from 3.14 on json itself reads more levels than anybody needs
            decode(from_json(reply, 1 << 20)["value"])


def test_a_second_reply_is_forged(best: Sandbox) -> None:
    """Untrusted code can find the driver and answer in its place: then the driver's own answer is one too many."""
    source = """
import os, struct, sys
def f():
    driver = sys._getframe(2).f_locals["self"]
    reply = b'{"value": 42, "stdout": ""}'
    os.write(3, struct.pack(">I16s", len(reply), driver._identity) + reply)
    return 1
"""
    with loaded(best, source) as session:
        with pytest.raises(SessionEnded) as ended:
            assert [call(session, "f") for _ in range(2)] == []
        assert ended.value.status == "forged"


def test_remote_calls_go_through_the_parent(best: Sandbox) -> None:
    source = """
def check():
    assert candidate((1, 2), scale=3) == [3, 6]
    try: candidate(0)
    except ValueError as error: return str(error)
"""
    with loaded(best, source, remote="candidate") as session:
        first = call(session, "check")
        assert first == {"call": {"args": [{"tuple": [1, 2]}], "kwargs": {"scale": 3}}}
        second = asked(session, {"result": [3, 6]})
        assert second == {"call": {"args": [0], "kwargs": {}}}
        assert asked(session, {"raise": "ValueError: not nought"})["value"] == "not nought"


def test_an_unknown_exception_of_the_remote_is_a_runtime_error(best: Sandbox) -> None:
    source = "def f():\n    try: go()\n    except RuntimeError as e: return str(e)"
    with loaded(best, source, remote="go") as session:
        assert "call" in call(session, "f")
        assert asked(session, {"raise": "Odd: x"})["value"] == "Odd: x"


def test_many_sessions_live_side_by_side_and_leave_nothing(best: Sandbox) -> None:
    before = len(os.listdir("/proc/self/fd"))
    sessions = [loaded(best, f"def f(): return {n}") for n in range(10)]
    assert [call(session, "f")["value"] for session in sessions] == list(range(10))
    for session in sessions:
        session.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_session_whose_zygote_is_killed_is_infrastructure() -> None:
    with Sandbox(workers=1) as sandbox:
        session = loaded(sandbox, "def f(): return 1")
        server = sandbox._servers[0]
        assert server is not None
        os.killpg(server.pid, signal.SIGKILL)
        while server.alive:
            time.sleep(0.01)
        with pytest.raises(SessionEnded) as ended:
            call(session, "f")
        assert ended.value.status == "infrastructure"
        assert call(loaded(sandbox, "def f(): return 2"), "f")["value"] == 2
