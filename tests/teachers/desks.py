"""Requests, teachers and desks for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.records import LessonRequest, Message
from flywheel.spec.teachers import LitellmTeacher
from flywheel.teachers import Desk

KEY = "sk-very+secret/0123456789"


def request(sample: int = 0, teacher: str = "gpt", **changes: Any) -> LessonRequest:
    """A request for lessons; `sample` is also in the prompt."""
    values: dict[str, Any] = {
        "teacher": teacher,
        "purpose": "lessons",
        "task": "t",
        "mode": "wrong",
        "mode_description": "",
        "n": 5,
        "failures": (),
        "seeds": (),
        "row": None,
        "messages": (Message("user", f"prompt {sample}"),),
        "parameters": {"model": "m"},
        "sample": sample,
        "seed": 1,
    }
    return LessonRequest(**{**values, **changes})


def chat_teacher(url: str, **changes: Any) -> LitellmTeacher:
    """A teacher on the stub server, by the lean path unless `model` says otherwise; a dollar a token in, two out."""
    values: dict[str, Any] = {
        "kind": "litellm",
        "model": "openai/stub",
        "api_base": url,
        "api_key": "${env:STUB_KEY}",
        "timeout_seconds": 60.0,  # long: on a loaded machine even a stub takes its time
        "max_retries": 3,
        "max_tokens": 100,
        "usd_per_million_input": 1e6,
        "usd_per_million_output": 2e6,
    }
    return LitellmTeacher(**{**values, **changes})


def lookup(name: str) -> str | None:
    return {"STUB_KEY": KEY}.get(name)


def chat_desk(folder: Path, url: str, teacher: dict[str, Any] | None = None, **more: Any) -> Desk:
    teachers = {"gpt": chat_teacher(url, **(teacher or {}))}
    return Desk(teachers, folder, folder / "calls", lookup=lookup, **more)
