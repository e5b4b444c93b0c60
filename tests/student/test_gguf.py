"""A base that is a GGUF file, or lies outside the project: what it is known by, and the folder that is made of it."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError
from flywheel.student import locate
from flywheel.student.chat import Chat
from flywheel.student.gguf import place, unpack
from flywheel.student.loading import base_arm, load_base
from flywheel.student.work import AnswerJob, Asking, answer
from mini_domain import write_empty_student, write_gguf

WEIGHTS = Path(os.environ.get("FLYWHEEL_TEST_WEIGHTS", Path.home() / ".cache" / "flywheel-weights"))


@pytest.fixture(scope="module")
def file(chat_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(chat_student, tmp_path_factory.mktemp("gguf") / "small.gguf")


# --- what it is known by ----------------------------------------------------------------------------------------------


def test_a_folder_outside_is_known_by_its_content_and_called_by_its_last_name(tmp_path: Path) -> None:
    root, models = tmp_path / "project", tmp_path / "models" / "small"
    for folder in (root / "small", models):
        folder.mkdir(parents=True)
        write_empty_student(folder)
    (root / "linked").symlink_to(models)

    inside, outside, linked = (locate(base, None, root) for base in ("small", str(models), "linked"))

    assert inside.weights_hash == outside.weights_hash == linked.weights_hash
    assert (inside.name, outside.name, linked.name) == ("small", "small", "small")
    assert (inside.outside, outside.outside, linked.outside) == (False, True, True)
    assert outside.source == str(models)


def test_other_weights_at_the_same_place_are_another_base(tmp_path: Path) -> None:
    write_empty_student(tmp_path)
    before = locate(str(tmp_path), None, tmp_path / "project")
    write_empty_student(tmp_path, "others")

    assert locate(str(tmp_path), None, tmp_path / "project").weights_hash != before.weights_hash


def test_a_gguf_is_known_by_its_content_alone(tmp_path: Path, file: Path) -> None:
    shutil.copy(file, tmp_path / "renamed.gguf")

    one, other = locate(str(file), None, tmp_path), locate("renamed.gguf", None, tmp_path)

    assert (one.weights_hash, one.source) == (other.weights_hash, other.source)
    assert (one.name, other.name) == ("small.gguf", "renamed.gguf")
    assert Path(one.source).parent == tmp_path / ".flywheel" / "artifacts"


# --- the folder that is made of it ------------------------------------------------------------------------------------


def test_the_folder_is_the_same_model_and_stands_alone(tmp_path: Path, file: Path, chat_student: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    unpack(file, tmp_path / "unpacked")

    packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "unpacked")
    original = AutoModelForCausalLM.from_pretrained(chat_student)
    ids = torch.tensor([[40, 50, 60, 70]])
    with torch.inference_mode():
        logits, whole, rounded = model(ids).logits, packed(ids).logits, original(ids).logits
    assert torch.equal(logits, whole)
    assert float((logits[..., : rounded.shape[-1]] - rounded).abs().max()) < 0.02 * float(rounded.abs().max())
    tokenizer, ours = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "unpacked", chat_student))
    assert tokenizer.chat_template == ours.chat_template
    assert (tokenizer.eos_token, tokenizer.encode("a <eos>")) == (ours.eos_token, ours.encode("a <eos>"))
    assert "quantization_config" not in json.loads((tmp_path / "unpacked" / "config.json").read_text())


def scaled(kind: str, **settings: float) -> Any:
    def write(writer: Any) -> None:
        writer.add_string("qwen2.rope.scaling.type", kind)
        for key, value in settings.items():
            add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
            add(f"qwen2.rope.scaling.{key}", value)

    return write


def by_llama3(factor: float) -> Any:
    """As llama.cpp's converter writes it: what each frequency is divided by."""

    def write(writer: Any) -> None:
        import numpy

        theta, half = 1_000_000.0, 4
        waves = 2 * math.pi * theta ** (numpy.arange(half) / half)
        smooth = (8192 / waves - 1) / (4 - 1)
        between = 1 / ((1 - smooth) / factor + smooth)
        factors = numpy.where(waves < 8192 / 4, 1.0, numpy.where(waves > 8192, factor, between))
        writer.add_tensor("rope_freqs.weight", factors.astype(numpy.float32))

    return write


