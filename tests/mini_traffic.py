"""What the mini domain's server logged, and its way into the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flywheel.engine.ingest import ingest
from mini_domain import Domain


def answered(number: int, text: str, answer: str, **beside: Any) -> dict[str, Any]:
    return {
        "kind": "answer", "id": f"r{number}", "at": "2026-11-28T10:00:00Z", "model_id": "live", "task": "colour",
        "row": {"text": text}, "messages": None, "prompt": f"{text}\ncolour:", "answer": answer,
        "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 1, "seconds": 0.2, **beside,
    }  # fmt: skip


def said(number: int, rating: int | None, correction: str | None = None) -> dict[str, Any]:
    return {
        "kind": "feedback", "id": f"f{number}", "receipt": f"r{number}", "at": "2026-11-28T11:00:00Z", "rating": rating,
        "correction": correction, "comment": None,
    }  # fmt: skip


def take_in(domain: Domain, lines: Sequence[dict[str, Any]], name: str = "served.jsonl") -> None:
    path = domain.root / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in ingest(domain.open(), [Path(path)]):
        pass


def matching(domain: Domain, **match: Any) -> Domain:
    return domain.edit(lambda spec: spec.update(traffic={"match": {"colour": match}}))
