"""What ran in which sandbox is in the run's record, and a run without one is tainted."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.sandbox import capability
from mini_domain import Domain


def with_code(domain: Domain, unsafe: bool = False) -> Domain:
    """The colours as a code task: `def colour(): return "red"`, tested."""
    tests = 'assert colour() == "{}"'
    for name in ("probes", "seeds", "holdout", "guard"):
        from flywheel.records.rows import read_rows

        path = f"evals/{name}.jsonl"
        domain.write_rows(path, [{**row, "tests": tests.format(row["label"])} for row in read_rows(domain.root / path)])

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["runs"] = {"kind": "code"}
        spec["tasks"]["colour"]["verify"] = ["known", "runs"]
        spec["allow_unsafe_execution"] = unsafe
        # Only the probe and what follows it matter here.
        spec["generate"][0]["second_opinion"] = ["careless", "careful"]

    return domain.edit(change)


def runs(domain: Domain) -> list[dict[str, Any]]:
    return domain.query("SELECT run_id, max(sandbox) AS sandbox, bool_or(tainted) AS tainted FROM runs GROUP BY run_id")


def test_the_tier_of_checks_is_recorded(domain: Domain) -> None:
    domain.apply()
    [run] = runs(domain)
    assert run["sandbox"].startswith("checks: ")
    assert run["tainted"] is False


@pytest.mark.skipif(capability().tier == "none", reason="no sandbox works on this machine")
def test_the_tier_of_programs_is_recorded(domain: Domain) -> None:
    with_code(domain).apply()
    [run] = runs(domain)
    assert f"programs: {capability().tier}" in run["sandbox"]
    assert run["tainted"] is False
