"""What production answered is judged where it can be, named like a probe's failure, and buys lessons."""

from __future__ import annotations

import json
from typing import Any

from flywheel.engine.forget import forget
from mini_domain import Domain
from mini_traffic import answered, matching, said, take_in

USER = "(?P<text>.+)\ncolour:"


def outcomes(domain: Domain) -> dict[str, str]:
    rows = domain.query("SELECT source_id, outcome FROM answers WHERE source_id IS NOT NULL")
    return {row["source_id"]: row["outcome"] for row in rows}


def reasons(domain: Domain, source_id: str) -> list[str]:
    rows = domain.query(
        "SELECT v.reason FROM answers a JOIN verdicts v ON v.subject_id = a.answer_id WHERE a.source_id = ? "
        "AND v.outcome = 'fail'",
        [source_id],
    )
    return [row["reason"] for row in rows]


def test_a_spec_without_matches_has_the_plan_that_it_had(domain: Domain) -> None:
    before = {node.name: node.fingerprint for node in domain.plan().nodes}
    domain.edit(lambda spec: spec.update(traffic={"keep_days": 9, "redact": []}))
    take_in(domain, [answered(1, "old sky 1", "red")])
    assert {node.name: node.fingerprint for node in domain.plan().nodes} == before


def test_verifiers_without_a_gold_and_people_say_what_went_wrong_in_production(domain: Domain) -> None:
    matching(domain)
    take_in(
        domain,
        [
            answered(1, "old sky 900001", "red"),  # the verifier knows the noun
            answered(2, "old sky 900002", "blue"),
            answered(3, "old sky 900003", "no idea"),
            answered(4, "old sky 900004", "blue"),
            said(4, -1),
        ],
    )
    domain.apply()
    assert outcomes(domain) == {"r1": "fail", "r2": "pass", "r3": "fail", "r4": "fail"}
    assert reasons(domain, "r4") == ["a person said so"]
    failures = domain.query(
        "SELECT f.mode FROM failures f JOIN answers a USING (answer_id) WHERE a.source_id IS NOT NULL"
    )
    assert [row["mode"] for row in failures] == ["other"] * 3
    budget = domain.query("SELECT mode, probes, failures FROM budgets ORDER BY mode")
    assert budget == [
        {"mode": "not_blue", "probes": 16, "failures": 6}, {"mode": "other", "probes": 16, "failures": 3},
    ]  # fmt: skip
    (artifact,) = domain.query("SELECT summary FROM nodes WHERE kind = 'report'")
    modes = json.loads((domain.root / artifact["summary"]["artifact"] / "report.json").read_text())["modes"]
    assert (modes["probes"], modes["probe_failures"], modes["traffic"], modes["traffic_failures"]) == (12, 6, 4, 3)
    assert {row["name"]: row["in_traffic"]["value"] for row in modes["rows"]} == {"not_blue": 0.0, "other": 0.75}
    page = (domain.root / "reports" / "iter-001" / "index.html").read_text()
    assert "those of 4 answers of production" in page


def test_a_correction_is_a_gold_and_the_failure_gets_the_mode_that_hangs_on_it(domain: Domain) -> None:
    matching(domain)
    take_in(domain, [answered(1, "old sky 900001", "red"), said(1, None, "blue")])
    domain.apply(until="curate")
    (row,) = domain.query('SELECT gold, "row" FROM answers WHERE source_id IS NOT NULL')
    assert (row["gold"], row["row"]) == ("blue", {"text": "old sky 900001", "label": "blue"})
    (failure,) = domain.query(
        "SELECT mode FROM failures f JOIN answers a USING (answer_id) WHERE source_id IS NOT NULL"
    )
    assert failure["mode"] == "not_blue"


