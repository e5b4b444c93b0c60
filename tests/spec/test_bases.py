"""What a student can be made of: folders and GGUF files anywhere, and what is said of those that cannot be one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.spec.bases import (
    BUILTIN,
    base_path,
    base_problem,
    causal_kinds,
    gguf_cuts,
    gguf_kinds,
    without_commit,
)
from mini_domain import write_empty_student

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is a model in every way that is looked at."""
    made = tmp_path / "models" / "small"
    made.mkdir(parents=True)
    write_empty_student(made)
    return made


def configured(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**LLAMA, **changes}))


def write_gguf(path: Path, architecture: str, before: tuple[tuple[str, bytes], ...] = ()) -> Path:
    """A header as llama.cpp writes it, with no tensor."""
    pairs = [*before, ("general.architecture", _text_value(architecture))]
    body = b"".join(_text(key) + value for key, value in pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + body)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _text_value(text: str) -> bytes:
    return struct.pack("<I", 8) + _text(text)


def message(root: Path, base: str) -> str:
    found = base_problem(root, base)
    assert found is not None
    return f"{found[0]} {found[1]}".strip()


# --- what is one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base", [BUILTIN, "Qwen/Qwen3-0.6B", "gpt2", "models/small", "./models/small", "models/small/"]
)
def test_a_built_in_model_a_hub_id_and_a_folder_are_bases(tmp_path: Path, folder: Path, base: str) -> None:
    assert base_problem(tmp_path, base, "0123abc") is None
    assert base_path(tmp_path, base) == (folder if "small" in base else None)


@pytest.mark.parametrize("base", ["Qwen/Qwen3-0.6B", "gpt2"])
def test_a_hub_id_needs_a_commit_unless_one_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    assert base_problem(tmp_path, base) is None
    found = without_commit(tmp_path, base)
    assert found is not None
    assert "as a hub id it needs a commit" in found[0]
    assert without_commit(tmp_path, base, "0123abc") is None

    refs = tmp_path / "hub" / f"models--{base.replace('/', '--')}" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("0123abc")
    assert without_commit(tmp_path, base) is None


@pytest.mark.parametrize("base", [BUILTIN, "models/small", "./models/small"])
def test_what_is_here_needs_no_commit(tmp_path: Path, folder: Path, base: str) -> None:
    assert without_commit(tmp_path, base) is None


def test_a_base_may_lie_outside_the_project(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "project"
    root.mkdir()
    (root / "linked").symlink_to(folder)

    for base in (str(folder), "~/models/small", "../models/small", "linked"):
        assert base_problem(root, base) is None, base
        assert base_path(root, base) == folder


def test_a_gguf_file_is_a_base_wherever_it_lies(tmp_path: Path) -> None:
    number = struct.pack("<II", 4, 7)
    write_gguf(tmp_path / "a" / "small.gguf", "llama", before=(("general.quantization_version", number),))

    for base in ("a/small.gguf", str(tmp_path / "a" / "small.gguf")):
        assert base_problem(tmp_path, base) is None
        assert base_path(tmp_path, base) == tmp_path / "a" / "small.gguf"


def test_code_that_comes_with_a_model_is_no_fault_where_it_is_not_needed(tmp_path: Path, folder: Path) -> None:
    configured(folder, auto_map={"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"})

    assert base_problem(tmp_path, "models/small") is None


# --- what is none -----------------------------------------------------------------------------------------------------

EITHER = "Name a folder with config.json and safetensors, or a GGUF file."


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("builtin:small", 'unknown built-in model "builtin:small". Did you mean "builtin:tiny"?'),
        ("./models/none", f'"./models/none" does not exist. {EITHER}'),
        ("/models/none", f'"/models/none" does not exist. {EITHER}'),
        ("none.gguf", f'"none.gguf" does not exist. {EITHER}'),
        ("models", f'"models" has no config.json. {EITHER}'),
        ("models/small/tokenizer.json", f'"models/small/tokenizer.json" is neither a folder nor a GGUF file. {EITHER}'),
        ("a/b/c", '"a/b/c" is neither a folder nor a Hugging Face id. '
                  "Write builtin:tiny, a folder (./models/small), a GGUF file, or a Hugging Face id (org/name)."),
    ],
)  # fmt: skip
def test_names_that_lead_to_no_model(tmp_path: Path, folder: Path, base: str, said: str) -> None:
    assert message(tmp_path, base) == said


