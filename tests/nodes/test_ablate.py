"""Parts left out: what the two trainings draw from, that they differ in the part alone, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stand_in
from mini_domain import BLUES, Domain

Rows = list[tuple[str, str]]
Trained = Callable[[str], Rows]

SCRIPT = """
import json
ROWS = {rows!r}


def teach(request):
    start = request["sample"] * 3
    return json.dumps(ROWS[start : start + request["n"]] or [{{}}])
"""
GRADER = """
def sharp(subject):
    return "sea" not in subject["row"]["text"], "no sea"
"""


def ablating(domain: Domain, without: str, lessons: int = 6, **changes: Any) -> Domain:
    part = {"name": "part", "without": without, "suite": "holdout", "lessons": lessons}
    return domain.edit(lambda spec: spec.update(ablate=[part], **changes))


def outcome(domain: Domain) -> tuple[dict[str, Any], dict[str, Any]]:
    """The node's row of `ablations`, and its `detail`."""
    rows = domain.query("SELECT * FROM ablations")
    assert len(rows) == 1
    return rows[0], json.loads(rows[0]["detail"])


def writes(domain: Domain, rows: list[dict[str, str]], **generator: Any) -> Domain:
    """One teacher that gives these rows in turn."""
    (domain.root / "scripted.py").write_text(SCRIPT.format(rows=rows))

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["scripted"] = {"kind": "python", "function": "scripted.py:teach"}
        spec["generate"][0].update({"teachers": ["scripted"], "rounds": 1, "accept": len(rows), **generator})

    return domain.edit(change)


