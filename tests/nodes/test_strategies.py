"""Every strategy on the colours domain: what is asked, what becomes a candidate, what becomes a lesson."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

import stand_in
from flywheel.nodes.lessons.queue import heal, queued_rows
from flywheel.records import Generation
from mini_domain import ADJECTIVES, BLUES, Domain, rows

TEACHER = """
import json
from colours import BLUES, ADJECTIVES, colour


def teach(request):
    item, options = request["item"], request["options"]
    if request["purpose"] == "answer":
        return answer(request, item or {}, options)
    if item is None:
        return json.dumps([new_row(request, i) for i in range(request["n"])])
    if "direction" in item:  # evolve
        text = item["row"]["text"] + " " + item["direction"]
        return json.dumps([{"text": text, "label": colour(text)}])
    noun = item["row"]["text"].split()[1] if item["row"].get("text") else "sky"
    if not options.get("faithful", True):
        noun = "rose" if colour("x " + noun) == "blue" else "sky"
    return json.dumps([{"text": f"{ADJECTIVES[request['sample'] % 6]} {noun} {request['seed'] % 9999 + i}"}
                       for i in range(request["n"])])


def new_row(request, i):
    number = (request["seed"] + 7919 * i) % 90_000 + 10_000
    text = f"{ADJECTIVES[number % 6]} {BLUES[number // 6 % 4]} {number}"
    return {"text": text, "label": "blue"}


def answer(request, item, options):
    text = request["row"]["text"]
    if item.get("hint"):
        return f"It is a {text.split()[1]}, so #### {item['answer']}"
    right = colour(text)
    wrong = "wrong_every" in options and request["sample"] % options["wrong_every"] == 0
    if options.get("never"):
        wrong = right == "blue"
    said = ("red" if right == "blue" else "blue") if wrong else right
    return f"Thinking of {text.split()[1]}{'!' * (request['sample'] % 3)} #### {said}" if options.get("trace") else said
