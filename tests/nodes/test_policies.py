"""What each budget policy buys, and from which rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stand_in
from flywheel.errors import NodeFailed, SpecInvalid
from flywheel.nodes import RUN
from flywheel.nodes.lessons.policies import Fall, shrunk
from flywheel.plan import VERBS
from flywheel.plan.parts import Iteration
from flywheel.spec.policies import POLICIES, Budget
from mini_domain import Domain, judged_by_labels, rows


def buying(domain: Domain, policy: Any) -> Domain:
    return domain.edit(lambda spec: spec.update(budget={"policy": policy}))


def budget_only(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is bought, without the lessons being made."""
    monkeypatch.setitem(RUN, "generate", failing)  # type: ignore[misc]
    domain.apply(until="curate")
    return bought(domain)


def failing(ctx: Any) -> Any:
    raise NodeFailed("enough")


def bought(domain: Domain, iteration: int = 1) -> dict[str, int]:
    return {
        row["mode"]: row["lessons"]
        for row in domain.query(
            "SELECT mode, lessons FROM budgets WHERE lessons > 0 AND node IN "
            "(SELECT node FROM nodes WHERE kind = 'budget' AND iteration = ?)",
            [iteration],
        )
    }


def shown(domain: Domain, mode: str | None) -> list[dict[str, Any]]:
    """The probe rows that a mode's lessons were made from."""
    return domain.query(
        """SELECT a.* FROM (SELECT unnest(failure_ids) AS id FROM candidates WHERE mode IS NOT DISTINCT FROM ?) c
           JOIN answers a ON a.answer_id = c.id""",
        [mode],
    )


def test_the_default_leaves_no_trace_in_a_fingerprint(domain: Domain) -> None:
    def parts() -> dict[str, Any]:
        project = domain.open()
        return VERBS["budget"].inputs(Iteration(project.spec, project.facts(), 1), ("", 0))

    before = parts()
    assert not {"budget.policy", "seed"} & {*before}
    for same in ("error_mass", {"error_mass": 3.0}):
        buying(domain, same)
        assert parts() == before
    buying(domain, "edge")
    assert {*parts()} - {*before} == {"budget.policy", "seed"}


def test_a_mixture_divides_by_weight_and_uniform_shows_rows_as_they_come(domain: Domain) -> None:
    assert not buying(domain, {"error_mass": 3, "uniform": 1}).apply(until="curate").error

    assert bought(domain) == {"not_blue": 9, "": 3}
    assert {failure["gold"] for failure in shown(domain, None)} == {"red", "blue"}
    [record] = domain.query("SELECT summary FROM nodes WHERE kind = 'budget'")
    assert record["summary"]["policy"] == {"error_mass": 0.75, "uniform": 0.25}


