"""A promoted model goes to a vLLM server that runs: it is loaded there, asked, given the name, and taken back.

The command is the one that FLYWHEEL_VLLM names, else `vllm` on the path. It may be a build for CPUs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import validate

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "teachers")]

from desks import request
from test_targets import current, deploying, history, why

from flywheel import Project
from flywheel.engine.rollback import rollback
from flywheel.nodes.targets.questions import whole
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import Desk
from mini_domain import Domain, byte_tokenizer

COMMAND = os.environ.get("FLYWHEEL_VLLM") or shutil.which("vllm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        COMMAND is None, reason="no vLLM here: put it on the path, or name its command in FLYWHEEL_VLLM"
    ),
]

#: The name that the server gives the base.
BASE = "base"
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": "",
}


class Vllm:
    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def __getattr__(self, name: str) -> Any:
        from openai import OpenAI

        return getattr(OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0), name)

    @property
    def adapters(self) -> dict[str, str]:
        """Name → name of the folder."""
        return {model.id: Path(model.root).name for model in self.models.list() if model.parent}

    def answer(self, model: str, prompt: str, **how: Any) -> str:
        said = self.completions.create(model=model, prompt=prompt, temperature=0, max_tokens=6, **how)
        return str(said.choices[0].text)


@contextmanager
def serving(student: Path, *flags: str, updating: bool = True) -> Iterator[Vllm]:
    """A server of the student's float32 weights. `updating`: it loads adapters while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    always = ["--dtype", "float32", "--max-model-len", "256", "--enforce-eager", "--host", "127.0.0.1"]
    log = student.parent / f"vllm-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(COMMAND), "serve", str(student), "--port", str(port), "--served-model-name", BASE, *always, *flags],
            env={**os.environ, **ENVIRONMENT, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": str(updating)},
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        _await(f"http://127.0.0.1:{port}/health", process, log)
        yield Vllm(port)
    finally:
        process.terminate()
        process.wait(60)


def _await(health: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        with suppress(OSError):
            urllib.request.urlopen(health, timeout=5).close()
            return
        time.sleep(0.5)
    raise AssertionError(f"vLLM does not answer: {log.read_text(errors='replace')[-4000:]}")


LORA = ("--enable-lora", "--max-lora-rank", "16")


def write_student(folder: Path, seed: int, chat: bool = False) -> Path:
    """A random Llama of 2 layers, its heads as wide as vLLM wants them on CPUs, that puts a token before every text."""
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer, start = byte_tokenizer(), "<|im_start|>"
    tokenizer.bos_token = start
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
    )
    if chat:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ bos_token }}{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}{{ bos_token }}assistant\n{% endif %}"
        )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id], pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def promoted(root: Path, student: Path) -> Domain:
    """A project whose one iteration was promoted, into its folder alone. What it learned is to say "blue"."""

    def change(spec: dict[str, Any]) -> None:
        spec["tasks"]["colour"]["stop"] = ["!"]
        # Enough for a model of random weights to say one of the two colours, which half of the things have.
        spec["train"] = {"rank": 16, "batch_size": 12, "learning_rate": 0.005}
        spec["gate"] = [{"suite": "holdout", "better_by": 0.05}]

    domain = Domain.written(root, student).edit(change)
    outcome = domain.apply()
    assert (outcome.promoted, outcome.error) == ([1], "")
    return domain


def taught(domain: Domain, colour: str) -> Domain:
    """The teacher writes of things of this colour alone."""
    code = domain.root / "colours.py"
    code.write_text(re.sub(r"else \w+S\n", f"else {colour.upper()}S\n", code.read_text()))
    return domain


def withdrawn(domain: Domain) -> Domain:
    """Nothing is deployed any more."""
    shutil.rmtree(domain.root / "deploy")
    return domain


def copied(root: Path, to: Path) -> Domain:
    shutil.copytree(root, to, symlinks=True)
    return Domain(to, yaml.safe_load((to / "flywheel.yaml").read_text()))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("students") / "bare", 5)