def test_where_every_verifier_needs_a_gold_people_alone_speak(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"] = {"same": {"kind": "exact"}}
        spec["tasks"]["colour"]["verify"] = ["same"]
        spec["teachers"] = {"person": {"kind": "dataset", "path": "evals/seeds.jsonl"}}
        spec["generate"] = [{"name": "targeted", "teachers": ["person"], "accept": 4}]

    matching(domain.edit(change))
    lines = [answered(n, f"old sky 90000{n}", "red") for n in range(1, 5)]
    take_in(domain, [*lines, said(2, -1), said(3, 1), said(4, None, "blue")])
    domain.apply(until="curate")
    assert outcomes(domain) == {"r1": "unknown", "r2": "fail", "r3": "pass", "r4": "fail"}


def test_what_overlaps_an_item_of_a_suite_is_never_used_and_the_newest_up_to_the_limit_are(domain: Domain) -> None:
    matching(domain, limit=3)
    held = json.loads((domain.root / "evals" / "holdout.jsonl").read_text().splitlines()[0])
    texts = ["old sky 900001", "old sky 900002", held["text"], "old sky 900004"]
    take_in(domain, [answered(n, text, "red", at=f"2026-11-2{n}T10:00:00Z") for n, text in enumerate(texts, 1)])
    domain.apply(until="curate")
    assert outcomes(domain) == {"r2": "fail", "r4": "fail"}
    (row,) = domain.query("SELECT summary FROM nodes WHERE kind = 'mine'")
    assert row["summary"]["left_out"] == {"overlap": 1, "columns": 0}


def test_flagged_and_unmatched_traffic_is_not_looked_at(domain: Domain) -> None:
    matching(domain, user=USER, system="colours")
    system = {"role": "system", "content": "Say colours."}
    talks = [
        {
            "id": str(n),
            "messages": [*before, {"role": "user", "content": text}, {"role": "assistant", "content": answer}],
        }
        for n, (before, text, answer) in enumerate(
            [
                ([system], "old sky 900001\ncolour:", "red"),
                ([system], "old sky 900002\ncolour:", "red litellm_truncated"),
                ([system], "old sky 900003\nshape:", "round"),
                ([], "old sky 900004\ncolour:", "red"),
            ]
        )
    ]
    take_in(domain, talks)
    domain.apply(until="curate")
    assert outcomes(domain) == {"0": "fail"}


def test_what_came_in_after_an_iteration_is_the_next_ones(domain: Domain) -> None:
    matching(domain)
    take_in(domain, [answered(1, "old sky 900001", "red")])
    domain.apply(iterations=1)
    take_in(domain, [answered(1, "old sky 900001", "red")])  # known
    take_in(domain, [answered(2, "old sky 900002", "red"), said(1, 1)], "later.jsonl")

    assert not domain.plan(iterations=1).pending
    assert domain.plan(iterations=2).pending[0].iteration == 2
    domain.apply(iterations=2)
    assert outcomes_by_iteration(domain) == [(1, "r1"), (2, "r1"), (2, "r2")]
    assert not domain.plan(iterations=2).pending


def test_an_iteration_that_is_turned_again_sees_what_there_is_now(domain: Domain) -> None:
    matching(domain)
    take_in(domain, [answered(1, "old sky 900001", "red")])
    domain.apply(iterations=1)
    take_in(domain, [answered(2, "old sky 900002", "red")], "later.jsonl")
    matching(domain, limit=500)

    domain.apply(iterations=1)
    assert outcomes_by_iteration(domain) == [(1, "r1"), (1, "r1"), (1, "r2")]


def outcomes_by_iteration(domain: Domain) -> list[tuple[int, str]]:
    rows = domain.query(
        """SELECT n.iteration, a.source_id FROM answers a JOIN nodes n ON n.node = a.node
           WHERE a.source_id IS NOT NULL ORDER BY ALL"""
    )
    return [(row["iteration"], row["source_id"]) for row in rows]


def test_forget_names_the_lessons_and_the_models_that_learned_from_it(domain: Domain) -> None:
    matching(domain)
    take_in(domain, [answered(1, "old sky 900001", "red"), said(1, None, "blue")])
    domain.apply()
    found = forget(domain.open(), "r1")
    assert found.lessons
    assert [model.partition(" ")[2] for model in found.models] == ["(iteration 1)"]
    assert found.deployed == domain.query("SELECT model_id FROM deployments")[0]["model_id"]
    assert outcomes(domain) == {}
    assert domain.plan().pending[0].name == "i1.mine.colour"


def test_numbers_that_an_expression_reads_are_numbers_where_the_probes_have_them(domain: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["taxonomy"] = [{"name": "large", "when": "row.size > 5"}, {"name": "other"}]

    (domain.root / "prompts" / "colour.md").write_text("{{ row.text }} of {{ row.size }}\ncolour:")
    for name in ("probes", "seeds", "holdout", "guard"):
        path = domain.root / "evals" / f"{name}.jsonl"
        path.write_text("".join(json.dumps({**json.loads(x), "size": 3}) + "\n" for x in path.read_text().splitlines()))
    matching(domain.edit(change), user=r"(?P<text>.+) of (?P<size>\d+)")
    take_in(domain, [answered(1, "", "red", prompt="old sky 900001 of 12\ncolour:")])
    domain.apply(iterations=1)
    rows = domain.query(
        "SELECT f.mode, a.\"row\" FROM failures f JOIN answers a USING (answer_id) WHERE source_id = 'r1'"
    )
    assert rows == [{"mode": "large", "row": {"text": "old sky 900001", "size": 12}}]
