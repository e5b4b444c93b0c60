"""How an apply ended, in words."""

from __future__ import annotations

from typing import Any

from flywheel.console.ending import ending_text
from flywheel.engine.apply import ApplyOutcome
from flywheel.engine.status import status
from mini_domain import Domain


def said(domain: Domain, lessons: dict[str, Any]) -> str:
    found = status(domain.root / ".flywheel") | {"lessons": lessons}
    return ending_text(ApplyOutcome("run", 0, ran=3), domain.open(), found, 1)


def test_what_lessons_cost_stands_beside_people(applied: Domain) -> None:
    applied.edit(lambda spec: spec["loop"].update(human_usd_per_example=3.5))
    text = said(applied, {"accepted": 20, "usd": 1.0})

    assert "so far:  20 accepted lessons for $1.00, $0.050 each; people at $3.50 each: $70.00." in text
    assert "people" not in said(applied, {"accepted": 20, "usd": 0.0})


def test_hours_saved_are_said_once_the_spec_says_how_long_people_work(applied: Domain) -> None:
    applied.edit(lambda spec: spec["loop"].update(human_minutes_per_example=4.5))
    told = "so far:  20 accepted lessons; at 4.5 min of work each: 1.5 hours of people saved."

    assert told in said(applied, {"accepted": 20, "usd": 0.0})


def test_the_status_counts_all_accepted_lessons_and_all_calls(applied: Domain) -> None:
    found = status(applied.root / ".flywheel")["lessons"]

    assert (
        found
        == applied.query(
            "SELECT (SELECT count(*) FROM judged WHERE outcome = 'pass') AS accepted, "
            "(SELECT sum(usd) FROM calls) AS usd"
        )[0]
    )
    assert found["accepted"] > 0
