"""Does targeting pay? The same wheel, with lessons made from the rows as they come."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stand_in
from flywheel.cli import main
from flywheel.console.compare import compare_json, compare_text
from flywheel.engine.compare import ALL_MODES, NODE, Compared, Side, _warnings, compare_untargeted
from flywheel.engine.history import open_lookup
from flywheel.errors import BudgetStop, UsageError
from mini_domain import Domain
from stand_in import StandInWorker


def compared(domain: Domain, **options: Any) -> Compared:
    found = compare_untargeted(domain.open(), **options)
    assert found is not None
    return found


def asked(domain: Domain) -> list[str]:
    return (domain.root / "calls.log").read_text().splitlines()


def scratch(domain: Domain) -> Any:
    return domain.root / ".flywheel" / "compare" / "untargeted"


@pytest.fixture(scope="module")
def once(_applied_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Compared]:
    """A project whose first iteration was compared; only to be looked at."""
    root = tmp_path_factory.mktemp("compared") / "project"
    shutil.copytree(_applied_once, root, symlinks=True)
    domain = Domain(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        return domain, compared(domain, iterations=1)


def test_the_control_buys_as_many_lessons_without_a_look_at_what_failed(once: tuple[Domain, Compared]) -> None:
    domain, found = once

    assert found.targeted.bought == {"not_blue": 12, "other": 0}
    assert found.untargeted.bought == {"": 12}
    assert "rows as they come" in compare_text(found)
    with open_lookup(scratch(domain) / ".flywheel") as query:
        requests = [row["request"] for row in query("SELECT request FROM calls WHERE run_id NOT IN ('')")]
    control = [request for request in requests if request["mode"] is None]
    shown = [failure for request in control for failure in request["failures"]]
    assert {failure["gold"] for failure in shown} == {"red", "blue"}, "the student fails at blue alone"
    assert {failure["answer"] for failure in shown} == {""}


def test_what_was_probed_and_measured_before_is_used_again(once: tuple[Domain, Compared]) -> None:
    domain, _ = once

    with open_lookup(scratch(domain) / ".flywheel") as query:
        records = query("SELECT name, kind, run_id, summary FROM nodes WHERE status = 'done'")
        runs = query("SELECT run_id FROM runs")
    ran = {row["kind"]: row for row in records if row["run_id"] in {run["run_id"] for run in runs}}
    assert not {"probe", "diagnose"} & set(ran)
    assert ran["evaluate"]["summary"]["measured_before"] == ["incumbent"]


def test_both_models_answer_the_same_items_and_the_difference_is_stored(once: tuple[Domain, Compared]) -> None:
    applied, found = once

    stored = applied.query("SELECT * FROM ablations WHERE node = ? ORDER BY name", [NODE])
    assert stored[0]["name"] == ALL_MODES
    first = stored[0]
    assert (first["suite"], first["items"], first["without"]) == ("holdout", 16, "targeting")
    assert first["difference"] == pytest.approx(first["with_part"] - first["without_part"])
    assert first["low"] <= first["difference"] <= first["high"]
    own = applied.query(
        "SELECT avg(score) AS score FROM scores WHERE model_id = ? AND suite = 'holdout'", [found.targeted.model_id]
    )
    assert first["with_part"] == pytest.approx(own[0]["score"])
    with open_lookup(scratch(applied) / ".flywheel") as query:
        other = query(
            "SELECT avg(score) AS score FROM scores WHERE model_id = ? AND suite = 'holdout'",
            [found.untargeted.model_id],
        )
    assert first["without_part"] == pytest.approx(other[0]["score"])


def test_a_mode_that_either_model_shows_has_its_own_row(once: tuple[Domain, Compared]) -> None:
    _, found = once

    failed = {
        row["mode"]
        for side in (found.targeted, found.untargeted)
        for row in side.scores["holdout"].values()
        if row["mode"]
    }
    assert {row["name"] for row in found.rows} == {ALL_MODES, *(f"free of {mode}" for mode in failed)}


def test_an_answer_that_was_paid_for_is_not_paid_again(applied: Domain) -> None:
    before = asked(applied)
    compared(applied, iterations=1)

    assert before
    further = asked(applied)[len(before) :] + [
        line for line in (scratch(applied) / "calls.log").read_text().splitlines() if line not in before
    ]
    assert not set(further) & set(before)
    with open_lookup(scratch(applied) / ".flywheel") as query:
        given = query("SELECT sum(attempts) AS n FROM calls WHERE key IN (SELECT unnest(?))", [keys(applied)])
    assert given[0]["n"] == 0, "in this loop they cost nothing"


def keys(domain: Domain) -> list[str]:
    return [row["key"] for row in domain.query("SELECT key FROM calls")]


def test_a_second_comparison_replaces_the_first_and_does_nothing_twice(applied: Domain) -> None:
    first = compared(applied, iterations=1)
    before = (scratch(applied) / "calls.log").read_text()
    second = compared(applied, iterations=1)

    assert second.rows == first.rows
    assert (scratch(applied) / "calls.log").read_text() == before
    assert len(applied.query("SELECT * FROM ablations")) == len(first.rows)


def test_the_project_itself_is_left_as_it_was(applied: Domain) -> None:
    def facts() -> list[Any]:
        return [applied.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("nodes", "deployments", "dataset")]

    (applied.root / "human").mkdir()
    (applied.root / "human" / "queue.jsonl").write_text("")
    before = facts(), (applied.root / "reports" / "index.html").read_bytes()
    compared(applied, iterations=1)
    assert (scratch(applied) / "human" / "queue.jsonl").stat().st_nlink == 1, "the other loop's questions stay there"

    assert (facts(), (applied.root / "reports" / "index.html").read_bytes()) == before
    assert not applied.plan().pending


@pytest.mark.slow
def test_an_edited_file_is_compared_as_it_is_now(applied: Domain) -> None:
    compared(applied, iterations=1)
    (applied.root / "prompts" / "lessons.md").unlink()
    (applied.root / "prompts" / "lessons.md").write_text("Write {{ n }} rows.")
    applied.apply(iterations=1)
    compared(applied, iterations=1)

    assert (scratch(applied) / "prompts" / "lessons.md").read_text() == "Write {{ n }} rows."


def test_there_must_be_something_to_compare_with(domain: Domain) -> None:
    domain.apply()

    with pytest.raises(UsageError, match=r"1 finished iterations of 2.*flywheel apply --iterations 2"):
        compared(domain, iterations=2)


def test_nobody_who_says_no_pays(applied: Domain) -> None:
    before = asked(applied)

    assert compare_untargeted(applied.open(), confirm=lambda plan: False) is None
    assert asked(applied) == before
    assert applied.query("SELECT * FROM ablations") == []


def test_a_failed_loop_is_an_error_and_stores_nothing(applied: Domain) -> None:
    def broken(spec: dict[str, Any]) -> None:
        spec["loop"]["max_calls"] = 1

    applied.edit(broken)
    with pytest.raises(BudgetStop, match="the untargeted loop did not end"):
        compared(applied)
    assert applied.query("SELECT * FROM ablations") == []


def test_what_is_shown_names_both_sides(once: tuple[Domain, Compared]) -> None:
    _, found = once
    text = compare_text(found)

    assert found.targeted.model_id in text
    assert found.untargeted.model_id in text
    assert "not_blue" in text
    shown = json.loads(json.dumps(compare_json(found)))
    assert shown["rows"] == found.rows
    assert shown["untargeted"]["bought"] == {"": 12}


def test_compare_alone_says_what_to_write(
    applied: Domain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(applied.root)
    monkeypatch.setattr("sys.argv", ["flywheel", "compare"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 64
    assert "flywheel compare --untargeted" in capsys.readouterr().err


# --- seeds ------------------------------------------------------------------------------------------------------------


def forgetful(job: Any, progress: Any) -> Any:
    """A training that mistakes as many lessons as its seed says: what another seed brings."""
    right = len(job.rows) - job.seed % 9
    rows = [(prompt, target if place < right else "red") for place, (prompt, target) in enumerate(job.rows)]
    return train_all(replace(job, rows=rows), progress)


train_all = stand_in.WORK["flywheel.training:train"]


@pytest.fixture(scope="module")
def over_seeds(_applied_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Compared, list[str]]:
    """Two seeds of either side; only to be looked at."""
    root = tmp_path_factory.mktemp("seeds") / "project"
    shutil.copytree(_applied_once, root, symlinks=True)
    domain, said = Domain(root), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        patch.setitem(stand_in.WORK, "flywheel.training:train", forgetful)
        found = compared(domain, iterations=1, seeds=2, listener=notes(said))
    return domain, found, said


def notes(said: list[str]) -> Any:
    return lambda event: said.append(event["detail"]) if event["event"] == "note" else None


def test_several_seeds_train_both_sides_and_ask_nobody_again(
    over_seeds: tuple[Domain, Compared, list[str]],
) -> None:
    domain, found, _ = over_seeds
    folders = sorted(path.name for path in (domain.root / ".flywheel" / "compare").iterdir())
    trained: set[str] = set()
    for name in folders:
        with open_lookup(domain.root / ".flywheel" / "compare" / name / ".flywheel") as query:
            trained |= {row["model_id"] for row in query("SELECT model_id FROM adapters")}
            verbs = {row["kind"] for row in query("SELECT kind FROM nodes WHERE run_id IN (SELECT run_id FROM runs)")}
        if name != "untargeted":
            assert not {"probe", "generate", "verify", "curate"} & verbs, "the lessons are those of the first seed"

    assert folders == ["targeted-2", "untargeted", "untargeted-2"]
    assert len(trained) == 3
    assert found.seeds == len(found.by_seed) == 2


def test_the_interval_over_seeds_is_stored_with_what_it_varies_by(
    over_seeds: tuple[Domain, Compared, list[str]],
) -> None:
    domain, found, _ = over_seeds
    stored = domain.query("SELECT * FROM ablations WHERE node = ? AND name = ?", [NODE, ALL_MODES])[0]
    detail = json.loads(stored["detail"])

    assert stored["difference"] == pytest.approx(sum(found.by_seed) / 2)
    assert detail["by_seed"] == pytest.approx(list(found.by_seed))
    assert detail["varied"]["items"] == 16
    assert stored["low"] <= stored["difference"] <= stored["high"]
    assert "points by seed" in compare_text(found)


def test_how_many_seeds_two_points_need_is_said_before_they_are_trained(
    over_seeds: tuple[Domain, Compared, list[str]],
) -> None:
    domain, _, said = over_seeds

    assert len(said) == 1
    assert "nothing is known before" in said[0]
    later: list[str] = []

    def stop(event: dict[str, Any]) -> None:
        later.append(event.get("detail", ""))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(domain, iterations=1, seeds=2, listener=stop)
    assert later[0].startswith("by the comparison before: ")


@pytest.mark.slow
def test_after_two_seeds_it_is_said_how_many_two_points_need(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stand_in.WORK, "flywheel.training:train", forgetful)
    said: list[str] = []
    found = compared(applied, iterations=1, seeds=3, listener=notes(said))

    assert said[1].startswith("after two seeds: trainings with another seed differ by")
    assert len(found.by_seed) == 3


def test_one_seed_says_that_it_is_one(once: tuple[Domain, Compared]) -> None:
    domain, found = once

    assert "one seed" in compare_text(found)
    assert domain.query("SELECT DISTINCT detail->>'note' AS note FROM ablations") == [{"note": "1 seed"}]


def test_loops_that_answered_other_items_are_compared_on_what_both_did_and_it_is_said() -> None:
    def side(items: int) -> Side:
        return Side(1, "m", {}, 3, {"holdout": {f"i{n}": {} for n in range(items)}}, "e")

    assert _warnings(side(80), side(80)) == ()
    (said,) = _warnings(side(80), side(200))
    assert said.startswith("of holdout 80 items were answered by both, 80 with targeting and 200 without")
