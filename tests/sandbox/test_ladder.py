"""Where the kernel refuses a primitive, the next tier takes over; where all are refused, nothing runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flywheel
from flywheel.sandbox.containment import _unused_user

TELL = "import json; from flywheel.sandbox import capability; c = capability(); print(json.dumps([c.tier, c.refused]))"
LESSER = """
import sys
from flywheel.sandbox import kernel, syscalls
kernel.no_new_privileges()
kernel.seccomp(syscalls.refusing(kernel.MACHINE, tuple(sys.argv[2].split())))
exec(sys.argv[1])
"""
NAMESPACES = "unshare"
LANDLOCK = "landlock_create_ruleset"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the ladder is Linux's")


def told(*argv: str, **more: Any) -> Any:
    ran = subprocess.run([sys.executable, "-c", *argv], capture_output=True, text=True, check=False, **more)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_without_namespaces_landlock_is_next() -> None:
    tier, refused = told(LESSER, TELL, NAMESPACES)
    assert tier == "landlock"
    assert refused == [["namespaces", "[Errno 1] unshare: Operation not permitted"]]


def test_without_landlock_namespaces_still_contain() -> None:
    assert told(LESSER, TELL, LANDLOCK) == ["namespaces", []]


@pytest.mark.skipif(shutil.which("bwrap") is None or os.geteuid() != 0, reason="no bwrap, or it needs unshare itself")
def test_without_both_bubblewrap_is_next() -> None:
    tier, refused = told(LESSER, TELL, f"{NAMESPACES} {LANDLOCK}")
    assert tier == "bubblewrap"
    assert [name for name, _ in refused] == ["namespaces", "landlock"]


def test_without_seccomp_there_is_no_tier_and_nothing_runs() -> None:
    refuse = """
import json
from flywheel.sandbox import Sandbox, SandboxUnavailable, capability
try: Sandbox()
except SandboxUnavailable as error: print(json.dumps([capability().tier, capability().refused, str(error)]))
"""
    tier, refused, message = told(LESSER, refuse, "seccomp")
    assert tier == "none"
    assert [name for name, _ in refused] == ["namespaces", "landlock", "bubblewrap"]
    assert "allow_unsafe_execution" in message
    assert "flywheel doctor" in message


AS_USER = """
import importlib.util, json, os, sys
user, folder = int(sys.argv[1]), sys.argv[3]
spec = importlib.util.spec_from_file_location("hostile", sys.argv[2])
hostile = importlib.util.module_from_spec(spec); sys.modules["hostile"] = hostile; spec.loader.exec_module(hostile)
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
from flywheel.sandbox import Limits, Sandbox
from flywheel.sandbox.probe import refusal
names = {"folder": folder, "secret": folder + "/secret", "pid": os.getpid(), "tcp": 9, "udp": 9}
found = []
for tier in ("namespaces", "landlock"):
    if refusal(tier):
        found.append([tier, refusal(tier)])
        continue
    with Sandbox(tier=tier) as sandbox:
        for case in hostile.CASES:
            limits = Limits(seconds=0.5 if case.statuses == "timeout" else 10)
            ran = sandbox.run(hostile.program_of(case, names), limits=limits)
            if b"ESCAPED" in ran.stdout or ran.status not in case.statuses.split():
                found.append([tier, case.name, ran.status, ran.detail, ran.stdout.decode("utf-8", "replace")[-500:]])
print(json.dumps(found))
"""


def python_for_all() -> str:
    """An interpreter that any user can start."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        if os.path.exists(path) and all(folder.stat().st_mode & 1 for folder in Path(path).resolve().parents):
            version = subprocess.run(
                [path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True
            )
            if version.stdout == b"True\n":
                return path
    pytest.skip("no interpreter of 3.11 or later that another user can start")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_contains_the_same_programs(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o777)
    (tmp_path / "secret").write_text("SECRET-IN-A-FILE")
    (tmp_path / "secret").chmod(0o666)
    hostile = Path(__file__).with_name("hostile.py")
    root = Path(flywheel.__file__).parents[1]
    ran = subprocess.run(
        [python_for_all(), "-c", AS_USER, str(_unused_user()), str(hostile), str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root), "SECRET_OF_HOST": "SECRET-IN-THE-ENVIRONMENT"},
        cwd="/",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []
    assert (tmp_path / "secret").read_text() == "SECRET-IN-A-FILE"
