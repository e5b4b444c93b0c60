"""Training in several processes: the adapter of one, and whatever one of them finds out alone, all do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ranked import ranked
from small_memory import Small
from test_lora import Killed, job, killed_at, losses, quiet
from test_preference import METHODS, Method, taught
from test_preference import job as preference_job

from flywheel.errors import NodeFailed
from flywheel.student import memory, sampling
from flywheel.student.loading import Arm, load_base
from flywheel.training import TrainingJob, TrainingResult, lora, objectives, prefer, train
from flywheel.training.ranks import ALONE, Ranks

__all__ = ["taught"]

SPREAD = "the student's weights are spread over 2 processes: they do not fit one device"


@pytest.fixture(scope="module")
def alone(mini_student: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Path]:
    """What one process makes of the lessons."""
    out = tmp_path_factory.mktemp("alone") / "adapter"
    return train(job(mini_student, out, dropout=0.0), quiet), out


@pytest.fixture
def lessons(mini_student: Path, tmp_path: Path) -> TrainingJob:
    return job(mini_student, tmp_path / "adapter", dropout=0.0)


@pytest.fixture(scope="module")
def tied_student(mini_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its output layer is its embedding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("students") / "tied"
    shutil.copytree(mini_student, folder)
    torch.manual_seed(5)
    LlamaForCausalLM(LlamaConfig.from_pretrained(mini_student, tie_word_embeddings=True)).save_pretrained(folder)
    return folder


@pytest.fixture
def too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The student does not fit, and one row after the other goes through it."""
    monkeypatch.setattr(memory, "_free", lambda: 1 << 20)
    monkeypatch.setattr(memory, "_room", lambda device, processes: 1)


def same(one: Path, other: Path) -> bool:
    """Up to the rounding of sums."""
    from safetensors.numpy import load_file

    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return ours.keys() == theirs.keys() and all(abs(ours[key] - theirs[key]).max() < 1e-4 for key in ours)


def test_two_processes_learn_what_one_does(lessons: TrainingJob, alone: tuple[TrainingResult, Path]) -> None:
    first, second = ranked(lambda ranks: train(lessons, quiet, ranks))

    assert first == second
    assert losses(first) == pytest.approx(losses(alone[0]), abs=1e-5)
    assert same(Path(lessons.out), alone[1])
    assert (first.rows, first.steps, first.tokens) == (alone[0].rows, alone[0].steps, alone[0].tokens)
    assert first.settings["computed_on"].endswith(", 2 processes")
    assert first.notes == alone[0].notes


@pytest.mark.slow
def test_more_processes_than_rows_in_a_step_have_nothing_to_add(mini_student: Path, tmp_path: Path) -> None:
    one = train(job(mini_student, tmp_path / "one", dropout=0.0, batch_size=2), quiet)

    found = ranked(lambda ranks: train(job(mini_student, tmp_path / "a", dropout=0.0, batch_size=2), quiet, ranks), 3)

    assert losses(found[2]) == pytest.approx(losses(one), abs=1e-5)
    assert same(tmp_path / "a", tmp_path / "one")


def test_a_launcher_that_started_one_process_only_is_seen(lessons: TrainingJob) -> None:
    assert train(lessons, quiet, Ranks(launched=True)).settings["computed_on"].endswith(", 1 process")


@pytest.mark.parametrize("place", range(2))
def test_accumulated_batches_are_shared_as_one_step(place: int) -> None:
    group = [[1], [2], [3], [4], [5]]

    assert Ranks(place, 2).share(group, place) == [[[1], [3], [5]], [[2], [4]]][place]
    assert Ranks(place, 2).share([[1, 2, 3, 4], [5, 6]], place) == [[[1, 3, 5]], [[2, 4, 6]]][place]
    assert ALONE.share(group, 0) == group


@pytest.mark.parametrize("method", ["kto", *(pytest.param(one, marks=pytest.mark.slow) for one in ("dpo", "grpo"))])
def test_judged_answers_teach_two_processes_what_they_teach_one(taught: Arm, tmp_path: Path, method: Method) -> None:
    one = prefer(preference_job(taught, tmp_path / "one", method), quiet)

    first, second = ranked(lambda ranks: prefer(preference_job(taught, tmp_path / "a", method), quiet, ranks))

    assert first == second
    assert losses(first) == pytest.approx(losses(one), abs=1e-5)
    assert same(tmp_path / "a", tmp_path / "one")


# --- what one finds out alone ---


