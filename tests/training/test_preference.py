"""Learning from judged answers with a tiny student: from which adapter, from which answers, and again the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from small_memory import Small

from flywheel.errors import NodeFailed
from flywheel.spec.models import Train
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm
from flywheel.training import OwnAnswer, PreferenceJob, TrainingJob, TrainingResult, prefer, train

Method = Literal["dpo", "kto", "grpo"]
METHODS: tuple[Method, ...] = ("dpo", "kto", "grpo")
RIGHT = tuple(OwnAnswer(f"{'big ' * (i % 3)}thing {i} is", "blue" if i % 2 else "red") for i in range(12))
WRONG = tuple(replace(said, text="green") for said in RIGHT)


@pytest.fixture(scope="module")
def taught(mini_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Arm:
    """The student after some lessons."""
    arm = Arm(str(mini_student), None, "float32", "cpu", "hash")
    out = tmp_path_factory.mktemp("taught") / "adapter"
    settings = Train(rank=4, learning_rate=0.02, epochs=4, batch_size=4, dropout=0.1).of_lessons
    rows = tuple((said.prompt, said.text) for said in RIGHT)
    result = train(TrainingJob(arm, "student", rows, settings, Chat(), 7, str(out)), quiet)
    return replace(arm, adapter=str(out), adapter_hash=result.weights_hash)


def job(arm: Arm, out: Path, method: Method, nll: float = 1.0, **settings: Any) -> PreferenceJob:
    chosen = Train(rank=4, **settings).of_lessons
    chosen["preference"] = {"beta": 0.1, "nll": nll, "learning_rate": 0.005, "epochs": 3}
    training = TrainingJob(arm, "student", (), chosen, Chat(), 7, str(out))
    if method == "dpo":
        return PreferenceJob(training, method, tuple(zip(RIGHT, WRONG, strict=True)))
    rewards = (1.0, 0.0) if method == "kto" else (0.5, -0.5)
    units = tuple((said,) for said in (*RIGHT, *WRONG))
    return PreferenceJob(training, method, units, tuple(rewards[said in WRONG] for (said,) in units))


def quiet(message: dict[str, Any]) -> None:
    """Progress nobody looks at."""


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_round_goes_on_from_its_checkpoint_bit_for_bit(taught: Arm, tmp_path: Path, method: Method) -> None:
    whole = prefer(job(taught, tmp_path / "whole", method), quiet)
    cut = job(taught, tmp_path / "cut", method)
    cut = replace(cut, training=replace(cut.training, checkpoint_seconds=0.0))

    def killed(message: dict[str, Any]) -> None:
        if message["done"] == 2:
            raise Killed

    with pytest.raises(Killed):
        prefer(cut, killed)
    assert not (tmp_path / "cut").exists(), "an adapter appears only when it is whole"
    steps: list[int] = []
    resumed = prefer(cut, lambda message: steps.append(message["done"]))

    assert resumed == whole
    assert min(steps) >= 1, "it did not begin again"


def test_the_reference_is_the_adapter_that_it_starts_from(taught: Arm, tmp_path: Path) -> None:
    result = prefer(job(taught, tmp_path / "a", "dpo", nll=0.0), quiet)

    assert result.losses[0]["loss"] == pytest.approx(math.log(2), rel=1e-4)
    assert result.losses[-1]["loss"] < result.losses[0]["loss"]


def test_without_an_adapter_the_reference_is_the_base(mini_student: Path, tmp_path: Path) -> None:
    base = Arm(str(mini_student), None, "float32", "cpu", "hash")

    result = prefer(job(base, tmp_path / "a", "dpo", nll=0.0), quiet)

    assert result.losses[0]["loss"] == pytest.approx(math.log(2), rel=1e-4)


def test_pairs_of_the_same_tokens_and_answers_that_are_too_long_are_left_out_and_counted(
    taught: Arm, tmp_path: Path
) -> None:
    made = job(taught, tmp_path / "a", "dpo", max_length=48)
    twin, long = (RIGHT[0], RIGHT[0]), (RIGHT[0], OwnAnswer(RIGHT[0].prompt, "green " * 60))
    result = prefer(replace(made, units=(*made.units, twin, long)), quiet)

    assert (result.rows, result.left_out) == (12, 2)


def test_an_answer_that_was_cut_is_not_taught_to_end_there(taught: Arm, tmp_path: Path) -> None:
    made = job(taught, tmp_path / "a", "grpo")
    ended = prefer(made, quiet)
    cut = tuple((replace(said, ended=False),) for (said,) in made.units)
    left = prefer(replace(made, units=cut, training=replace(made.training, out=str(tmp_path / "b"))), quiet)

    assert ended.tokens - left.tokens == 3 * len(made.units), "the end of a turn is one token, in each of three epochs"


def test_where_nothing_can_be_learned_the_limits_are_named(taught: Arm, tmp_path: Path) -> None:
    made = job(taught, tmp_path / "a", "dpo")

    with pytest.raises(NodeFailed, match=r"none of the 1 judged answers or pairs .* train\.max_length"):
        prefer(replace(made, units=((RIGHT[0], RIGHT[0]),)), quiet)

    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("method", METHODS)
def test_where_memory_runs_out_a_step_is_taken_in_parts_and_learns_the_same(
    taught: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    whole = prefer(job(taught, tmp_path / "whole", method), quiet)
    monkeypatch.setattr("flywheel.training.objectives.target_losses", Small(4))

    parts = prefer(job(taught, tmp_path / "parts", method), quiet)

    assert losses(parts) == pytest.approx(losses(whole), rel=1e-3, abs=1e-4)
    assert parts.notes[0].startswith("memory ran out at step 1")


def losses(result: TrainingResult) -> list[float]:
    return [step["loss"] for step in result.losses]
