"""examples/ci: the workflow that comments a plan on a pull request, run as a runner would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import stand_in
from mini_domain import Domain

from ..templates.conftest import REPOSITORY

WORKFLOW = yaml.safe_load((REPOSITORY / "examples" / "ci" / "flywheel-plan.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["plan"]["steps"]


def run(*command: str, cwd: Path, **environment: str) -> None:
    ended = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr + ended.stdout


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    run("git", *who, *words, cwd=root)


def commented(domain: Domain, tmp_path: Path) -> str:
    """The comment on the last commit, which stands for the merge of a pull request."""
    programs, temporary = tmp_path / "programs", tmp_path / "runner"
    programs.mkdir()
    temporary.mkdir()
    (programs / "flywheel").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in.__file__}" "$@"\n')
    (programs / "flywheel").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "GITHUB_WORKSPACE": str(domain.root),
        "RUNNER_TEMP": str(temporary), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }  # fmt: skip
    for step in STEPS:
        if step.get("name") in ("Validate", "Plan, here and before", "Summary"):
            run("bash", "-e", "-c", step["run"], cwd=domain.root, **environment)
    comment = (temporary / "flywheel" / "comment.md").read_text(encoding="utf-8")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == comment
    return comment


def test_the_comment_says_what_a_change_changes_and_what_the_gate_said_last(domain: Domain, tmp_path: Path) -> None:
    git(domain.root, "init", "-q")
    git(domain.root, "add", "-A")
    git(domain.root, "commit", "-qm", "before")
    domain.edit(lambda spec: spec["train"].update(rank=8))
    for number, verdict in ((9, "not promoted"), (10, "promoted")):
        folder = domain.root / "reports" / f"iter-{number:03d}"
        folder.mkdir(parents=True)
        (folder / "summary.md").write_text(f"## colours, iteration {number}: {verdict}\n")
    git(domain.root, "add", "-A")
    git(domain.root, "commit", "-qm", "here")

    comment = commented(domain, tmp_path)

    changed = comment.split("```diff\n")[1].split("```")[0].splitlines()
    assert changed == ["-i1.train train.rank 4", "+i1.train train.rank 8"]
    assert "\n    iteration 1\n" in comment.split("<details>")[1]
    assert comment.endswith("## colours, iteration 10: promoted\n")


def test_no_script_holds_what_a_stranger_wrote() -> None:
    """`${{ … }}` is put into a script as it is; values go in by the environment."""
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_it_runs_without_the_secrets_of_the_repository_and_may_write_comments_alone() -> None:
    assert WORKFLOW[True] == "pull_request"  # YAML 1.1 reads `on` so
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
