"""examples/self_instruct/alpaca.yaml: twenty tasks a call from three seeds, and nothing verified."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project
from flywheel.nodes.lessons.filters import rouge_l_to_earlier

from ..templates.conftest import REPOSITORY, load_script, score_of, tiny, turn_once
from .test_examples import asked, copied
from .test_r1 import cut_rows, edited

__all__ = ["tiny"]  # a fixture


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied("self_instruct", tmp_path)


@pytest.fixture(scope="module")
def teachers() -> ModuleType:
    return load_script(REPOSITORY / "examples" / "self_instruct" / "teachers.py")


def test_it_is_valid_and_its_one_warning_is_of_the_task_that_is_only_measured(project: Path) -> None:
    opened = open_project(project / "alpaca.yaml")

    assert [fault.message for fault in opened.loaded.warnings] == [
        'no generator teaches the task "exam": it is only measured.'
    ]
    assert make_plan(opened).nodes
    assert all(teacher.is_simulated for teacher in opened.spec.teachers.values())


def test_one_call_wants_twenty_tasks_and_shows_three_seeds_alone(project: Path) -> None:
    [generator] = open_project(project / "alpaca.yaml").spec.generate

    shown = generator.shown
    assert (shown.rows_a_call, shown.examples, shown.lessons, generator.opinions) == (20, 3, 0, [])


def test_a_reply_is_whole_or_cut_off_and_has_outputs_that_nobody_should_learn(teachers: ModuleType) -> None:
    seeds = [
        json.loads(line) for line in (REPOSITORY / "examples/self_instruct/rows/seeds.jsonl").read_text().splitlines()
    ]
    request = {"item": None, "n": 20, "seeds": seeds[:3]}
    options = {"error_rate": 0.0, "faulty_rate": 0.0, "cut_rate": 0.0}

    def said(seed: int, **others: float) -> str:
        text: str = teachers.write_many({**request, "seed": seed, "options": {**options, **others}})
        return text

    assert len(json.loads(said(1))) == 20
    for seed in range(20):
        assert said(seed).startswith(cut := said(seed, cut_rate=1.0))
        assert len(cut) < len(said(seed))
    faulty = json.loads(said(1, faulty_rate=1.0))
    assert all(row["command"] in ("", row["request"]) or row["command"].endswith(":") for row in faulty)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tasks_are_new_whole_and_of_the_three_seeds_and_some_are_wrong(project: Path, tiny: str) -> None:
    def shrink(spec: dict[str, Any]) -> None:
        assert spec["student"]["base"] == tiny
        spec["generate"][0]["accept"] = 150

    edited(project, shrink, "alpaca.yaml")
    cut_rows(project, {"rows/probes.jsonl": 10, "rows/holdout.jsonl": 100})
    read = load_script(project / "teachers.py").read

    before, after = score_of(turn_once(project), "holdout")

    assert after > before
    kept = asked(project, "SELECT row->>'$.request' AS request, target FROM dataset WHERE origin = 'new'")
    requests = [lesson["request"] for lesson in kept]
    seeds = [json.loads(line)["request"] for line in (project / "rows" / "seeds.jsonl").read_text().splitlines()]
    assert max(rouge_l_to_earlier(requests, seeds)) <= 0.7
    assert not any(row["target"].endswith(":") or row["target"] in ("", row["request"]) for row in kept)
    exact = {"error_rate": 0.0}
    right = [read({"seed": 1, "row": lesson, "options": exact}) == lesson["target"] for lesson in kept]
    assert 0.6 < sum(right) / len(right) < 1, "nobody answers again"
    problems = asked(project, "SELECT DISTINCT problem FROM candidates WHERE status = 'unparsed'")
    assert any("cut off" in row["problem"] for row in problems)
    calls = asked(project, "SELECT json_array_length(request->'$.seeds') AS seeds, request->>'$.n' AS n FROM calls")
    assert {row["seeds"] for row in calls} == {3}
    assert max(int(row["n"]) for row in calls) == 20