@pytest.mark.parametrize(
    ("written", "rope"),
    [
        (scaled("linear", factor=4.0), {"rope_type": "linear", "factor": 4.0}),
        (
            scaled("yarn", factor=4.0, original_context_length=128),
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        ),
        (scaled("none"), {"rope_type": "default"}),
        (
            by_llama3(32.0),
            {
                "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        ),
    ],
)  # fmt: skip
def test_positions_are_stretched_as_the_file_says(
    tmp_path: Path, chat_student: Path, written: Any, rope: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    unpack(write_gguf(chat_student, tmp_path / "small.gguf", written, 1_000_000.0), tmp_path / "unpacked")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "unpacked")
    config = AutoConfig.from_pretrained(tmp_path / "unpacked")
    config.rope_parameters = {"rope_theta": 1_000_000.0, **rope}
    meant = type(model)(config)
    meant.load_state_dict(model.state_dict())
    ids = torch.arange(3, 43)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, meant.eval()(ids).logits)
    assert model.config.rope_parameters == config.rope_parameters


def test_of_gemma_3_only_the_layers_that_see_everything_are_stretched(tmp_path: Path) -> None:
    from gguf import GGUFWriter
    from transformers import Gemma3TextConfig

    writer = GGUFWriter(tmp_path / "a.gguf", "gemma3")
    writer.add_string("gemma3.rope.scaling.type", "linear")
    writer.add_float32("gemma3.rope.scaling.factor", 8.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    config = Gemma3TextConfig()
    before = config.rope_parameters

    place(config, tmp_path / "a.gguf")

    assert config.rope_parameters["sliding_attention"] == before["sliding_attention"]
    assert config.rope_parameters["full_attention"] == {
        "rope_theta": 1_000_000.0, "rope_type": "linear", "factor": 8.0,
    }  # fmt: skip


@pytest.mark.parametrize("written", [scaled("longrope", factor=4.0), by_llama3(0.5)])
def test_positions_that_are_stretched_otherwise_are_refused_and_nothing_is_left(
    tmp_path: Path, chat_student: Path, written: Any
) -> None:
    file = write_gguf(chat_student, tmp_path / "small.gguf", written, 1_000_000.0)

    with pytest.raises(FlywheelError, match=r"it stretches positions .*; name the model's folder"):
        unpack(file, tmp_path / "unpacked")

    assert not (tmp_path / "unpacked").exists()


def test_it_is_made_once_and_asked_like_any_student(tmp_path: Path, file: Path) -> None:
    arm = base_arm(locate(str(file), None, tmp_path), "float32", "cpu")
    job = AnswerJob(arm, Asking(Chat(), 4, 2), (("a", "what colour?"), ("b", "why?")))

    first = answer(job, lambda message: None)
    made = (Path(arm.source) / "model.safetensors").stat().st_mtime_ns
    load_base(arm)

    assert [said.prompt_id for said in first] == ["a", "b"]
    assert (Path(arm.source) / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in Path(arm.source).parent.glob("[!.]*")] == [Path(arm.source).name]


def test_of_a_file_that_cannot_be_read_nothing_is_left(tmp_path: Path, file: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:9_000])

    with pytest.raises(FlywheelError, match=r"cut\.gguf cannot be read as GGUF: "):
        unpack(tmp_path / "cut.gguf", tmp_path / "unpacked")

    assert {path.name for path in tmp_path.iterdir()} == {"cut.gguf", ".unpacked.lock"}


# --- pretrained -------------------------------------------------------------------------------------------------------


@pytest.fixture
def smollm2() -> Path:
    path = WEIGHTS / "smollm2-135m-instruct.gguf"
    if not path.exists():
        pytest.skip(f"no {path.name} in {WEIGHTS}: python scripts/fetch_weights.py")
    return path


@pytest.mark.slow
def test_a_pretrained_gguf_answers_a_question(tmp_path: Path, smollm2: Path) -> None:
    arm = base_arm(locate(str(smollm2), None, tmp_path), "float32", "cpu")
    question = "What is the capital of France? Answer with one word."

    said: list[Any] = answer(AnswerJob(arm, Asking(Chat(), 8, 1), (("q", question),)), lambda message: None)

    assert "Paris" in said[0].text
