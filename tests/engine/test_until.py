"""`apply --until STEP` goes no further than that step of the iteration at work; a later apply goes on from there."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.errors import UsageError
from mini_domain import Domain


def kinds(domain: Domain) -> list[str]:
    return [row["kind"] for row in domain.query("SELECT DISTINCT kind FROM nodes ORDER BY kind")]


def test_lessons_can_be_looked_at_before_anything_is_trained(domain: Domain, flywheel: Any) -> None:
    code, out, _ = flywheel(domain, "apply", "--until", "curate")
    assert code == 0
    assert "go on:   flywheel apply\n" in out
    assert kinds(domain) == ["budget", "curate", "diagnose", "generate", "probe", "verify"]
    assert domain.query("SELECT * FROM dataset")

    asked = domain.calls()
    code, out, _ = flywheel(domain, "apply", "--until", "curate")
    assert (code, out.splitlines()[0]) == (0, "Nothing to do: curate is done.")

    assert domain.apply().promoted == [1]
    assert domain.calls() == asked, "what was bought is not bought again"


def test_it_is_the_step_of_the_first_iteration_that_is_not_done(applied: Domain) -> None:
    applied.edit(lambda spec: spec["loop"].update(iterations=4))
    applied.apply(until="probe")
    third = applied.query("SELECT kind, count(*) AS n FROM nodes WHERE iteration = 3 GROUP BY ALL")
    assert third == [{"kind": "probe", "n": 1}]
    assert not applied.query("SELECT * FROM nodes WHERE iteration = 4")


@pytest.mark.parametrize(("step", "hint"), [("currate", 'Did you mean "curate"?'), ("sample", "Known: budget, ")])
def test_a_step_that_is_not_there_is_said_before_anything_runs(domain: Domain, step: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"--until {step}: iteration 1 has no such step.*") as error:
        domain.apply(until=step)
    assert hint in str(error.value)
    assert not domain.calls()
