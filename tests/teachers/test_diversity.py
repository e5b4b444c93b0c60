"""The share of answers that only repeat another."""

from __future__ import annotations

import pytest

from flywheel.records import Reply
from flywheel.teachers import Repeats


def replies(*texts: str) -> list[Reply]:
    return [Reply(str(i), "gpt", "ok", text) for i, text in enumerate(texts)]


def share(replies: list[Reply]) -> float:
    said = Repeats()
    for reply in replies:
        said.add(reply)
    return said.share


def test_every_answer_that_was_there_before_counts() -> None:
    assert share(replies("a", "b", "a", " A\n", "c")) == pytest.approx(2 / 5)
    assert share(replies("a", "b", "c")) == 0.0
    assert share(replies(*["same"] * 10)) == pytest.approx(0.9)


def test_a_shared_call_is_one_answer_and_a_failed_one_is_none() -> None:
    one = Reply("k", "gpt", "ok", "a")
    failed = [Reply(f"f{i}", "gpt", "failed", fault="timeout") for i in range(3)]
    assert share([one, one, *failed]) == 0.0
    assert share([]) == 0.0
