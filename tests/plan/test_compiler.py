"""What a change reaches: fingerprints, statuses and the words for why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from flywheel.errors import FlywheelError
from flywheel.plan import VERBS, compile_plan
from flywheel.plan.compiler import Done
from flywheel.plan.estimates import History
from mini_domain import Domain, rows, write_empty_student

Change = Callable[[Domain], Any]


def spec(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda domain: domain.edit(change)


def file(name: str, text: str) -> Change:
    def change(domain: Domain) -> None:
        path = domain.root / name
        path.write_text(path.read_text() + text)

    return change


def changed(domain: Domain, change: Change) -> set[str]:
    """Names of the nodes whose fingerprint the change moves, over two iterations."""
    before = {node.name: node.fingerprint for node in domain.plan(2).nodes}
    change(domain)
    return {node.name for node in domain.plan(2).nodes if before.get(node.name) != node.fingerprint}


def everything(domain: Domain) -> set[str]:
    return {node.name for node in domain.plan(2).nodes}


def second(domain: Domain) -> set[str]:
    return {name for name in everything(domain) if name.startswith("i2.")}


FIRST = {
    "evaluate": ["i1.evaluate", "i1.gate", "i1.report", "i1.deploy"],
    "gate": ["i1.gate", "i1.report", "i1.deploy"],
}
FROM_TRAIN = {"i1.train", *FIRST["evaluate"]}
FROM_CURATE = {"i1.curate", *FROM_TRAIN}
FROM_VERIFY_2 = {"i1.verify.targeted.r2", *FROM_CURATE}
FROM_VERIFY_1 = {"i1.verify.targeted.r1", "i1.generate.targeted.r2", *FROM_VERIFY_2}
FROM_GENERATE = {"i1.generate.targeted.r1", *FROM_VERIFY_1}
FROM_BUDGET = {"i1.budget", *FROM_GENERATE}
FROM_DIAGNOSE = {"i1.diagnose", *FROM_BUDGET}


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (spec(lambda s: s["train"].update(rank=8)), FROM_TRAIN),
        (spec(lambda s: s["train"].update(learning_rate=0.01)), FROM_TRAIN),
        (spec(lambda s: s.update(curate={"mix": {"seeds": 0.2}})), FROM_CURATE),
        (spec(lambda s: s["gate"][0].update(better_by=0.1)), set(FIRST["gate"])),
        (spec(lambda s: s["teachers"]["careful"]["options"].update(wrong=0.1)), FROM_GENERATE),
        (spec(lambda s: s["teachers"]["careful"].update(style="brisk")), FROM_GENERATE),
        (spec(lambda s: s["tasks"]["colour"].update(description="Another.")), FROM_GENERATE),
        (spec(lambda s: s["taxonomy"][0].update(description="Another.")), FROM_GENERATE),
        (spec(lambda s: s["taxonomy"][0].update(severity="minor")), FROM_DIAGNOSE),
        (spec(lambda s: s["taxonomy"][0].update(when="gold = 'BLUE'")), FROM_DIAGNOSE),
        (spec(lambda s: s["generate"][0].update(floor=0.1)), FROM_BUDGET),
        (spec(lambda s: s["generate"][0].update(per_call=4)), FROM_GENERATE),
        (file("prompts/lessons.md", "\nBe kind."), FROM_GENERATE),
    ],
    ids=[
        "train.rank", "train.learning_rate", "curate.mix", "gate", "teacher options", "teacher style",
        "task description", "mode description", "severity", "predicate", "floor", "per_call", "lesson prompt",
    ],
)  # fmt: skip
def test_a_change_reaches_its_node_what_follows_it_and_the_iterations_after(
    domain: Domain, change: Change, first: set[str]
) -> None:
    assert changed(domain, change) == first | second(domain)


@pytest.mark.parametrize(
    "change",
    [
        spec(lambda s: s["student"].update(max_new_tokens=7)),
        file("prompts/colour.md", " "),
        file("colours.py", "\n# another\n"),
        lambda domain: write_empty_student(domain.root / "student", "others"),
        lambda domain: domain.write_rows("evals/probes.jsonl", rows(100, 14)),
    ],
    ids=["max_new_tokens", "task prompt", "verifier's file", "weights", "probe rows"],
)
def test_a_change_of_the_student_or_of_the_ruler_reaches_everything(domain: Domain, change: Change) -> None:
    reached = changed(domain, change)

    assert "i1.probe.colour" in reached
    assert reached | {"i1.diagnose"} == everything(domain)


@pytest.mark.parametrize(
    "change",
    [
        spec(lambda s: s["loop"].update(max_usd=1.0)),
        spec(lambda s: s["teachers"]["careful"].update(concurrency=2, timeout_seconds=5.0)),
        lambda domain: (domain.root / "flywheel.yaml").write_text(
            "# a comment\n" + (domain.root / "flywheel.yaml").read_text()
        ),
    ],
    ids=["limit", "pace", "comment"],
)
def test_what_cannot_change_a_result_changes_no_fingerprint(domain: Domain, change: Change) -> None:
    assert changed(domain, change) == set()


@pytest.mark.parametrize(
    "change",
    [
        spec(lambda s: s.update(description="Words for people.")),
        spec(lambda s: s.update(name="other")),
        spec(lambda s: s["evals"]["guard"].update(role="watch")),
    ],
    ids=["description", "name", "role"],
)
def test_what_only_the_report_shows_is_written_anew_and_nothing_else_is_done(domain: Domain, change: Change) -> None:
    assert changed(domain, change) == {name for name in everything(domain) if name.endswith((".report", ".deploy"))}


def test_the_seed_reaches_whatever_draws_by_chance(domain: Domain) -> None:
    reached = changed(domain, spec(lambda s: s.update(seed=4)))

    assert reached == FROM_GENERATE | second(domain)


def test_the_seed_reaches_a_probe_that_is_a_sample(domain: Domain) -> None:
    domain.edit(lambda s: s["tasks"]["colour"].update(probe_limit=6))

    assert "i1.probe.colour" in changed(domain, spec(lambda s: s.update(seed=4)))


def test_more_iterations_leave_the_earlier_ones_as_they_were(domain: Domain) -> None:
    one = {node.name: node.fingerprint for node in domain.plan(1).nodes}
    three = {node.name: node.fingerprint for node in domain.plan(3).nodes}

    assert one.items() <= three.items()
    assert len(three) == 3 * len(one)


def test_a_suite_that_is_added_is_looked_for_in_the_lessons_and_measured(domain: Domain) -> None:
    domain.write_rows("evals/new.jsonl", rows(900, 4))
    reached = changed(domain, spec(lambda s: s["evals"].update(new={"task": "colour", "data": "evals/new.jsonl"})))

    assert reached == FROM_CURATE | second(domain)


# --- statuses and words -----------------------------------------------------------------------------------------------


def done_by(domain: Domain, iterations: int = 1) -> dict[str, Done]:
    return {n.fingerprint: Done(n.fingerprint, n.name, n.inputs) for n in domain.plan(iterations).nodes}


def test_another_version_of_the_engine_names_failures_anew(domain: Domain) -> None:
    before = {node.name: node.fingerprint for node in domain.plan(1).nodes}
    moved = plan_after(domain, {}, predicates="duckdb 99.0")
    assert {name for name in before if moved[name].fingerprint != before[name]} == {
        name for name in FROM_DIAGNOSE if name.startswith("i1.")
    }


def test_a_taxonomy_without_predicates_needs_no_engine(domain: Domain) -> None:
    domain.edit(lambda spec: spec.update(taxonomy=[{"name": "wrong"}]))
    before = {node.name: node.fingerprint for node in domain.plan(1).nodes}
    moved = plan_after(domain, {}, predicates="duckdb 99.0")
    assert all(moved[name].fingerprint == found for name, found in before.items())


def plan_after(domain: Domain, done: dict[str, Done], iterations: int = 1, **facts: Any) -> dict[str, Any]:
    from dataclasses import replace

    project = domain.open()
    found = replace(project.facts(), **facts)
    plan = compile_plan(project.spec, project.spec_hash, found, done, History(), iterations)
    return {node.name: node for node in plan.nodes}


def test_everything_is_new_at_first_and_reused_when_done(domain: Domain) -> None:
    assert {node.status for node in plan_after(domain, {}).values()} == {"new"}
    assert {node.status for node in plan_after(domain, done_by(domain)).values()} == {"reused"}


@pytest.mark.parametrize(
    ("change", "node", "why"),
    [
        (lambda s: s["teachers"]["careful"]["options"].update(wrong=0.5), "i1.generate.targeted.r1",
         "teachers.careful.options.wrong nothing → 0.5"),
        (lambda s: s["train"].update(rank=8), "i1.train", "train.rank 4 → 8"),
        (lambda s: s["train"].update(rank=8), "i1.gate", "after i1.evaluate"),
        (lambda s: s["gate"][0].update(better_by=0.5), "i1.gate", "gate[0].better_by 0.05 → 0.5"),
        (lambda s: s["gate"].append({"suite": "guard", "at_least": 0.2}), "i1.gate", "gate[2] nothing → {suite: "),
        (lambda s: s["gate"].reverse(), "i1.gate", "order [gate[0], gate[1]] → [gate[1], gate[0]]"),
        (lambda s: s["gate"].pop(), "i1.gate", "not_worse_than: 0.9, confidence: 0.95} → nothing"),
        (lambda s: s["taxonomy"][0].update(severity="minor"), "i1.diagnose", "not_blue.severity critical → minor"),
        (lambda s: s["evals"]["holdout"].update(slices=["label"]), "i1.evaluate", "evals.holdout.slices [] → [label]"),
    ],
)  # fmt: skip
def test_a_changed_node_says_what_changed(domain: Domain, change: Any, node: str, why: str) -> None:
    done = done_by(domain)
    domain.edit(change)

    found = plan_after(domain, done)[node]

    assert found.status == "changed"
    assert why in "; ".join(found.why)


def test_a_rule_that_came_before_others_is_the_only_change(domain: Domain) -> None:
    done = done_by(domain)
    domain.edit(lambda s: s["gate"].insert(0, {"suite": "guard", "at_least": 0.2}))

    [why] = plan_after(domain, done)["i1.gate"].why
    assert why.startswith("gate[0] nothing → {suite: guard, ")


def test_a_predicate_that_changed_far_behind_shows_where(domain: Domain) -> None:
    long = "answer IS NOT NULL AND length(answer) > 0 AND gold = 'blue' AND answer <> gold"
    domain.edit(lambda s: s["taxonomy"][0].update(when=f"{long} AND length(answer) < 20"))
    done = done_by(domain)
    domain.edit(lambda s: s["taxonomy"][0].update(when=f"{long} AND length(answer) < 30"))

    [why] = plan_after(domain, done)["i1.diagnose"].why
    assert why == "taxonomy.not_blue.when …h(answer) < 20 → …h(answer) < 30"


def test_a_teachers_temperature_is_named_with_its_values(domain: Domain) -> None:
    domain.edit(lambda s: s["teachers"].update(self={"kind": "student", "temperature": 0.7}))
    domain.edit(lambda s: s["generate"][0]["teachers"].update(self=1.0))
    done = done_by(domain)
    domain.edit(lambda s: s["teachers"]["self"].update(temperature=1.0))

    assert plan_after(domain, done)["i1.generate.targeted.r1"].why == ("teachers.self.temperature 0.7 → 1.0",)


def test_a_generator_that_cannot_run_blocks_what_waits_for_it(domain: Domain) -> None:
    nodes = plan_after(domain, {}, blocked={"targeted": "KEY is not set"})

    assert nodes["i1.probe.colour"].status == "new"
    assert nodes["i1.generate.targeted.r1"].why == ("KEY is not set",)
    assert nodes["i1.train"].status == "blocked"
    assert nodes["i1.train"].why == ("waits for i1.curate",)


def test_a_generator_that_has_run_is_reused_though_it_could_not_run_now(domain: Domain) -> None:
    nodes = plan_after(domain, done_by(domain), blocked={"targeted": "KEY is not set"})

    assert {node.status for node in nodes.values()} == {"reused"}


def test_every_node_comes_after_its_parents(domain: Domain) -> None:
    seen: set[str] = set()
    for node in domain.plan(3).nodes:
        assert set(node.parents) <= seen
        seen.add(node.name)


def test_the_state_of_a_plan_moves_when_a_node_is_done(domain: Domain) -> None:
    before = domain.plan().state
    assert domain.plan().state == before

    domain.apply()

    assert domain.plan().state != before


def test_a_node_without_its_parent_is_refused(monkeypatch: pytest.MonkeyPatch, domain: Domain) -> None:
    monkeypatch.setattr(type(VERBS["curate"]), "parents", lambda self, it, place: ["i1.nobody"])

    with pytest.raises(FlywheelError, match=r"i1\.nobody"):
        domain.plan()


def test_ten_thousand_nodes_are_planned_in_seconds(domain: Domain) -> None:
    project = domain.open()
    facts = project.facts()
    started = time.process_time()

    plan = compile_plan(project.spec, project.spec_hash, facts, {}, History(), 770)

    assert len(plan.nodes) > 10_000
    assert time.process_time() - started < 5


def without_probes(domain: Domain) -> Domain:
    def change(s: dict[str, Any]) -> None:
        del s["tasks"]["colour"]["probes"]
        s["generate"][0] |= {"strategy": "self_instruct", "from": "seeds"}

    return domain.edit(change)


def test_without_probes_an_iteration_still_waits_for_the_one_before(domain: Domain) -> None:
    parents = {node.name: node.parents for node in without_probes(domain).plan(2).nodes}

    assert parents["i1.diagnose"] == ()
    assert parents["i2.diagnose"] == ("i1.gate",)


def test_without_probes_how_the_task_is_asked_reaches_what_is_generated(domain: Domain) -> None:
    assert "i1.generate.targeted.r1" in changed(without_probes(domain), file("prompts/colour.md", " "))


def test_a_suite_of_lm_eval_alone_is_measured_anew_when_the_student_answers_otherwise(domain: Domain) -> None:
    def change(s: dict[str, Any]) -> None:
        s["evals"] = {"own": {"role": "target", "lm_eval": "own"}}
        s["gate"] = [{"suite": "own", "better_by": 0.1}]

    def inputs() -> Any:
        return next(node.inputs for node in domain.plan(1).nodes if node.kind == "evaluate")

    domain.edit(change)
    (domain.root / "evals" / "own.yaml").write_text("task: own\n")
    before = inputs()
    domain.edit(lambda s: s["student"].update(system="Be brief."))

    assert inputs() != before, "the base's earlier scores are taken over where these are the same"
