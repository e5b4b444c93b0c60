"""A real OpenAI-compatible server: `transformers serve` on a tiny model folder with random weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from desks import request

from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import Desk, read_journal

pytestmark = pytest.mark.slow

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_model(folder: Path) -> None:
    """A two-layer Llama over a few characters, never trained: one token in forty ends its answer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789<|>Ġ"
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    # The server takes its word, not the request's temperature, for whether to sample.
    model.generation_config.do_sample = True
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(api_base, model folder) of a running server."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1"]
    log = (folder / "serve.log").open("wb")
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu", str(folder)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=log,
    )
    try:
        await_health(f"http://127.0.0.1:{port}/health", process, folder / "serve.log")
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"not up within 120 s: {log.read_text()}")


@pytest.mark.parametrize("prefix", ["hosted_vllm/", "openai/", "litellm_proxy/"])
def test_a_real_server_answers(served: tuple[str, Path], tmp_path: Path, prefix: str) -> None:
    """By the lean path, and by litellm itself."""
    base, folder = served
    teacher = LitellmTeacher(
        kind="litellm",
        model=f"{prefix}{folder}",
        api_base=base,
        api_key="none",
        max_tokens=300,
        max_usd=1.0,
        usd_per_million_input=1.0,
        usd_per_million_output=1.0,
        concurrency=2,
    )
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls") as desk:
        replies = desk.ask([request(i) for i in range(4)])
        again = desk.ask([request(i) for i in range(4)])
    # Random weights: now and then an answer is empty or meets max_tokens, which are faults.
    assert {r.fault for r in replies} <= {"", "truncated", "empty"}
    assert any(r.status == "ok" and r.text for r in replies)
    assert all(r.output_tokens in range(1, 301) and r.input_tokens > 8 for r in replies)
    assert all(r.attempts == 1 and r.usd == pytest.approx((r.input_tokens + r.output_tokens) / 1e6) for r in replies)
    assert all(r.cached for r in again)
    assert len(list(read_journal(tmp_path / "calls"))) == 4


def test_a_model_that_is_not_served_is_a_lasting_fault(served: tuple[str, Path], tmp_path: Path) -> None:
    base, _ = served
    teacher = LitellmTeacher(kind="litellm", model="openai/no-such-model", api_base=base, concurrency=1)
    with Desk({"gpt": teacher}, tmp_path, tmp_path / "calls") as desk:
        (reply,) = desk.ask([request(0)])
    assert reply.status == "failed"
    assert (reply.fault, reply.attempts) in {("bad_request", 1), ("not_found", 1)}
