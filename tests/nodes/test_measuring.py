"""Suites as the node measures them: samples, noise, long prompts, shots, teachers, and what it leaves for lm-eval."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import stand_in
from flywheel.errors import SpecInvalid
from flywheel.nodes.measuring.suites import label_scores
from flywheel.nodes.verbs.evaluate import EFFECT_PROMPTS
from flywheel.spec.models import Spec
from mini_domain import Domain

TEACHER = """
import json, pathlib

def teach(request):
    if request["purpose"] != "answer":
        return "[]"
    with open(pathlib.Path(__file__).parent / "oracle.log", "a") as log:
        log.write(json.dumps([request["row"], [m["content"] for m in request["messages"]]]) + "\\n")
    return "<think>hm</think>" + ("blue" if "sky" in request["row"]["text"] else "red")
"""
Change = Callable[[Any, Any, int], Any]


def summary(domain: Domain, name: str = "i1.evaluate") -> dict[str, Any]:
    return dict(domain.query("SELECT summary FROM nodes WHERE name = ? ORDER BY started_at", [name])[-1]["summary"])


def scores(domain: Domain, arm: str, suite: str = "holdout", name: str = "i1.evaluate") -> list[dict[str, Any]]:
    return domain.query(
        "SELECT s.* FROM scores s JOIN nodes n USING (node) "
        "WHERE n.name = ? AND arm = ? AND suite = ? ORDER BY item_id",
        [name, arm, suite],
    )


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Changes what the stand-in measures: (job, item, its number) → item."""

    def install(change: Change) -> None:
        def evaluate(job: Any, progress: Any) -> Any:
            found = stand_in.evaluate(job, progress)
            suites = {
                name: [change(job, item, i) for i, item in enumerate(sorted(items, key=lambda item: item.item_id))]
                for name, items in found.suites.items()
            }
            return replace(found, suites=suites)

        monkeypatch.setitem(stand_in.WORK, "flywheel.harness:evaluate", evaluate)

    return install


# --- what a row says --------------------------------------------------------------------------------------------------


def test_an_answers_length_time_and_cut_are_kept(domain: Domain) -> None:
    domain.apply(until="gate")

    for row in scores(domain, "candidate"):
        assert (row["tokens"], row["seconds"], row["truncated"], row["samples"]) == (1, 0.01, False, None)
        assert row["prompt_tokens"] == len(row["row"]["text"]) + len("\ncolour:")


def test_what_both_arms_share_is_recorded(domain: Domain) -> None:
    domain.apply(until="gate")

    settings = summary(domain)["settings"]
    assert (settings["device"], settings["dtype"], settings["batch_size"], settings["seed"]) == (
        "cpu",
        "float32",
        16,
        3,
    )


def test_a_limit_takes_a_seeded_sample_of_the_rows(domain: Domain) -> None:
    domain.edit(lambda spec: spec["evals"]["holdout"].update(limit=4)).apply(until="gate")

    numbers = {int(row["row"]["text"].split()[-1]) for row in scores(domain, "incumbent")}
    assert len(numbers) == 4
    assert numbers != {300, 301, 302, 303}, "a sample, not the head"


# --- answers that run on, and sets of labels --------------------------------------------------------------------------