"""


def using(domain: Domain, options: dict[str, Any], **generator: Any) -> Domain:
    """The domain with one teacher, `solver`, and one generator."""
    (domain.root / "solver.py").write_text(
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n" + TEACHER
    )
    (domain.root / "prompts" / "made.md").write_text("{{ item.answer }} {{ direction }} {{ answer }} {{ row.text }}")
    solver = {"kind": "python", "function": "solver.py:teach", "options": options, "simulated": True}

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"] = {"solver": solver, "other": {**solver, "options": {"name": "other"}}}
        spec["generate"] = [{"name": "made", "teachers": ["solver"], "accept": 6, "rounds": 1, **generator}]

    return domain.edit(change)


def with_final_answers(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["tasks"]["colour"]["final"] = "#### (.+)"

    domain.edit(change)


def candidates(domain: Domain) -> list[dict[str, Any]]:
    return domain.query(
        """SELECT c.*, j.outcome, j.verifier, j.reason, j.pass_rate FROM candidates c
           LEFT JOIN judged j USING (candidate_id) ORDER BY c.candidate_id"""
    )


def summary(domain: Domain, kind: str = "generate") -> dict[str, Any]:
    [row] = domain.query("SELECT summary FROM nodes WHERE kind = ? AND iteration = 1", [kind])
    return dict(row["summary"])


def applied(domain: Domain, until: str | None = "curate") -> list[dict[str, Any]]:
    outcome = domain.apply(until=until)
    assert not outcome.error, outcome.error
    return candidates(domain)


def test_self_instruct_makes_new_rows_from_seeds_whatever_fails(domain: Domain) -> None:
    using(domain, {}, strategy="self_instruct", **{"from": "seeds"}, second_opinion=["other"], per_call=2)
    found = applied(domain)
    assert {c["mode"] for c in found} == {None}
    assert [c["outcome"] for c in found].count("pass") >= 6
    [budget] = domain.query("SELECT mode, lessons FROM budgets WHERE generator = 'made'")
    assert budget == {"mode": "", "lessons": 6}
    assert domain.query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")[0]["n"] == 6


def test_what_is_too_near_to_earlier_questions_is_filtered_before_it_is_verified(domain: Domain) -> None:
    using(
        domain, {}, strategy="self_instruct", **{"from": "seeds"}, second_opinion=["other"], novelty=0.5, forbid=["odd"]
    )
    found = applied(domain)
    filtered = [c for c in found if c["status"] == "filtered"]
    assert filtered
    assert {c["outcome"] for c in filtered} == {None}
    assert any(c["problem"].startswith("ROUGE-L") for c in filtered)


def test_what_is_near_by_characters_is_filtered_as_well(domain: Domain) -> None:
    using(domain, {}, strategy="self_instruct", **{"from": "seeds"}, novelty=0.6, novelty_by="characters")
    problems = [c["problem"] for c in applied(domain) if c["status"] == "filtered"]
    assert problems
    assert all(re.fullmatch(r"ratio (0\.[6-9]\d|1\.00) with an earlier question", problem) for problem in problems)


def test_no_second_opinion_is_paid_for_on_what_is_filtered(domain: Domain) -> None:
    using(domain, {}, strategy="self_instruct", **{"from": "seeds"}, second_opinion=["other"], novelty=0.5)
    found = applied(domain)
    statuses = Counter(c["status"] for c in found)
    assert statuses["filtered"]
    [calls] = domain.query("SELECT count(*) AS n FROM calls WHERE teacher = 'other' AND purpose = 'answer'")
    assert calls["n"] == statuses["parsed"]
    assert all((c["reference"] is None) == (c["status"] == "filtered") for c in found)


def test_evolving_counts_the_depth_and_turns_through_the_directions(domain: Domain) -> None:
    using(domain, {}, strategy="evolve", prompt="prompts/made.md", second_opinion=["other"])
    found = applied(domain)
    assert Counter(c["row"]["text"].split()[-1] for c in found).keys() == {"harder", "broader", "constrained"}
    assert {c["depth"] for c in found} == {1}
    assert all(c["parent_id"] for c in found)


def test_lessons_are_evolved_further_until_max_depth(domain: Domain) -> None:
    using(domain, {}, strategy="evolve", **{"from": "lessons"}, second_opinion=["other"], max_depth=1, accept=4)
    domain.edit(lambda spec: spec["loop"].update(iterations=2))
    found = applied(domain, until=None)
    assert max(c["depth"] for c in found) == 1
    domain.edit(lambda spec: spec["generate"][0].update(max_depth=3))
    assert max(c["depth"] for c in applied(domain, until=None)) == 2


def test_a_paraphrase_keeps_the_answer_and_must_lead_back_to_it(domain: Domain) -> None:
    using(domain, {"faithful": True}, strategy="paraphrase", second_opinion=["other"])
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    found = applied(domain)
    assert {c["target"] for c in found} == {"blue"}
    assert {c["outcome"] for c in found} == {"pass"}


@pytest.mark.parametrize("strategy", ["paraphrase", "back_translate"])
def test_an_unfaithful_question_is_thrown_away(domain: Domain, strategy: str) -> None:
    using(domain, {"faithful": False}, strategy=strategy, second_opinion=["other"])
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    assert {c["outcome"] for c in applied(domain)} == {"fail"}


def test_a_trace_keeps_its_reasoning_and_one_sample_a_question(domain: Domain) -> None:
    using(domain, {"trace": True, "wrong_every": 4}, strategy="trace", samples=4, accept=4)
    with_final_answers(domain)
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    found = applied(domain)
    by_group = Counter(c["group_id"] for c in found)
    assert set(by_group.values()) == {4}
    chosen = [c for c in found if c["outcome"] == "pass"]
    assert Counter(c["group_id"] for c in chosen).most_common(1)[0][1] == 1
    assert all(c["target"].startswith("Thinking of") for c in chosen)
    assert {c["pass_rate"] for c in found} == {0.75}
    assert [c["outcome"] for c in found].count("spare") == 2 * len(by_group)
    said = domain.query("SELECT summary FROM nodes WHERE kind = 'verify' AND status = 'done'")
    assert sum(row["summary"]["fates"]["spare"] for row in said) == 2 * len(by_group)


def test_what_all_samples_solve_is_dropped_unless_the_spec_keeps_it(domain: Domain) -> None:
    using(domain, {"trace": True}, strategy="trace", samples=3, accept=4)
    with_final_answers(domain)
    found = applied(domain)
    assert {c["outcome"] for c in found} == {"spare"}
    assert {c["reason"].split(":")[0] for c in found} == {"too easy"}
    domain.edit(lambda spec: spec["generate"][0].update(too_easy=None))
    assert [c for c in applied(domain) if c["outcome"] == "pass"]


def test_without_a_known_answer_the_samples_vote(domain: Domain) -> None:
    unknown = [{"text": row["text"]} for row in rows(700, 6)]
    using(
        domain, {"trace": True, "wrong_every": 3}, strategy="trace", samples=3, **{"from": "data"}, data="asked.jsonl"
    )
    domain.write_rows("asked.jsonl", unknown)
    with_final_answers(domain)
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    found = applied(domain)
    assert {c["reference_from"] for c in found} == {"vote:2/3"}
    assert {c["outcome"] for c in found} == {"pass", "spare", "fail"}


THINKER = """
def teach(request):
    thought = "the sky" if request["sample"] % 2 else "a rose"
    return f"<think>\\n{thought}?\\n</think>\\n\\n{'red' if request['sample'] == 2 else 'blue'}"
