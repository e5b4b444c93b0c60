"""Which students `plan` measures, so that it can say how long they take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.asking import example_row
from flywheel.engine.planning import timed_plan, training_in_words
from flywheel.engine.project import Workspace, open_project
from flywheel.plan import Plan
from flywheel.student import four_bits
from mini_domain import Domain, write_gguf


@pytest.fixture
def sized(domain: Domain) -> Domain:
    """The project, whose student says how large it is."""
    config = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100}
    (domain.root / "student" / "config.json").write_text(json.dumps(config))
    return domain


def timed(domain: Domain) -> tuple[Workspace, Plan, list[str]]:
    said: list[str] = []
    project = open_project(domain.root / "flywheel.yaml")
    return project, timed_plan(project, None, said.append), said


def untimed(plan: Plan) -> set[str]:
    """Kinds whose time nobody knows."""
    return {node.kind for node in plan.pending if node.estimate.seconds is None}


def test_a_student_is_measured_once(sized: Domain) -> None:
    _, plan, said = timed(sized)

    assert not {"probe", "train", "evaluate"} & untimed(plan)
    assert said == ["Measuring how fast student is here, about ten seconds; it is kept."]
    assert timed(sized)[2] == []


def test_a_gguf_that_was_never_loaded_is_measured_too(domain: Domain, chat_student: Path) -> None:
    write_gguf(chat_student, domain.root / "small.gguf")
    domain.edit(lambda spec: spec["student"].update(base="small.gguf"))

    project, plan, said = timed(domain)

    assert not {"probe", "train", "evaluate"} & untimed(plan)
    assert len(said) == 1
    assert "learning rate" in training_in_words(project) or "learning_rate" in domain.spec["train"]


def test_a_student_from_the_hub_is_measured_where_it_is_in_the_cache(
    sized: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--some--student" / "snapshots" / commit
    sized.edit(lambda spec: spec["student"].update(base="some/student", revision=commit))
    assert {"probe", "train", "evaluate"} <= untimed(timed(sized)[1]), "nothing is fetched for a plan"

    shutil.copytree(sized.root / "student", cached)

    assert not {"probe", "train", "evaluate"} & untimed(timed(sized)[1])


def test_what_a_command_trains_is_not_trained_here_to_see_how_fast(sized: Domain) -> None:
    sized.edit(lambda spec: spec["train"].update(launch="torchrun --nproc-per-node 4"))

    launched = timed(sized)[1]
    assert {"probe", "evaluate"} & untimed(launched) == set()
    assert "train" in untimed(launched)
    assert json.dumps(launched.to_json())

    sized.edit(lambda spec: spec["train"].pop("launch"))
    assert "train" not in untimed(timed(sized)[1])


@pytest.mark.parametrize("lack", [("4bit needs a GPU.", "Find one."), None])
def test_what_cannot_be_trained_here_is_not_measured_here(
    sized: Domain, monkeypatch: pytest.MonkeyPatch, lack: Any
) -> None:
    monkeypatch.setattr(four_bits, "lack", lambda in_depth=False: lack)
    sized.edit(lambda spec: spec["train"].update(quantize="4bit"))

    _, plan, said = timed(sized)

    assert len(said) == (lack is None)
    assert ("train" in untimed(plan)) == (lack is not None)
    assert (sized.root / ".flywheel" / "calibration.json").exists() == (lack is None)
    assert json.dumps(plan.to_json())


def test_a_task_that_only_a_generators_questions_show_is_measured_by_these(sized: Domain) -> None:
    """Nobody knows what is right there: it has no probes, no seeds and no suite."""
    sized.write_rows("evals/questions.jsonl", [{"text": f"odd sea {n}"} for n in range(20)])
    open_task = {"prompt": "prompts/colour.md", "target": "label", "verify": ["shape"]}
    guessed = {"name": "guessed", "task": "open", "strategy": "trace", "teachers": ["careful"], "from": "data",
               "data": "evals/questions.jsonl", "samples": 1, "accept": 5, "too_easy": None}  # fmt: skip
    sized.edit(lambda spec: spec["tasks"].update(open=open_task))
    sized.edit(lambda spec: spec["verifiers"].update(shape={"kind": "regex", "pattern": "(?s).+"}))
    sized.edit(lambda spec: spec["generate"][0].update(task="colour"))
    sized.edit(lambda spec: spec["generate"].append(guessed))

    project, plan, said = timed(sized)

    assert said
    assert not {"probe", "train", "evaluate"} & untimed(plan)
    assert example_row(project, "open") == "text='odd sea 0'"
    outcome = sized.apply(until="curate")
    assert not outcome.error
    assert sized.query("SELECT count(*) AS n FROM dataset WHERE task = 'open' AND origin = 'new'")[0]["n"] == 5
