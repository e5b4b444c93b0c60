"""A model behind `transformers serve` on a suite, beside the student."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "teachers"))

from test_transformers_serve import served

from mini_domain import Domain

__all__ = ["served"]
pytestmark = pytest.mark.slow


def test_a_served_model_answers_the_suite_beside_the_student(served: tuple[str, Path], domain: Domain) -> None:
    base, folder = served
    teacher = {
        "kind": "litellm", "model": f"hosted_vllm/{folder}", "api_base": base, "max_tokens": 300, "concurrency": 2,
        "usd_per_million_input": 0.0, "usd_per_million_output": 0.0,
    }  # fmt: skip
    domain.edit(lambda spec: spec["teachers"].update(served=teacher))
    domain.edit(lambda spec: spec["evals"]["holdout"].update(limit=6, teachers=["served"]))

    assert domain.apply().failed in ([], ["i1.deploy"])

    rows = domain.query("SELECT * FROM scores WHERE arm = 'teacher:served'")
    assert len(rows) == 6
    assert {row["outcome"] for row in rows} == {"fail"}, "random weights know no colours, and talk until they are cut"
    assert all(row["tokens"] > 0 and row["prompt_tokens"] > 0 and row["seconds"] > 0 for row in rows)
    assert {v["verifier"] for row in rows for v in row["verdicts"]} == {"known", "right"}
    sent = domain.query("SELECT DISTINCT request FROM calls WHERE teacher = 'served'")
    assert {row["request"]["temperature"] for row in sent} == {0.0}
