"""The wheel turns by itself: when enough came in, or when it is time, and never twice for the same traffic."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from flywheel.engine.watching import Patience, look
from flywheel.errors import UsageError
from mini_domain import Domain


def served(domain: Domain, *numbers: int) -> None:
    """A line of the server's log for each."""
    folder = domain.root / ".flywheel/served"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "20261128T100000Z-1.jsonl").open("a") as log:
        for number in numbers:
            answer: dict[str, Any] = {
                "kind": "answer", "id": f"r{number}", "at": "2026-11-28T10:00:00Z", "model_id": "live",
                "task": "colour", "row": {"text": f"old sky {number}"}, "messages": None, "prompt": "?",
                "answer": "red", "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 1, "seconds": 0.2,
            }  # fmt: skip
            log.write(json.dumps(answer) + "\n")


def turned(domain: Domain, patience: Patience) -> int | None:
    """The iteration that a look turned; None where it was not time."""
    outcome = look(domain.root / "flywheel.yaml", patience, lambda words: None, lambda event: None)
    if outcome is None:
        return None
    assert not outcome.error
    return int(domain.query("SELECT max(iteration) AS last FROM nodes")[0]["last"])


@pytest.fixture
def matching(domain: Domain) -> Domain:
    return domain.edit(lambda spec: spec.update(traffic={"match": {"colour": {}}}))


@pytest.mark.slow
def test_enough_new_traffic_turns_the_next_iteration_once(matching: Domain) -> None:
    patience = Patience(new=2)
    served(matching, 900001)
    assert turned(matching, patience) is None
    served(matching, 900002)
    assert turned(matching, patience) == 1
    assert turned(matching, patience) is None, "what that turn saw is not new any more"
    served(matching, 900003, 900004)
    assert turned(matching, patience) == 2
    [seen] = matching.query("SELECT count(*) AS n FROM answers WHERE source_id IS NOT NULL AND node IN "
                            "(SELECT node FROM nodes WHERE name = 'i2.mine.colour')")  # fmt: skip
    assert seen["n"] == 4


def test_time_alone_turns_it_too(domain: Domain) -> None:
    assert turned(domain, Patience(after=timedelta(hours=24))) == 1
    assert turned(domain, Patience(after=timedelta(hours=24))) is None
    assert turned(domain, Patience(after=timedelta(0))) == 2


def test_somebody_must_say_when(domain: Domain) -> None:
    with pytest.raises(UsageError, match="--new 200"):
        look(domain.root / "flywheel.yaml", Patience(), print, lambda event: None)


def test_money_is_not_spent_without_a_limit(domain: Domain) -> None:
    domain.edit(
        lambda spec: spec["teachers"].update(
            paid={"kind": "litellm", "model": "m", "usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
        )
    )
    domain.edit(lambda spec: spec["generate"][0].update(teachers=["paid"], prompt="prompts/colour.md"))
    with pytest.raises(UsageError, match=r"loop\.max_usd"):
        look(domain.root / "flywheel.yaml", Patience(after=timedelta(0)), print, lambda event: None)
