"""The JSON Schema of `report.json`: `python -m flywheel.report.schema > schemas/report.schema.json`."""

from __future__ import annotations

import json
import sys

from flywheel.report.model import Report


def schema() -> str:
    """The schema as text, as it stands in `schemas/report.schema.json`."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
    return json.dumps(described, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
