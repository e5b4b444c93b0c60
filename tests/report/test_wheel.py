"""The run that the report's tests stand on has what they look at: none of them passes for want of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flywheel.report import Report

#: What is there → how many rows.
FEATURES = {
    "a rejected iteration": "FROM decisions WHERE iteration = 2 AND outcome = 'reject'",
    "two promoted ones": "FROM decisions WHERE iteration IN (1, 3) AND outcome = 'promote' HAVING count(*) = 2",
    "one without a model": "FROM decisions WHERE iteration = 4 AND candidate_id IS NULL",
    "four error modes": "FROM (SELECT DISTINCT mode FROM failures) HAVING count(*) >= 4",
    "a mode that got no lesson though it failed": "FROM budgets WHERE failures > 0 AND lessons = 0",
    "a refill round": "FROM candidates WHERE round = 2",
    "several teachers in one strategy": "FROM (SELECT DISTINCT teacher FROM candidates WHERE generator = 'targeted') "
    "HAVING count(*) = 3",
    "a failed call that was paid": "FROM calls WHERE status = 'failed' AND usd > 0",
    "unparsed candidates": "FROM candidates WHERE status = 'unparsed'",
    "filtered candidates": "FROM candidates WHERE status = 'filtered'",
    "failures by the first verifier": "FROM judged WHERE outcome = 'fail' AND verifier = 'known'",
    "failures by the second": "FROM judged WHERE outcome = 'fail' AND verifier = 'right'",
    "unknown verdicts": "FROM judged WHERE outcome = 'unknown'",
    "near-duplicates": "FROM curation WHERE stage = 'near-duplicate'",
    "a contaminated row": "FROM curation WHERE stage = 'contaminated'",
    "replay": "FROM dataset WHERE origin = 'replay'",
    "seeds": "FROM dataset WHERE origin = 'seed'",
    "unknown outcomes of both models": "FROM scores WHERE suite = 'holdout' AND outcome = 'unknown' AND "
    "arm IN ('incumbent', 'candidate')",
    "a teacher on a suite": "FROM scores WHERE starts_with(arm, 'teacher:')",
    "slices": "FROM scores WHERE json_extract_string(slices, '/light') = 'night'",
    "a bandit at work": "FROM nodes WHERE json_extract(summary, '/allocation') IS NOT NULL",
    "answers that repeat": "FROM nodes WHERE CAST(json_extract(summary, '/same_answers') AS DOUBLE) > 0",
    "two audits": "FROM (SELECT DISTINCT audit FROM audits) HAVING count(*) = 2",
    "approvals": "FROM approvals",
    "a calibration": "FROM calibrations WHERE kappa < 1",
    "ablations of iterations": "FROM ablations WHERE without = 'verifier.right'",
    "a comparison of loops": "FROM ablations WHERE without = 'targeting'",
    "second opinions": "FROM calls WHERE teacher = 'vendor' AND purpose = 'answer'",
    "calls of a judge": "FROM calls WHERE purpose = 'judge' AND usd > 0",
}


@pytest.mark.parametrize("feature", FEATURES)
def test_the_run_has(feature: str, shared_query: Callable[..., list[dict[str, Any]]]) -> None:
    rows = shared_query(f"SELECT count(*) AS n {FEATURES[feature]}")
    assert rows, feature
    assert rows[0]["n"] > 0, feature


def test_the_pages_are_of_four_iterations(pages: dict[int, Report]) -> None:
    assert [page.verdict.outcome for page in pages.values()] == ["promote", "reject", "promote", "untrained"]
    assert pages[1].modes.undecided == ()
    assert [note.area for note in pages[2].changes.notes][:1] == ["start"]