def test_edge_buys_from_rows_that_the_student_solves_sometimes(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = stand_in.WORK["flywheel.student.work:answer"]

    def unsure(job: Any, progress: Any) -> list[Any]:
        """Of the sky it says blue every other time."""
        found = greedy(job, progress)
        at_times = [i for i, (_, text) in enumerate(job.prompts) if "sky" in text][::2] if job.seeds else []
        return [replace(said, text="blue") if i in at_times else said for i, said in enumerate(found)]

    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:answer", unsure)
    assert not buying(domain, "edge").apply(until="curate").error

    assert bought(domain) == {"(edge)": 12}
    assert {failure["row"]["text"].split()[1] for failure in shown(domain, "(edge)")} == {"sky"}
    sampled = domain.query("SELECT DISTINCT passed FROM edges ORDER BY passed")
    assert [row["passed"] for row in sampled] == [0, 4, 8]
    [record] = domain.query("SELECT summary FROM nodes WHERE kind = 'budget'")
    assert (record["summary"]["at_edge"], record["summary"]["sampled"]) == (2, 12)
    assert domain.query("SELECT count(*) AS n FROM dataset WHERE mode = '(edge)'")[0]["n"] > 0


def test_confusion_shows_both_sides_of_a_confused_pair(domain: Domain) -> None:
    judged_by_labels(domain, "red", "blue", "green")
    domain.write_rows("evals/probes.jsonl", [*rows(100, 12), {"text": "old grass 99", "label": "green"}])
    assert not buying(domain, "confusion").apply(until="curate").error

    assert bought(domain) == {"(confused)": 12}
    both = {row["gold"] for row in shown(domain, "(confused)")}
    assert both == {"blue", "red"}, "grass is taken for red once, blue things are again and again"


@pytest.mark.parametrize("policy", ["edge", "confusion", "per_lesson"])
def test_a_policy_that_finds_nothing_buys_by_error_mass(
    domain: Domain, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain.write_rows("evals/probes.jsonl", [row for row in rows(100, 12) if row["label"] == "blue"])
    assert budget_only(buying(domain, policy), monkeypatch) == {"not_blue": 12}


def test_a_generator_that_is_held_to_some_modes_buys_those(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    domain.edit(lambda spec: spec["generate"][0].update(modes=["not_blue", "other"]))
    assert budget_only(buying(domain, "uniform"), monkeypatch) == {"not_blue": 12}


@pytest.mark.parametrize(("policy", "place"), [("eror_mass", "budget.policy"), ({"edge": 0}, "budget.policy.edge")])
def test_an_unknown_policy_and_a_weight_of_nothing_are_refused(domain: Domain, policy: Any, place: str) -> None:
    with pytest.raises(SpecInvalid, match=place):
        buying(domain, policy).open()


def test_mixtures_keep_the_tables_order_whatever_the_specs() -> None:
    assert list(Budget(policy={"uniform": 1.0, "edge": 3.0}).weights.items()) == [("edge", 0.75), ("uniform", 0.25)]
    assert not any(policy.made_from and policy.made_from[0].isalpha() for policy in POLICIES.values())


# --- what a lesson has brought ----------------------------------------------------------------------------------------


def test_little_evidence_is_drawn_to_the_mean_of_all_modes() -> None:
    found = shrunk({"well_known": Fall(0.3, 1e-6, 100), "hardly": Fall(0.001, 0.01, 10), "other": Fall(0.0, 1e-6, 100)})

    assert found["hardly"] == pytest.approx(0.301 / 210, rel=0.05), "ten lessons say next to nothing of themselves"
    certain = shrunk({"one": Fall(0.3, 1e-9, 100), "other": Fall(0.0, 1e-9, 100)})
    assert certain == pytest.approx({"one": 0.003, "other": 0.0}, abs=1e-6)


FALLS = st.builds(Fall, st.floats(-1, 1), st.floats(0, 0.1), st.integers(0, 500))


@given(st.dictionaries(st.text(max_size=3), FALLS, max_size=6))
def test_a_shrunk_fall_lies_between_its_own_and_that_of_all(falls: dict[str, Fall]) -> None:
    found = shrunk(falls)
    known = {mode: fall for mode, fall in falls.items() if fall.lessons}
    assert found.keys() == known.keys()
    for mode, fall in known.items():
        every = sum(f.fall for f in known.values()) / sum(f.lessons for f in known.values())
        low, high = sorted([every, fall.fall / fall.lessons])
        assert low - 1e-9 <= found[mode] <= high + 1e-9


@pytest.mark.slow
def test_per_lesson_buys_where_lessons_brought_most(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skies are learned, all else never: of two modes that fail as often, that one gets the later lessons."""
    train = stand_in.WORK["flywheel.training:train"]

    def never_seas(job: Any, progress: Any) -> Any:
        known = [
            (prompt, "red" if prompt.split()[1] in ("sea", "jeans", "sapphire") else target)
            for prompt, target in job.rows
        ]
        return train(replace(job, rows=known), progress)

    monkeypatch.setitem(stand_in.WORK, "flywheel.training:train", never_seas)

    def change(spec: dict[str, Any]) -> None:
        spec["taxonomy"] = [
            {"name": "unlearnable", "when": "row.text LIKE '% sea %' OR row.text LIKE '% jeans %'"}, {"name": "other"},
        ]  # fmt: skip
        spec["budget"] = {"policy": "per_lesson"}
        spec["loop"]["iterations"] = 2
        spec["generate"][0] |= {"accept": 24, "cap": 0.9}
        spec["gate"] = [{"suite": "holdout", "better_by": 0.0}]

    domain.edit(change)
    domain.write_rows("evals/holdout.jsonl", rows(300, 64))  # enough for the gate to promote
    # So many that the difference of the two falls cannot be chance.
    domain.write_rows("evals/probes.jsonl", rows(1000, 320))
    assert not domain.apply().error
    first, second = bought(domain, 1), bought(domain, 2)
    assert first["unlearnable"] == pytest.approx(12, abs=1)
    assert second["other"] > 18
