"""Programs from start to end: how they end is told; a sandbox that fails is told apart from a program that fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flywheel.sandbox import Limits, Ran, Sandbox, SandboxUnavailable


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("print(input())", "ok", 0),
        ("import sys; sys.exit()", "ok", 0),
        ("import sys; sys.exit(3)", "failed", 3),
        ("import sys; sys.exit('no')", "failed", 1),
        ("1 / 0", "failed", 1),
        ("x = (", "failed", 1),
        ("import os; os.kill(os.getpid(), 15)", "crash", -15),
        ("import numpy", "failed", 1),
    ],
)
def test_a_program_ends_as_python_would_end_it(sandbox: Sandbox, source: str, status: str, code: int) -> None:
    ran = sandbox.run(source, stdin=b"hello\n")
    assert (ran.status, ran.returncode) == (status, code), ran


def test_the_traceback_shows_the_programs_own_lines_only(best: Sandbox) -> None:
    ran = best.run("def f():\n    return {}['k']\nf()\n")
    said = [line for line in ran.stderr.decode().splitlines() if set(line) - set(" ~^")]  # marks differ by version
    assert said == [
        "Traceback (most recent call last):",
        '  File "program.py", line 3, in <module>',
        "    f()",
        '  File "program.py", line 2, in f',
        "    return {}['k']",
        "KeyError: 'k'",
    ]
    assert ran.detail == "KeyError: 'k'"


ORDINARY = """
import asyncio, atexit, json, sys, threading, unittest, sqlite3, xml.dom, email, logging, contextlib, io, os, zoneinfo
from concurrent.futures import ThreadPoolExecutor
async def main(): return await asyncio.gather(*[asyncio.sleep(0, n) for n in range(3)])
atexit.register(print, "last")
threading.Timer(0.02, print, ("timer",)).start()
with ThreadPoolExecutor(4) as pool: squares = list(pool.map(lambda n: n * n, range(4)))
with contextlib.redirect_stdout(open(os.devnull, "w")): print("unseen")
db = sqlite3.connect(":memory:"); db.execute("create table t (a)")
print(asyncio.run(main()), squares, __name__, sys.argv, "\\u00e4".encode("utf-16").hex(), "b\\u00fccher".encode("idna"))
"""


def test_ordinary_programs_work(sandbox: Sandbox) -> None:
    ran = sandbox.run(ORDINARY)
    expected = "[0, 1, 2] [0, 1, 4, 9] __main__ ['program.py'] fffee400 b'xn--bcher-kva'\ntimer\nlast\n"
    assert (ran.stdout.decode(), ran.stderr) == (expected, b"")


def test_the_scratch_folder_can_be_written_in_namespaces() -> None:
    with Sandbox() as sandbox:
        if sandbox.tier != "namespaces":
            pytest.skip("only the tier namespaces has one")
        source = "import tempfile\nwith tempfile.TemporaryFile('w+') as f: f.write('x'); f.seek(0); print(f.read())"
        assert sandbox.run(source).stdout == b"x\n"


def test_large_sources_and_inputs_arrive(best: Sandbox) -> None:
    stdin = os.urandom(5 << 20)
    source = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())\n" + "# x\n" * 200_000
    import hashlib

    assert best.run(source, stdin).stdout.decode().strip() == hashlib.sha256(stdin).hexdigest()


def test_sets_are_printed_in_the_same_order_by_every_zygote(best: Sandbox) -> None:
    source = "print({'a', 'b', 'c', 'd', 'e', 'f'})"
    with Sandbox(workers=1) as other:
        assert best.run(source).stdout == other.run(source).stdout


def test_random_numbers_differ_from_program_to_program(best: Sandbox) -> None:
    source = "import random; print(random.random())"
    assert best.run(source).stdout != best.run(source).stdout


def test_a_killed_zygote_is_replaced_and_the_program_run_again(sandbox: Sandbox) -> None:
    """Killed while the program runs: it runs once more, on a new zygote, and is not scored for it."""
    found: list[Ran] = []
    with Sandbox(tier=sandbox.tier, workers=1) as mine:
        mine.run("")
        first = mine._servers[0]
        assert first is not None
        thread = threading.Thread(target=lambda: found.append(mine.run("import time; time.sleep(0.4); print(1)")))
        thread.start()
        time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        thread.join()
        assert mine._servers[0] is not first
    assert [(ran.status, ran.stdout) for ran in found] == [("ok", b"1\n")]


def test_a_zygote_that_cannot_contain_is_infrastructure_not_a_wrong_program(best: Sandbox) -> None:
    ran = best.run("print(1)", limits=Limits(memory_bytes=1 << 80))
    assert ran.status == "infrastructure"
    assert ran.returncode is None


def test_closing_ends_every_process() -> None:
    sandbox = Sandbox(workers=2)
    for _ in range(2):
        sandbox.run("")
    pids = [server.pid for server in sandbox._servers if server]
    sandbox.close()
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(SandboxUnavailable, match="closed"):
        sandbox.run("")


def test_a_killed_owner_takes_its_zygotes_and_programs_along(sandbox: Sandbox) -> None:
    script = """
import os, sys, threading, time
from flywheel.sandbox import Limits, Sandbox
sandbox = Sandbox(tier=sys.argv[1], workers=1)
sandbox.run("")
threading.Thread(target=sandbox.run, args=("while True: pass", b"", Limits(seconds=60))).start()
time.sleep(0.2)
print(sandbox._servers[0].pid, flush=True)
os.kill(os.getpid(), 9)
"""
    owner = subprocess.run([sys.executable, "-c", script, sandbox.tier], capture_output=True, text=True, check=False)
    group = int(owner.stdout)
    deadline = time.monotonic() + 5
    while _members(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _members(group) == []


def _members(session: int) -> list[str]:
    """Processes of a session: the zygote's, where its programs have not their own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = path.read_text().rpartition(")")
            if int(rest.split()[3]) == session:
                found.append(name)
    return found


def test_an_unsafe_program_leaves_no_children() -> None:
    source = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    with Sandbox(tier="none", unsafe=True) as sandbox:
        child = int(sandbox.run(source).stdout)
        deadline = time.monotonic() + 2
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _alive(child)


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_no_tier_is_refused_unless_unsafe_is_allowed() -> None:
    with pytest.raises(SandboxUnavailable, match="allow_unsafe_execution: true"):
        Sandbox(tier="none")
    with Sandbox(tier="none", unsafe=True) as sandbox:
        assert sandbox.tier == "none"
        assert sandbox.run("print(1)").stdout == b"1\n"
        assert sandbox.run("while True: pass", limits=Limits(seconds=0.2)).status == "timeout"
