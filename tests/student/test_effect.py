"""Does an adapter change anything, and the same when it is merged? With a real model, small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, adapter_hash, forget, load_base
from flywheel.student.sampling import target_logits
from flywheel.student.work import COMPARED_TOKENS, AnswerJob, Asking, EffectJob, answer, effect

PAIRS = tuple((f"what colour is thing {i}?", "it is dark red" if i % 2 else "blue") for i in range(4))
QUESTIONS = tuple((str(i), prompt) for i, (prompt, _) in enumerate(PAIRS))
ASKING = Asking(Chat(), 6, 4)


def adapted(student: Path, folder: Path, scale: float) -> Arm:
    """An adapter of random weights, `scale` large; 0 does nothing."""
    import torch
    from peft import LoraConfig, get_peft_model

    arm = Arm(str(student), None, "float32", "cpu", "base")
    torch.manual_seed(1)
    model: Any = get_peft_model(load_base(arm).model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=scale)
    model.save_pretrained(folder)
    return replace(arm, adapter=str(folder), adapter_hash=adapter_hash(folder))


@pytest.fixture(autouse=True)
def _forgotten() -> Any:
    yield
    forget()


def test_an_adapter_that_works_is_the_same_merged(mini_student: Path, tmp_path: Path) -> None:
    found = effect(EffectJob(adapted(mini_student, tmp_path, 0.5), ASKING, PAIRS), lambda message: None)

    assert found.outputs_changed > 0
    assert found.logit_change > 0.1
    assert found.merged is not None
    assert (found.merged.outputs_changed, found.merged.dtype) == (0, "float32")
    assert 0 <= found.merged.logit_change < 1e-4 * found.merged.logit_scale


def test_an_adapter_of_zeros_changes_nothing(mini_student: Path, tmp_path: Path) -> None:
    found = effect(EffectJob(adapted(mini_student, tmp_path, 0.0), ASKING, PAIRS), lambda message: None)

    assert (found.outputs_changed, found.logit_change) == (0, 0.0)


def test_of_a_long_answer_only_its_beginning_is_compared(
    mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(torch: Any, loaded: Any, rows: Any) -> Any:
        seen.extend(len(ids) - start for ids, start in rows)
        return target_logits(torch, loaded, rows)

    monkeypatch.setattr("flywheel.student.work.target_logits", counted)

    effect(EffectJob(adapted(mini_student, tmp_path, 0.5), ASKING, (("why?", "because " * 90),)), lambda message: None)

    assert seen == [COMPARED_TOKENS] * 3, "with the adapter, without it, merged"


def test_looking_for_the_effect_leaves_the_model_as_it_was(mini_student: Path, tmp_path: Path) -> None:
    """Merging writes into the weights; who asks next must not get those."""
    arm = adapted(mini_student, tmp_path, 0.5)
    before = answer(AnswerJob(arm, ASKING, QUESTIONS), lambda message: None)

    effect(EffectJob(arm, ASKING, PAIRS), lambda message: None)

    assert answer(AnswerJob(arm, ASKING, QUESTIONS), lambda message: None) == before


def test_merging_that_goes_wrong_is_seen(mini_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a scaling that one of the two ways forgets."""
    from peft import PeftModel

    def merged_badly(self: Any) -> Any:
        for name, weights in self.named_parameters():
            if "lora_B" in name:
                weights.data *= 2
        return type(self).merge_whole(self)

    monkeypatch.setattr(PeftModel, "merge_whole", lambda self: self.base_model.merge_and_unload(), raising=False)
    monkeypatch.setattr(PeftModel, "merge_and_unload", merged_badly, raising=False)

    found = effect(EffectJob(adapted(mini_student, tmp_path, 0.5), ASKING, PAIRS), lambda message: None)

    assert found.merged is not None
    assert found.merged.logit_change > 1e-3 * found.merged.logit_scale