"""


def thinking(domain: Domain, **task: Any) -> Domain:
    using(domain, {}, strategy="trace", samples=3, **{"from": "data"}, data="asked.jsonl", forbid=["the sky"])
    (domain.root / "solver.py").write_text(THINKER)
    domain.write_rows("asked.jsonl", [{"text": row["text"]} for row in rows(700, 6)])
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    return domain.edit(lambda spec: spec["tasks"]["colour"].update(task))


def test_thoughts_are_kept_in_lessons_where_the_task_says_so_and_rules_see_them(domain: Domain) -> None:
    found = applied(thinking(domain, thoughts="keep"))
    assert {c["target"] for c in found if c["outcome"] == "pass"} == {"<think>\na rose?\n</think>\n\nblue"}
    assert {c["problem"] for c in found if c["status"] == "filtered"} == {'forbidden: "the sky"'}
    assert {row["target"] for row in domain.query("SELECT target FROM dataset WHERE origin = 'new'")} == {
        "<think>\na rose?\n</think>\n\nblue"
    }


def test_votes_are_cast_for_what_stands_behind_the_thought(domain: Domain) -> None:
    found = applied(thinking(domain, thoughts="keep"))
    assert {(c["reference"], c["reference_from"]) for c in found} == {("blue", "vote:2/3")}


def test_without_the_key_thoughts_are_dropped(domain: Domain) -> None:
    assert {c["target"] for c in applied(thinking(domain))} == {"blue", "red"}


@pytest.mark.parametrize("strategy", ["trace", "rationalize"])
def test_a_question_that_was_answered_is_not_bought_again_because_an_iteration_passed(
    domain: Domain, strategy: str
) -> None:
    options = {"trace": True, "wrong_every": 2}
    using(domain, options, strategy=strategy, samples=2, rounds=3, **{"from": "data"}, data="asked.jsonl")
    domain.write_rows("asked.jsonl", rows(700, 4))
    with_final_answers(domain)

    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["right"] = {"kind": "exact"}
        spec["loop"]["iterations"] = 3
        spec["gate"] = [{"suite": "holdout", "better_by": 0.99}]

    domain.edit(change)
    found = applied(domain)
    said = domain.query("SELECT summary FROM nodes WHERE kind = 'generate' ORDER BY iteration, round")
    assert sum(row["summary"].get("calls", 0) for row in said) > 8
    calls = domain.query("SELECT request FROM calls WHERE teacher = 'solver'")
    assert len(calls) == 4 * 2, "four questions, two samples of each"
    assert len({c["call_key"] for c in found}) == 8
    assert domain.query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")[0]["n"] == 4


@pytest.mark.parametrize("strategy", ["trace", "rationalize"])
def test_a_question_that_stands_twice_in_a_file_is_asked_and_counted_once(domain: Domain, strategy: str) -> None:
    using(
        domain, {"trace": True, "wrong_every": 3}, strategy=strategy, samples=3, **{"from": "data"}, data="asked.jsonl"
    )
    domain.write_rows("asked.jsonl", [*rows(700, 6), *rows(700, 6)])
    with_final_answers(domain)
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))

    found = applied(domain)

    assert len({c["call_key"] for c in found}) == len(found) == 6 * 3
    assert set(Counter(c["group_id"] for c in found).values()) == {3}


@pytest.mark.parametrize("strategy", ["trace", "rationalize"])
def test_a_question_that_a_rule_drops_is_answered_by_nobody_and_has_had_its_turn(domain: Domain, strategy: str) -> None:
    options = {"trace": True, "wrong_every": 3}
    using(domain, options, strategy=strategy, samples=3, **{"from": "data"}, data="asked.jsonl", forbid=["figure"])
    pictured = [{"text": f"see sky {n} in the figure", "label": "blue"} for n in range(2)]
    domain.write_rows("asked.jsonl", [*rows(700, 6), *pictured])
    with_final_answers(domain)
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))

    found = applied(domain)

    dropped = [c for c in found if c["status"] == "filtered"]
    assert {c["row"]["text"] for c in dropped} == {row["text"] for row in pictured}
    assert {(c["problem"], c["call_key"], c["target"]) for c in dropped} == {('forbidden: "figure"', "", "")}
    assert len(dropped) == 2
    assert domain.query("SELECT count(*) AS n FROM calls WHERE teacher = 'solver'")[0]["n"] == 6 * 3
    assert summary(domain)["asked"] == {"solver/": 8 * 3}, "the next round goes on behind them"
    assert summary(domain)["filtered"] == {"forbidden": 2}
    assert domain.query("SELECT count(*) AS n FROM dataset WHERE origin = 'new'")[0]["n"] == 6


@pytest.mark.parametrize("pattern", [r"\n\Z", r"(?s)^(?!.*\n.)", r"(?m)^$"])
def test_a_rule_about_what_an_answer_lacks_drops_no_question(domain: Domain, pattern: str) -> None:
    using(
        domain, {"trace": True}, strategy="trace", samples=2, **{"from": "data"}, data="asked.jsonl", forbid=[pattern]
    )
    domain.write_rows("asked.jsonl", rows(700, 3))
    assert [c["status"] for c in applied(domain)] == ["parsed"] * 6


def test_the_student_answers_anew_what_it_was_asked_before(domain: Domain) -> None:
    using(domain, {}, strategy="trace", samples=2, rounds=2, **{"from": "data"}, data="asked.jsonl")
    domain.write_rows("asked.jsonl", rows(700, 4))

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"] = {"self": {"kind": "student"}}
        spec["generate"][0] |= {"teachers": ["self"], "too_easy": None}

    domain.edit(change)
    assert not domain.apply(until="curate").error
    seeds = [row["request"]["seed"] for row in domain.query("SELECT request FROM calls WHERE teacher = 'self'")]
    assert len(set(seeds)) == len(seeds) > 4 * 2


def test_one_model_under_two_names_gives_itself_no_second_opinion(domain: Domain) -> None:
    using(domain, {}, strategy="self_instruct", **{"from": "seeds"}, second_opinion=["twin", "other"])
    domain.edit(lambda spec: spec["teachers"].update(twin={**spec["teachers"]["solver"], "style": "terse"}))
    found = applied(domain)
    assert {c["reference_from"] for c in found} == {"teacher:other"}


def test_rationalizing_hints_only_where_nothing_was_right_and_the_hint_is_not_in_the_lesson(domain: Domain) -> None:
    using(
        domain,
        {"trace": True, "never": True},
        strategy="rationalize",
        samples=2,
        accept=6,
        hint_prompt="prompts/hint.md",
    )
    (domain.root / "prompts" / "hint.md").write_text("SECRET HINT {{ answer }}: {{ row.text }}")
    with_final_answers(domain)
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "exact"}))
    found = applied(domain)
    assert summary(domain)["hinted"] > 0
    assert [c for c in found if c["outcome"] == "pass"]
    lessons = domain.query("SELECT prompt, target FROM dataset WHERE origin = 'new'")
    assert lessons
    assert not any("HINT" in row["prompt"] + row["target"] for row in lessons)
    assert all(row["target"].endswith("blue") for row in lessons)


@pytest.fixture
def playing(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """A student that asks itself about things; of "sky" it is unsure, "rose" it knows."""

    def answer(job: Any, progress: Any) -> list[Any]:
        found = []
        for i, (name, prompt) in enumerate(job.prompts):
            if job.seeds and "propose" in prompt:
                text = f"old {'sky' if i % 2 else 'rose'} {job.seeds[i] % 1000}"
            elif job.seeds and "sky" in prompt:
                text = "blue" if job.seeds[i] % 3 else "red"
            else:
                text = "red"
            found.append(Generation(name, text, 1, False))
        return found

    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:answer", answer)
    (domain.root / "prompts" / "propose.md").write_text("propose a thing")

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"] = {"self": {"kind": "student"}}
        spec["generate"] = [
            {
                "name": "play", "strategy": "self_play", "teachers": ["self"], "accept": 8, "rounds": 1, "per_call": 1,
                "prompt": "prompts/propose.md", "parse": "text", "samples": 6, "from": "seeds",
            }
        ]  # fmt: skip

    return domain.edit(change)


def test_self_play_keeps_what_the_student_solves_sometimes(playing: Domain) -> None:
    found = applied(playing)
    kept = [c for c in found if c["outcome"] == "pass"]
    assert kept
    assert all("sky" in c["row"]["text"] and 0 < c["pass_rate"] < 1 for c in kept)
    assert all("too easy" in (c["reason"] or "") for c in found if "rose" in c["row"]["text"])


def test_what_the_student_asks_and_a_rule_drops_it_does_not_answer(playing: Domain) -> None:
    playing.edit(lambda spec: spec["generate"][0].update(forbid=["rose"]))

    found = applied(playing)

    assert {c["status"] for c in found if "rose" in c["row"]["text"]} == {"filtered"}
    answered = playing.query("SELECT request->>'$.row.text' AS text FROM calls WHERE purpose = 'answer'")
    assert answered
    assert all("sky" in row["text"] for row in answered)


def test_an_empty_queue_never_blocks_and_what_people_answer_is_taken_once(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})
        spec["loop"]["iterations"] = 2

    domain.edit(change)
    assert not domain.apply(iterations=1).error
    queue = domain.root / "human" / "experts.jsonl"
    waiting = [json.loads(line) for line in queue.read_text().splitlines()]
    assert len(waiting) >= 3
    assert {row["label"] for row in waiting} == {None}
    answered = [{**row, "label": "blue"} if i == 0 else row for i, row in enumerate(waiting)]
    queue.write_text("".join(json.dumps(row) + "\n" for row in answered))
    assert not domain.apply().error
    [taken] = domain.query("SELECT * FROM candidates WHERE teacher = 'human'")
    assert (taken["target"], taken["reference_from"], taken["parent_id"]) == ("blue", "person", waiting[0]["id"])
    assert domain.apply().ran == 0


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_line_that_a_kill_cut_off_is_asked_for_again_and_nothing_else_moves(domain: Domain, cut: int) -> None:
    domain.edit(
        lambda spec: spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})
    )
    assert not domain.apply(until="curate").error
    queue = domain.root / "human" / "experts.jsonl"
    whole = queue.read_text().splitlines(keepends=True)
    first = json.dumps({**json.loads(whole[0]), "label": "blue"}) + "\n"
    torn = whole[-1][:-1][:-cut]
    queue.write_text(first + "".join(whole[1:-1]) + torn)
    assert [row["id"] for row in queued_rows(queue)] == [json.loads(line)["id"] for line in whole[:-1]]

    domain.edit(lambda spec: spec["generate"][-1].update(accept=4))  # the node is asked again
    assert not domain.apply(until="curate").error

    lines = queue.read_text().splitlines(keepends=True)
    assert lines[0] == first
    ids = [json.loads(line)["id"] for line in lines]
    assert json.loads(whole[-1])["id"] in ids
    assert len(ids) == len(set(ids))
    assert queue.with_suffix(".torn").read_text() == torn + "\n"
    [said] = domain.query(
        "SELECT summary FROM nodes WHERE kind = 'generate' AND name LIKE '%experts%' ORDER BY started_at"
    )[-1:]
    assert "the last line was cut off" in said["summary"]["notes"][0]
    assert said["summary"]["answered"] == 1


def test_a_row_without_a_line_end_is_whole(domain: Domain) -> None:
    path = domain.root / "queue.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b"}')
    assert not heal(path)
    assert [row["id"] for row in queued_rows(path)] == ["a", "b"]
    assert not heal(domain.root / "absent.jsonl")


def test_a_broken_queue_names_the_place(domain: Domain) -> None:
    domain.edit(
        lambda spec: spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})
    )
    (domain.root / "human").mkdir()
    (domain.root / "human" / "experts.jsonl").write_text('{"id": "a"}\n{"id":\n')
    assert "experts.jsonl:2" in domain.apply(until="curate").error


def test_the_fallback_answers_when_a_teacher_is_out_of_reach_and_the_lesson_names_it(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["remote"] = {
            "kind": "litellm", "model": "openai/absent", "api_base": "http://127.0.0.1:9", "max_retries": 0,
            "fallback": ["careful"], "timeout_seconds": 2,
        }  # fmt: skip
        spec["generate"][0]["teachers"] = ["remote"]

    domain.edit(change)
    found = applied(domain)
    assert {c["teacher"] for c in found} == {"careful"}
    assert [c for c in found if c["outcome"] == "pass"]
    failed = [
        row["summary"]["calls_failed"] for row in domain.query("SELECT summary FROM nodes WHERE kind = 'generate'")
    ]
    assert failed[0]


def test_a_bandit_moves_calls_to_the_teacher_whose_lessons_pass(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"][0] |= {"teachers": ["careful", "careless"], "allocate": "bandit", "rounds": 1}
        spec["teachers"]["careless"]["options"]["wrong"] = 0.9
        spec["loop"]["iterations"] = 2
        spec["gate"] = [{"suite": "holdout", "better_by": 0.99}]  # nothing is promoted: the same failures again

    domain.edit(change)
    assert not domain.apply().error
    first, second = (
        row["summary"] for row in domain.query("SELECT summary FROM nodes WHERE kind = 'generate' ORDER BY iteration")
    )
    assert "allocation" not in first
    assert second["allocation"]["careful"] > 0.7


def test_each_call_gets_the_next_style(domain: Domain) -> None:
    domain.edit(lambda spec: spec["teachers"]["careful"].update(style=["short", "long"]))
    assert not domain.apply(until="curate").error
    asked = domain.query("SELECT DISTINCT request FROM calls WHERE teacher = 'careful'")
    prompts = [json.dumps(row["request"]) for row in asked]
    assert {style for style in ("short", "long") for text in prompts if style in text} == {"short", "long"}


def test_blue_things_are_what_the_student_gets_wrong() -> None:
    """The tests above rest on it."""
    assert stand_in.say(None, f"old {BLUES[0]} 1") == "red"


def test_what_people_write_into_the_queue_is_taken_once_whatever_their_ids(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 2})
        spec["loop"]["iterations"] = 2
        spec["gate"] = [{"suite": "holdout", "better_by": 0.99}]

    domain.edit(change)
    (domain.root / "human").mkdir()
    written = [
        {"id": 7, "mode": "not_blue", "text": "old sky 5", "label": "blue"},
        {"id": "a", "mode": "not_blue", "text": "old sky 6", "label": "red"},
        {"id": "a", "mode": "not_blue", "text": "old sky 6", "label": "blue"},
        {"id": "b", "mode": 4, "text": "old sky 7", "label": "blue"},
        {"id": "later", "mode": "not_blue", "text": "old sky 8", "label": " "},
    ]
    domain.write_rows("human/experts.jsonl", written)

    taken = [c for c in applied(domain) if c["teacher"] == "human"]

    assert sorted((c["parent_id"], c["target"]) for c in taken) == [("7", "blue"), ("a", "blue"), ("b", "blue")]


def test_what_people_wrote_beyond_the_budget_of_an_iteration_is_for_a_later_one(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["generate"] = [{"name": "experts", "strategy": "human", "accept": 2, "rounds": 1}]
        spec["loop"]["iterations"] = 2
        spec["gate"] = [{"suite": "holdout", "better_by": 0.99}]

    domain.edit(change)
    written = [
        {"id": f"p{i}", "mode": "not_blue", "text": f"{ADJECTIVES[i]} {BLUES[i % 4]} {10_000 + 7 * i}", "label": "blue"}
        for i in range(5)
    ]
    (domain.root / "human").mkdir()
    domain.write_rows("human/experts.jsonl", written)
    domain.apply()

    rows = domain.query(
        """SELECT n.iteration, list(c.parent_id ORDER BY c.parent_id) AS given,
               list(c.parent_id) FILTER (u.decision = 'kept') AS kept
           FROM candidates c JOIN nodes n ON n.node = c.node JOIN curation u ON u.candidate_id = c.candidate_id
           GROUP BY n.iteration ORDER BY n.iteration"""
    )
    first, second = rows
    assert len(first["given"]) == 5
    assert len(first["kept"]) == 2
    assert second["given"] == sorted(set(first["given"]) - set(first["kept"]))
    lines = (domain.root / "human" / "experts.jsonl").read_text().splitlines()
    assert len(lines) == 5 + 2, "as many wait as are to be accepted"


def test_a_task_whose_columns_the_queue_needs_itself_is_refused_by_name(domain: Domain) -> None:
    domain.edit(
        lambda spec: spec["generate"].append({"name": "experts", "strategy": "human", "accept": 3, "rounds": 1})
    )
    (domain.root / "prompts" / "colour.md").write_text("{{ row.text }} {{ row.id }}\ncolour:")
    for name in ("probes", "seeds", "holdout", "guard"):
        path = domain.root / "evals" / f"{name}.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        domain.write_rows(f"evals/{name}.jsonl", [{**row, "id": i} for i, row in enumerate(found)])

    assert 'a column "id" of its own' in domain.apply(until="curate").error


REMOTE = {
    "kind": "litellm", "model": "openai/absent", "api_base": "http://127.0.0.1:9", "max_retries": 0,
    "timeout_seconds": 2,
}  # fmt: skip


def with_opinions_of(domain: Domain, fallback: list[str]) -> Domain:
    using(domain, {}, strategy="self_instruct", **{"from": "seeds"}, second_opinion=["remote"])
    return domain.edit(lambda spec: spec["teachers"].update(remote={**REMOTE, "fallback": fallback}))


def test_a_second_opinion_comes_from_a_fallback_that_is_not_the_author(domain: Domain) -> None:
    found = applied(with_opinions_of(domain, ["solver", "other"]))
    assert {c["reference_from"] for c in found} == {"teacher:other"}


def test_lessons_that_nobody_could_be_asked_about_are_not_taken_for_unanswerable(domain: Domain) -> None:
    outcome = with_opinions_of(domain, []).apply(until="curate")
    assert "no teacher answered any of" in outcome.error
    assert not domain.query("SELECT node FROM nodes WHERE kind = 'verify'")


def test_a_pattern_that_backtracks_without_end_is_given_up() -> None:
    from flywheel.answers import final_answer
    from flywheel.text import matches

    assert matches(r"answer: ((?:a+)+)$", "answer: " + "a" * 60 + "!") == []
    assert final_answer("first #### 1 then #### 2", "#### (.+?)(?: |$)") == "2"
