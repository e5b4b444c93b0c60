"""The items of an lm-eval task as texts, so that training rows can be checked against them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flywheel.harness.suites import offline_unless_asked


def item_texts(payload: tuple[str, str], progress: Callable[[dict[str, Any]], None]) -> list[tuple[str, str, str]]:
    """(item id, question, target) of every eval document of the named task; `payload` is (name, include path)."""
    del progress
    offline_unless_asked()
    from lm_eval.tasks import TaskManager, get_task_dict

    name, include_path = payload
    manager = TaskManager(include_defaults=False, include_path=include_path)
    if name not in manager.all_tasks:
        manager = TaskManager(include_path=include_path)
    tasks = get_task_dict([name], manager)
    return [
        (f"{key}/{index}", str(task.doc_to_text(doc)), str(task.doc_to_target(doc)))
        for key, task in _leaves(tasks)
        for index, doc in enumerate(task.eval_docs)
    ]


def _leaves(tasks: dict[Any, Any]) -> list[tuple[str, Any]]:
    """Groups nest dicts; tasks are at the ends."""
    found: list[tuple[str, Any]] = []
    for key, value in tasks.items():
        found += _leaves(value) if isinstance(value, dict) else [(str(key), value)]
    return found
