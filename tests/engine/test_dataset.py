"""`flywheel export-dataset`: what an iteration was trained on, for others to load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from flywheel.errors import FlywheelError
from flywheel.report.card import COLUMNS
from mini_domain import Domain


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_rows_are_those_of_the_training_in_their_order(applied: Domain, flywheel) -> None:
    trained = applied.query("SELECT lesson_id, prompt, target, origin, teacher FROM dataset ORDER BY position")

    code, out, error = flywheel(applied, "export-dataset", "out")

    assert (code, error) == (0, "")
    model = applied.query("SELECT model_id FROM adapters")[0]["model_id"]
    said = f"out: 13 rows (12 new, 1 seed) of {model} (iteration 1)"
    assert out.splitlines() == [said, "How to load it: out/README.md"]
    assert {path.name for path in (applied.root / "out").iterdir()} == {"README.md", "data.jsonl", "data.parquet"}
    assert [{name: row[name] for name in trained[0]} for row in rows_of(applied.root / "out")] == trained


def test_each_row_says_where_it_comes_from(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "out", "--iteration", "1")

    rows = rows_of(applied.root / "out")
    new = next(row for row in rows if row["origin"] == "new")
    seed = next(row for row in rows if row["origin"] == "seed")
    assert set(new) == set(COLUMNS)
    assert json.loads(new["row"]) == {"text": new["prompt"].removesuffix("\ncolour:")}
    told = ("task", "mode", "generator", "strategy", "model", "verdicts", "iteration")
    assert [new[name] for name in told] == [
        "colour", "not_blue", "targeted", "targeted", "colours.py:teach", "known: pass; right: pass", 1,
    ]  # fmt: skip
    assert [seed[name] for name in told] == ["colour", None, None, None, None, None, None]


def test_parquet_and_json_lines_hold_the_same(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "out")

    table = pq.read_table(applied.root / "out" / "data.parquet")
    assert table.to_pylist() == rows_of(applied.root / "out")
    assert {str(field.type) for field in table.schema if field.name != "iteration"} == {"string"}


def test_datasets_loads_the_folder(applied: Domain, flywheel, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    flywheel(applied, "export-dataset", "out")

    loaded = datasets.load_dataset(str(applied.root / "out"), cache_dir=str(tmp_path / "cache"))

    assert list(loaded) == ["train"]
    assert loaded["train"].to_list() == rows_of(applied.root / "out")


def test_the_hubs_own_library_reads_the_card(applied: Domain, flywheel) -> None:
    hub = pytest.importorskip("huggingface_hub")
    metadata = pytest.importorskip("datasets.utils.metadata")
    flywheel(applied, "export-dataset", "out")

    card = hub.DatasetCard.load(applied.root / "out" / "README.md")

    assert card.data.license == "other"
    assert card.data.size_categories == ["n<1K"]
    assert card.data.pretty_name == "colours, iteration 1"
    assert hub.DatasetCard(str(card)).data.to_dict() == card.data.to_dict()
    configs = metadata.MetadataConfigs.from_dataset_card_data(card.data)
    assert configs["default"]["data_files"] == [{"split": "train", "path": "data.parquet"}]


def test_the_card_counts_what_the_store_has(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "out")

    card = (applied.root / "out" / "README.md").read_text(encoding="utf-8")
    proposed = applied.query("SELECT count(*) AS n FROM candidates")[0]["n"]
    failed = applied.query("SELECT count(*) AS n FROM judged WHERE outcome = 'fail'")[0]["n"]
    dropped = applied.query("SELECT count(*) AS n FROM curation WHERE decision = 'dropped'")[0]["n"]
    assert proposed > proposed - failed > proposed - failed - dropped == 12
    assert f"| generated | {proposed} |" in card
    assert f"| verified | {proposed - failed} |" in card
    assert f"| curated | 12 | quota: {dropped} |" in card
    assert "| trained | 12 |" in card
    assert "| new | 12 |\n| seed | 1 |" in card


def test_the_same_store_gives_the_same_bytes(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "one")
    flywheel(applied, "export-dataset", "two")

    one, two = ({p.name: p.read_bytes() for p in (applied.root / name).iterdir()} for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
def test_what_a_model_was_trained_on_stays_what_it_was_when_the_spec_is_edited(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "before")
    deployed = applied.query("SELECT model_id FROM deployments")
    applied.edit(lambda spec: spec["generate"][0].update(accept=6)).apply()
    assert applied.query("SELECT model_id FROM deployments") == deployed
    assert applied.query("SELECT count(*) AS n FROM nodes WHERE name = 'i1.curate'") == [{"n": 2}]

    flywheel(applied, "export-dataset", "after")
    flywheel(applied, "export-dataset", "edited", "--iteration", "1")

    before, after = (applied.root / name / "README.md" for name in ("before", "after"))
    assert after.read_text(encoding="utf-8") == before.read_text(encoding="utf-8")
    assert rows_of(applied.root / "after") == rows_of(applied.root / "before")
    assert sum(row["origin"] == "new" for row in rows_of(applied.root / "edited")) == 6


def test_another_base_in_the_spec_is_no_hindrance(applied: Domain, flywheel) -> None:
    applied.edit(lambda spec: spec["student"].update(base="builtin:tiny"))

    assert flywheel(applied, "export-dataset", "out")[0] == 0


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("openai//srv/models/qwen-7b", "openai/qwen-7b"),
        ("/srv/models/qwen-7b", "qwen-7b"),
        ("C:\\models\\qwen-7b", "qwen-7b"),
        ("openai/org/qwen-7b", "openai/org/qwen-7b"),
        ("evals/lessons.jsonl", "evals/lessons.jsonl"),
        ("", None),
    ],
)
def test_a_model_that_is_a_place_on_a_machine_is_named_without_it(
    applied: Domain, flywheel, model: str, told: str | None
) -> None:
    with duckdb.connect(str(applied.root / ".flywheel" / "flywheel.duckdb")) as store:
        store.execute("UPDATE calls SET model = ?", [model])

    flywheel(applied, "export-dataset", "out")

    assert {row["model"] for row in rows_of(applied.root / "out") if row["origin"] == "new"} == {told}


def test_no_file_names_a_place_of_this_machine(applied: Domain, flywheel) -> None:
    flywheel(applied, "export-dataset", "out")

    for path in (applied.root / "out").iterdir():
        assert str(applied.root.parent).encode() not in path.read_bytes()
        assert str(Path.home()).encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["filled"], "filled: is not empty; nothing in it is overwritten. Name a new folder, or remove this one."),
        (["flywheel.yaml"], "flywheel.yaml: is there and is no folder"),
        (["out", "--iteration", "2"], "iteration 2 has trained no model. Iterations with a model: 1"),
        (["out", "--iteration", "0"], "--iteration"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_exported_is_said(applied: Domain, flywheel, words: list[str], message: str) -> None:
    (applied.root / "filled").mkdir()
    (applied.root / "filled" / "mine.txt").write_text("mine")

    code, out, error = flywheel(applied, "export-dataset", *words)

    assert (code, out) == (64, "")
    assert message in error
    assert not (applied.root / "out").exists()
    assert (applied.root / "filled" / "mine.txt").read_text() == "mine"


def test_before_anything_is_deployed_it_says_what_to_do(applied: Domain, flywheel) -> None:
    with duckdb.connect(str(applied.root / ".flywheel" / "flywheel.duckdb")) as store:
        store.execute("DELETE FROM deployments")

    code, _, error = flywheel(applied, "export-dataset", "out")

    assert code == 64
    assert "nothing is deployed yet. Run `flywheel apply`, or name an iteration" in error
    assert flywheel(applied, "export-dataset", "out", "--iteration", "1")[0] == 0


def test_before_the_first_apply_it_says_so(domain: Domain, flywheel) -> None:
    code, _, error = flywheel(domain, "export-dataset", "out")

    assert code != 0
    assert "no store yet. Run `flywheel apply` first." in error
    assert not (domain.root / "out").exists()


def test_where_writing_fails_nothing_is_left_and_an_empty_folder_stays(
    applied: Domain, flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(card: Any) -> str:
        raise FlywheelError("the disk is full")

    (applied.root / "out").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("flywheel.engine.dataset.render_card", fails)
        code, _, error = flywheel(applied, "export-dataset", "out")

    assert (code, "the disk is full" in error) == (1, True)
    assert [path.name for path in applied.root.iterdir() if "out" in path.name] == ["out"]
    assert list((applied.root / "out").iterdir()) == []
    assert flywheel(applied, "export-dataset", "out")[0] == 0


def test_the_folder_may_be_the_empty_one_where_one_stands(applied: Domain, flywheel) -> None:
    here = Domain(applied.root / "empty")
    here.root.mkdir()

    assert flywheel(here, "export-dataset", ".", "--file", "../flywheel.yaml")[0] == 0

    assert len(rows_of(applied.root / "empty")) == 13
