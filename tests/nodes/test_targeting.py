"""Plan and report say where targeting can hardly pay, from what the probes showed."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.nodes.lessons.targeting import cannot_pay
from mini_domain import Domain


@pytest.mark.parametrize(
    ("failures", "probes", "lessons", "said"),
    [
        ({"a": 60, "b": 35}, 100, 10, "95 of 100 probes wrong: it errs nearly everywhere"),
        ({"a": 30, "b": 0}, 100, 10, "30 of 100 probes wrong, all of them a: with one mode"),
        ({"a": 20, "b": 10}, 100, 31, "30 of 100 probes wrong, fewer than the 31 lessons"),
        ({"a": 20, "b": 10}, 100, 30, ""),
        ({"a": 0, "b": 0}, 100, 30, ""),
        ({}, 0, 30, ""),
    ],
)
def test_one_sentence_names_the_bound_and_its_figures(
    failures: dict[str, int], probes: int, lessons: int, said: str
) -> None:
    found = cannot_pay("targeted", failures, probes, lessons)
    assert found.startswith(f"targeted: {said}") if said else found == ""


def test_plan_and_report_say_it_after_the_probes_and_not_before(domain: Domain, flywheel: Any) -> None:
    """The student says red: all that is wrong is blue."""
    sentence = "targeted: 6 of 12 probes wrong, all of them not_blue: with one mode there is nothing to divide"
    assert sentence not in flywheel(domain, "plan")[1].replace("\n", " ")

    domain.apply()

    assert sentence in " ".join(flywheel(domain, "plan")[1].split())
    assert sentence in (domain.root / "reports" / "iter-001" / "index.html").read_text()
