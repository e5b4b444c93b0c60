"""`flywheel export`: a model that leaves the project and works there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import stand_in
from flywheel.student import BUILTIN, locate
from flywheel.student.chat import Chat
from flywheel.student.loading import base_arm, forget, load, load_base
from flywheel.student.merging import MergeJob, MergeResult, merge
from flywheel.student.sampling import generate
from flywheel.student.work import Asking, EffectJob, Merged, effect, plain_merge_warning
from mini_domain import Domain, write_gguf
from nodes.test_handover import adapter_of, program, said_elsewhere

PROMPTS = ("old sky 7\ncolour:", "new rose 8\ncolour:", "how many orders were there in May?", "list all customers")


@pytest.fixture(autouse=True)
def _forgotten() -> Any:
    yield
    forget()


# --- the command, with a stand-in for the model -----------------------------------------------------------------------


def test_the_deployed_adapter_is_written_with_all_that_it_needs(applied: Domain, flywheel) -> None:
    deployed = applied.query("SELECT model_id FROM deployments")[-1]["model_id"]

    code, out, error = flywheel(applied, "export", "out")

    assert (code, error) == (0, "")
    assert out.splitlines() == [f"out: {deployed} (iteration 1)", "How to ask it: out/README.md"]
    assert {path.name for path in (applied.root / "out").iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "flywheel.json", "generation_config.json",
        "prompts", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    told = json.loads((applied.root / "out" / "flywheel.json").read_text())
    assert (told["model_id"], told["iteration"], told["dtype"]) == (deployed, 1, "float32")
    assert told["tasks"]["colour"] == {
        "prompt": "prompts/colour.jinja", "shots": "", "target": "label", "stop": [], "final": None,
    }  # fmt: skip


def test_a_merged_one_says_how_many_answers_are_equal(applied: Domain, flywheel) -> None:
    (applied.root / "out").mkdir()

    code, out, _ = flywheel(applied, "export", "out", "--merged", "--iteration", "1")

    assert code == 0
    assert "merged: 8 of 8 answers equal the adapter's\n" in out
    assert not (applied.root / "out" / "adapter_config.json").exists()


def test_what_was_edited_since_is_noted(applied: Domain, flywheel) -> None:
    (applied.root / "prompts" / "colour.md").write_text("{{ row.text }}? colour:")

    _, out, _ = flywheel(applied, "export", "out")

    assert "note: prompts/colour.md has changed since this model was measured; the folder has it as it is now" in out


def test_an_adapter_on_the_built_in_student_comes_with_its_base_and_names_no_place(domain: Domain, flywheel) -> None:
    domain.edit(lambda spec: spec["student"].update(base="builtin:tiny"))
    domain.apply()
    trained = domain.root / domain.query("SELECT path FROM adapters")[0]["path"]

    assert flywheel(domain, "export", "out", "--iteration", "1")[0] == 0

    out = domain.root / "out"
    assert (out / "base" / "model.safetensors").read_bytes() == (
        BUILTIN["builtin:tiny"] / "model.safetensors"
    ).read_bytes()
    assert 'python answer.py base \'{"text": "…"}\'' in (out / "README.md").read_text(encoding="utf-8")
    config = json.loads((out / "adapter_config.json").read_text())
    assert config.pop("base_model_name_or_path") == "builtin:tiny"
    assert config.pop("revision") is None
    assert config == json.loads((trained / "adapter_config.json").read_text())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["filled"], 64, "filled: is not empty; nothing in it is overwritten. Name a new folder, or remove this one."),
        (["flywheel.yaml"], 64, "flywheel.yaml: is there and is no folder"),
        (["out", "--iteration", "7"], 64, "iteration 7 has trained no model"),
        (["out", "--iteration", "0"], 64, "--iteration"),
        ([], 64, "Missing argument"),
    ],
)
def test_what_cannot_be_exported_is_said(applied: Domain, flywheel, words: list[str], code: int, message: str) -> None:
    (applied.root / "filled").mkdir()
    (applied.root / "filled" / "mine.txt").write_text("mine")

    ended, out, error = flywheel(applied, "export", *words)

    assert (ended, out) == (code, "")
    assert message in error
    assert not (applied.root / "out").exists()
    assert (applied.root / "filled" / "mine.txt").read_text() == "mine"


def test_a_merged_model_that_answers_otherwise_is_not_left_there(
    applied: Domain, flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def otherwise(job: Any, progress: Any) -> MergeResult:
        (Path(job.folder) / "model.safetensors").write_text("otherwise")
        return MergeResult(8, 3, True, Merged(5, 2.0, 10.0, "float32"))

    monkeypatch.setitem(stand_in.WORK, "flywheel.student.merging:merge", otherwise)

    code, _, error = flywheel(applied, "export", "out", "--merged")

    assert code == 1
    assert "answers otherwise than its adapter: 3 of 8 answers equal, logits differ by up to 2 (0.01 allowed" in error
    assert [path.name for path in applied.root.iterdir() if "out" in path.name] == []


@pytest.mark.slow
def test_killed_it_leaves_no_folder_and_can_be_said_again(applied: Domain) -> None:
    command = [sys.executable, str(Path(stand_in.__file__)), "export", "out"]
    process = subprocess.Popen(command, cwd=applied.root, env={**os.environ, "STAND_IN_PAUSE": "30"})
    deadline = time.monotonic() + 60
    while not (applied.root / ".out.tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert (applied.root / ".out.tmp").exists()
    assert not (applied.root / "out").exists()
    assert applied.run("export", "out").returncode == 0
    assert (applied.root / "out" / "README.md").exists()
    assert not (applied.root / ".out.tmp").exists()


# --- the merge, with real models --------------------------------------------------------------------------------------


def merged(tmp_path: Path, base: str, targets: tuple[str, ...]) -> tuple[MergeResult, Path, Any]:
    arm = base_arm(locate(base, None, tmp_path), "float32", "cpu")
    # So small a change that the tiny student still answers in words.
    adapted = adapter_of(arm, tmp_path / "adapter", targets, scale=0.05)
    (tmp_path / "out").mkdir()
    job = MergeJob(adapted, Asking(Chat(), 12, 4), PROMPTS, str(tmp_path / "out"))
    return merge(job, lambda message: None), tmp_path / "out", adapted


@pytest.mark.slow
def test_an_adapter_on_a_tied_embedding_is_untied_and_answers_the_same_where_a_plain_merge_does_not(
    tmp_path: Path,
) -> None:
    found, folder, adapted = merged(tmp_path, "builtin:tiny", ("q_proj", "embed_tokens"))

    assert (found.equal, found.prompts, found.untied, found.merged.is_alike) == (4, 4, True, True)
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
    plain = load(adapted)
    plain.model = plain.model.merge_and_unload()
    asked = [(str(i), prompt) for i, prompt in enumerate(PROMPTS)]
    settings: dict[str, Any] = {"chat": Chat(), "max_new_tokens": 12, "batch_size": 4}
    said = [one.text for one in generate(plain, asked, **settings)]
    forget()
    right = [one.text for one in generate(load(adapted), asked, **settings)]
    assert sum(one == other for one, other in zip(said, right, strict=True)) < 4


def test_where_the_adapter_leaves_the_embedding_alone_it_stays_tied(tmp_path: Path) -> None:
    found, folder, _ = merged(tmp_path, "builtin:tiny", ("q_proj", "down_proj"))

    assert (found.equal, found.untied) == (4, False)
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_it_is_one_plain_model_whatever_the_base(tmp_path: Path, chat_student: Path, kind: str) -> None:
    base = write_gguf(chat_student, tmp_path / "small.gguf") if kind == "gguf" else chat_student

    found, folder, _ = merged(tmp_path, str(base), ("q_proj", "embed_tokens"))

    assert (found.equal, found.merged.is_alike) == (4, True)
    assert str(tmp_path) not in (folder / "config.json").read_text()
    assert not list(folder.glob("adapter*"))


def test_the_plain_merge_is_looked_at_too(tmp_path: Path) -> None:
    arm = base_arm(locate("builtin:tiny", None, tmp_path), "float32", "cpu")
    pairs = tuple((prompt, "SELECT 1") for prompt in PROMPTS)

    tied = effect(
        EffectJob(adapter_of(arm, tmp_path / "a", ("embed_tokens",), 0.05), Asking(Chat(), 8, 4), pairs), lambda _: None
    )
    linear = effect(
        EffectJob(adapter_of(arm, tmp_path / "b", ("q_proj",), 0.05), Asking(Chat(), 8, 4), pairs), lambda _: None
    )

    assert tied.merged is not None
    assert tied.plain is not None
    assert (tied.merged.is_alike, tied.plain.is_alike) == (True, False)
    assert linear.plain is None
    assert load_base(arm).model.config.tie_word_embeddings is True


def test_an_effect_of_an_earlier_version_is_read() -> None:
    assert plain_merge_warning({"outputs_changed": 1, "prompts": 2, "logit_change": 1.0, "merged": None}) == ""


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_a_real_wheel_to_answers_without_flywheel(tmp_path: Path, chat_student: Path) -> None:
    domain = Domain.written(tmp_path / "project", chat_student)
    domain.edit(lambda spec: spec["student"].update(system="You name colours."))
    domain.edit(lambda spec: spec["train"].update(max_steps=8, learning_rate=0.05))
    domain.edit(lambda spec: spec.update(gate=[{"suite": "holdout", "at_least": 0}]))
    assert domain.apply().promoted == [1]

    row = {"text": "old sky 7"}
    exported = domain.run("export", "../adapter", stand_in=False)
    whole = domain.run("export", "../whole", "--merged", stand_in=False)
    asked = domain.run("ask", "colour", "text=old sky 7", "--json", stand_in=False)

    assert (exported.stderr, whole.stderr) == ("", "")
    assert " answers equal the adapter's" in whole.stdout
    said = json.loads(asked.stdout)["answer"]
    base = str(domain.root / "student")
    for folder, arguments in (
        (domain.root / "deploy" / "current", [base]),
        (tmp_path / "adapter", [base]),
        (tmp_path / "whole", []),
    ):
        assert said_elsewhere(folder, *arguments, row=row) == said
        assert "flywheel" not in program(folder).replace("flywheel.json", "")