@pytest.mark.parametrize("base", ["./circle", "./circle/small", "circle.gguf"])
def test_links_that_go_round_lead_to_no_model(tmp_path: Path, base: str) -> None:
    for name in ("circle", "circle.gguf"):
        (tmp_path / name).symlink_to(name)

    assert message(tmp_path, base) == "leads nowhere. Name the folder itself."


def adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')


def only_gguf(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    write_gguf(folder / "q4.gguf", "llama")


def gguf_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_gguf(folder / "q4.gguf", "llama")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def cut(folder: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")


def lacking(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-00002-of-00002.safetensors"}}')


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: configured(folder, **changes)


OWN_CODE = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (adapter, "is an adapter, not a model. Name the model that it was trained on (org/base), or merge them."),
        (only_gguf, "is a folder with a GGUF file, which is named itself. Write student.base: models/small/q4.gguf"),
        (gguf_weights, "has its weights as a GGUF file, which is named itself. Write student.base: models/small/q4."),
        (pickled, "has no *.safetensors weights; pickled ones are refused because loading them runs code. "),
        (pointer, "has a model.safetensors that is no safetensors file (a Git LFS pointer, or cut off)."),
        (cut, "has a model.safetensors that is no safetensors file (a Git LFS pointer, or cut off)."),
        (lacking, "lacks 1 file of its weights: model-00002-of-00002.safetensors. Download it again."),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer. Save it beside the weights"),
        (lambda f: (f / "config.json").write_text("{"), "has a config.json that cannot be read: "),
        (lambda f: (f / "config.json").write_text("[]"), "has a config.json that is no object."),
        (config(model_type="own", architectures=["OwnForCausalLM"], auto_map=OWN_CODE),
         "needs code that comes with it (OwnForCausalLM), which is never run. "),
        (config(model_type="bert", architectures=["BertForMaskedLM"]),
         "is no causal language model (BertForMaskedLM). "),
        (config(model_type="t5", architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True),
         "is no causal language model (T5ForConditionalGeneration). "),
        (config(model_type="llama", architectures=["LlamaForSequenceClassification"]),
         "is no causal language model (LlamaForSequenceClassification). "),
        (config(model_type="clip", architectures=None), "is no causal language model (clip). "),
    ],
)  # fmt: skip
def test_folders_of_which_no_student_can_be_made(
    tmp_path: Path, folder: Path, change: Callable[[Path], Any], said: str
) -> None:
    change(folder)

    assert message(tmp_path, "models/small").startswith(f'"models/small" {said}')


def test_ggufs_of_which_no_student_can_be_made(tmp_path: Path) -> None:
    write_gguf(tmp_path / "eyes.gguf", "clip")
    write_gguf(tmp_path / "big-00001-of-00003.gguf", "llama")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0")
    (tmp_path / "pickled.gguf").write_bytes(b"PK\3\4" + bytes(60))

    assert "of a kind that transformers cannot read as a causal language model (clip)" in message(tmp_path, "eyes.gguf")
    assert message(tmp_path, "big-00001-of-00003.gguf").startswith('"big-00001-of-00003.gguf" is one of 3 parts')
    for name in ("cut.gguf", "pickled.gguf"):
        assert message(tmp_path, name) == f'"{name}" is neither a folder nor a GGUF file. {EITHER}'


def tokenized(path: Path, pre: str | None, model: str = "gpt2", *, first: tuple[tuple[str, bytes], ...] = ()) -> str:
    """The file's name; its header goes on as llama.cpp's, up to the vocabulary."""
    tags = struct.pack("<IIQ", 9, 8, 2) + _text("chat") + _text("small")
    sections = struct.pack("<IIQ4i", 9, 5, 4, 1, 2, 3, 4)
    about = [("tokenizer.ggml.pre", _text_value(pre))] if pre is not None else []
    before = (
        *first, ("general.tags", tags), ("qwen2.rope.dimension_sections", sections),
        ("tokenizer.ggml.model", _text_value(model)), *about,
    )  # fmt: skip
    write_gguf(path, "qwen2", before=before)
    return path.name


@pytest.mark.parametrize("pre", ["deepseek-coder", "stablelm2", "glm4", "of-tomorrow"])
def test_a_gguf_whose_text_transformers_cuts_in_another_way_is_no_base(tmp_path: Path, pre: str) -> None:
    said = message(tmp_path, tokenized(tmp_path / "a.gguf", pre))
    assert f"cut in a way that transformers does not know ({pre})" in said
    assert said.endswith("Name the model's folder, with its tokenizer.json.")


@pytest.mark.parametrize(
    ("pre", "model"),
    [("qwen2", "gpt2"), ("llama-bpe", "gpt2"), ("smollm", "gpt2"), ("gpt-2", "gpt2"), (None, "gpt2"), ("x", "llama")],
)
def test_one_whose_text_it_cuts_as_the_file_says_is(tmp_path: Path, pre: str | None, model: str) -> None:
    assert base_problem(tmp_path, tokenized(tmp_path / "a.gguf", pre, model)) is None


@pytest.mark.parametrize(("kind", "told"), [("longrope", True), ("yarn", False), ("linear", False), ("none", False)])
def test_a_gguf_whose_positions_are_stretched_in_an_unknown_way_is_no_base(
    tmp_path: Path, kind: str, told: bool
) -> None:
    name = tokenized(tmp_path / "a.gguf", "qwen2", first=(("qwen2.rope.scaling.type", _text_value(kind)),))
    assert (base_problem(tmp_path, name) is not None) is told
    if told:
        assert "stretches positions by 'longrope'" in message(tmp_path, name)


def test_an_array_that_ends_in_the_middle_is_no_gguf(tmp_path: Path) -> None:
    name = tokenized(tmp_path / "a.gguf", "qwen2", first=(("x", struct.pack("<IIQ", 9, 8, 1 << 40)),))
    assert "is neither a folder nor a GGUF file" in message(tmp_path, name)


def test_what_cannot_be_read_is_said_and_a_pipe_is_not_waited_for(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    os.mkfifo(tmp_path / "pipe.gguf")
    assert message(tmp_path, "pipe.gguf") == f'"pipe.gguf" is neither a folder nor a GGUF file. {EITHER}'
    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert message(tmp_path, "models/small").startswith('"models/small" cannot be read: Permission denied. See who may')


def test_a_downloaded_model_of_a_kind_that_needs_code_is_told_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = tmp_path / "hub" / "models--org--own" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": OWN_CODE}))

    assert base_problem(tmp_path, "org/own", "def") is None, "nothing is known of it"
    found = base_problem(tmp_path, "org/own", "abc")
    assert found is not None
    assert found[0] == '"org/own" needs code that comes with it (own), which is never run.'


def test_what_transformers_has_is_read_without_importing_it() -> None:
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert causal_kinds() == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert {"llama", "qwen2", "qwen3", "gemma3", "gemma2", "phi3"} <= gguf_kinds()
    assert len(gguf_kinds()) <= len(GGUF_CONFIG_MAPPING)
    assert not gguf_kinds() & {"t5", "umt5", "general", "tokenizer"}
    assert gguf_cuts() == set(GGUF_PRE_TOKENIZER_SPLITS)


def test_the_loader_says_where_the_base_stands(project) -> None:
    project.edit(("version: 1\n", "version: 1\nstudent: {base: ./models}\n"))

    assert project.messages() == [f'flywheel.yaml:3:17: student.base: "./models" does not exist. {EITHER}']
