"""The items of an lm-eval task as texts, so that training rows can be checked against them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flywheel.harness.named import task_manager
from flywheel.harness.suites import offline_unless_asked


def item_texts(payload: tuple[str, str], progress: Callable[[dict[str, Any]], None]) -> list[tuple[str, str, str]]:
    """(item id, question, target) of every eval document of the named task; `payload` is (name, include path)."""
    del progress
    offline_unless_asked()
    name, include_path = payload
    tasks = task_manager(name, include_path).load([name])["tasks"]
    return [
        (f"{key}/{index}", str(task.doc_to_text(doc)), str(task.doc_to_target(doc)))
        for key, task in tasks.items()
        for index, doc in enumerate(task.eval_docs)
    ]
