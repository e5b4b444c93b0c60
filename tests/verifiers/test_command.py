from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from shop import subject, tasks

from flywheel.records import Subject
from flywheel.spec.verifiers import CommandVerifier
from flywheel.verifiers import Checker, VerifierInvalid, parts, version_of
from flywheel.verifiers.command import OUTPUT_BYTES, open_command
from flywheel.verifiers.finding import Check, Finding


def opened(root: Path, *command: str, seconds: float = 5.0) -> Check:
    return open_command(CommandVerifier(kind="command", command=list(command), timeout_seconds=seconds), root)


def shell(root: Path, script: str, seconds: float = 5.0) -> Check:
    return opened(root, "sh", "-c", script, seconds=seconds)


@pytest.mark.parametrize(
    ("script", "finding"),
    [
        ("exit 0", Finding("pass")),
        ("exit 1", Finding("fail")),
        ("echo too short; echo more; exit 1", Finding("fail", "too short")),
        ("echo; echo '  spaced '; exit 0", Finding("pass", "spaced")),
        ("exit 3", Finding("unknown", "exited with status 3")),
        ("echo why; exit 3", Finding("unknown", "exited with status 3: why")),
        ("echo first >&2; echo last >&2; exit 127", Finding("unknown", "exited with status 127: last")),
        ("kill -9 $$", Finding("unknown", "was killed by SIGKILL")),
        ("printf '\\033[31mred'; exit 1", Finding("fail", "\\x1b[31mred")),
        ("exec >&- 2>&-; sleep 0.2; exit 1", Finding("fail")),
    ],
)
def test_the_exit_status_says_it_and_the_first_line_why(tmp_path: Path, script: str, finding: Finding) -> None:
    assert shell(tmp_path, script)(subject("x")) == finding


def test_it_reads_one_json_object_in_the_projects_folder(tmp_path: Path) -> None:
    check = shell(tmp_path, "cat > asked.json")
    assert check(Subject("s", "t", {"q": "wie groß?", "n": 1}, "größer\n", "gold")) == Finding("pass")
    asked = json.loads((tmp_path / "asked.json").read_text(encoding="utf-8"))
    assert asked == {"row": {"q": "wie groß?", "n": 1}, "answer": "größer\n", "reference": "gold"}


def test_a_large_answer_that_is_not_read_blocks_nobody(tmp_path: Path) -> None:
    assert shell(tmp_path, "exit 0")(subject("x" * 5_000_000)) == Finding("pass")


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    assert opened(tmp_path, "echo", "$HOME; exit 1")(subject("x")) == Finding("pass", "$HOME; exit 1")


def test_only_three_variables_of_the_environment_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    shell(tmp_path, "env > seen")(subject("x"))
    names = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert {"PATH", "LANG"} <= names <= {"PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}


def test_output_is_capped(tmp_path: Path) -> None:
    found = shell(tmp_path, "yes | head -c 50000000; exit 1")(subject("x"))
    assert found == Finding("fail", "y")
    [line] = shell(tmp_path, "head -c 50000000 /dev/zero | tr '\\0' a; exit 1")(subject("x")).reason.splitlines()
    assert len(line) <= min(500, OUTPUT_BYTES)


def still_running(mark: str) -> bool:
    """After a moment: a killed process is listed until the kernel is done with it."""
    for _ in range(20):
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        if f"sleep {mark}" not in listed.splitlines():
            return False
        time.sleep(0.05)
    return True


def test_the_time_limit_kills_all_that_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    found = shell(tmp_path, "sleep 61.25 & sh -c 'sleep 61.25' & sleep 61.25", seconds=1.0)(subject("x"))
    assert found == Finding("unknown", "timed out after 1 s")
    assert time.monotonic() - started < 1.5
    assert not still_running("61.25")


def test_what_it_leaves_running_is_killed_and_not_waited_for(tmp_path: Path) -> None:
    started = time.monotonic()
    assert shell(tmp_path, "sleep 62.25 & echo done; exit 0")(subject("x")) == Finding("pass", "done")
    assert time.monotonic() - started < 2.0
    assert not still_running("62.25")


def test_a_missing_program_is_told_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(VerifierInvalid, match="no program nowhere_to_be_found that can be run"):
        opened(tmp_path, "nowhere_to_be_found")
    with pytest.raises(VerifierInvalid, match=r"no program check\.sh .*write \./check\.sh"):
        opened(tmp_path, "check.sh")
    with pytest.raises(VerifierInvalid, match=r"no program \./check\.sh that can be run; run `chmod \+x \./check\.sh`"):
        opened(tmp_path, "./check.sh")
    os.chmod(tmp_path / "check.sh", 0o755)
    assert opened(tmp_path, "./check.sh")(subject("x")) == Finding("pass")


def test_files_of_the_project_are_parts_of_the_version(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("one")
    (tmp_path.parent / "outside.txt").write_text("outside")
    spec = CommandVerifier(kind="command", command=["python", "./check.py", "--strict", "../outside.txt", ""])
    before, version = parts("v", spec, tmp_path), version_of("v", spec, tmp_path)
    assert [name for name in before if name.startswith("command ")] == ["command ./check.py"]
    (tmp_path / "check.py").write_text("two")
    assert version_of("v", spec, tmp_path) != version


def test_in_a_judge(tmp_path: Path) -> None:
    verifiers = {
        "mine": CommandVerifier(kind="command", command=["sh", "-c", "grep -q good || exit 1"]),
        "gold": CommandVerifier(kind="command", command=["true"], needs_reference=True),
    }
    with Checker(verifiers, tmp_path) as judge:
        found = judge.judge([subject("good"), subject("bad")], tasks(t=["mine", "gold"]))
        assert [[v.outcome for v in verdicts] for verdicts in found] == [["pass", "unknown"], ["fail", "unknown"]]
