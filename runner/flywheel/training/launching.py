"""A training in processes of their own, by a command such as torchrun, seen from the model worker: job out, result in.

Job and result lie in a folder, so that the command may reach another machine that shares it. Progress comes as lines of
JSON on the command's stdout; what else it says goes to the worker's log.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from flywheel.errors import NodeFailed
from flywheel.files import write_text
from flywheel.student.gguf import unpack
from flywheel.student.loading import Arm, forget, prepare_torch
from flywheel.version import installed_version

Progress = Callable[[dict[str, Any]], None]

MODULE = "flywheel.training.launched"
JOB, RESULT, FAILURES = "job.json", "result.json", "failed.*.json"
#: Programs that start trainings, for whoever misspelt one.
LAUNCHERS = ("accelerate", "mpirun", "python", "srun", "ssh", "torchrun")
#: Of what the command says on stderr so many lines are kept; torchrun's account of what failed first stands at the end.
TAIL_LINES = 40
#: Before a launcher is killed that was asked to end what it started.
GRACE_SECONDS = 10.0

# It dies with the worker; what it starts ends with it (`launched`).
_TIED = (
    "import json,os,sys; sys.path[:]=json.loads(sys.argv[1]); from flywheel.executor.child import die_with; "
    "die_with(int(sys.argv[2])); os.execvp(sys.argv[3], sys.argv[3:])"
)


def lack(command: str) -> tuple[str, str] | None:
    """That the program is not here, and what to do about it; None where it is."""
    program = shlex.split(command)[0]
    if _found(program) is not None:
        return None
    near = get_close_matches(program, [name for name in LAUNCHERS if _found(name)], 1)
    mend = f'Did you mean "{near[0]}"?' if near else "Install it, or remove train.launch."
    return f'no program "{program}" is here.', mend


def _found(program: str) -> str | None:
    """What stands beside this Python goes first: torchrun belongs to its torch."""
    return shutil.which(program, path=_path())


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def launch(command: str, job: Any, arm: Arm, out: str, progress: Progress) -> dict[str, Any]:
    """The result of a job (a dataclass), as a dict. The model that this process holds is given up: both may not fit.

    Raises NodeFailed with what failed in the training, or with the end of what the command said.
    """
    from pydantic import TypeAdapter

    if (missing := lack(command)) is not None:
        raise NodeFailed(f"train.launch: {missing[0]} {missing[1]}")
    if arm.gguf is not None:
        unpack(Path(arm.gguf), Path(arm.source))  # once, before several processes want it
    _give_up_memory()
    folder = Path(f"{out}.job")
    described = TypeAdapter(type(job)).dump_python(job, mode="json")
    text = json.dumps({"version": installed_version(), "of": type(job).__name__, "job": described})
    while (result := _run(command, folder, text, progress)) is None:
        pass
    shutil.rmtree(folder)
    return result


def _give_up_memory() -> None:
    forget()
    torch = prepare_torch()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _run(command: str, folder: Path, job: str, progress: Progress) -> dict[str, Any] | None:
    """None where memory ran out and the training wants to begin again in smaller parts."""
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / JOB, job)
    status, said = _ended([*shlex.split(command), "-m", MODULE, str(folder)], progress)
    if (folder / RESULT).exists():  # whatever a process did after that
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
        return result
    failures = [json.loads(file.read_text()) for file in sorted(folder.glob(FAILURES))]
    if any(failure["again"] for failure in failures):
        return None
    shutil.rmtree(folder, ignore_errors=True)
    if failures:
        raise NodeFailed(failures[0]["message"])
    raise NodeFailed(f"train.launch: `{command}` {_how(status)}, and left no result.{_last(said)}")


def _how(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _last(said: Iterable[str]) -> str:
    text = "".join(said).strip()
    return f" It last said:\n{text}" if text else ""


def _ended(words: list[str], progress: Progress) -> tuple[int, Iterable[str]]:
    """Exit status and the last lines on stderr of a command that has ended. What raises on the way ends it."""
    # Not in a session of its own: it belongs to the worker's process group, which is killed as one.
    process = subprocess.Popen(
        [sys.executable, "-c", _TIED, json.dumps(sys.path), str(os.getpid()), _found(words[0]) or words[0], *words[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PATH": _path()}, text=True, errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=TAIL_LINES)
    listener = threading.Thread(target=_keep, args=(process.stderr, said), daemon=True)
    listener.start()
    try:
        for line in process.stdout:
            _pass_on(line, progress, said)
        return process.wait(), said
    finally:
        _end(process)
        listener.join(GRACE_SECONDS)


def _keep(lines: IO[str], said: deque[str]) -> None:
    for line in lines:
        said.append(line)
        sys.stderr.write(line)


def _pass_on(line: str, progress: Progress, said: deque[str]) -> None:
    with suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict) and isinstance(message.get("progress"), dict):
            progress(message["progress"])
            return
    said.append(line)
    sys.stderr.write(line)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
