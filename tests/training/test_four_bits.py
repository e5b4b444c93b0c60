"""QLoRA: what the base is loaded with, and, where bitsandbytes is installed, an adapter that is learned on it. No test
has a GPU: bitsandbytes computes the same on a CPU, slowly."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError
from flywheel.spec.models import Train
from flywheel.student import BUILTIN, four_bits
from flywheel.student.chat import Chat
from flywheel.student.loading import Arm, load, load_base
from flywheel.student.work import AnswerJob, Asking, answer
from flywheel.training import CalibrationJob, TrainingJob, calibrate, train
from flywheel.training.preference import OwnAnswer, PreferenceJob, prefer
from flywheel.training.recipe import size_of

ROWS = tuple((f"thing {i} is", "blue" if i % 2 else "red") for i in range(8))
SETTINGS = Train(quantize="4bit", rank=4, epochs=2, batch_size=4, learning_rate=0.02, targets="all-linear")


def quiet(message: dict[str, Any]) -> None:
    """Progress nobody looks at."""


@pytest.fixture
def by_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is here, and its kernels for a CPU have to do."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(four_bits, "lack", lambda in_depth=False: None)


def test_the_base_is_loaded_as_qlora_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers  # noqa: F401 - it asks for versions of its own

    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.50.2")

    told = four_bits.loaded_so("cuda")

    assert told["device_map"] == {"": "cuda"}
    config = told["quantization_config"]
    assert config.load_in_4bit is True
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert config.bnb_4bit_compute_dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("gpu", "package", "said"),
    [
        (False, True, "needs a GPU"),
        (False, False, "needs a GPU"),
        (True, False, "needs bitsandbytes"),
        (True, True, ""),
    ],
)
@pytest.mark.parametrize("in_depth", [False, True])
def test_what_is_not_here_is_named(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, package: bool, said: str, in_depth: bool
) -> None:
    def version(name: str) -> str:
        if not package:
            raise PackageNotFoundError(name)
        return "0.50.2"

    monkeypatch.setattr(four_bits.metadata, "version", version)
    monkeypatch.setattr(four_bits, "_torch_sees_one" if in_depth else "_driver_is_here", lambda: gpu)

    found = four_bits.lack(in_depth)

    assert (found is not None) == bool(said)
    assert said in (found or ("",))[0]


def test_a_base_is_not_quantised_where_this_machine_cannot(mini_student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "_torch_sees_one", lambda: False)

    with pytest.raises(FlywheelError, match=r"train\.quantize: 4bit needs a GPU"):
        load_base(Arm(str(mini_student), None, "float32", "cpu", "hash"), in_4_bits=True)


@pytest.mark.usefixtures("by_bitsandbytes")
def test_a_base_in_4_bits_is_as_large_as_it_was_and_nothing_of_it_learns(mini_student: Path) -> None:
    arm = Arm(str(mini_student), None, "float32", "cpu", "hash")
    whole, quantised = load_base(arm).model, load_base(arm, in_4_bits=True).model

    assert size_of(quantised) == size_of(whole)
    kinds = {type(module).__name__ for module in quantised.modules()}
    assert "Linear4bit" in kinds
    assert not any(parameter.requires_grad for parameter in quantised.parameters())


@pytest.mark.slow
@pytest.mark.usefixtures("by_bitsandbytes")
def test_an_adapter_is_learned_on_4_bits_and_asked_on_the_base_as_it_is(tmp_path: Path) -> None:
    student = str(BUILTIN["builtin:tiny"])  # bitsandbytes' kernels for a CPU want rows of 64 numbers
    arm, settings = Arm(student, None, "float32", "cpu", "hash"), SETTINGS.of_lessons
    job = TrainingJob(arm, "student", ROWS, settings, Chat(), 7, str(tmp_path / "adapter"))

    found = train(job, quiet)
    unquantised = train(
        TrainingJob(arm, "student", ROWS, {**settings, "quantize": None}, Chat(), 7, str(tmp_path / "other")), quiet
    )

    assert found.losses[-1]["loss"] < found.losses[0]["loss"]
    assert found.settings["quantize"] == "4bit"
    assert found.weights_hash != unquantised.weights_hash, "it learned on another base"
    learned = Arm(student, None, "float32", "cpu", "hash", str(tmp_path / "adapter"), found.weights_hash)
    assert "Linear4bit" not in {type(module).__name__ for module in load(learned).model.modules()}
    assert answer(AnswerJob(learned, Asking(Chat(), 4, 4), (("it", "thing 1 is"),)), quiet)[0].text

    again = TrainingJob(learned, "student", (), {**settings, **preference()}, Chat(), 7, str(tmp_path / "preferred"))
    units = tuple((OwnAnswer(prompt, right), OwnAnswer(prompt, "green")) for prompt, right in ROWS)
    assert prefer(PreferenceJob(again, "dpo", units), quiet).steps > 0


def preference() -> dict[str, Any]:
    return {"preference": Train(method="dpo").model_dump(mode="json")["preference"]}


@pytest.mark.usefixtures("by_bitsandbytes")
def test_how_fast_it_learns_is_measured_on_4_bits(mini_student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bool] = []
    monkeypatch.setattr(
        "flywheel.training.calibration.load_base",
        lambda arm, in_4_bits: loads.append(in_4_bits) or load_base(arm, in_4_bits),
    )
    arm = Arm(str(mini_student), None, "float32", "cpu", "hash")

    found = calibrate(CalibrationJob(arm, Asking(Chat(), 4, 4), ROWS, SETTINGS.of_lessons), quiet)

    assert found.learn > 0
    assert loads == [True]
