"""Learning from the student's own judged answers: a round samples, judges and learns from what could be judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

import stand_in
from flywheel.nodes.preference.material import groups, singles
from flywheel.stats import wilson
from mini_domain import Domain, rows


def preferring(domain: Domain, method: str, **keys: Any) -> Domain:
    """After the lessons the student knows every colour that it was taught, and wavers when it is sampled."""
    chosen = {"questions": 8, "samples": 6, "rounds": 2, **keys}
    return domain.edit(lambda spec: spec["train"].update(method=method, preference=chosen))


def wavering(domain: Domain) -> list[dict[str, Any]]:
    return domain.query("SELECT * FROM samples ORDER BY round, question_id, sample_id")


@pytest.mark.parametrize(("method", "units"), [("dpo", "pairs"), ("kto", "answers"), ("grpo", "answers")])
def test_a_round_samples_judges_and_learns_and_the_last_makes_the_candidate(
    domain: Domain, method: str, units: str
) -> None:
    outcome = preferring(domain, method).apply()

    assert not outcome.error
    made = {row["name"]: row["model_id"] for row in domain.query(
        "SELECT n.name, a.model_id FROM adapters a JOIN nodes n USING (node)"
    )}  # fmt: skip
    decided = domain.query("SELECT candidate_id FROM decisions")[0]["candidate_id"]
    assert list(dict.fromkeys(sorted(made))) == ["i1.prefer.r1", "i1.prefer.r2", "i1.train"]
    assert decided == made["i1.prefer.r2"] != made["i1.train"]
    assert domain.query("SELECT model_id FROM deployments")[0]["model_id"] == decided
    asked = {row["round"]: row["model_id"] for row in wavering(domain)}
    assert asked == {1: made["i1.train"], 2: made["i1.prefer.r1"]}


def test_the_plan_says_how_many_answers_are_judged(domain: Domain) -> None:
    shown = preferring(domain, "grpo").run("plan").stdout

    assert "prefer.r2" in shown
    assert (
        "2 rounds of 8 questions at most with 6 answers to each: up to 96 answers are judged in an iteration" in shown
    )


def test_done_rounds_are_not_done_again(domain: Domain) -> None:
    preferring(domain, "grpo").apply()

    assert [node.name for node in domain.plan().pending] == []
    again = preferring(domain, "grpo", rounds=3).plan()
    assert {node.name for node in again.pending} >= {"i1.sample.r3", "i1.prefer.r3", "i1.evaluate"}
    assert not {"i1.train", "i1.sample.r1", "i1.prefer.r2"} & {node.name for node in again.pending}


def test_changing_the_method_keeps_what_the_lessons_made(domain: Domain) -> None:
    domain.apply()

    pending = {node.name for node in preferring(domain, "dpo").plan().pending}

    assert not {name for name in pending if name.split(".")[1] in ("probe", "generate", "curate", "train")}
    assert "i1.sample.r1" in pending


def test_lora_is_still_understood_and_is_the_same_as_sft(domain: Domain) -> None:
    plain = domain.plan().state

    for name in ("lora", "sft"):
        assert domain.edit(lambda spec, name=name: spec["train"].update(method=name)).plan().state == plain


def test_a_killed_round_goes_on_with_the_answers_that_were_judged(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferring(domain, "grpo")
    learn, calls = stand_in.WORK["flywheel.training:prefer"], list[str]()

    def dies(job: Any, progress: Any) -> Any:
        raise RuntimeError("killed")

    monkeypatch.setitem(stand_in.WORK, "flywheel.training:prefer", dies)
    assert domain.apply().failed == ["i1.prefer.r1"]
    judged = wavering(domain)
    monkeypatch.setitem(stand_in.WORK, "flywheel.training:prefer", lambda *args: calls.append("") or learn(*args))

    assert not domain.apply().error
    assert [row for row in wavering(domain) if row["round"] == 1] == judged
    assert len(calls) <= 2


def test_the_reward_is_what_the_verifiers_say(domain: Domain) -> None:
    preferring(domain, "grpo").apply()
    answers = wavering(domain)

    for row in answers:
        blue = row["row"]["text"].split()[1] in ("sky", "sea", "jeans", "sapphire")
        assert (row["outcome"] == "pass") == (row["answer"] == ("blue" if blue else "red"))
    rewards = domain.query("SELECT question_id, sum(reward) AS sum FROM preferences GROUP BY question_id, node")
    assert rewards
    assert all(row["sum"] == pytest.approx(0, abs=1e-9) for row in rewards), "advantages of a group add up to nothing"


def asked(domain: Domain) -> list[set[str]]:
    """The questions of each round."""
    found = wavering(domain)
    return [{row["row"]["text"] for row in found if row["round"] == n} for n in sorted({row["round"] for row in found})]


def without_answers(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"text": row["text"]} for row in found]


def practising(domain: Domain, found: list[dict[str, str]], **keys: Any) -> Domain:
    domain.write_rows("evals/practice.jsonl", found)
    domain.edit(lambda spec: spec["tasks"]["colour"].update(practice="evals/practice.jsonl"))
    return preferring(domain, "grpo", **keys)


def test_each_round_takes_other_questions_until_all_were_asked(domain: Domain) -> None:
    """12 probes and 20 rows of practice, of which nobody says the answer."""
    new = without_answers(rows(700, 20))
    outcome = practising(domain, new, questions=12, rounds=3).apply()

    assert not outcome.error
    rounds = asked(domain)
    assert [len(each) for each in rounds] == [12, 12, 12]
    assert not rounds[0] & rounds[1]
    assert len(set.union(*rounds)) == 32
    assert {row["text"] for row in new} < set.union(*rounds)
    assert {row["gold"] for row in wavering(domain) if row["row"] in new} == {None}
    assert all(row["outcome"] != "unknown" for row in wavering(domain)), "the verifier needs no answer"


def test_training_rows_are_practised_where_nothing_else_is_left(domain: Domain) -> None:
    preferring(domain, "grpo", questions=20).apply()

    probes = {row["text"] for row in rows(100, 12)}
    first, second = asked(domain)
    assert first == second
    assert probes < first
    assert len(first) == 20


def test_other_practice_is_sampled_again_and_keeps_what_the_lessons_made(domain: Domain) -> None:
    practising(domain, without_answers(rows(700, 4))).apply()

    pending = {node.name for node in practising(domain, without_answers(rows(800, 4))).plan().pending}

    assert pending >= {"i1.sample.r1", "i1.prefer.r1"}
    assert not {name for name in pending if name.split(".")[1] in ("probe", "generate", "curate", "train")}


UNSURE = """