def blue(count: int, noun: str = "sky", start: int = 50_000) -> list[dict[str, str]]:
    return [{"text": f"old {noun} {start + 97 * i}", "label": "blue"} for i in range(count)]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Arm ("with", "without") → the (prompt, target) rows that it was trained on."""
    seen: dict[str, Rows] = {}

    def train(job: Any, progress: Any) -> Any:
        seen[Path(job.out).name] = list(job.rows)
        return stand_in.train(job, progress)

    monkeypatch.setitem(stand_in.WORK, "flywheel.training:train", train)
    return seen.__getitem__


# --- a verifier -------------------------------------------------------------------------------------------------------


def test_without_a_verifier_what_it_alone_rejected_is_trained_on(domain: Domain, trained: Trained) -> None:
    domain.edit(lambda spec: spec["verifiers"].update(known={"kind": "regex", "pattern": "red|blue|green"}))
    ablating(domain, "verifier.right", lessons=12).apply()

    assert "green" not in {target for _, target in trained("with")}
    assert "green" in {target for _, target in trained("without")}


def test_what_an_earlier_verifier_kept_from_a_later_one_is_judged_by_it_now(domain: Domain, trained: Trained) -> None:
    rows = [*blue(6), {"text": "old sky 60000", "label": "green"}, {"text": "old sky 61000", "label": "red"}]
    ablating(writes(domain, rows), "verifier.known", lessons=20).apply()

    known = domain.query("SELECT subject_id FROM verdicts WHERE verifier = 'known' AND outcome = 'fail'")
    assert len(known) == 1, "green failed the first verifier, so the second never saw it"
    assert "green" not in {target for _, target in trained("without")}, "the second one fails it"
    assert outcome(domain)[1]["pools"] == {"with": 6, "without": 6}


def test_without_the_only_verifier_everything_passes(domain: Domain) -> None:
    rows = [*blue(4), {"text": "old sky 60000", "label": "green"}]
    domain.edit(lambda spec: spec["tasks"]["colour"].update(verify=["right"]))
    domain.edit(lambda spec: spec["verifiers"].pop("known"))
    ablating(writes(domain, rows), "verifier.right").apply()

    assert outcome(domain)[1]["pools"] == {"with": 4, "without": 5}


# --- a teacher, a generator -------------------------------------------------------------------------------------------


def test_a_left_out_teachers_lessons_are_replaced_by_the_others(domain: Domain, trained: Trained) -> None:
    ablating(domain, "teacher.careless", lessons=4).apply()

    row, detail = outcome(domain)
    assert row["lessons"] == 4
    assert len(trained("with")) == len(trained("without"))
    mine = domain.query("SELECT count(*) AS n FROM dataset WHERE origin = 'new' AND teacher = 'careful'")
    assert detail["pools"]["without"] >= mine[0]["n"]


def test_a_left_out_generator_teaches_nothing(domain: Domain, trained: Trained) -> None:
    def second(spec: dict[str, Any]) -> None:
        spec["generate"].append({**spec["generate"][0], "name": "more"})

    ablating(domain.edit(second), "generator.more", lessons=40).apply()

    more = domain.query(
        """SELECT d.prompt FROM dataset d JOIN candidates c USING (candidate_id) WHERE c.generator = 'more'"""
    )
    assert more
    assert not {row["prompt"] for row in more} & {prompt for prompt, _ in trained("without")}


def test_one_teacher_alone_cannot_be_left_out_and_the_wheel_turns_on(domain: Domain) -> None:
    result = ablating(writes(domain, blue(6)), "teacher.scripted").apply()

    assert result.failed == []
    assert domain.query("SELECT * FROM ablations") == []
    summary = domain.query("SELECT summary FROM nodes WHERE kind = 'ablate'")[0]["summary"]
    assert summary == {"measured": False, "why": "there are no lessons to draw from: 6 with, 0 without"}


# --- a stage of curation ----------------------------------------------------------------------------------------------


def test_without_dedup_lessons_repeat(domain: Domain, trained: Trained) -> None:
    rows = [*blue(3), {"text": "Old sky 50000.", "label": "blue"}, {"text": "OLD sky 50097", "label": "blue"}]
    ablating(writes(domain, rows), "curate.dedup", lessons=5).apply()

    assert outcome(domain)[1]["pools"] == {"with": 3, "without": 5}


def test_without_decontamination_eval_items_are_trained_on_and_the_row_says_so(domain: Domain) -> None:
    copied = [{"text": row["text"], "label": row["label"]} for row in read(domain, "evals/holdout.jsonl")]
    rows = [*blue(4), *(row for row in copied if row["text"].split()[1] in BLUES)]
    ablating(writes(domain, rows), "curate.decontaminate", lessons=100).apply()

    detail = outcome(domain)[1]
    assert detail["pools"] == {"with": 4, "without": 12}
    assert detail["overlap_with_evals"]["with"] == 0
    assert "inflated" in detail["note"]


def test_without_rank_the_quota_is_filled_by_lot(domain: Domain) -> None:
    ablating(writes(domain, blue(30), accept=5), "curate.rank", lessons=5).apply()

    row, detail = outcome(domain)
    assert row["lessons"] == 5
    assert detail["pools"] == {"with": 5, "without": 5}
    assert detail["shared"] < 5, "another five of the thirty"


def read(domain: Domain, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (domain.root / name).read_text().splitlines()]


# --- the comparison ---------------------------------------------------------------------------------------------------


def test_both_trainings_have_as_many_lessons_the_same_seeds_and_share_what_they_can(
    domain: Domain, trained: Trained
) -> None:
    rows = [*blue(8), *blue(4, "sea", 70_000)]
    (domain.root / "sharp.py").write_text(GRADER)

    def third(spec: dict[str, Any]) -> None:
        spec["verifiers"]["sharp"] = {"kind": "python", "function": "sharp.py:sharp"}
        spec["tasks"]["colour"]["verify"].append("sharp")

    ablating(writes(domain.edit(third), rows), "verifier.sharp", lessons=6).apply()

    row, detail = outcome(domain)
    assert row["lessons"] == 6
    assert len(trained("with")) == len(trained("without"))
    shared = set(trained("with")) & set(trained("without"))
    seeds = len(trained("with")) - 6
    assert len(shared) == detail["shared"] + seeds
    assert any(" sea " in prompt for prompt, _ in trained("without"))


def test_the_row_holds_the_paired_difference_and_every_items_scores(domain: Domain) -> None:
    rows = [*blue(6), *blue(6, "sea", 70_000)]
    (domain.root / "sharp.py").write_text(GRADER)

    def third(spec: dict[str, Any]) -> None:
        spec["verifiers"]["sharp"] = {"kind": "python", "function": "sharp.py:sharp"}
        spec["tasks"]["lesson"] = {**spec["tasks"]["colour"], "verify": ["known", "right", "sharp"]}
        spec["generate"][0]["task"] = "lesson"
        spec["curate"] = {"mix": {"seeds": 0.0}}

    domain.edit(third)
    ablating(writes(domain, rows), "verifier.sharp", lessons=6).apply()

    row, detail = outcome(domain)
    assert row["items"] == 16
    assert row["with_part"] < row["without_part"], "who never saw the sea calls it red"
    assert row["difference"] == pytest.approx(row["with_part"] - row["without_part"])
    assert row["low"] <= row["difference"] <= row["high"]
    worse = sum(without > with_ for with_, without in detail["scores"].values())
    assert row["p_value"] == pytest.approx(2 * 0.5**worse)


def test_fewer_lessons_than_asked_for_is_said(domain: Domain) -> None:
    ablating(writes(domain, blue(5)), "curate.length", lessons=200).apply()

    row, detail = outcome(domain)
    assert row["lessons"] == 5
    assert detail["note"].startswith("5 lessons of 200")


def test_an_ablation_added_later_costs_no_decision_and_no_training_anew(applied: Domain) -> None:
    def decided() -> list[Any]:
        return [applied.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("decisions", "dataset", "adapters")]

    before = decided()
    applied.spec["loop"]["iterations"] = 1
    ablating(applied, "curate.dedup").apply()

    assert outcome(applied)[0]["items"] == 16
    assert decided() == before


def test_the_adapters_lie_in_the_nodes_folder(domain: Domain) -> None:
    ablating(domain, "curate.quality").apply()

    node = domain.query("SELECT node FROM nodes WHERE kind = 'ablate'")[0]["node"]
    folder = domain.root / ".flywheel" / "artifacts" / node[:32]
    assert sorted(path.name for path in folder.iterdir()) == ["with", "without"]
