"""`confine`: this process may compute, use threads and read what it was told, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flywheel.sandbox.probe import refusal

pytestmark = pytest.mark.skipif(bool(refusal("landlock")), reason="no Landlock here")

HEAD = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from flywheel.sandbox import confine
folder, elsewhere = map(Path, sys.argv[1:3])
def outcome(attempt):
    try: return repr(attempt())
    except (OSError, MemoryError) as error: return type(error).__name__
"""


def confined(script: str, tmp_path: Path) -> Any:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("given")
    (tmp_path / "secret").write_text("secret")
    argv = [sys.executable, "-c", HEAD + script, str(tmp_path / "given"), str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_reading_what_was_given_and_nothing_else(tmp_path: Path) -> None:
    script = """
tier = confine([folder])
print(json.dumps([tier, (folder / "file").read_text(), *(outcome(a) for a in (
    lambda: (elsewhere / "secret").read_text(),
    lambda: (folder / "new").write_text("x"), lambda: (folder / "file").write_text("x"),
    lambda: os.unlink(folder / "file"), lambda: os.chmod(folder / "file", 0), lambda: os.mkdir(elsewhere / "x"),
    lambda: os.listdir("/proc/1"), lambda: open("/etc/passwd"),
))]))
"""
    assert confined(script, tmp_path) == ["landlock", "given", *["PermissionError"] * 8]


def test_no_sockets_no_processes_no_signals(tmp_path: Path) -> None:
    script = """
confine([])
print(json.dumps([outcome(a) for a in (
    socket.socket, os.fork, lambda: subprocess.run(["/bin/true"]), lambda: os.execv("/bin/true", ["true"]),
    lambda: os.kill(os.getppid(), 0), lambda: os.kill(-1, 0),
)]))
"""
    assert confined(script, tmp_path) == ["PermissionError"] * 6


def test_duckdb_and_sympy_work_inside_a_limit(tmp_path: Path) -> None:
    script = """
import duckdb
tier = confine([], 1 << 30)
db = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB"})
total = db.execute("SELECT sum(range) FROM range(1000)").fetchall()[0][0]
try: db.execute("SELECT len(repeat('x', 2000000000))").fetchall(); bomb = "it went off"
except duckdb.OutOfMemoryException: bomb = "held"
import sympy
print(json.dumps([tier, int(total), bomb, str(sympy.factor("x**2 + 2*x + 1"))]))
"""
    assert confined(script, tmp_path) == ["landlock", 499500, "held", "(x + 1)**2"]


def test_threads_that_run_already_are_told_and_cannot_write(tmp_path: Path) -> None:
    script = """
go, found = threading.Event(), []
def late():
    go.wait()
    found.extend(outcome(a) for a in (lambda: (folder / "new").write_text("x"), socket.socket, os.fork))
thread = threading.Thread(target=late)
thread.start()
tier = confine([])
go.set(); thread.join()
print(json.dumps([tier, *found]))
"""
    assert confined(script, tmp_path) == ["none", *["PermissionError"] * 3]
