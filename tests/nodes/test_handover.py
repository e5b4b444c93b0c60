"""A deployed model taken elsewhere: the page beside it holds a program that answers as the model was evaluated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import FlywheelError, Tampered
from flywheel.nodes.trust.deployment import place, verify_home
from flywheel.nodes.trust.handover import Handover, write_handover
from flywheel.spec.models import Spec
from flywheel.student import BUILTIN, locate, model_id
from flywheel.student.loading import Arm, adapter_hash, base_arm, forget, load_base
from flywheel.student.packing import PackingJob, pack
from flywheel.student.work import AnswerJob, Asking, answer
from mini_domain import Domain, spec_of, write_gguf

ROW = {"text": "old sky 7", "items": "of a shop"}
PROMPT = "{{ row.text }} {{ row.items }}\n{% if row.text %}\ncolour: {{ row.text | tojson }}{% endif %}\n"
NOBODYS = re.compile(r'"(/|[A-Za-z]:\\)')


@pytest.fixture(autouse=True)
def _forgotten() -> Any:
    yield
    forget()


def spec(base: str, **student: Any) -> Spec:
    tree = spec_of(base)
    tree["student"] |= {"max_new_tokens": 12, **student}
    return Spec.model_validate(tree, by_alias=True, by_name=False, context={"root": Path()})


def project(root: Path) -> Path:
    (root / "prompts").mkdir(parents=True)
    (root / "prompts" / "colour.md").write_text(PROMPT)
    (root / "evals").mkdir()
    (root / "evals" / "seeds.jsonl").write_text(json.dumps({**ROW, "label": "blue"}) + "\n")
    return root


def adapter_of(arm: Arm, folder: Path, targets: Any = ("q_proj", "down_proj"), scale: float = 0.5) -> Arm:
    """An adapter of random weights, saved as training saves one."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model: Any = get_peft_model(load_base(arm).model, LoraConfig(r=4, target_modules=list(targets)))
    for name, weights in model.named_parameters():
        if "lora_B" in name or "lora_embedding_A" in name:
            torch.nn.init.normal_(weights, std=scale)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "named"}))
    return replace(arm, adapter=str(folder), adapter_hash=adapter_hash(folder))


def compute(function: str, payload: Any) -> Any:
    assert function == "flywheel.student.packing:pack"
    return pack(payload, lambda message: None)


def deployed(root: Path, arm: Arm, handover: Handover) -> Path:
    manifest = {"model_id": handover.model_id, "adapter_hash": arm.adapter_hash, "manifest_version": 3}
    place(root / "deploy", Path(str(arm.adapter)), manifest, lambda folder: write_handover(folder, handover, compute))
    return root / "deploy" / "current"


def handed_over(root: Path, base: str, scale: float = 0.5, **student: Any) -> tuple[Path, Arm, Handover]:
    """A deployment of an adapter on that base: folder, arm, and what was handed over."""
    files = locate(base, None, root)
    arm = adapter_of(base_arm(files, "float32", "cpu"), root / "adapter", scale=scale)
    name = model_id(files.weights_hash, arm.adapter_hash)
    about = Handover(spec(base, **student), root, files, name, 1, "float32", {"peft": "0.1"})
    return deployed(root, arm, about), arm, about


def program(folder: Path) -> str:
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def said_elsewhere(folder: Path, *arguments: str, row: Mapping[str, Any] = ROW) -> str:
    """What the page's program prints, in a process that cannot import flywheel."""
    code = f"import sys\nsys.modules['flywheel'] = None\n{program(folder)}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", code, *arguments, json.dumps(row)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.removesuffix("\n")


def said_here(arm: Arm, about: Handover) -> str:
    from flywheel.prompting import render, shots_of

    prompt = shots_of(about.spec, about.root)["colour"] + render(Path("prompts/colour.md"), about.root, {"row": ROW})
    job = AnswerJob(arm, replace(Asking.of(about.spec.student), max_new_tokens=12, batch_size=1), (("it", prompt),))
    return answer(job, lambda message: None)[0].text


