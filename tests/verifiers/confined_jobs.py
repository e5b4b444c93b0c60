"""What a flaw in DuckDB or sympy could try from inside a confined child: run there by test_confinement."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.spec.verifiers import Verifier
from flywheel.verifiers.checker import open_checks


def make_intruder(setup: tuple[dict[str, Verifier], Path, bool, bool]) -> Callable[[tuple[str, str]], str]:
    open_checks(setup)
    return lambda attempt: str(ATTEMPTS[attempt[0]](attempt[1]))


def _duckdb_reads(path: str) -> Any:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        return connection.execute("SELECT content FROM read_text(?)", [path]).fetchall()


def _duckdb_writes(path: str) -> Any:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        return connection.execute(f"COPY (SELECT 1) TO '{path}'").fetchall()


def _sqlite_reads(path: str) -> Any:
    import sqlite3

    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        return connection.execute("SELECT * FROM sqlite_master").fetchall()


def _sqlite_writes(path: str) -> Any:
    import sqlite3

    with sqlite3.connect(path) as connection:
        return connection.execute("CREATE TABLE t (a)").fetchall()


ATTEMPTS: dict[str, Callable[[str], Any]] = {
    "read": lambda path: Path(path).read_text(),
    "list": os.listdir,
    "write": lambda path: Path(path).write_text("was here"),
    "delete": os.unlink,
    "environment of the parent": lambda path: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "fork": lambda path: os.fork(),
    "program": lambda path: subprocess.run(["true"], check=True),
    "exec": lambda path: os.execv("/bin/true", ["true"]),
    "kill": lambda path: os.kill(os.getppid(), 0),
    "socket": lambda path: socket.socket(),
    "unix socket": lambda path: socket.socket(socket.AF_UNIX),
    "http": lambda path: urllib.request.urlopen("http://127.0.0.1:1/", timeout=1),
    "duckdb reads": _duckdb_reads,
    "duckdb writes": _duckdb_writes,
    "sqlite reads": _sqlite_reads,
    "sqlite writes": _sqlite_writes,
}