def test_answers_that_run_on_are_judged_by_the_first_and_counted(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    def run_on(job: Any, item: Any, number: int) -> Any:
        text = f"so #### {item.gold}" + ("\n\nQuestion: the next?\n#### green" if number % 2 else "")
        return replace(item, answers=tuple(replace(a, text=text) for a in item.answers))

    answering(run_on)
    domain.edit(lambda spec: spec["tasks"]["colour"].update(final="#### (.+)")).apply(until="gate")

    assert {row["outcome"] for row in scores(domain, "incumbent")} == {"pass"}
    assert summary(domain)["ran_on"]["holdout"] == {"candidate": 8, "incumbent": 8}


def test_a_candidate_that_merely_learned_to_stop_thinking_is_told(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    def think(job: Any, item: Any, number: int) -> Any:
        thought = "" if job.arm.adapter and number else "<think>is it?</think>"
        return replace(item, answers=tuple(replace(a, text=thought + a.text) for a in item.answers))

    answering(think)
    domain.apply()

    found = summary(domain)["thoughts"]["holdout"]
    assert found["incumbent"] == {"answers": 16, "thinking": 16, "characters": len("<think>is it?</think>")}
    assert found["candidate"]["thinking"] == 1
    page = (domain.root / "reports" / "iter-001" / "index.html").read_text()
    assert "holdout, incumbent: 16 of 16 answers, 21 characters (median)" in page
    assert "The candidate learned to answer without thinking" in page


def test_of_answers_without_thoughts_nothing_is_told(domain: Domain) -> None:
    domain.apply()
    assert summary(domain)["thoughts"] == {}
    assert "Thoughts before the answer" not in (domain.root / "reports" / "iter-001" / "index.html").read_text()


def test_sets_of_labels_are_counted_label_by_label(domain: Domain) -> None:
    known = {"kind": "label", "labels": ["red", "blue", "green"], "many": True}
    spec = Spec.model_validate({**domain.spec, "verifiers": {**domain.spec["verifiers"], "known": known}})
    told = [("red, blue", '["blue"]'), ("<think></think>red", '["red","blue"]'), ("", "red"), ("pink", "[]")]
    rows = [
        {"suite": "holdout", "arm": "incumbent", "outcome": "fail", "answer": said, "gold": gold} for said, gold in told
    ]

    counts = label_scores([*rows, {**rows[0], "outcome": "unknown"}], spec, domain.root)["holdout"]["incumbent"]

    assert counts["red"] == {"gold": 2, "said": 2, "right": 1}
    assert counts["blue"] == {"gold": 2, "said": 1, "right": 1}
    assert counts["pink"] == {"gold": 0, "said": 1, "right": 0}
    assert list(counts) == ["blue", "red", "pink"]


def test_generation_stops_where_the_task_or_the_suite_says(
    domain: Domain, answering: Callable[[Change], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[str, ...]] = {}
    probe = stand_in.WORK["flywheel.student.work:answer"]
    monkeypatch.setitem(
        stand_in.WORK,
        "flywheel.student.work:answer",
        lambda job, progress: (asked.setdefault("probe", job.stop), probe(job, progress))[1],
    )

    def watched(job: Any, item: Any, number: int) -> Any:
        asked.update({suite.name: suite.stop for suite in job.suites})
        return item

    answering(watched)
    domain.edit(lambda spec: spec["tasks"]["colour"].update(stop=["\n\n"]))
    domain.edit(lambda spec: spec["evals"]["guard"].update(stop=[])).apply(until="gate")

    assert asked == {"probe": ("\n\n",), "holdout": ("\n\n",), "guard": ()}


# --- repeats ----------------------------------------------------------------------------------------------------------


def sampled(job: Any, item: Any, number: int) -> Any:
    """Of four answers, one is right in the first item, two in the second, and so on."""
    right = [replace(a, text=item.gold if i <= number % 4 else "green") for i, a in enumerate(item.answers)]
    return replace(item, answers=tuple(right))


def test_the_score_of_repeats_is_their_mean_and_every_answer_is_kept(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    answering(sampled)
    domain.edit(lambda spec: spec["evals"]["holdout"].update(repeats=4)).apply(until="gate")

    rows = scores(domain, "incumbent")
    assert [row["score"] for row in rows[:4]] == [0.25, 0.5, 0.75, 1.0]
    assert [row["outcome"] for row in rows[:4]] == ["fail", "fail", "fail", "pass"]
    assert rows[1]["answer"] == "green", "the first wrong one stands for a wrong item"
    assert rows[1]["samples"][1:] == [
        {"answer": rows[1]["gold"], "outcome": "pass"},
        {"answer": "green", "outcome": "fail"},
        {"answer": "green", "outcome": "fail"},
    ]


def test_pass_at_is_the_unbiased_estimate(domain: Domain, answering: Callable[[Change], None]) -> None:
    answering(sampled)
    domain.edit(lambda spec: spec["evals"]["holdout"].update(repeats=4, pass_at=2)).apply(until="gate")

    rows = scores(domain, "incumbent")
    # 1 - C(n-c, 2) / C(4, 2) for c = 1, 2, 3, 4
    assert [row["score"] for row in rows[:4]] == [pytest.approx(1 - misses / 6) for misses in (3, 1, 0, 0)]


# --- noise ------------------------------------------------------------------------------------------------------------


def test_the_incumbent_is_measured_again_in_other_batches_and_differs_nowhere(domain: Domain) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=2)).apply()

    nothing = {"holdout": {"items": 8, "differ": 0, "answers": 0}, "guard": {"items": 8, "differ": 0, "answers": 0}}
    assert summary(domain)["noise"] == nothing
    assert summary(domain, "i2.evaluate")["measured_before"] == ["incumbent"]
    assert summary(domain, "i2.evaluate")["noise"] == nothing, "it goes with the scores that are taken over"


def test_items_that_score_differently_the_second_time_are_counted(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    def moody(job: Any, item: Any, number: int) -> Any:
        if job.asking.batch_size == 16 or number > 2:
            return item
        words = ["red", "blue", "dark red"][number]
        return replace(item, answers=tuple(replace(a, text=words) for a in item.answers))

    answering(moody)
    domain.apply(until="gate")

    first = [row["answer"] for row in scores(domain, "incumbent")][:3]
    right = [row["score"] for row in scores(domain, "incumbent")][:3]
    again = ["red", "blue", "dark red"]
    golds = [row["gold"] for row in scores(domain, "incumbent")][:3]
    found = summary(domain)["noise"]["holdout"]
    assert found["items"] == 16, "where a few vary, all are measured"
    assert found["answers"] == sum(a != b for a, b in zip(first, again, strict=True)) == 2
    assert found["differ"] == sum(s != float(a == g) for s, a, g in zip(right, again, golds, strict=True))
    assert found["differ"] > 0


# --- the adapter's effect ---------------------------------------------------------------------------------------------


def test_the_adapters_effect_is_looked_for_where_it_changed_an_answer(domain: Domain) -> None:
    domain.apply(until="gate")

    before, after = (
        {row["item_id"]: row["answer"] for row in scores(domain, arm)} for arm in ("incumbent", "candidate")
    )
    changed = sum(after[item] != answer for item, answer in before.items())
    assert summary(domain)["effect"]["prompts"] == EFFECT_PROMPTS
    assert summary(domain)["effect"]["outputs_changed"] == min(changed, EFFECT_PROMPTS) > 0


# --- prompts that do not fit ------------------------------------------------------------------------------------------


def test_an_item_that_does_not_fit_is_counted_and_nobody_judges_it(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    def long(job: Any, item: Any, number: int) -> Any:
        return item if number else replace(item, answers=(), problem="a prompt of 600 tokens …")

    answering(long)
    domain.edit(lambda spec: spec["evals"].pop("guard"))
    domain.edit(lambda spec: spec["gate"].pop()).apply(until="gate")

    assert summary(domain)["too_long"] == {"holdout": 1}
    for arm in ("incumbent", "candidate"):
        row = scores(domain, arm)[0]
        assert (row["outcome"], row["score"], row["answer"], row["mode"]) == ("unknown", None, "", None)
        assert [(v["verifier"], v["reason"]) for v in row["verdicts"]] == [
            ("prompt_length", "a prompt of 600 tokens …")
        ]


def test_too_many_of_them_are_not_called_a_verifiers_fault(domain: Domain, answering: Callable[[Change], None]) -> None:
    def long(job: Any, item: Any, number: int) -> Any:
        return item if number > 2 else replace(item, answers=(), problem="a prompt of 600 tokens …", prompt_tokens=600)

    answering(long)
    domain.apply(until="gate")

    (decision,) = domain.query("SELECT outcome, rules FROM decisions")
    assert decision["outcome"] == "inconclusive"
    (said,) = {rule["explanation"] for rule in decision["rules"] if rule["suite"] == "holdout"}
    assert "3 of 16 items are unknown in one arm or the other (3 because the prompt does not fit the model)" in said
    assert "Shorten those prompts, or leave those items out and run `flywheel apply` again." in said
    assert "verifier" not in said


def test_probes_that_do_not_fit_are_no_failures_to_buy_lessons_for(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(job: Any, progress: Any) -> Any:
        first, *others = stand_in.answer(job, progress)
        return [replace(first, text="", tokens=0, problem="a prompt of 600 tokens …"), *others]

    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:answer", answer)
    domain.apply(until="gate")

    probed = summary(domain, "i1.probe.colour")
    assert probed["too_long"] == 1
    assert probed["notes"][0] == "1 row not asked: a prompt of 600 tokens …"
    (row,) = domain.query("SELECT * FROM answers WHERE outcome = 'unknown'")
    assert domain.query("SELECT * FROM failures WHERE answer_id = ?", [row["answer_id"]]) == []
    (verdict,) = domain.query("SELECT verifier, reason FROM verdicts WHERE subject_id = ?", [row["answer_id"]])
    assert (verdict["verifier"], verdict["reason"]) == ("prompt_length", "a prompt of 600 tokens …")


# --- shots ------------------------------------------------------------------------------------------------------------


def test_shots_are_solved_seeds_and_both_arms_see_the_same(domain: Domain, answering: Callable[[Change], None]) -> None:
    seen: list[dict[str, Any]] = []

    def look(job: Any, item: Any, number: int) -> Any:
        (asked,) = (i for suite in job.suites for i in suite.items if i.item_id == item.item_id)
        seen.append({"arm": job.arm.adapter is None, "item": item.item_id, "shots": asked.shots})
        return item

    answering(look)
    domain.edit(lambda spec: spec["evals"]["holdout"].update(num_fewshot=2)).apply(until="gate")

    seeds = {(f"{row['text']}\ncolour:", row["label"]) for row in read(domain, "evals/seeds.jsonl")}
    shots = [entry["shots"] for entry in seen if entry["shots"]]
    assert all(set(two) <= seeds and len(two) == 2 for two in shots)
    assert len(set(shots)) > 1, "each item has its own choice"
    by_arm = [{e["item"]: e["shots"] for e in seen if e["arm"] == arm} for arm in (True, False)]
    assert by_arm[0] == by_arm[1]


def test_student_shots_stand_before_every_question_to_whoever_is_asked(
    domain: Domain, answering: Callable[[Change], None]
) -> None:
    seen: set[tuple[str, bool]] = set()

    def look(job: Any, item: Any, number: int) -> Any:
        seen.update((i.prompt, job.arm.adapter is None) for suite in job.suites for i in suite.items)
        return item

    answering(look)
    seeds = read(domain, "evals/seeds.jsonl")
    shots = "".join(f"{row['text']}\ncolour: {row['label']}\n\n" for row in seeds[:2])
    domain.edit(lambda spec: spec["student"].update(shots=2)).apply(until="gate")

    probed = domain.query("SELECT prompt FROM answers")
    trained = domain.query("SELECT prompt, origin, row FROM dataset")
    assert probed
    assert {row["origin"] for row in trained} == {"new", "seed"}
    asked = [*(row["prompt"] for row in (*probed, *trained)), *(prompt for prompt, _ in seen)]
    assert all(prompt.startswith(shots) and prompt.count("colour:") == 3 for prompt in asked)
    assert {is_base for _, is_base in seen} == {True, False}
    shown = [row["text"] for row in seeds[:2]]
    assert not [row for row in trained if row["row"]["text"] in shown], "what is shown solved is not trained on"


def test_a_suite_says_otherwise_than_student_shots(domain: Domain, answering: Callable[[Change], None]) -> None:
    seen: dict[str, tuple[str, int]] = {}

    def look(job: Any, item: Any, number: int) -> Any:
        seen.update(
            {s.name: (i.prompt, len(i.shots)) for s in job.suites for i in s.items if i.item_id == item.item_id}
        )
        return item

    def change(spec: dict[str, Any]) -> None:
        spec["student"]["shots"] = 2
        for shots in (0, 3):
            spec["evals"][f"with_{shots}"] = {**spec["evals"]["holdout"], "role": "watch", "num_fewshot": shots}

    answering(look)
    domain.edit(change).apply(until="gate")

    assert {name: (prompt.count("colour:"), turns) for name, (prompt, turns) in seen.items()} == {
        "holdout": (3, 0), "guard": (3, 0), "with_0": (1, 0), "with_3": (1, 3),
    }  # fmt: skip


def test_too_few_seeds_for_student_shots_are_named_before_anything_runs(domain: Domain) -> None:
    with pytest.raises(SpecInvalid, match=r"has 8 seeds, and student\.shots wants 9"):
        domain.edit(lambda spec: spec["student"].update(shots=9)).open()


def test_student_shots_without_any_seeds_are_named(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["student"]["shots"] = 1
        del spec["tasks"]["colour"]["seeds"]

    with pytest.raises(SpecInvalid, match="shots are solved seeds, and no task has seeds"):
        domain.edit(change).open()


def test_too_few_seeds_for_the_shots_are_named(domain: Domain) -> None:
    outcome = domain.edit(lambda spec: spec["evals"]["holdout"].update(num_fewshot=8)).apply(until="gate")

    assert outcome.failed == ["i1.evaluate"]
    assert "tasks.colour.seeds has 8" in outcome.error


def read(domain: Domain, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (domain.root / name).read_text().splitlines()]


# --- teachers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def oracle(domain: Domain) -> Domain:
    """A teacher that knows the sky answers the holdout too."""
    (domain.root / "oracle.py").write_text(TEACHER)
    domain.edit(lambda spec: spec["teachers"].update(oracle={"kind": "python", "function": "oracle.py:teach"}))
    return domain.edit(lambda spec: spec["evals"]["holdout"].update(teachers=["oracle"]))


def test_a_teacher_answers_the_suite_and_is_judged_alike(oracle: Domain) -> None:
    oracle.apply(until="gate")

    rows = scores(oracle, "teacher:oracle")
    assert len(rows) == 16
    assert {row["answer"] for row in rows} == {"red", "blue"}, "without its thoughts"
    assert summary(oracle)["scores"]["holdout/teacher:oracle"] == pytest.approx(0.625)
    assert [v["verifier"] for v in rows[0]["verdicts"]] == ["known", "right"]
    row, messages = read(oracle, "oracle.log")[0]
    assert messages == [f"{row['text']}\ncolour:"]


def test_a_stop_in_a_teachers_thought_does_not_cut_its_answer(oracle: Domain) -> None:
    oracle.edit(lambda spec: spec["evals"]["holdout"].update(stop=["hm"])).apply()

    assert {row["answer"] for row in scores(oracle, "teacher:oracle")} == {"red", "blue"}


def test_a_teacher_is_never_gated_and_never_asked_twice(oracle: Domain) -> None:
    counted = [rule["items"] for rule in decided(oracle)]
    asked = len(read(oracle, "oracle.log"))

    oracle.edit(lambda spec: spec["loop"].update(iterations=2)).apply()

    assert counted == [16, 8]
    assert len(read(oracle, "oracle.log")) == asked == 16
    assert len(scores(oracle, "teacher:oracle", name="i2.evaluate")) == 16


def decided(domain: Domain) -> list[dict[str, Any]]:
    domain.apply(until="gate")
    return list(domain.query("SELECT rules FROM decisions WHERE iteration = 1")[0]["rules"])


def test_a_teacher_that_fails_leaves_unknown_items_with_the_fault(oracle: Domain) -> None:
    (oracle.root / "oracle.py").write_text("def teach(request):\n    raise ValueError('no sky today')\n")
    oracle.edit(lambda spec: spec["teachers"]["oracle"].update(max_retries=0)).apply(until="gate")

    rows = scores(oracle, "teacher:oracle")
    assert {row["outcome"] for row in rows} == {"unknown"}
    assert "no sky today" in rows[0]["verdicts"][0]["reason"]
    assert summary(oracle)["too_long"] == {}


# --- for stock lm-eval ------------------------------------------------------------------------------------------------


def test_every_suite_is_left_as_an_lm_eval_task_with_a_command_for_each_arm(domain: Domain) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=2)).apply()

    said = summary(domain)
    folder = domain.root / said["lm_eval"]
    for suite in ("holdout", "guard"):
        lines = (folder / suite / "items.jsonl").read_text().splitlines()
        assert len(lines) == len(scores(domain, "incumbent", suite))
        assert set(said["lm_eval_commands"][suite]) == {"incumbent", "candidate"}
        assert "peft=" in said["lm_eval_commands"][suite]["candidate"]
        assert "peft=" not in said["lm_eval_commands"][suite]["incumbent"]
    assert str(domain.root) not in json.dumps(said["lm_eval_commands"])


def test_a_model_that_was_measured_before_has_the_command_of_then(domain: Domain) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=2)).apply()

    first, second = summary(domain), summary(domain, "i2.evaluate")
    assert set(second["arms"]) == {"incumbent"}, "nothing was left to learn"
    assert second["lm_eval"] == first["lm_eval"]
    assert second["lm_eval_commands"]["holdout"]["incumbent"] == first["lm_eval_commands"]["holdout"]["candidate"]