class SmallFrom(Small):
    """Memory for one row, or for so many, from the so-manieth call on."""

    def __init__(self, call: int, left: int = 1) -> None:
        super().__init__(99)
        self.before, self.left = call - 1, left

    def __call__(self, torch: Any, loaded: Any, rows: Any) -> Any:
        self.rows = 99 if self.before > 0 else self.left
        self.before -= 1
        return super().__call__(torch, loaded, rows)


def test_where_one_process_runs_out_of_memory_all_take_smaller_parts(
    lessons: TrainingJob, alone: tuple[TrainingResult, Path]
) -> None:
    def run(ranks: Ranks) -> TrainingResult:
        if ranks.rank == 1:
            lora.target_losses = SmallFrom(3)
        return train(lessons, quiet, ranks)

    first, second = ranked(run)

    assert first == second
    assert losses(first) == pytest.approx(losses(alone[0]), abs=1e-5)
    assert same(Path(lessons.out), alone[1])
    assert first.notes[0] == "memory ran out at step 3: half as many rows go through the model at a time"


def test_where_nothing_smaller_is_left_all_give_up(lessons: TrainingJob) -> None:
    def run(ranks: Ranks) -> TrainingResult:
        if ranks.rank == 1:
            lora.target_losses = Small(0)
        return train(lessons, quiet, ranks)

    for found in ranked(run):
        assert isinstance(found, NodeFailed)
        assert "does not fit into memory" in str(found)


@pytest.mark.parametrize(("call", "fault"), [(1, MemoryError), (3, NodeFailed)])
def test_a_reading_that_does_not_fit_in_one_process_ends_all(
    taught: Arm, tmp_path: Path, call: int, fault: type[Exception]
) -> None:
    """Of the reference, or of a step: before any of its parts is learned from."""

    def run(ranks: Ranks) -> TrainingResult:
        if ranks.rank == 1:
            sampling.target_losses = SmallFrom(call, 0)
        return prefer(preference_job(taught, tmp_path / "a", "kto"), quiet, ranks)

    assert [type(found) for found in ranked(run)] == [fault, fault]


def test_a_loss_that_is_not_finite_in_one_process_ends_all(lessons: TrainingJob) -> None:
    def run(ranks: Ranks) -> TrainingResult:
        taken = lora.target_losses
        if ranks.rank == 1:
            lora.target_losses = lambda *asked: (taken(*asked)[0] * float("nan"), None)
        return train(lessons, quiet, ranks)

    for found in ranked(run):
        assert isinstance(found, NodeFailed)
        assert "learning_rate" in str(found)
    assert not Path(lessons.out).exists()


# --- killed, and on again ---


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_in_another_number_of_processes(
    mini_student: Path, tmp_path: Path, alone: tuple[TrainingResult, Path], before: int, after: int
) -> None:
    cut = replace(job(mini_student, tmp_path / "cut", dropout=0.0), checkpoint_seconds=0.0)
    steps: list[int] = []

    def begin(ranks: Ranks) -> TrainingResult:
        return train(cut, killed_at(5) if ranks.is_first else quiet, ranks)

    def go_on(ranks: Ranks) -> tuple[TrainingResult, list[int]]:
        return train(cut, lambda message: steps.append(message["done"]), ranks), steps

    assert isinstance(ranked(begin, before, wanted=(0,))[0], Killed)
    resumed, seen = ranked(go_on, after)[0]

    assert seen[0] == 4, "it did not begin again"
    assert losses(resumed) == pytest.approx(losses(alone[0]), abs=1e-5)
    assert same(tmp_path / "cut", alone[1])


@pytest.mark.slow
def test_in_as_many_processes_it_goes_on_bit_for_bit_with_dropout(mini_student: Path, tmp_path: Path) -> None:
    whole, cut = job(mini_student, tmp_path / "whole"), job(mini_student, tmp_path / "cut")
    cut = replace(cut, checkpoint_seconds=0.0)

    expected = ranked(lambda ranks: train(whole, quiet, ranks))
    ranked(lambda ranks: train(cut, killed_at(5) if ranks.is_first else quiet, ranks), wanted=(0,))

    assert ranked(lambda ranks: train(cut, quiet, ranks)) == expected


# --- weights that do not fit ---


