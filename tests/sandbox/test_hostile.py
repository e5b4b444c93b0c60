"""Hostile programs in every tier that this machine has: none escapes, each ends in time, the host is as before."""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flywheel.sandbox import Limits, Ran, Sandbox


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"sandbox_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


HOSTILE = _beside("hostile")
SECONDS, PATIENT_SECONDS = 0.5, 30.0
"""For programs that have to be stopped, and for those that end themselves."""
GRACE = 10


def census() -> dict[str, object]:
    """What a program must not leave behind: processes of ours, descriptors, mounts, files."""
    return {
        "children": _descendants(os.getpid()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        # Tests beside these mount small disks of their own, in pytest's folders.
        "mounts": sum("pytest" not in line for line in Path("/proc/self/mounts").read_text().splitlines()),
        "planted": [folder for folder in ("/dev/shm", "/tmp", "/var/tmp") if Path(folder, "planted").exists()],
    }


def _descendants(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in children.read_text().split()] if children.exists() else []
    return len(found) + sum(_descendants(child) for child in found)


def settled(before: dict[str, object]) -> dict[str, object]:
    """The census, given the kernel a moment to take away what was killed."""
    deadline = time.monotonic() + 2
    while (now := census()) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    return now


def assert_contained(ran: Ran, case: Any) -> None:
    shown = (ran.status, ran.detail, ran.stdout[-2000:], ran.stderr[-500:])
    assert b"ESCAPED" not in ran.stdout, shown
    assert ran.status in case.statuses.split(), shown


def warm(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert sandbox.run("print(1)").status == "ok"


@pytest.mark.parametrize("case", HOSTILE.CASES, ids=lambda case: case.name)
def test_a_hostile_program_is_contained(sandbox: Sandbox, host: Any, case: Any) -> None:
    warm(sandbox)
    before = census()
    limits = Limits(seconds=SECONDS if case.statuses == "timeout" else PATIENT_SECONDS)
    began = time.monotonic()
    ran = sandbox.run(HOSTILE.program_of(case, host.names), limits=limits)
    took = time.monotonic() - began
    assert_contained(ran, case)
    assert took <= limits.seconds + GRACE
    assert len(ran.stdout) <= limits.output_bytes
    assert len(ran.stderr) <= limits.output_bytes
    assert host.heard() == []
    assert (host.folder / "secret").read_text() == "SECRET-IN-A-FILE"
    assert sorted(os.listdir(host.folder)) == ["datagram", "secret", "stream"]
    assert settled(before) == before


def test_a_gigabyte_of_output_costs_the_host_no_memory(sandbox: Sandbox) -> None:
    warm(sandbox)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = sandbox.run("import os\nwhile True: os.write(1, b'x' * (1 << 20))")
    assert ran.status == "output"
    assert len(ran.stdout) == Limits().output_bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 << 10


def test_output_is_kept_byte_for_byte(sandbox: Sandbox) -> None:
    nasty = bytes(range(256)) + "\u202e\x1b[2J".encode()
    ran = sandbox.run(f"import os; os.write(1, {nasty!r}); os.write(2, {nasty!r})")
    assert (ran.stdout, ran.stderr) == (nasty, nasty)


def test_a_program_finds_nothing_of_the_one_before(sandbox: Sandbox) -> None:
    leave = """
import builtins, json, os, sys
builtins.print = json.dumps = None
sys.modules["planted"] = json
os.environ["PLANTED"] = "1"
try: open("planted", "w").write("1")
except OSError: pass
"""
    look = """
import builtins, json, os, sys
print(sorted(n for n in os.listdir(".") if n == "planted"), "planted" in sys.modules, dict(os.environ), json.dumps([1]))
"""
    for _ in range(4):  # on every zygote
        assert sandbox.run(leave).status == "ok"
        ran = sandbox.run(look)
        if ran.stdout:
            assert ran.stdout == b"[] False {} [1]\n"
        else:  # only `namespaces` has a folder that can be listed
            assert b"PermissionError" in ran.stderr


def test_a_program_does_not_disturb_its_neighbour(sandbox: Sandbox, host: Any) -> None:
    """A neighbour of the same zygote survives programs that kill, fill and count all they can."""
    quiet: list[Ran] = []
    neighbour = "import time\nfor _ in range(60): time.sleep(0.01)\nprint('here')"
    threads = [threading.Thread(target=lambda: quiet.append(sandbox.run(neighbour))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for case in HOSTILE.CASES:
        if case.name.startswith(("14", "1 ", "21", "7")):
            sandbox.run(HOSTILE.program_of(case, host.names), limits=Limits(seconds=SECONDS))
    for thread in threads:
        thread.join()
    assert [(ran.status, ran.stdout) for ran in quiet] == [("ok", b"here\n")] * 4


@pytest.mark.parametrize("jobs", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_programs_leave_the_host_as_it_was(sandbox: Sandbox, jobs: int) -> None:
    warm(sandbox)
    before = census()
    for n in range(jobs):
        source = "open('x', 'w').write('x')" if n % 3 else "import os; os.kill(os.getpid(), 9)"
        assert sandbox.run(source).status in ("ok", "failed", "crash")
    assert settled(before) == before