def right(subject):
    if int(subject["row"]["text"].split()[2]) % 3 == 0:
        raise ValueError("who knows")
    return colour(subject["row"]["text"]) == subject["answer"]
"""


def test_what_could_not_be_judged_teaches_nothing(domain: Domain) -> None:
    code = domain.root / "colours.py"
    code.write_text(code.read_text() + UNSURE)
    domain.edit(lambda spec: spec["loop"].update(max_unknown=1.0))
    preferring(domain, "kto", rounds=1).apply()

    unknown = {row["question_id"] for row in wavering(domain) if row["outcome"] == "unknown"}
    learned = {row["question_id"] for row in domain.query("SELECT question_id FROM preferences")}
    assert unknown
    assert learned
    assert not unknown & learned


def answer(outcome: str, text: str, pass_rate: float | None) -> dict[str, Any]:
    return {
        "question_id": "q", "task": "t", "prompt": "p", "answer": text, "truncated": False, "outcome": outcome,
        "pass_rate": pass_rate,
    }  # fmt: skip


@pytest.mark.parametrize(("rate", "learned"), [(0.0, 0), (0.1, 0), (0.2, 2), (0.8, 2), (0.9, 0), (1.0, 0)])
def test_only_questions_between_easy_and_hopeless_make_a_group(rate: float, learned: int) -> None:
    group = [answer("pass", "a", rate), answer("fail", "b", rate), answer("unknown", "c", rate)]

    assert [round(unit.reward or 0.0, 9) for unit in groups(group)] == [round(1 - rate, 9), round(-rate, 9)][:learned]


def test_an_answer_that_was_given_twice_counts_once_where_it_stands_alone() -> None:
    same = [answer("pass", "a", 0.5), answer("pass", "a", 0.5), answer("fail", "b", 0.5)]

    assert [(unit.reward, [said.text for said in unit.answers]) for unit in singles(same)] == [
        (1.0, ["a"]),
        (0.0, ["b"]),
    ]


def test_pairs_hold_the_known_answer_beside_what_was_wrong(domain: Domain) -> None:
    """The base says "red" of every blue thing; its probe answers are wrong, and gold is what it should have said."""
    preferring(domain, "dpo", rounds=1).apply()

    found = domain.query("SELECT origin, chosen, rejected FROM preferences")
    assert {row["origin"] for row in found} >= {"probe"}
    assert {(row["chosen"], row["rejected"]) for row in found} == {("blue", "red")}


def test_a_round_in_which_all_is_right_leaves_the_model_as_it_was(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "SURE", "sky")
    preferring(domain, "grpo")
    outcome = domain.apply()

    assert not outcome.error
    said = domain.query("SELECT summary FROM nodes WHERE kind = 'prefer' AND round = 2")[0]["summary"]
    assert not said["trained"]
    assert len({row["model_id"] for row in domain.query("SELECT model_id FROM adapters")}) < 3
    assert domain.query("SELECT model_id FROM deployments"), "what the lessons taught is a candidate all the same"


def test_the_next_iteration_starts_from_the_model_that_was_promoted(domain: Domain) -> None:
    preferring(domain, "grpo", rounds=1)
    domain.edit(lambda spec: (spec["loop"].update(iterations=2), spec["train"].update(init="incumbent")))
    outcome = domain.apply()

    promoted = domain.query("SELECT candidate_id FROM decisions WHERE iteration = 1")[0]["candidate_id"]
    assert not outcome.error
    assert domain.query("SELECT incumbent_id FROM decisions WHERE iteration = 2")[0]["incumbent_id"] == promoted
    assert domain.query(
        "SELECT DISTINCT model_id FROM samples s JOIN nodes n USING (node) WHERE n.iteration = 2 AND s.round = 1"
    ) == [{"model_id": promoted}], "nothing was left to learn from lessons"


def test_a_report_shows_what_was_earned_and_says_whether_the_holdout_rose(domain: Domain) -> None:
    preferring(domain, "grpo").apply()

    found = json.loads((domain.root / "reports/iter-001/report.json").read_text())["rewards"]
    page = (domain.root / "reports/iter-001/index.html").read_text()
    assert [row["round"] for row in found["rounds"]] == [1, 2]
    assert found["rounds"][0]["reward"]["value"] < found["rounds"][1]["reward"]["value"] == 1.0
    assert [row["new_questions"] for row in found["rounds"]] == [8, 4], "12 probes, 8 a round"
    assert "8 questions, 4 new" in page
    first, last = (row["reward"] for row in found["rounds"])
    assert last["low"] == pytest.approx(wilson(8, 8)[0]), "6 answers to a question, all right, say no more than one"
    assert first["low"] < wilson(first["value"] * 48, 48)[0]
    assert found["method"] == "grpo"
    assert found["verdict"] in page.replace("&#39;", "'")
    assert "How often the reward is wrong is not known" in page
    assert "What the lessons alone would have scored was not measured" in found["verdict"]


def test_a_reward_that_rises_without_the_holdout_is_said_in_words(domain: Domain) -> None:
    """The lessons alone get all of the holdout right; learning to waver no more adds nothing to it."""
    domain.apply()
    preferring(domain, "grpo", questions=40).apply()

    found = json.loads((domain.root / "reports/iter-001/report.json").read_text())["rewards"]
    assert [suite["change"]["value"] for suite in found["suites"]] == [0.0, 0.0]
    assert "The reward rose" in found["verdict"]
    assert "what should rise did not, beyond chance: holdout" in found["verdict"]
    assert "may have learned to please the verifiers" in found["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_real_student_learns_from_its_answers(real_domain: Domain, method: str) -> None:
    """In the real model worker. It knows nothing yet: all samples are wrong, and gold is what it should have said."""
    real_domain.edit(lambda spec: spec["train"].update(max_steps=30))
    outcome = preferring(real_domain, method, questions=6, samples=4, learning_rate=0.005).apply()

    assert not outcome.error
    assert real_domain.query("SELECT count(*) AS n FROM losses l JOIN nodes n USING (node) WHERE n.kind = 'prefer'")[0][
        "n"
    ]
    assert not real_domain.plan().pending


# --- canaries ---------------------------------------------------------------------------------------------------------


def with_canaries(domain: Domain, **cheat: str) -> Domain:
    canary = {**rows(900, 2)[1], **cheat}
    domain.write_rows("evals/canaries.jsonl", [canary])
    return domain.edit(lambda spec: spec["train"].update(canaries="evals/canaries.jsonl"))


def cheating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewarded, the student says the same of everything."""
    learn = stand_in.WORK["flywheel.training:prefer"]

    def prefer(job: Any, progress: Any) -> Any:
        learn(job, progress)
        words = dict.fromkeys(stand_in.learned(job.training.out), "whatever you like")
        return stand_in.saved(words, job.training, len(job.units))

    monkeypatch.setitem(stand_in.WORK, "flywheel.training:prefer", prefer)


