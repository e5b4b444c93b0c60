"""The command check: a program in the project says whether an answer is right.

It runs without a shell in the project's folder, with the answer as one JSON object on stdin. What it starts is killed
with it: at the time limit, and when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

from flywheel.answers import without_thoughts
from flywheel.records import Subject
from flywheel.spec.verifiers import CommandVerifier
from flywheel.text import one_line
from flywheel.verifiers.finding import Check, Finding, VerifierInvalid, unknown

#: Of what a program prints, this much of stdout and of stderr is kept.
OUTPUT_BYTES = 64 << 10
_REASON_LENGTH = 500
_KEPT_VARIABLES = ("PATH", "HOME", "LANG")


class _Ended(NamedTuple):
    status: int | None
    """None where the time ran out."""
    stdout: str
    stderr: str


def open_command(spec: CommandVerifier, root: Path, unsafe: bool = False) -> Check:
    _require_program(spec.command[0], root)
    # A little less than the pool gives, so that a slow program costs itself and not the process.
    seconds = 0.9 * spec.timeout_seconds

    def check(subject: Subject) -> Finding:
        answer = without_thoughts(subject.answer)
        asked = {"row": subject.row, "answer": answer, "reference": subject.reference}
        ended = _run(spec.command, root, json.dumps(asked, ensure_ascii=False).encode(), seconds)
        if ended.status is None:
            return unknown(f"timed out after {spec.timeout_seconds:g} s")
        return _finding(ended.status, ended.stdout, ended.stderr)

    return check


def _require_program(program: str, root: Path) -> None:
    found = os.access(root / program, os.X_OK) if os.sep in program else shutil.which(program)
    if not found:
        raise VerifierInvalid(f"command: no program {one_line(program, 60)} that can be run{_remedy(program, root)}")


def _remedy(program: str, root: Path) -> str:
    if not (root / program).is_file():
        return ""
    return f"; run `chmod +x {program}`" if os.sep in program else f"; for a file in the project write ./{program}"


def _finding(status: int, stdout: str, stderr: str) -> Finding:
    reason = one_line(next(iter(stdout.strip().splitlines()), ""), _REASON_LENGTH)
    if status in (0, 1):
        return Finding("fail" if status else "pass", reason)
    last = reason or one_line(next(reversed(stderr.strip().splitlines()), ""), _REASON_LENGTH)
    ended = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return unknown(f"{ended}: {last}" if last else ended)


def _run(command: list[str], root: Path, stdin: bytes, seconds: float) -> _Ended:
    with tempfile.TemporaryFile() as question:  # a file: a program that does not read cannot block us
        question.write(stdin)
        question.seek(0)
        with subprocess.Popen(
            command,
            cwd=root,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=_die_with_parent,
        ) as process:
            try:
                return _listen(process, seconds)
            finally:
                _kill_group(process.pid)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _listen(process: subprocess.Popen[bytes], seconds: float) -> _Ended:
    """Reads until the program ends, not until its pipes close: what it left running may hold them open."""
    deadline = time.monotonic() + seconds
    heard: dict[IO[bytes], bytearray] = {}
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            heard[pipe] = bytearray()
            selector.register(pipe, selectors.EVENT_READ)
        status = None
        while status is None and time.monotonic() < deadline:
            _hear(selector, heard, 0.05 if selector.get_map() else 0.0)
            status = process.poll() if selector.get_map() else _wait(process, deadline)
        _hear(selector, heard, 0.0)
    out, err = (bytes(text).decode(errors="replace") for text in heard.values())
    return _Ended(status, out, err)


def _hear(selector: selectors.BaseSelector, heard: dict[IO[bytes], bytearray], patience: float) -> None:
    for key, _ in selector.select(patience):
        pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
        text = os.read(pipe.fileno(), OUTPUT_BYTES)
        heard[pipe] += text[: OUTPUT_BYTES - len(heard[pipe])]
        if not text:
            selector.unregister(pipe)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _kill_group(group: int) -> None:
    """The group outlives its leader as long as anyone is in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
