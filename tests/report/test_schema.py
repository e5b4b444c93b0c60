"""The schema in `schemas/` is the model's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flywheel.report import Report
from flywheel.report.schema import schema

FILE = Path(__file__).parents[2] / "schemas" / "report.schema.json"


def test_the_schema_is_current() -> None:
    assert FILE.read_text() == schema(), "run: python -m flywheel.report.schema > schemas/report.schema.json"


@pytest.mark.parametrize("which", ["promoted", "rejected", "untrained"])
def test_reports_fit_it(which: str, request: pytest.FixtureRequest) -> None:
    import jsonschema_rs

    report: Report = request.getfixturevalue(which)
    validator = jsonschema_rs.validator_for(json.loads(FILE.read_text()))
    value = json.loads(report.model_dump_json())
    validator.validate(value)
    assert not validator.is_valid({**value, "surprise": 1})
    assert not validator.is_valid({**value, "report_version": 3})
