"""A model is loaded once: who asks for another adapter of the same base is given the base that is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.student.chat import Chat
from flywheel.student.loading import ALONE_BELOW, Arm, choose_threads, forget, load, load_base
from flywheel.student.sampling import target_logits
from flywheel.student.work import AnswerJob, Asking, answer
from student.test_effect import adapted

QUESTIONS = tuple((str(i), f"what colour is thing {i}?") for i in range(6))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    forget()
    yield
    forget()


def logits(arm: Arm) -> Any:
    import torch

    loaded = load(arm)
    ids = loaded.tokenizer.encode("what colour is thing 1? it is dark red")
    return target_logits(torch, loaded, [(ids, 3)])[0]


def said(arm: Arm) -> Any:
    return [a.text for a in answer(AnswerJob(arm, Asking(Chat(), 6, 4), QUESTIONS), lambda message: None)]


@pytest.mark.filterwarnings("error::UserWarning")
def test_models_that_take_turns_are_the_same_to_the_bit_and_their_base_is_loaded_once(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = adapted(mini_student, tmp_path / "one", 0.5)
    two = adapted(mini_student, tmp_path / "two", 0.9)
    arms = (one, replace(one, adapter=None, adapter_hash=None), two)
    alone = []
    for arm in arms:
        forget()
        alone.append((logits(arm), said(arm)))
    assert not alone[0][0].equal(alone[1][0])
    forget()
    loads = []
    monkeypatch.setattr("flywheel.student.loading.load_base", lambda arm: loads.append(arm) or load_base(arm))

    for place in (0, 1, 2, 1, 0, 2, 0):
        assert logits(arms[place]).equal(alone[place][0])
        assert said(arms[place]) == alone[place][1]

    assert len(loads) == 1


def test_a_merged_model_answers_the_same_and_leaves_no_trace_in_the_next_one(
    mini_student: Path, tmp_path: Path
) -> None:
    beside = adapted(mini_student, tmp_path / "one", 0.5)
    base = replace(beside, adapter=None, adapter_hash=None)
    before = {arm: (logits(arm), said(arm)) for arm in (beside, base)}

    merged = replace(beside, merged=True)
    assert said(merged) == before[beside][1] != before[base][1]
    assert (logits(merged) - before[beside][0]).abs().max() < 1e-4
    assert not any("lora" in name for name, _ in load(merged).model.named_parameters())

    for arm, (values, words) in before.items():
        assert logits(arm).equal(values)
        assert said(arm) == words
        assert said(merged) == before[beside][1]


def test_weights_that_would_be_rounded_are_not_merged(mini_student: Path, tmp_path: Path) -> None:
    coarse = replace(adapted(mini_student, tmp_path / "one", 0.5), dtype="bfloat16", merged=True)
    assert any("lora" in name for name, _ in load(coarse).model.named_parameters())


def test_another_base_is_another_model(mini_student: Path, chat_student: Path) -> None:
    first = load(Arm(str(mini_student), None, "float32", "cpu", "base"))
    second = load(Arm(str(chat_student), None, "float32", "cpu", "other"))
    assert first.model is not second.model


def test_a_model_as_small_as_ours_computes_alone_and_a_larger_one_with_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setattr("flywheel.student.loading._all_threads", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        choose_threads(ALONE_BELOW - 1)
        assert torch.get_num_threads() == 1
        choose_threads(ALONE_BELOW)
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        choose_threads(ALONE_BELOW - 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