@pytest.fixture(scope="module")
def _twice(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Path:
    """Two models were promoted: one says "blue", the other "red"."""
    domain = promoted(tmp_path_factory.mktemp("twice") / "project", student)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.nodes.verbs.deploy._keep", lambda *_: "")
        assert taught(domain, "red").apply().promoted == [1]
    return taught(withdrawn(domain), "blue").root


@pytest.fixture
def twice(_twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """As if the second model were better than the first."""
    monkeypatch.setattr("flywheel.nodes.verbs.deploy._keep", lambda *_: "")
    return copied(_twice, tmp_path / "project")


def to_server(domain: Domain, server: Vllm) -> Domain:
    return deploying(domain, kind="vllm", url=server.address, name="colours")


def evaluated(domain: Domain, model: str) -> dict[str, str]:
    """Prompt → answer of the evaluation; `model`: its id, or the word incumbent."""
    rows = domain.query("SELECT row, answer FROM scores WHERE suite = 'holdout' AND ? IN (model_id, arm)", [model])
    return {f"{row['row']['text']}\ncolour:": row["answer"] for row in rows}


def test_two_models_one_after_the_other_and_the_way_back(twice: Domain, student: Path) -> None:
    (_, first), (_, second) = history(twice)
    blue, red = evaluated(twice, first), evaluated(twice, second)
    assert set(blue.values()) != set(red.values())
    with serving(student, *LORA, "--max-loras", "2") as server:

        def said(name: str) -> dict[str, str]:
            return {prompt: server.answer(name, prompt) for prompt in blue}

        to_server(twice, server).apply()
        assert (current(twice), server.adapters) == (first, {f"colours-{first}": first, "colours": first}), why(twice)
        assert said("colours") == blue
        # Random weights say something else to every prompt, so a token too many before it would show.
        bases = evaluated(twice, "incumbent")
        assert said(BASE) == {prompt: whole(answer) for prompt, answer in bases.items()}

        taught(twice, "red").apply()
        assert (current(twice), server.adapters) == (second, {f"colours-{second}": second, "colours": second})
        assert said("colours") == red

        rollback(twice.open(), first)
        assert (current(twice), server.adapters) == (first, {f"colours-{first}": first, "colours": first})
        assert said("colours") == blue


def test_a_chat_is_asked_as_a_chat(tmp_path: Path) -> None:
    student = write_student(tmp_path / "chat", 6, chat=True)
    domain = withdrawn(promoted(tmp_path / "project", student))
    ((_, model),) = history(domain)
    with serving(student, *LORA) as server:
        to_server(domain, server).apply()
        assert server.adapters == {f"colours-{model}": model, "colours": model}, why(domain)
        for prompt, answer in evaluated(domain, model).items():
            message: Any = {"role": "user", "content": prompt}
            said = server.chat.completions.create(model="colours", messages=[message], temperature=0, max_tokens=6)
            assert said.choices[0].message.content == answer


@pytest.mark.parametrize(
    ("flags", "updating", "words"),
    [
        (["--enable-lora", "--max-lora-rank", "8"], True, "Start it with a higher --max-lora-rank."),
        ([], True, "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        (LORA, False, "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
    ],
)
def test_a_server_that_cannot_load_it_says_what_to_do(
    twice: Domain, student: Path, flags: list[str], updating: bool, words: str
) -> None:
    before = history(twice)
    with serving(student, *flags, updating=updating) as server:
        to_server(twice, server).apply()
        assert words in why(twice)["why"]
        assert (current(twice), history(twice), server.adapters) == (None, before, {})


def test_a_server_of_another_base_is_found_out(twice: Domain, tmp_path: Path) -> None:
    with serving(write_student(tmp_path / "other", 7), *LORA) as server:
        to_server(twice, server).apply()
        assert "Serve the same base in the precision of the evaluation (float32)" in why(twice)["why"]
        assert (current(twice), server.adapters) == (None, {})


def test_an_exported_model_answers_as_was_evaluated(twice: Domain, tmp_path: Path) -> None:
    exported = Project.open(twice.root).export(tmp_path / "merged", iteration=1, merged=True)
    with serving(exported.folder) as server:
        wanted = evaluated(twice, exported.model_id)
        assert {prompt: server.answer(BASE, prompt) for prompt in wanted} == wanted


@pytest.mark.parametrize("prefix", ["hosted_vllm", "openai", "litellm_proxy"])
def test_a_teacher_is_held_to_the_schema(teaching: Vllm, tmp_path: Path, prefix: str) -> None:
    """By random weights, so that nothing else can. Now and then they put spaces between words until they are cut."""
    teacher = LitellmTeacher(
        kind="litellm", model=f"{prefix}/{BASE}", api_base=f"{teaching.address}/v1", api_key="none", max_tokens=200,
        usd_per_million_input=0.0, usd_per_million_output=0.0,
    )  # fmt: skip
    row = {
        "type": "object", "properties": {"label": {"enum": ["red", "blue"]}}, "required": ["label"],
        "additionalProperties": False,
    }  # fmt: skip
    schema = {"type": "array", "items": row, "minItems": 1, "maxItems": 2}
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls") as desk:
        replies = desk.ask([request(i, schema=schema) for i in range(6)])
    assert {reply.fault for reply in replies} <= {"", "truncated"}
    found = [json.loads(reply.text) for reply in replies if reply.status == "ok"]
    assert found
    for rows in found:
        validate(schema, rows)
    assert all(reply.attempts == 1 and reply.output_tokens > 0 and reply.input_tokens > 8 for reply in replies)


@pytest.fixture(scope="module")
def teaching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    with serving(write_student(tmp_path_factory.mktemp("teacher") / "chat", 6, chat=True)) as server:
        yield server
