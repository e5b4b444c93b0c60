"""What the children of these tests run: well-behaved and hostile functions."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.errors import Fault, FlywheelError, SpecInvalid

Progress = Callable[[dict[str, Any]], None]
_calls: list[Any] = []


class OwnError(FlywheelError):
    exit_code = 7

    def __init__(self, place: str, count: int) -> None:
        super().__init__(f"{place}: {count} wrong")
        self.count = count


def echo(payload: Any, progress: Progress) -> Any:
    return payload


def remember(payload: Any, progress: Progress) -> list[Any]:
    _calls.append(payload)
    return list(_calls)


def _opened(descriptor: str) -> str:
    """The listing's own is closed by now."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:
        return "the listing's"


def about_me(payload: Any, progress: Progress) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "address_space": resource.getrlimit(resource.RLIMIT_AS)[0],
        "descriptors": len([link for link in map(_opened, os.listdir("/proc/self/fd")) if ".so" not in link]),
        "heavy": sorted({"torch", "duckdb", "litellm", "pydantic"} & set(sys.modules)),
        "omp": os.environ.get("OMP_NUM_THREADS"),
    }


def count_up(payload: int, progress: Progress) -> int:
    for step in range(payload):
        progress({"step": step})
    return payload


def raise_value_error(payload: Any, progress: Progress) -> None:
    raise ValueError("seven is odd")


def raise_own(payload: Any, progress: Progress) -> None:
    raise OwnError("somewhere", 3)


def raise_spec_invalid(payload: Any, progress: Progress) -> None:
    raise SpecInvalid([Fault("is wrong", path=("gate", 0))])


def leave(payload: int, progress: Progress) -> None:
    os._exit(payload)


def exit_politely(payload: Any, progress: Progress) -> None:
    raise SystemExit(0)


def read_null(payload: Any, progress: Progress) -> None:
    print("about to read address 0")
    ctypes.string_at(0)


def kill_self(payload: Any, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(payload: float, progress: Progress) -> str:
    progress({"pid": os.getpid()})
    time.sleep(payload)
    return "slept"


def eat(payload: int, progress: Progress) -> int:
    return len(bytearray(payload))


def unpicklable(payload: Any, progress: Progress) -> Any:
    return lambda: None


def start_grandchild(payload: Any, progress: Progress) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    progress({"pid": child.pid})
    time.sleep(60)


# --- for pools: factories ---


def make_unpicklable(setup: Any) -> Callable[[Any], Any]:
    return lambda item: (lambda: item) if item == "function" else item


def make_echo(setup: Any) -> Callable[[Any], Any]:
    return lambda item: item


def make_adder(setup: int) -> Callable[[int], int]:
    return lambda item: item + setup


def make_pid(setup: Any) -> Callable[[Any], int]:
    def pid(item: float) -> int:
        time.sleep(item)
        return os.getpid()

    return pid


def make_troublesome(setup: Any) -> Callable[[Any], Any]:
    """Items are words: what to do."""

    def act(item: str) -> str:
        match item.partition(" ")[0]:
            case "hang":
                time.sleep(60)
            case "spin":  # C code that never lets another thread run
                return str(10**10**8)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "raise":
                raise ValueError(item)
            case "exit":
                sys.exit(0)
            case "eat":
                bytearray(10 << 30)
        return item.upper()

    return act


def make_crash_once(setup: str) -> Callable[[str], str]:
    def act(item: str) -> str:
        if item == "unlucky" and not Path(setup).exists():
            Path(setup).touch()
            os._exit(3)
        return item

    return act


def make_large(setup: Any) -> Callable[[int], bytes]:
    return lambda item: b"x" * item


def fail_to_make(setup: Any) -> Callable[[Any], Any]:
    raise OwnError("the set-up", 1)


def die_making(setup: Any) -> Callable[[Any], Any]:
    print("bad library")
    os._exit(9)


# --- for a cluster ---


def open_slow_squares(setup: Any) -> Callable[[int], int]:
    def square(number: int) -> int:
        time.sleep(0.02)
        return number * number

    return square


def open_in_folder(setup: tuple[Path]) -> Callable[[Any], Any]:
    """`setup`: the project's folder, where a word lies in a file."""
    (root,) = setup

    def run(item: Any) -> Any:
        if item == "raise":
            raise ValueError("seven is odd")
        if item == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "hang":
            time.sleep(300)
        return (root / "word.txt").read_text() if item == "word" else item

    return run


def open_own_error(setup: Any) -> Callable[[Any], Any]:
    raise OwnError("here", 3)


def open_parricide(setup: Any) -> Callable[[Any], Any]:
    """As a machine does that goes while it works on an item: it takes along who drives the child."""

    def run(item: Any) -> Any:
        if item == "kill":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(300)
        return item

    return run


def read_slowly(payload: tuple[str, int, float], progress: Progress) -> str:
    """A number, and what stands in the folder's file."""
    folder, number, seconds = payload
    for step in range(4):
        progress({"suite": "one", "done": step, "total": 8})
        time.sleep(seconds / 4)
    progress({"suite": "one", "done": 4, "total": 8})
    return f"{number} {(Path(folder) / 'word.txt').read_text()}"


def kill_the_actor(payload: Any, progress: Progress) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)