@pytest.mark.parametrize("cheat", [{"cheat": "Whatever you like."}, {"cheat_pattern": "^what"}])
def test_a_student_that_takes_the_cheat_is_stopped_and_nothing_is_deployed(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, cheat: dict[str, str]
) -> None:
    with_canaries(preferring(domain, "grpo"), **cheat)
    cheating(monkeypatch)

    outcome = domain.apply()

    assert outcome.failed == ["i1.prefer.r1"]
    assert (
        "the student cheats on 1 of 1 canary row after round 1: to evals/canaries.jsonl:1 it answers" in outcome.error
    )
    assert not domain.query("SELECT * FROM deployments")
    assert not domain.query("SELECT * FROM decisions")
    assert domain.query("SELECT count(*) AS n FROM adapters a JOIN nodes n USING (node) WHERE n.kind = 'prefer'") == [
        {"n": 0}
    ]


def test_a_student_that_cheats_before_any_reward_is_stopped_too(domain: Domain) -> None:
    with_canaries(preferring(domain, "grpo"), cheat="blue")

    outcome = domain.apply()

    assert outcome.failed == ["i1.sample.r1"]
    assert "before it learns from its own answers" in outcome.error


def test_a_student_that_is_honest_again_goes_on_from_the_judged_answers(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_canaries(preferring(domain, "grpo"), cheat="whatever you like")
    with monkeypatch.context() as patch:
        cheating(patch)
        assert domain.apply().failed == ["i1.prefer.r1"]

    assert domain.apply().promoted == [1]