@pytest.mark.usefixtures("too_large")
def test_weights_that_do_not_fit_are_spread_and_learn_the_same(mini_student: Path, tmp_path: Path) -> None:
    # Of three rows in a step one process reads two: the other goes along.
    one = train(job(mini_student, tmp_path / "one", dropout=0.0, batch_size=3, epochs=1), quiet)
    it = job(mini_student, tmp_path / "a", dropout=0.0, batch_size=3, epochs=1)

    def run(ranks: Ranks) -> tuple[TrainingResult, tuple[int, int]]:
        held: list[tuple[int, int]] = []
        shard = lora.shard

        def noted(torch: Any, model: Any, device: str, ranks: Ranks) -> None:
            whole = sum(p.numel() for p in model.parameters() if not p.requires_grad)
            shard(torch, model, device, ranks)
            held.append((whole, sum(p.to_local().numel() for p in model.parameters() if not p.requires_grad)))

        lora.shard = noted
        return train(it, quiet, ranks), held[0]

    (first, (whole, ours)), (second, (_, theirs)) = ranked(run)

    assert first == second
    assert losses(first) == pytest.approx(losses(one), abs=1e-5)
    assert same(tmp_path / "a", tmp_path / "one")
    assert first.notes[0] == SPREAD
    assert first.settings["computed_on"].endswith(", 2 processes that share the weights")
    assert ours + theirs == whole
    assert abs(ours - theirs) < whole / 10


@pytest.mark.slow
@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize("targets", [["q_proj", "embed_tokens"], ["q_proj"]])
def test_spread_with_tied_embeddings_and_activations_computed_twice_it_learns_the_same(
    tied_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: list[str]
) -> None:
    one = train(job(tied_student, tmp_path / "one", dropout=0.0, targets=targets), quiet)
    monkeypatch.setattr(memory, "FEW_TOKENS", 1 << 40)

    it = job(tied_student, tmp_path / "a", dropout=0.0, targets=targets)

    first, _ = ranked(lambda ranks: train(it, quiet, ranks))

    assert losses(first) == pytest.approx(losses(one), abs=1e-5)
    assert same(tmp_path / "a", tmp_path / "one")
    assert first.notes[0] == SPREAD


@pytest.mark.slow
@pytest.mark.usefixtures("too_large")
@pytest.mark.parametrize("method", METHODS)
def test_judged_answers_teach_spread_weights_the_same(taught: Arm, tmp_path: Path, method: Method) -> None:
    one = prefer(preference_job(taught, tmp_path / "one", method), quiet)

    first, _ = ranked(lambda ranks: prefer(preference_job(taught, tmp_path / "a", method), quiet, ranks))

    assert losses(first) == pytest.approx(losses(one), abs=1e-5)
    assert same(tmp_path / "a", tmp_path / "one")
    assert first.notes[0] == SPREAD


@pytest.mark.slow
def test_a_spread_training_that_runs_out_of_memory_begins_again_in_smaller_parts(
    lessons: TrainingJob, alone: tuple[TrainingResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_free", lambda: 1 << 20)
    cut = replace(lessons, checkpoint_seconds=0.0)

    def run(ranks: Ranks) -> TrainingResult:
        if ranks.rank == 1:
            lora.target_losses = SmallFrom(3)
        return train(cut, quiet, ranks)

    ended = ranked(run, wanted=(1,))[0]
    monkeypatch.setattr(lora, "target_losses", Small(1))
    first, second = ranked(lambda ranks: train(cut, quiet, ranks))

    assert isinstance(ended, lora.BeginSmaller), "the other waits for it inside a layer"
    assert first == second
    assert losses(first) == pytest.approx(losses(alone[0]), abs=1e-5)
    assert same(Path(lessons.out), alone[1])
    assert first.notes[0] == SPREAD
    assert first.notes[1].startswith("memory ran out at step 3: half as many rows go through the model at a time")
    assert {path.name for path in Path(cut.out).iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.usefixtures("too_large")
def test_a_reading_that_runs_out_of_memory_does_not_leave_the_others_behind(
    taught: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "target_losses", Small(1))
    monkeypatch.setattr("flywheel.student.sampling.target_losses", Small(1))

    found = ranked(lambda ranks: prefer(preference_job(taught, tmp_path / "a", "dpo"), quiet, ranks))

    assert all("can't allocate memory" in str(error) for error in found)


@pytest.mark.usefixtures("too_large")
def test_4_bits_are_not_spread(lessons: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "load_base", lambda arm, in_4_bits, moved: load_base(arm, moved=moved))  # no GPU is here
    quantised = replace(lessons, settings={**lessons.settings, "quantize": "4bit"})

    for found in ranked(lambda ranks: train(quantised, quiet, ranks)):
        assert isinstance(found, NodeFailed)
        assert "Remove train.quantize" in str(found)
