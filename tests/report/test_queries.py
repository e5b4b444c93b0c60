"""Each query on the page, typed as `flywheel query "…"`, gives the page's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from turned_wheel import Turned

from flywheel.engine.history import open_lookup
from flywheel.records.nodes import Query
from flywheel.report import Report


@pytest.fixture
def lookup(wheel: Turned) -> Iterator[Query]:
    """The project's store, opened as `flywheel query` opens it."""
    with open_lookup(wheel.domain.root / ".flywheel") as query:
        yield query


def test_scores_and_slices(lookup: Query, promoted: Report) -> None:
    rows = {row["suite"]: row for row in lookup(promoted.scores.query)}
    for score in promoted.scores.suites:
        assert score.candidate
        assert rows[score.suite]["after"] / rows[score.suite]["items"] == pytest.approx(score.candidate.value)
        assert (rows[score.suite]["fixed"], rows[score.suite]["broken"]) == (score.fixed, score.broken)
    assert len(lookup(promoted.scores.slices_query)) == len(promoted.scores.slices)


def test_modes(lookup: Query, promoted: Report) -> None:
    rates = {row["mode"]: row for row in lookup(promoted.modes.rates_query)}
    trained: Counter[str] = Counter()
    for row in lookup(promoted.modes.lessons_query):
        trained[row["mode"]] += row["trained"]
    for mode in promoted.modes.rows:
        if mode.name != "any":
            assert mode.before
            before = rates.get(mode.name, {"before": 0})["before"]
            assert before / promoted.modes.items == pytest.approx(mode.before.value)
        assert trained[mode.name] == mode.trained


def test_the_funnel(lookup: Query, promoted: Report) -> None:
    rows = lookup(promoted.funnel.query)
    assert all(sum(row[stage.name] for row in rows) == stage.rows for stage in promoted.funnel.stages)
    assert sum(int(row["wanted"]) for row in lookup(promoted.funnel.asked_query)) == promoted.funnel.wanted


@pytest.mark.parametrize("which", ["teachers", "strategies"])
def test_the_ledgers(lookup: Query, promoted: Report, which: str) -> None:
    ledger = getattr(promoted, which)
    column = which[:-1] if which == "teachers" else "generator"
    calls = {row[column]: row for row in lookup(ledger.calls_query)}
    lessons = {row[column]: row for row in lookup(ledger.lessons_query)}
    for row in ledger.rows:
        assert calls[row.name]["usd"] == pytest.approx(row.usd)
        assert lessons.get(row.name, {"chosen": 0})["chosen"] == row.accepted  # the judge writes none


def test_audits_and_answers(lookup: Query, promoted: Report) -> None:
    accepted = [r["passed"] for r in lookup(promoted.audit.query) if r["verifier"] == "*" and r["expected"] == "fail"]
    assert sum(accepted) == promoted.audit.rows[0].false_accept.wrong
    arms = {(row["suite"], row["arm"]): row for row in lookup(promoted.scores.arms_query)}
    assert all(arms[arm.suite, arm.arm]["tokens"] == arm.tokens for arm in promoted.scores.arms)


def test_costs(lookup: Query, promoted: Report) -> None:
    assert sum(row["usd"] for row in lookup(promoted.costs.calls_query)) == pytest.approx(promoted.costs.usd)
    assert sum(row["seconds"] for row in lookup(promoted.costs.query)) == pytest.approx(promoted.costs.seconds)
