"""Training a real adapter on a tiny student."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_memory import Small

from flywheel.errors import NodeFailed, Tampered
from flywheel.spec.models import Train
from flywheel.student import memory
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, load
from flywheel.training import TrainingJob, TrainingResult, train

ROWS = tuple((f"{'big ' * (i % 3)}thing {i} is", "blue" if i % 2 else "red") for i in range(20))


def job(student: Path, out: Path, **settings: Any) -> TrainingJob:
    chosen = Train(**{"rank": 4, "learning_rate": 0.02, "epochs": 2, "batch_size": 4, "dropout": 0.1, **settings})
    arm = Arm(str(student), None, "float32", "cpu", "hash")
    return TrainingJob(arm, "student", ROWS, chosen.model_dump(mode="json"), Chat(), 7, str(out))


def quiet(message: dict[str, Any]) -> None:
    """Progress nobody looks at."""


class Killed(Exception):
    pass


def killed_at(step: int) -> Any:
    def progress(message: dict[str, Any]) -> None:
        if message["done"] == step:
            raise Killed

    return progress


def test_the_same_job_gives_the_same_adapter_bit_for_bit(mini_student: Path, tmp_path: Path) -> None:
    one = train(job(mini_student, tmp_path / "one"), quiet)
    two = train(job(mini_student, tmp_path / "two"), quiet)

    assert one == two
    assert one.losses[-1]["loss"] < one.losses[0]["loss"]


@pytest.mark.slow
def test_what_it_was_computed_on_is_recorded(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        pair = train(job(mini_student, tmp_path / "two"), quiet)
        monkeypatch.delenv("OMP_NUM_THREADS")
        alone = train(job(mini_student, tmp_path / "one"), quiet)
    finally:
        torch.set_num_threads(before)

    assert pair.settings["computed_on"].startswith("cpu, 2 threads, ")
    assert alone.settings["computed_on"].startswith("cpu, 1 thread, ")


def test_another_seed_gives_another_adapter(mini_student: Path, tmp_path: Path) -> None:
    one = train(job(mini_student, tmp_path / "one"), quiet)
    two = train(replace(job(mini_student, tmp_path / "two"), seed=8), quiet)

    assert one.weights_hash != two.weights_hash


def test_a_killed_training_goes_on_from_its_checkpoint_bit_for_bit(mini_student: Path, tmp_path: Path) -> None:
    whole = train(job(mini_student, tmp_path / "whole"), quiet)
    cut = replace(job(mini_student, tmp_path / "cut"), checkpoint_seconds=0.0)

    steps: list[int] = []
    for step in (3, 7):
        with pytest.raises(Killed):
            train(cut, killed_at(step))
        assert not (tmp_path / "cut").exists(), "an adapter appears only when it is whole"
    resumed = train(cut, lambda message: steps.append(message["done"]))

    assert resumed == whole
    assert min(steps) > 3, "it did not begin again"


def test_an_adapter_on_the_embedding_holds_no_copy_of_it_and_goes_on(mini_student: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    def larger(out: str, start: Path | None = None) -> TrainingJob:
        it = job(mini_student, tmp_path / out, targets=["q_proj", "embed_tokens"])
        return it if start is None else replace(it, arm=replace(it.arm, adapter=str(start)))

    first = train(larger("first"), quiet)
    then = train(larger("then", tmp_path / "first"), quiet)

    with safe_open(tmp_path / "then" / "adapter_model.safetensors", "numpy") as weights:
        names = list(weights.keys())
    assert any("lora_embedding_A" in name for name in names)
    assert not [name for name in names if "lora" not in name]
    assert then.losses[0]["loss"] < first.losses[0]["loss"]


def test_every_row_is_read_once_an_epoch(mini_student: Path, tmp_path: Path) -> None:
    result = train(job(mini_student, tmp_path / "a", epochs=3, batch_size=8), quiet)

    assert (result.rows, result.steps) == (20, 9)


def test_accumulated_batches_are_one_step(mini_student: Path, tmp_path: Path) -> None:
    result = train(job(mini_student, tmp_path / "a", epochs=1, batch_size=4, gradient_accumulation=2), quiet)

    assert result.steps == 3


def test_rows_that_are_too_long_are_left_out_and_counted(mini_student: Path, tmp_path: Path) -> None:
    long = replace(job(mini_student, tmp_path / "a", max_length=32), rows=(*ROWS, ("word " * 40, "red")))

    result = train(long, quiet)

    assert (result.rows, result.left_out) == (20, 1)


def test_when_no_row_fits_the_limit_is_named(mini_student: Path, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match=r"train\.max_length: 16"):
        train(replace(job(mini_student, tmp_path / "a", max_length=16), rows=(("word " * 40, "red"),)), quiet)


def test_a_loss_that_is_not_finite_fails_and_leaves_no_adapter(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(*_: Any) -> tuple[float, int]:
        return float("nan"), 1

    monkeypatch.setattr("flywheel.training.lora.learning_step", diverged)

    with pytest.raises(NodeFailed, match="learning_rate"):
        train(job(mini_student, tmp_path / "a"), quiet)

    assert not (tmp_path / "a").exists()


def test_the_adapter_is_safetensors_and_names_no_folder_of_this_machine(mini_student: Path, tmp_path: Path) -> None:
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "checkpoint.pt.tmp").write_bytes(b"cut off by a kill")

    train(job(mini_student, tmp_path / "a", max_steps=1), quiet)

    assert {path.name for path in (tmp_path / "a").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "student"
    assert str(mini_student) not in json.dumps(config)


def test_a_trained_adapter_is_loaded_and_a_changed_one_refused(mini_student: Path, tmp_path: Path) -> None:
    made = job(mini_student, tmp_path / "a", max_steps=2)
    result = train(made, quiet)
    arm = replace(made.arm, adapter=str(tmp_path / "a"), adapter_hash=result.weights_hash)
    assert load(arm).model.peft_config

    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")

    with pytest.raises(Tampered):
        load(replace(arm, base_hash="loaded afresh"))


def test_training_goes_on_from_an_earlier_adapter(mini_student: Path, tmp_path: Path) -> None:
    first = job(mini_student, tmp_path / "a")
    before = train(first, quiet)
    arm = replace(first.arm, adapter=str(tmp_path / "a"), adapter_hash=before.weights_hash)

    after = train(replace(job(mini_student, tmp_path / "b"), arm=arm), quiet)

    assert after.losses[0]["loss"] < before.losses[0]["loss"]
    assert after.weights_hash != before.weights_hash


# --- memory -----------------------------------------------------------------------------------------------------------


def losses(result: TrainingResult) -> list[float]:
    return [step["loss"] for step in result.losses]


def test_a_step_in_parts_learns_what_a_whole_one_does(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(job(mini_student, tmp_path / "whole", dropout=0.0), quiet)
    monkeypatch.setattr(memory, "_room", lambda device, processes: 1)

    parts = train(job(mini_student, tmp_path / "parts", dropout=0.0), quiet)

    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)
    assert (parts.rows, parts.steps, parts.tokens) == (whole.rows, whole.steps, whole.tokens)
    assert parts.notes == whole.notes, "memory ran out nowhere"


def test_where_memory_runs_out_the_batch_is_halved_and_that_is_noted(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(job(mini_student, tmp_path / "whole", dropout=0.0), quiet)
    monkeypatch.setattr("flywheel.training.lora.target_losses", Small(2))

    halved = train(job(mini_student, tmp_path / "halved", dropout=0.0), quiet)

    assert losses(halved) == pytest.approx(losses(whole), rel=1e-4)
    assert halved.notes[0] == "memory ran out at step 1: half as many rows go through the model at a time"


def test_a_lesson_that_does_not_fit_alone_is_computed_twice_and_then_given_up(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recomputed: list[bool] = []

    def never(torch: Any, loaded: Any, rows: Any) -> Any:
        recomputed.append(loaded.model.get_base_model().is_activation_checkpointing)
        raise MemoryError

    monkeypatch.setattr("flywheel.training.lora.target_losses", never)

    with pytest.raises(NodeFailed, match=r"a single lesson of \d+ tokens does not fit into memory"):
        train(job(mini_student, tmp_path / "a"), quiet)

    assert (recomputed[0], recomputed[-1]) == (False, True)


def test_a_training_that_ran_out_of_memory_is_resumed_as_small_as_it_was(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.training.lora.target_losses", Small(2))
    whole = train(job(mini_student, tmp_path / "whole"), quiet)
    cut = replace(job(mini_student, tmp_path / "cut"), checkpoint_seconds=0.0)
    with pytest.raises(Killed):
        train(cut, killed_at(4))

    assert train(cut, quiet) == whole


def test_recomputed_activations_give_the_same_adapter(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = train(job(mini_student, tmp_path / "kept"), quiet)
    monkeypatch.setattr(memory, "FEW_TOKENS", 1 << 40)

    again = train(job(mini_student, tmp_path / "again"), quiet)

    assert losses(again) == pytest.approx(losses(kept), rel=1e-4), "dropout draws the same numbers"
