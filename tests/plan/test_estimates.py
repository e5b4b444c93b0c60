"""What a plan expects to be asked and paid: by judges, and by teachers that answer a suite."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.plan import PlanNode
from mini_domain import Domain, rows

PRICE = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
CALL = (800 + 100, (800 * 1.0 + 100 * 2.0) / 1e6)
"""Tokens and dollars of a call, before any was measured: a guess of the prompt, and the longest answer."""
PROBES, HOLDOUT, GUARD, CASES = 12, 16, 8, 20


def paid(name: str) -> dict[str, Any]:
    return {"kind": "litellm", "model": f"openai/{name}", "max_tokens": 100, **PRICE}


def judged(domain: Domain, **settings: Any) -> Domain:
    (domain.root / "rubric.md").write_text("Is the colour that of the thing?")
    cases = [{"text": row["text"], "answer": "red", "label": "pass"} for row in rows(500, CASES)]
    domain.write_rows("evals/people.jsonl", cases)

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["critic"] = paid("critic")
        spec["verifiers"]["good"] = {
            "kind": "judge", "teacher": "critic", "rubric": "rubric.md", "calibration": "evals/people.jsonl",
            **settings,
        }  # fmt: skip
        spec["tasks"]["colour"]["verify"] = ["known", "good"]

    return domain.edit(change)


def planned(domain: Domain, iterations: int = 1) -> dict[str, PlanNode]:
    return {node.name: node for node in domain.plan(iterations).nodes}


def assert_paid(node: PlanNode, calls: int) -> None:
    tokens, usd = CALL
    assert node.estimate.calls == calls
    assert node.estimate.tokens == calls * tokens
    assert node.estimate.usd == pytest.approx(calls * usd)


def test_a_judge_is_paid_for_every_answer_and_once_for_its_calibration(domain: Domain) -> None:
    nodes = planned(judged(domain), iterations=2)

    assert_paid(nodes["i1.probe.colour"], PROBES + CASES)
    assert_paid(nodes["i2.probe.colour"], PROBES)
    assert nodes["i1.verify.targeted.r1"].estimate.calls == round(12 / 0.7)
    assert nodes["i1.verify.targeted.r1"].estimate.usd == pytest.approx(12 / 0.7 * CALL[1])
    assert nodes["i1.verify.targeted.r2"].estimate.calls == 0
    assert_paid(nodes["i1.evaluate"], 2 * (HOLDOUT + GUARD))
    assert_paid(nodes["i2.evaluate"], HOLDOUT + GUARD)


def test_a_judge_is_paid_for_each_vote_in_each_order_and_for_each_repeat(domain: Domain) -> None:
    judged(domain, votes=3, compare="pair")
    cases = [{"text": row["text"], "answer": "red", "label": "pass", "reference": "blue"} for row in rows(500, CASES)]
    domain.write_rows("evals/people.jsonl", cases)
    domain.edit(lambda s: s["generate"][0].update(second_opinion=["careless", "careful"]))
    domain.edit(lambda s: s["tasks"]["colour"].update(probe_limit=5))
    domain.edit(lambda s: s["evals"]["holdout"].update(limit=4, repeats=2))

    nodes = planned(domain)

    assert_paid(nodes["i1.probe.colour"], 6 * (5 + CASES))
    assert_paid(nodes["i1.evaluate"], 6 * 2 * (2 * 4 + GUARD))


def test_every_sample_of_a_question_is_judged(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        generator = spec["generate"][0]
        for key in generator.keys() - {"name", "teachers", "accept", "prompt", "max_candidates", "from", "rounds"}:
            del generator[key]
        generator.update(strategy="trace", samples=4)

    judged(domain).edit(change)

    assert planned(domain)["i1.verify.targeted.r1"].estimate.calls == round(4 * 12 / 0.7)


def test_a_judge_of_lessons_alone_is_calibrated_by_verify(domain: Domain) -> None:
    judged(domain).edit(lambda s: (s["tasks"]["colour"].pop("probes"), s["generate"][0].update({"from": "seeds"})))

    assert planned(domain)["i1.verify.targeted.r1"].estimate.calls == round(12 / 0.7 + CASES)


def test_a_teacher_that_answers_a_suite_is_paid_once_and_its_answers_are_judged(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["oracle"] = paid("oracle")
        spec["evals"]["holdout"]["teachers"] = ["oracle"]

    nodes = planned(domain.edit(change), iterations=2)
    assert_paid(nodes["i1.evaluate"], HOLDOUT)
    assert_paid(nodes["i2.evaluate"], 0)

    nodes = planned(judged(domain), iterations=2)
    assert_paid(nodes["i1.evaluate"], HOLDOUT + HOLDOUT + 2 * (HOLDOUT + GUARD))


def test_an_ablation_is_judged_twice(domain: Domain) -> None:
    judged(domain).edit(
        lambda s: s.update(ablate=[{"name": "bare", "without": "curate.dedup", "suite": "guard", "lessons": 4}])
    )
    assert_paid(planned(domain)["i1.ablate.bare"], 2 * GUARD)


def test_without_a_judge_only_lessons_are_asked_for(domain: Domain) -> None:
    asking = {node.kind for node in domain.plan(2).nodes if node.estimate.calls}
    assert asking == {"generate"}
    assert domain.open().rows == {}


def test_the_plan_shows_dollars_for_a_judge(domain: Domain) -> None:
    done = judged(domain, votes=25).run("plan")

    probe = next(line for line in done.stdout.splitlines() if "probe.colour" in line)
    assert "~800 calls, ~720,000 tokens, ~$0.80" in probe
