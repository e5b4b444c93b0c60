"""Batches bounded by memory: nothing is computed that is not needed, and what does not fit is made smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.student import memory
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, Loaded, load_base
from flywheel.student.memory import (
    Cost,
    Room,
    free_memory,
    out_of_memory,
    reading_room,
    training_needs,
    training_room,
)
from flywheel.student.sampling import completion_losses, target_losses

PAIRS = [(f"{'word ' * (i % 7)}thing {i} is", "red" if i % 2 else "a longer answer") for i in range(12)]


@pytest.fixture(scope="module")
def mini(mini_student: Path) -> Loaded:
    return load_base(Arm(str(mini_student), None, "float32", "cpu", "hash"))


# --- parts ------------------------------------------------------------------------------------------------------------

rows = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=20).map(
    lambda sizes: [([0] * size, min(start, size)) for size, start in sizes]
)


@settings(deadline=None)
@given(rows, st.integers(1, 5_000))
def test_parts_hold_every_row_once_in_order_and_none_that_could_be_split_is_too_large(rows: Any, size: int) -> None:
    room = Room(size, Cost(token=10, target=30))

    parts = list(room.parts(rows, range(len(rows))))

    assert [place for part in parts for place in part] == list(range(len(rows)))
    assert all(len(part) == 1 or room.cost.of([rows[i] for i in part]) <= size for part in parts)


def test_a_long_target_takes_more_than_a_long_prompt() -> None:
    cost = Cost(token=10, target=1_000)

    assert cost.of([([0] * 50, 10)]) > cost.of([([0] * 50, 45)])


# --- what is computed -------------------------------------------------------------------------------------------------


def test_the_output_layer_sees_only_what_comes_before_a_target(mini: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    seen: list[int] = []
    hook = mini.model.get_output_embeddings().register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].reshape(-1, inputs[0].shape[-1]).shape[0])
    )
    losses, owners = target_losses(torch, mini, [([5, 6, 7, 8, 9], 3), ([5, 6, 7], 2)])
    hook.remove()

    assert seen == [3]
    assert owners.tolist() == [0, 0, 1]
    assert losses.shape == (3,)


def test_a_target_has_the_loss_that_the_whole_logits_give(mini: Loaded) -> None:
    import torch

    ids = torch.tensor([[10, 20, 30, 40, 50]])
    with torch.inference_mode():
        whole = mini.model(input_ids=ids).logits[0].log_softmax(-1)
        losses, _ = target_losses(torch, mini, [([10, 20, 30, 40, 50], 2), ([10, 20, 30, 40, 50, 60, 70], 6)])

    assert losses[:3].tolist() == pytest.approx([-float(whole[i, ids[0, i + 1]]) for i in (1, 2, 3)], abs=1e-5)


def test_a_model_that_gives_all_logits_is_served_too(mini: Loaded) -> None:
    import torch

    class Old(torch.nn.Module):
        def forward(self, input_ids: Any, logits_to_keep: Any = None, use_cache: bool = False) -> Any:
            return mini.model(input_ids=input_ids)

    rows = [([10, 20, 30, 40], 2), ([10, 20, 30], 1)]
    with torch.inference_mode():
        new, _ = target_losses(torch, mini, rows)
        old, _ = target_losses(torch, replace(mini, model=Old()), rows)

    assert old.tolist() == pytest.approx(new.tolist(), abs=1e-5)


# --- memory -----------------------------------------------------------------------------------------------------------


class Small:
    """Memory for so many rows: more raise what torch raises."""

    def __init__(self, rows: int) -> None:
        self.rows, self.asked = rows, []  # type: ignore[var-annotated]

    def __call__(self, torch: Any, loaded: Loaded, rows: Any) -> Any:
        self.asked.append(len(rows))
        if len(rows) > self.rows:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return target_losses(torch, loaded, rows)


def test_ranking_goes_on_in_halves_where_memory_runs_out(mini: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = completion_losses(mini, PAIRS, chat=Chat())
    small = Small(2)
    monkeypatch.setattr("flywheel.student.sampling.target_losses", small)

    assert completion_losses(mini, PAIRS, chat=Chat()) == pytest.approx(whole, abs=1e-5)
    assert small.asked[0] == 12


def test_a_single_pair_that_does_not_fit_is_an_error(mini: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.student.sampling.target_losses", Small(0))

    with pytest.raises(RuntimeError, match="can't allocate"):
        completion_losses(mini, PAIRS, chat=Chat())


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_faults(error: Exception, is_memory: bool) -> None:
    assert out_of_memory(error) is is_memory


def test_with_little_memory_activations_are_computed_again(mini: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not training_room(mini.model, "cpu").recompute
    monkeypatch.setattr(memory, "_free", lambda: 2 << 20)

    short = training_room(mini.model, "cpu")

    assert (short.bytes, short.recompute) == (1 << 20, True)
    monkeypatch.undo()
    assert short.cost.token < training_room(mini.model, "cpu").cost.token


def test_a_small_model_reads_many_rows_at_once(mini: Loaded) -> None:
    rows = [([0] * 100, 90)] * 64

    assert len(list(reading_room(mini.model).parts(rows, range(64)))) == 1


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory._left_in_group(tmp_path) == 600

    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_group(tmp_path) is None
    assert memory._left_in_group(tmp_path / "none") is None


@pytest.mark.parametrize(("free", "processes", "each"), [(900, 1, 900), (900, 3, 300), (None, 3, 1 << 62)])
def test_processes_share_what_is_free_on_a_machine(
    monkeypatch: pytest.MonkeyPatch, free: int | None, processes: int, each: int
) -> None:
    monkeypatch.setattr(memory, "_free", lambda: free)

    assert free_memory("cpu", processes) == each


def test_each_gpu_is_one_process_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_cuda", lambda: (100, 900))

    assert free_memory("cuda", 3) == 900


def test_what_learns_has_a_gradient_and_two_moments_beside_it(mini: Loaded) -> None:
    frozen = mini.model.requires_grad_(False)
    needs = training_needs(frozen)
    weights = next(frozen.parameters()).requires_grad_(True)

    assert training_needs(frozen) - needs == 3 * weights.nbytes
    assert needs > sum(parameter.nbytes for parameter in frozen.parameters())
    mini.model.requires_grad_(True)