# --- the program runs -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_on_the_built_in_base(tmp_path: Path) -> None:
    folder, arm, about = handed_over(project(tmp_path), "builtin:tiny")

    assert said_elsewhere(folder, str(BUILTIN["builtin:tiny"])) == said_here(arm, about) != ""


@pytest.mark.slow
def test_on_a_folder_with_a_chat_template_and_a_system_message(tmp_path: Path, chat_student: Path) -> None:
    folder, arm, about = handed_over(project(tmp_path), str(chat_student), system="You name colours.")

    said = said_elsewhere(folder, str(chat_student))

    assert said == said_here(arm, about) != said_here(arm, replace(about, spec=spec("student")))


@pytest.mark.slow
def test_solved_examples_go_along(tmp_path: Path, chat_student: Path) -> None:
    folder, arm, about = handed_over(project(tmp_path), str(chat_student), shots=1)

    said = said_elsewhere(folder, str(chat_student))

    assert said == said_here(arm, about) != said_here(arm, replace(about, spec=spec("student")))


@pytest.mark.slow
def test_a_row_that_holds_a_control_token_is_asked_as_text_there_too(
    tmp_path: Path, chat_student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {**ROW, next(iter(ROW)): "a <|im_end|> thing"}
    monkeypatch.setitem(globals(), "ROW", row)
    folder, arm, about = handed_over(project(tmp_path), str(chat_student))

    assert said_elsewhere(folder, str(chat_student), row=row) == said_here(arm, about) != ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folded", "parts", "unprompted"])
def test_whatever_the_chat_template_wants_the_program_gives_it(tmp_path: Path, chat_student: Path, kind: str) -> None:
    """One without system messages, one that takes contents in parts, one that writes no generation prompt."""
    said = {"parts": "m.content[0].text"}.get(kind, "m.content")
    refuse = "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}" if kind == "folded" else ""
    prompt = "" if kind == "unprompted" else "{% if add_generation_prompt %}assistant:{% endif %}"
    base = shutil.copytree(chat_student, tmp_path / "base")
    (base / "chat_template.jinja").write_text(
        f"{{% for m in messages %}}{refuse}{{{{ m.role }}}}:{{{{ {said} }}}}<|im_end|>{{% endfor %}}{prompt}"
    )
    folder, arm, about = handed_over(project(tmp_path / "project"), str(base), system="You name colours.")

    assert said_elsewhere(folder, str(base)) == said_here(arm, about) != ""


@pytest.mark.slow
def test_on_a_gguf_file(tmp_path: Path, chat_student: Path) -> None:
    file = write_gguf(chat_student, tmp_path / "small.gguf")

    folder, arm, about = handed_over(project(tmp_path / "project"), str(file))

    assert said_elsewhere(folder, str(file)) == said_here(arm, about) != ""


@pytest.mark.slow
def test_a_base_of_the_hub_is_named_with_its_revision_and_needs_no_argument(
    tmp_path: Path, mini_student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(mini_student, tmp_path / "hub" / "models--org--mini" / "snapshots" / commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    root = project(tmp_path / "project")
    files = locate(str(mini_student), None, root)
    arm = adapter_of(base_arm(files, "float32", "cpu"), root / "adapter")
    files = replace(files, base="org/mini", revision=commit, outside=False)
    about = Handover(spec("org/mini"), root, files, "m1", 1, "float32", {})

    folder = deployed(root, arm, about)

    assert f'{{"pretrained_model_name_or_path": "org/mini", "revision": "{commit}"}}' in program(folder)
    assert said_elsewhere(folder) == said_here(arm, about) != ""


WEIGHTS = Path(os.environ.get("FLYWHEEL_TEST_WEIGHTS", Path.home() / ".cache" / "flywheel-weights"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["smollm2-135m-instruct.gguf", "smollm2-135m-instruct", "gemma-3-270m"])
def test_on_a_pretrained_base(tmp_path: Path, name: str) -> None:
    base = WEIGHTS / name
    if not base.exists():
        pytest.skip(f"no {name} in {WEIGHTS}: python scripts/fetch_weights.py")

    folder, arm, about = handed_over(project(tmp_path), str(base), 0.01)

    assert said_elsewhere(folder, str(base)) == said_here(arm, about) != ""


# --- what is in the folder --------------------------------------------------------------------------------------------


def test_no_file_holds_a_path_of_this_machine(tmp_path: Path, chat_student: Path) -> None:
    folder, _, _ = handed_over(project(tmp_path), str(chat_student))

    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}

    assert {"README.md", "flywheel.json", "tokenizer.json", "chat_template.jinja", "colour.jinja"} <= set(texts)
    assert not [name for name, text in texts.items() if str(tmp_path) in text or str(chat_student.parent) in text]
    assert not NOBODYS.search(texts["adapter_config.json"])
    assert (folder / "adapter_model.safetensors").stat().st_mode == (folder / "README.md").stat().st_mode


def test_a_base_in_the_project_that_is_named_by_its_whole_path_is_called_by_its_place_there(
    tmp_path: Path, mini_student: Path
) -> None:
    domain = Domain.written(tmp_path / "project", mini_student)

    assert locate(str(domain.root / "student"), None, domain.root).name == "student"
    assert locate("../project/student", None, domain.root).name == "student"


@pytest.mark.slow
def test_decoding_is_greedy_whatever_the_base_would_do(tmp_path: Path, chat_student: Path) -> None:
    base = shutil.copytree(chat_student, tmp_path / "base")
    sampling = {"do_sample": True, "temperature": 0.7, "top_k": 20, "eos_token_id": [3], "repetition_penalty": 1.1}
    (base / "generation_config.json").write_text(json.dumps(sampling))

    folder, arm, about = handed_over(project(tmp_path / "project"), str(base))

    config = json.loads((folder / "generation_config.json").read_text())
    assert (config["do_sample"], config["max_new_tokens"], config["repetition_penalty"]) == (False, 12, 1.1)
    assert config["eos_token_id"] == [0, 1, 3]
    assert not {"temperature", "top_k"} & {key for key, value in config.items() if value is not None}
    assert said_elsewhere(folder, str(base)) == said_here(arm, about)


# --- it is whole, and stays what it was -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tokenizer.json", "prompts/colour.jinja", "README.md", "flywheel.json"])
@pytest.mark.parametrize("edit", ["changed", "gone"])
def test_each_file_is_held_against_its_hash(applied: Domain, name: str, edit: str) -> None:
    row = applied.query("SELECT manifest FROM deployments")[-1]
    home = applied.root / "deploy" / row["manifest"]["model_id"]
    verify_home(home, row["manifest"])

    (home / name).unlink() if edit == "gone" else (home / name).write_text("otherwise")

    with pytest.raises(Tampered, match=re.escape(f"{home / name}: ")):
        verify_home(home, row["manifest"])


def test_where_the_tokenizer_is_lost_nothing_is_deployed(tmp_path: Path, mini_student: Path) -> None:
    root = project(tmp_path)
    folder, arm, about = handed_over(root, str(mini_student))
    lost = replace(about, student=replace(about.student, source=str(tmp_path / "nowhere")), model_id="another")

    with pytest.raises(FlywheelError, match=r"the tokenizer of .* cannot be loaded"):
        deployed(root, arm, lost)

    assert sorted(path.name for path in (root / "deploy").iterdir()) == [about.model_id, "current", "manifest.json"]
    assert folder.resolve().name == about.model_id


def test_what_a_call_left_in_the_bases_tokenizer_is_not_handed_over(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "packed"
    shutil.copytree(BUILTIN["builtin:tiny"], base)
    folder.mkdir()
    file = base / "tokenizer.json"
    left = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation": left}))
    arm = base_arm(locate(str(base), None, tmp_path), "float32", "cpu")
    pack(PackingJob(arm, Asking.of(spec("builtin:tiny").student), str(folder)), lambda message: None)
    packed = json.loads((folder / "tokenizer.json").read_text())
    assert (packed["truncation"], packed["padding"]) == (None, None)
