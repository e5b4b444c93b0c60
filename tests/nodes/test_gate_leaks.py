"""An eval item never becomes a lesson, however it comes: it is dropped, counted, and looked for again by the gate."""

from __future__ import annotations

import json

import pytest

from flywheel.nodes.lessons.lesson import lesson_id_of
from flywheel.store import Store
from mini_domain import Domain

LONG = "old sea 900 as it was seen from the harbour by the keeper of the light one morning in late autumn"


@pytest.fixture
def leaky(domain: Domain) -> Domain:
    """A teacher that has seen the holdout, and repeats three of its items in its own way, with one row of its own."""
    lessons = [
        {"text": "old sky 301", "label": "blue"},
        {"text": "OLD,  jeans  305.", "label": "blue"},
        {"text": f"new sea 31 {LONG.split(' ', 3)[3]} again", "label": "blue"},
        {"text": "grand sapphire 60004", "label": "blue"},
    ]
    holdout = [{"text": t, "label": "blue"} for t in ("old sky 301", "old jeans 305", LONG)]
    reds = [{"text": f"plain rose {n}", "label": "red"} for n in range(302, 316)]
    domain.write_rows("evals/holdout.jsonl", [*holdout, *reds])
    (domain.root / "leaky.py").write_text(f"import json\n\n\ndef teach(request):\n    return json.dumps({lessons!r})\n")
    domain.edit(lambda spec: spec["teachers"].update(leaky={"kind": "python", "function": "leaky.py:teach"}))
    return domain.edit(lambda spec: spec["generate"][0].update(teachers=["leaky"], rounds=1, accept=4, per_call=4))


def test_a_holdout_item_is_dropped_exact_reworded_or_in_part_and_counted(leaky: Domain) -> None:
    leaky.apply()

    dropped = leaky.query("SELECT reason FROM curation WHERE stage = 'contaminated'")
    assert sorted(row["reason"].split(" with ")[0] for row in dropped) == [
        "13-gram overlap", "exact overlap", "normalised overlap",
    ]  # fmt: skip
    summary = leaky.query("SELECT summary FROM nodes WHERE name = 'i1.curate'")[0]["summary"]
    assert summary["dropped"]["contaminated"] == 3
    learned = [json.dumps(row["row"]) for row in leaky.query("SELECT \"row\" FROM dataset WHERE origin = 'new'")]
    assert learned == [json.dumps({"text": "grand sapphire 60004"})]


@pytest.mark.slow
@pytest.mark.parametrize("told", [False, True])
def test_the_gate_finds_an_eval_item_that_was_put_into_the_dataset_after_curation(domain: Domain, told: bool) -> None:
    """Also where its id was made to fit."""
    domain.apply()
    first = domain.query("SELECT * FROM dataset WHERE position = 0")[0]
    item = json.loads((domain.root / "evals" / "holdout.jsonl").read_text().splitlines()[0])
    planted = {"text": item["text"]}
    lesson_id = lesson_id_of(first["task"], planted, first["target"]) if told else first["lesson_id"]
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute(
            'UPDATE dataset SET "row" = ?, lesson_id = ? WHERE position = 0', [json.dumps(planted), lesson_id]
        )
        transaction.execute("DELETE FROM nodes WHERE kind IN ('gate', 'report', 'deploy')")

    domain.apply()

    assert domain.query("SELECT preconditions FROM decisions")[-1]["preconditions"][2]["detail"].startswith("1 of ")


def test_what_curation_looked_at_is_not_looked_at_again_by_the_gate(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        "flywheel.nodes.lessons.lesson.contaminated", lambda lessons, *_: looked.append(len(list(lessons))) or {}
    )

    domain.apply()

    rows = domain.query("SELECT count(*) AS n FROM dataset")[0]["n"]
    assert looked
    assert sum(looked) >= rows
    looked.clear()
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("DELETE FROM nodes WHERE kind IN ('gate', 'report', 'deploy')")
    domain.apply()
    assert looked == []
