"""The printed commands, run as they are, on the embedded student and an adapter of it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import flywheel
from flywheel.engine.apply import apply
from flywheel.engine.history import open_lookup
from flywheel.engine.project import open_project
from flywheel.engine.templates import copy_template

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The default domain with small suites and a short training."""
    root = tmp_path / "shop"
    copy_template("shop_sql", root)
    spec = yaml.safe_load((root / "flywheel.yaml").read_text())
    spec["tasks"]["text_to_sql"]["probe_limit"] = 60
    spec["generate"][0].update(accept=60, max_candidates=200)
    spec["train"].update(max_steps=8)
    spec["evals"]["holdout"].update(limit=60)
    spec["evals"]["basics"].update(limit=40)
    spec["loop"]["iterations"] = 1
    (root / "flywheel.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return root


def test_the_printed_commands_give_the_reported_numbers(project: Path) -> None:
    apply(open_project(project / "flywheel.yaml"))
    with open_lookup(project / ".flywheel") as lookup:
        summary = lookup("SELECT summary FROM nodes WHERE kind = 'evaluate'", [])[0]["summary"]
    (written,) = (project / "reports").rglob("report.json")
    report = written.read_text()
    commands = {(told["suite"], told["arm"]): told["command"] for told in json.loads(report)["measurement"]["commands"]}

    for arm in ("incumbent", "candidate"):
        assert stock(commands["basics", arm], project) == summary["scores"][f"basics/{arm}"]
    assert 'pretrained="$(flywheel base builtin:tiny)"' in commands["basics", "incumbent"]
    assert str(Path(flywheel.__file__).parent) not in report, "no place of this machine"
    assert str(project) not in report
    assert summary["scores"]["basics/incumbent"] > 0.5
    assert summary["scores"]["basics/incumbent"] != summary["scores"]["basics/candidate"], "the adapter was loaded"
    # Nothing varies in float32, so one item in twelve, and at least eight, are measured twice.
    assert summary["noise"]["holdout"] == {"items": 8, "differ": 0, "answers": 0}


def stock(words: str, root: Path) -> Any:
    """What the command says, pasted into a shell in the project."""
    out = root / "out" / str(abs(hash(words)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{words} --output_path {shlex.quote(str(out))}"],
        cwd=root, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.rglob("results*.json")
    (results,) = json.loads(file.read_text())["results"].values()
    return results["score,none"]
