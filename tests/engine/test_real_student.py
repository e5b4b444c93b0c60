"""The whole wheel with a real model in the real model worker."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from flywheel.student import locate
from mini_domain import Domain, write_gguf

pytestmark = pytest.mark.timeout(900)  # most of it is loading torch and lm-eval, which a busy machine draws out


@pytest.mark.slow
def test_a_tiny_llama_goes_all_the_way_round(real_domain: Domain) -> None:
    outcome = real_domain.apply()

    assert outcome.failed == []
    assert outcome.exit_code == (0 if outcome.promoted else 3)
    assert real_domain.apply().ran == 0
    answers = real_domain.query("SELECT count(*) AS n FROM answers WHERE prompt LIKE '%colour:'")
    assert answers == [{"n": 12}]
    losses = real_domain.query("SELECT loss FROM losses ORDER BY step")
    assert len(losses) == 4
    assert losses[-1]["loss"] < losses[0]["loss"]


@pytest.mark.slow
def test_a_training_by_a_command_goes_all_the_way_round_and_is_not_done_again_without_it(real_domain: Domain) -> None:
    real_domain.edit(lambda spec: spec["train"].update(launch="torchrun --nproc-per-node 2"))

    assert real_domain.apply().failed == []

    settings = real_domain.query("SELECT settings FROM adapters")[0]["settings"]
    assert ", 2 processes" in json.dumps(settings)
    report = (real_domain.root / "reports" / "iter-001" / "index.html").read_text()
    assert "It was trained on cpu, 1 thread, " in report
    assert ", 2 processes. " in report
    assert not list((real_domain.root / ".flywheel" / "artifacts").glob("*.job"))
    assert real_domain.edit(lambda spec: spec["train"].pop("launch")).apply().ran == 0


@pytest.mark.slow
def test_a_student_with_a_chat_template_goes_all_the_way_round(tmp_path: Path, chat_student: Path) -> None:
    domain = Domain.written(tmp_path / "project", chat_student)
    domain.edit(lambda spec: spec["student"].update(system="You name colours."))
    domain.edit(lambda spec: spec["teachers"].update(self={"kind": "student"}))
    domain.edit(lambda spec: spec["generate"][0]["teachers"].update(self=1.0))

    outcome = domain.apply()

    assert outcome.failed == []
    assert outcome.exit_code == (0 if outcome.promoted else 3)
    assert domain.query("SELECT count(*) AS n FROM calls WHERE teacher = 'self'")[0]["n"] > 0
    assert domain.apply().ran == 0


@pytest.mark.slow
def test_a_gguf_outside_the_project_goes_all_the_way_round_and_no_path_of_it_is_handed_on(
    tmp_path: Path, chat_student: Path
) -> None:
    file = write_gguf(chat_student, tmp_path / "small.gguf")
    domain = Domain.written(tmp_path / "project")
    domain.edit(lambda spec: spec["student"].update(base=str(file)))

    assert domain.apply().failed == []
    assert domain.apply().ran == 0

    adapter = domain.query("SELECT base, path FROM adapters")[0]
    config = json.loads((domain.root / adapter["path"] / "adapter_config.json").read_text())
    assert (adapter["base"], config["base_model_name_or_path"]) == ("small.gguf", "small.gguf")
    unpacked = [path.name for path in (domain.root / ".flywheel" / "artifacts").glob("base-*")]
    assert unpacked == [Path(locate(str(file), None, domain.root).source).name]
    commands = domain.query("SELECT summary FROM nodes WHERE kind = 'evaluate'")[0]["summary"]["lm_eval_commands"]
    assert f"pretrained=.flywheel/artifacts/{unpacked[0]}," in commands["holdout"]["incumbent"]


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_killed_at_any_moment_a_real_run_ends_with_the_same_weights(tmp_path: Path, mini_student: Path) -> None:
    whole = Domain.written(tmp_path / "whole", mini_student)
    assert whole.run("apply", stand_in=False).returncode in (0, 3)
    rng = random.Random(3)
    for number in range(6):
        domain = Domain.written(tmp_path / f"killed{number}", mini_student)
        process = domain.start("apply", stand_in=False)
        time.sleep(rng.uniform(1, 20))
        process.kill()
        process.communicate()

        domain.run("apply", stand_in=False)

        assert domain.outcome() == whole.outcome()
