"""A model that litellm would refuse at the first call is known before it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import check_routes

OWN = "http://127.0.0.1:8000/v1"


def said(model: str, api_base: str | None = None) -> tuple[str, str] | None:
    faults = check_routes([("smart", LitellmTeacher(kind="litellm", model=model, api_base=api_base))])
    assert all(fault.path == ("teachers", "smart", "model") for fault in faults)
    return (faults[0].message, faults[0].hint) if faults else None


@pytest.mark.parametrize(
    ("model", "api_base"),
    [
        ("gpt-4o-mini", None),
        ("openai/anything", OWN),
        ("hosted_vllm/org/model", OWN),
        ("openrouter/org/model", None),
        ("llama-3", "https://api.groq.com/openai/v1"),
    ],
)
def test_what_litellm_would_ask_somebody_about_is_no_fault(model: str, api_base: str | None) -> None:
    assert said(model, api_base) is None


@pytest.mark.parametrize(
    ("model", "api_base", "hint"),
    [
        ("my-model", OWN, "Write openai/my-model: a server of your own speaks OpenAI's protocol."),
        ("org/my-model", OWN, "Write openai/org/my-model: a server of your own speaks OpenAI's protocol."),
        ("my-model", None, "Write provider/model, such as openai/my-model; of a server of your own add api_base."),
        ("opnai/gpt-4o", None, 'Did you mean "openai/gpt-4o"?'),
        ("hosted-vllm/stub", OWN, 'Did you mean "hosted_vllm/stub"?'),
        ("gpt-4o-mni", None, 'Did you mean "gpt-4o-mini"?'),
    ],
)
def test_what_it_refuses_is_a_fault_with_the_right_form(model: str, api_base: str | None, hint: str) -> None:
    assert said(model, api_base) == (
        f'litellm knows no provider for "{model}", and refuses it at the first call.', hint
    )  # fmt: skip


def test_an_address_that_is_not_known_yet_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVER", raising=False)
    assert said("llama-3", "${env:SERVER}") is None
    monkeypatch.setenv("SERVER", "https://api.groq.com/openai/v1")
    assert said("llama-3", "${env:SERVER}") is None
    monkeypatch.setenv("SERVER", OWN)
    assert said("llama-3", "${env:SERVER}") is not None


def test_where_the_provider_is_named_litellm_is_not_loaded() -> None:
    code = (
        "import sys; from flywheel.spec.teachers import LitellmTeacher; from flywheel.teachers import check_routes; "
        "print(check_routes([('t', LitellmTeacher(kind='litellm', model='openai/x'))]), 'litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
