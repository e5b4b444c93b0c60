"""What is refused, or warned of, where the student is to learn from its own judged answers."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.errors import SpecInvalid, render_fault
from flywheel.spec.loader import load
from mini_domain import Domain, rows


def said(domain: Domain, **train: Any) -> list[str]:
    """Faults and warnings of a spec, as lines."""
    domain.edit(lambda spec: spec["train"].update(train))
    try:
        return [render_fault(warning) for warning in load(domain.root / "flywheel.yaml").warnings]
    except SpecInvalid as invalid:
        return [render_fault(fault) for fault in invalid.faults]


@pytest.mark.parametrize("key", ["preference", "canaries"])
def test_keys_of_another_method_are_refused(domain: Domain, key: str) -> None:
    value = {"rounds": 2} if key == "preference" else "evals/probes.jsonl"

    found = said(domain, **{key: value})

    expected = f"train.{key}: {key} is for learning from judged answers. Remove it, or set train.method: dpo"
    assert any(expected in fault for fault in found)


def test_a_method_that_is_none_is_named_with_those_that_are(domain: Domain) -> None:
    (fault,) = said(domain, method="ppo")

    assert 'train.method: "ppo" is not one of sft, dpo, kto, grpo' in fault


def test_grpo_has_no_reference(domain: Domain) -> None:
    (fault,) = said(domain, method="grpo", preference={"beta": 0.3})

    assert "train.preference.beta: grpo has no reference to be held to" in fault


@pytest.mark.parametrize("method", ["kto", "grpo"])
def test_only_pairs_have_a_chosen_answer(domain: Domain, method: str) -> None:
    (fault,) = said(domain, method=method, preference={"nll": 0.2})

    assert f"train.preference.nll: nll stands beside pairs, and {method} has none. Remove it" in fault
    assert not any("preference.nll" in fault for fault in said(domain, method="dpo", preference={"nll": 0.2}))


def test_starting_over_in_each_iteration_is_warned_of(domain: Domain) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=3))

    (warning,) = said(domain, method="dpo")
    assert "what judged answers taught is learned anew each time. Write init: incumbent" in warning
    assert said(domain, init="incumbent") == []


def practising(domain: Domain, *found: dict[str, str]) -> Domain:
    domain.write_rows("evals/practice.jsonl", found)
    return domain.edit(lambda spec: spec["tasks"]["colour"].update(practice="evals/practice.jsonl"))


def test_practice_needs_no_answers_where_the_verifiers_need_none(domain: Domain) -> None:
    practising(domain, {"text": "old sea 700"})

    assert said(domain, method="grpo") == []
    (warning,) = said(domain, method="sft")
    assert "tasks.colour.practice: nobody practises with train.method: sft. Set train.method: dpo, kto, grpo" in warning


def test_practice_that_cannot_be_judged_without_an_answer_is_refused_with_its_line(domain: Domain) -> None:
    practising(domain, {"text": "old sea 700", "label": "blue"}, {"text": "old sky 701"})
    domain.edit(lambda spec: spec["verifiers"]["right"].update(needs_reference=True))

    found = "\n".join(said(domain, method="grpo"))
    assert 'evals/practice.jsonl:2: tasks.colour.practice: the row lacks the column "label"' in found
    assert "practice.jsonl:1" not in found


def test_practice_that_is_in_a_suite_is_refused_with_its_line(domain: Domain) -> None:
    """Without its answer, too."""
    practising(domain, {"text": "old sea 700"}, {"text": rows(300, 16)[0]["text"]})

    (fault,) = said(domain, method="grpo")
    assert "evals/practice.jsonl:2: tasks.colour.practice: the row is also in" in fault
    assert "evals/holdout.jsonl:1" in fault


def judged(domain: Domain, calibrated: bool) -> Domain:
    """A judge, which asks a teacher, beside the verifiers."""

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["taste"] = {"kind": "judge", "teacher": "careful", "rubric": "prompts/rubric.md"}
        if calibrated:
            spec["verifiers"]["taste"]["calibration"] = "evals/people.jsonl"
        spec["tasks"]["colour"]["verify"].append("taste")
        spec["generate"][0]["teachers"] = ["careless"]
        spec["gate"] = [{"suite": "holdout", "better_by": 0.05}]

    (domain.root / "prompts" / "rubric.md").write_text("{{ row.text }}: {{ answer }}")
    domain.write_rows("evals/people.jsonl", [{"text": "a sky 1", "answer": "blue", "label": "pass"}])
    return domain.edit(change)


def test_a_judge_that_nobody_measured_gives_no_reward(domain: Domain) -> None:
    found = said(judged(domain, calibrated=False), method="grpo")

    assert any('would follow the judge "taste", whose agreement with people is not measured' in line for line in found)


def test_what_judged_answers_cost_is_said(domain: Domain) -> None:
    found = said(
        judged(domain, calibrated=True), method="grpo", preference={"questions": 10, "samples": 4, "rounds": 3}
    )

    assert any('"colour" is judged by taste: up to 120 calls for answers in an iteration' in line for line in found)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ({"text": "a sky 1"}, "needs one of cheat (an answer) and cheat_pattern"),
        ({"text": "a sky 1", "cheat": "x", "cheat_pattern": "x"}, "needs one of cheat"),
        ({"text": "a sky 1", "cheat": " "}, "cheat must be a text"),
        ({"text": "a sky 1", "cheat": 3}, "cheat must be a text"),
        ({"text": "a sky 1", "cheat_pattern": "("}, "cheat_pattern is no regular expression"),
        ({"text": "a sky 1", "cheat": "x", "task": "color"}, 'is of no task: "color". Did you mean "colour"?'),
        ({"words": "a sky 1", "cheat": "x"}, 'the row lacks the column "text"'),
    ],
)
def test_a_canary_that_is_none_is_refused_at_its_line(domain: Domain, line: dict[str, Any], fault: str) -> None:
    domain.write_rows("evals/canaries.jsonl", [{"text": "a sea 2", "cheat": "x"}, line])

    (found,) = said(domain, method="dpo", canaries="evals/canaries.jsonl")

    assert "evals/canaries.jsonl:2" in found
    assert fault in found


def test_canaries_that_are_not_there_are_a_fault(domain: Domain) -> None:
    assert any(
        '"evals/none.jsonl" does not exist' in line for line in said(domain, method="dpo", canaries="evals/none.jsonl")
    )
