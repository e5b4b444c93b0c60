"""`flywheel serve` for tests: a server of a small project in a thread, and a second model beside the deployed one."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openai import OpenAI

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.engine.serving import server as serving
from flywheel.engine.serving.log import read_served
from mini_domain import Domain


class Served:
    """A server of a project, in a thread of this process."""

    def __init__(self, domain: Domain, address: str) -> None:
        self.domain, self.address = domain, address
        self.said: list[str] = []

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, verify=False)

    def openai(self, key: str = "none") -> OpenAI:
        return OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0, timeout=30)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        with self.http(**headers) as client:
            return client.post(path, json=body)

    def ask(self, row: dict[str, Any], **body: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", {"flywheel": {"task": "colour", "row": row}, **body})

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in records(self.domain) if record["kind"] == kind]


def records(domain: Domain) -> list[dict[str, Any]]:
    files = sorted((domain.root / ".flywheel" / "served").glob("*.jsonl"))
    return [record for path in files for record in read_served(path).records]


@contextmanager
def running(domain: Domain, keys: tuple[str, ...] = (), host: str = "127.0.0.1") -> Iterator[Served]:
    said: list[str] = []
    with serving.model_server(domain.root / "flywheel.yaml", host, 0, keys, said.append) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            served = Served(domain, server.address)
            served.said = said
            yield served
        finally:
            server.stop()
            thread.join(30)
    assert not thread.is_alive()


def deployed(domain: Domain) -> str:
    return (domain.root / "deploy" / "current").resolve().name


def another(domain: Domain, word: str = "sky", colour: str = "grey") -> str:
    """A second model beside the deployed one, as an apply in another process would put it there."""
    from safetensors.numpy import save_file

    from flywheel.student.loading import adapter_hash

    first = (domain.root / "deploy" / "current").resolve()
    second = first.with_name("another")
    shutil.copytree(first, second)
    import numpy

    content = json.dumps({word: colour}).encode()
    save_file({"words": numpy.frombuffer(content, numpy.uint8).copy()}, second / "adapter_model.safetensors")
    manifest = json.loads((second / "manifest.json").read_text())
    manifest.update(model_id="another", adapter_hash=adapter_hash(second))
    (second / "manifest.json").write_text(json.dumps(manifest))
    return "another"


def point(domain: Domain, name: str) -> None:
    from flywheel.files import point as move

    move(domain.root / "deploy" / "current", name)


def colour_of(said: httpx.Response) -> tuple[str, str]:
    return said.json()["model"], said.json()["choices"][0]["message"]["content"]
