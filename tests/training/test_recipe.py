"""What is chosen where the spec leaves training open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.spec.models import Train
from flywheel.student.chat import Chat
from flywheel.student.identity import BUILTIN
from flywheel.student.loading import Arm, load_base
from flywheel.training import TrainingJob, train
from flywheel.training.recipe import Size, filled, in_words, learning_rate, preference_rate, size_in, size_of

SMALL, MIDDLE = Size(128, 940_000), Size(576, 134_515_008)


def settings(**given: Any) -> dict[str, Any]:
    return Train(**given).model_dump(mode="json")


class Named:
    """As much of a model as the recipe asks."""

    def __init__(self, size: Size) -> None:
        import torch

        class Config:
            hidden_size = size.hidden

            def get_text_config(self) -> Config:
                return self

        self.config = Config()
        self.size = size
        self.linear, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        self.words = torch.nn.Embedding(2, 2)

    def num_parameters(self) -> int:
        return self.size.parameters

    def named_modules(self) -> list[tuple[str, Any]]:
        parts = [("model.layers.0.q_proj", self.linear), ("model.layers.1.q_proj", self.linear)]
        return [*parts, ("lm_head", self.head), ("model.wte", self.words)]

    def get_output_embeddings(self) -> Any:
        return self.head

    def get_input_embeddings(self) -> Any:
        return self.words


@pytest.mark.parametrize(("hidden", "rate"), [(128, 0.0043), (576, 0.0013), (4096, 0.00029), (8, 0.005)])
def test_the_wider_a_student_the_smaller_its_learning_rate(hidden: int, rate: float) -> None:
    assert learning_rate(Size(hidden, 1)) == rate


@pytest.mark.parametrize(
    ("method", "practises", "rate"),
    [("grpo", True, 0.00043), ("grpo", False, 0.00011), ("dpo", True, 0.00011), ("kto", True, 0.00011)],
)
def test_judged_answers_are_learned_at_a_part_of_the_rate_of_lessons(method: str, practises: bool, rate: float) -> None:
    assert preference_rate(Size(128, 1_000_000), method, practises) == rate


def test_what_the_spec_says_stays() -> None:
    given = settings(learning_rate=1e-5, epochs=2, batch_size=3, targets=["q_proj"])
    assert filled(given, Named(SMALL), 1_000) == given


def test_a_small_student_learns_its_words_too_a_larger_one_does_not() -> None:
    assert filled(settings(), Named(SMALL), 500)["targets"] == ["q_proj", "wte"]
    assert filled(settings(), Named(MIDDLE), 500)["targets"] == "all-linear"


@pytest.mark.parametrize(
    ("lessons", "batch", "epochs"), [(1, 4, 10), (48, 4, 10), (150, 4, 6), (400, 8, 4), (581, 16, 6), (9_000, 16, 3)]
)
def test_few_lessons_are_read_more_often_and_in_smaller_batches(lessons: int, batch: int, epochs: int) -> None:
    chosen = filled(settings(), Named(MIDDLE), lessons)
    assert (chosen["batch_size"], chosen["epochs"]) == (batch, epochs)


def test_accumulated_batches_count_as_the_step_that_they_are() -> None:
    plain = filled(settings(batch_size=4), Named(MIDDLE), 400)["epochs"]
    assert filled(settings(batch_size=4, gradient_accumulation=4), Named(MIDDLE), 400)["epochs"] > plain


def test_a_folder_tells_the_size_that_its_model_has(mini_student: Path) -> None:
    for folder in (mini_student, BUILTIN["builtin:tiny"]):
        real, told = size_of(load_base(Arm(str(folder), None, "float32", "cpu", "")).model), size_in(folder)
        assert told is not None
        assert told.hidden == real.hidden
        assert 0.5 < told.parameters / real.parameters < 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hidden_size": "wide"}', '{"model_type": "mamba"}'])
def test_a_folder_that_does_not_tell_is_no_error(tmp_path: Path, content: str) -> None:
    assert size_in(tmp_path) is None
    (tmp_path / "config.json").write_text(content)
    assert size_in(tmp_path) is None


def test_the_text_part_of_a_model_that_sees_is_what_counts(tmp_path: Path) -> None:
    text = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text, "vision_config": {}}))
    assert size_in(tmp_path) == Size(64, 100 * 64 + 2 * 64 * (4 * 64 + 3 * 256))


def test_the_plan_says_what_is_open_and_nothing_else() -> None:
    words = in_words(settings(), SMALL)
    assert words.startswith("learning rate 0.0043 (a student of width 128); all linear layers and the embeddings; ")
    given = settings(learning_rate=1e-3, epochs=1, batch_size=2, targets="all-linear")
    assert in_words(given, SMALL) == ""


def job(student: Path, out: Path, **given: Any) -> TrainingJob:
    rows = tuple((f"thing {i} is", "red" if i % 2 else "blue") for i in range(24))
    arm = Arm(str(student), None, "float32", "cpu", "base-hash")
    return TrainingJob(arm, "student", rows, settings(**given), Chat(), 7, str(out))


def test_what_was_chosen_is_recorded(tmp_path: Path, mini_student: Path) -> None:
    result = train(job(mini_student, tmp_path / "a", max_steps=2), lambda message: None)
    assert result.settings["learning_rate"] == 0.005
    assert result.settings["batch_size"] == 4
    assert "embed_tokens" in result.settings["targets"]
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"]


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({"max_steps": 3, "learning_rate": 1e-6}, "raise train.epochs (now 10)"),
        ({"epochs": 40, "batch_size": 8, "learning_rate": 1e-7}, "raise train.learning_rate (now 1e-07)"),
    ],
)
def test_a_training_that_hardly_learned_says_what_to_change(
    tmp_path: Path, mini_student: Path, given: dict[str, Any], change: str
) -> None:
    result = train(job(mini_student, tmp_path / "a", **given), lambda message: None)
    (note,) = result.notes
    assert note.startswith("the loss hardly fell, from ")
    assert change in note


def test_a_training_that_learned_says_nothing(tmp_path: Path) -> None:
    result = train(job(BUILTIN["builtin:tiny"], tmp_path / "a"), lambda message: None)
    assert result.losses[0]["loss"] > 2 * result.loss
    assert result.notes == ()
