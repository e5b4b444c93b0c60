"""What a plan expects to be asked and paid: by judges, and by teachers that answer a suite."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.console.plans import span, totals
from flywheel.engine.history import measured
from flywheel.plan import Plan, PlanNode
from flywheel.plan.estimates import BOOKS, MARGIN, Asked, CallSize, History, Speed, calls_of_lessons, priced
from flywheel.spec.teachers import LitellmTeacher
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


def test_a_price_that_the_spec_leaves_open_is_litellms_and_one_that_nobody_knows_is_named(domain: Domain) -> None:
    judged(domain)
    for key in PRICE:
        domain.edit(lambda spec, key=key: spec["teachers"]["critic"].pop(key))
    domain.edit(lambda spec: spec["teachers"]["critic"].update(model="openai/gpt-4o-mini"))
    node = planned(domain)["i1.probe.colour"]
    each = (800 * 0.15 + 100 * 0.6) / 1e6
    assert node.estimate.usd == pytest.approx((PROBES + CASES) * each)
    assert node.estimate.unpriced == ()

    domain.edit(lambda spec: spec["teachers"]["critic"].update(model="openai/nobody-knows-it"))
    plan = domain.plan()
    assert (plan.unpriced, plan.to_json()["total"]["unpriced"]) == (("critic",), ("critic",))
    assert "$0.00 without critic, whose price nobody knows (usd_per_million_input and _output);" in totals(plan)

    domain.edit(lambda spec: spec["teachers"]["critic"].update(api_base="http://127.0.0.1:1/v1"))
    assert domain.plan().unpriced == (), "a server of one's own"


def test_a_file_whose_rows_are_each_asked_once_is_asked_no_more_than_it_has(domain: Domain) -> None:
    domain.write_rows("evals/questions.jsonl", [{"text": f"a thing {i}"} for i in range(5)])

    def traced(spec: dict[str, Any]) -> None:
        trace = {"strategy": "trace", "from": "data", "data": "evals/questions.jsonl", "samples": 2}
        spec["generate"] = [{"name": "targeted", "teachers": ["careful"], "accept": 12, **trace}]

    assert planned(domain.edit(traced))["i1.generate.targeted.r1"].estimate.calls == 5 * 2
    domain.edit(lambda spec: spec["generate"][0].update(accept=2))
    assert planned(domain)["i1.generate.targeted.r1"].estimate.calls < 5 * 2


def test_prices_of_litellms_file_are_litellms() -> None:
    import os

    from flywheel.teachers.litellm import _prices

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    ours, theirs = (
        {name: entry["output_cost_per_token"] for name, entry in table.items() if "output_cost_per_token" in entry}
        for table in (_prices(), litellm.model_cost)
    )
    assert len(ours) > 1000
    assert ours == theirs


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
    assert domain.open().rows_asked == {}


def test_the_plan_shows_dollars_for_a_judge(domain: Domain) -> None:
    done = judged(domain, votes=25).run("plan")

    probe = next(line for line in done.stdout.splitlines() if "probe.colour" in line)
    assert "~800 calls, ~720,000 tokens, ~$0.80" in probe


# --- time -------------------------------------------------------------------------------------------------------------

SPEED = Speed(load=2.0, answer=(0.1, 1.0), read=0.01, learn=0.5, rows_read=lambda lessons: 3 * lessons)


def timed(domain: Domain, iterations: int = 2) -> Plan:
    from flywheel.engine.planning import make_plan

    return make_plan(domain.open(), iterations, speed=SPEED)


def test_times_follow_from_the_speed_of_the_student_and_the_numbers_of_rows(domain: Domain) -> None:
    nodes = {node.name: node for node in timed(domain).nodes}

    def around(low: float, high: float) -> tuple[float, float]:
        return pytest.approx((low / MARGIN, 2.0 + high * MARGIN + BOOKS[1]))

    assert nodes["i1.probe.colour"].estimate.seconds == around(PROBES * 0.1, PROBES * 1.0)
    both = 2 * (HOLDOUT + GUARD)
    assert nodes["i1.evaluate"].estimate.seconds == around(both * 0.1, both * 1.0)
    assert nodes["i2.evaluate"].estimate.seconds == around(both / 2 * 0.1, both / 2 * 1.0)
    first, second = (nodes[f"i{n}.train"].estimate.seconds for n in (1, 2))
    assert first is not None
    assert second is not None
    assert second[0] > first[0], "its earlier lessons are learned again"
    assert nodes["i1.gate"].estimate.seconds == BOOKS


@pytest.mark.parametrize(("shots", "further"), [(0, 2), (1, 1), (3, 0)])
def test_solved_examples_of_a_suite_are_read_too(domain: Domain, shots: int, further: int) -> None:
    domain.edit(lambda spec: (spec["evals"]["holdout"].update(num_fewshot=2), spec["student"].update(shots=shots)))
    node = next(node for node in timed(domain).nodes if node.name == "i2.evaluate")

    examples = HOLDOUT * further * SPEED.read
    answers = HOLDOUT + GUARD
    assert node.estimate.seconds == pytest.approx(
        ((answers * 0.1 + examples) / MARGIN, 2.0 + (answers * 1.0 + examples) * MARGIN + BOOKS[1])
    )


def test_what_nobody_knows_is_named_and_not_summed_as_nothing(domain: Domain) -> None:
    plan = timed(domain)

    assert plan.untimed == ["generate.targeted", "verify.targeted"]
    known = [node.estimate.seconds for node in plan.nodes if node.estimate.seconds is not None]
    assert plan.seconds == pytest.approx((sum(low for low, _ in known), sum(high for _, high in known)))
    said = totals(plan)
    assert "without generate.targeted, verify.targeted, whose time nobody knows yet" in said
    assert plan.to_json()["total"]["untimed"] == plan.untimed


def test_without_a_speed_the_student_is_among_them(domain: Domain) -> None:
    assert {"probe.colour", "curate", "train", "evaluate"} <= set(domain.plan(1).untimed)


def test_what_was_measured_is_believed_more_than_a_calibration(applied: Domain) -> None:
    applied.edit(lambda spec: spec["loop"].update(iterations=3))
    plan = timed(applied, 3)

    (train,) = [node for node in plan.pending if node.kind == "train"]
    assert train.estimate.seconds is not None
    assert train.estimate.seconds[1] < 2.0 + 12 * 3 * 0.5, "the stand-in is faster than that"
    assert plan.untimed == []


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.2, 4.6, "0 to 5 s"), (50, 119, "50 to 119 s"), (50, 125, "1 to 2 min"), (130, 140, "2 min"),
        (3000, 9000, "0.8 to 2.5 h"), (0, 0, "0 s"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_one_unit(low: float, high: float, said: str) -> None:
    assert span(low, high) == said


def test_what_calls_take_is_measured_for_writers_and_for_opinions_apart() -> None:
    """A row takes many tokens to write, a label few; whom an opinion is asked of hangs on who wrote."""
    sizes = {("one", "writer"): CallSize(400, 500, 0.01), ("one", "opinion"): CallSize(40, 3, 0.001)}
    asked: list[Asked] = [("one", "writer", 10.0), ("one", "opinion", 20.0), ("two", "opinion", 1.0)]
    teachers = {name: LitellmTeacher.model_validate(paid(name)) for name in ("one", "two")}
    found = priced(asked, SimpleNamespace(teachers=teachers), History(calls=sizes), None)  # type: ignore[arg-type]

    assert (found.calls, found.tokens) == (31, 10 * 900 + 20 * 43 + CALL[0])
    assert found.usd == pytest.approx(10 * 0.01 + 20 * 0.001 + CALL[1])


def test_opinions_are_of_the_first_that_did_not_write(domain: Domain) -> None:
    domain.edit(lambda spec: spec["generate"][0].update(teachers={"careful": 3, "careless": 1}))
    domain.edit(lambda spec: spec["generate"][0].update(second_opinion=["careless", "careful"], accept=14))
    generator = domain.open().spec.generate[0]

    opinions = {name: calls for name, role, calls in calls_of_lessons(generator, History()) if role == "opinion"}

    assert opinions == {"careless": pytest.approx(15.0), "careful": pytest.approx(5.0)}


def test_the_role_of_a_call_is_read_from_what_came_of_it(applied: Domain) -> None:
    found = measured(applied.query).calls

    assert {role for _, role in found} == {"writer"}
