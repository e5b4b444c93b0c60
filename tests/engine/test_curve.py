"""How many lessons does either side need for the other's score?"""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import stand_in
from flywheel.console.compare import compare_json, compare_text, curve_text
from flywheel.engine.compare import Compared, compare_untargeted
from flywheel.engine.curve import Part, curves_of
from flywheel.engine.history import open_lookup
from flywheel.errors import UsageError
from flywheel.nodes.verbs.curve import thinned
from flywheel.plan.verbs import CURVE
from mini_domain import Domain
from stand_in import StandInWorker


@pytest.fixture(scope="module")
def once(_applied_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Compared, list[int]]:
    """A project whose first iteration has its curve, and the rows of every training; only to be looked at."""
    root = tmp_path_factory.mktemp("curve") / "project"
    shutil.copytree(_applied_once, root, symlinks=True)
    domain, trained = Domain(root), list[int]()

    def train(job: Any, progress: Any) -> Any:
        trained.append(len(job.rows))
        return stand_in.train(job, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        patch.setitem(stand_in.WORK, "flywheel.training:train", train)
        found = compare_untargeted(domain.open(), iterations=1, curve=True)
    assert found is not None
    return domain, found, trained


def test_each_side_is_trained_on_parts_of_its_lessons_and_what_was_trained_is_used_again(
    once: tuple[Domain, Compared, list[int]],
) -> None:
    _, found, trained = once
    (curve,) = found.curves

    for points, side in ((curve.targeted, found.targeted), (curve.untargeted, found.untargeted)):
        assert [point.lessons for point in points] == [max(1, round(s * side.trained)) for s in (*CURVE.values(), 1)]
        whole = [row["score"] for row in side.scores["holdout"].values()]
        assert points[-1].score == pytest.approx(sum(whole) / len(whole)), "the last point is the loop's own model"
    assert len(trained) == 1 + 2 * len(CURVE), "the untargeted loop, and the parts of both"


def test_a_curve_asks_nobody_and_leaves_the_project_as_it_was(once: tuple[Domain, Compared, list[int]]) -> None:
    domain, _, _ = once
    with open_lookup(domain.root / ".flywheel" / "compare" / "targeted" / ".flywheel") as query:
        ran = {row["kind"] for row in query("SELECT kind FROM nodes WHERE run_id IN (SELECT run_id FROM runs)")}

    assert ran == {"curve"}
    assert not domain.query("SELECT * FROM nodes WHERE kind = 'curve'")
    with open_lookup(domain.root / ".flywheel" / "compare" / "targeted" / ".flywheel") as query:
        assert query("SELECT sum(attempts) AS n FROM calls")[0]["n"] == 0, "what was paid for has cost nothing there"


def test_the_curve_is_shown_stored_and_json(once: tuple[Domain, Compared, list[int]]) -> None:
    domain, found, _ = once

    assert "holdout by lessons, 16 items, 1 seed" in compare_text(found)
    shown = json.loads(json.dumps(compare_json(found), allow_nan=False))
    stored = domain.query("SELECT detail FROM ablations LIMIT 1")[0]["detail"]
    assert json.loads(stored)["curves"] == shown["curves"]
    assert len(shown["curves"][0]["targeted"]) == len(CURVE) + 1


@pytest.mark.slow
def test_a_second_time_nothing_is_trained_again(applied: Domain) -> None:
    first = compare_untargeted(applied.open(), iterations=1, curve=True)
    later: list[str] = []
    again = compare_untargeted(
        applied.open(), iterations=1, curve=True, listener=lambda event: later.append(event["event"])
    )

    assert first is not None
    assert again is not None
    assert again.curves == first.curves
    assert "node_started" not in later


@pytest.mark.slow
def test_seeds_train_every_part_again(applied: Domain) -> None:
    found = compare_untargeted(applied.open(), iterations=1, curve=True, seeds=2)

    assert found is not None
    assert found.curves[0].seeds == 2
    folders = {path.name for path in (applied.root / ".flywheel" / "compare").iterdir()}
    assert folders == {"targeted", "untargeted", "targeted-2", "untargeted-2"}


@pytest.mark.slow
def test_both_iterations_lessons_are_one_pool(applied: Domain) -> None:
    """The second iteration trained nothing here: the pool is that of the first."""
    found = compare_untargeted(applied.open(), curve=True)

    assert found is not None
    assert found.curves[0].targeted[-1].lessons == found.targeted.trained


@pytest.mark.slow
def test_a_training_that_does_not_hold_all_lessons_has_no_curve(applied: Domain) -> None:
    applied.edit(lambda spec: spec["train"].update(init="incumbent"))
    applied.edit(lambda spec: spec["loop"].update(iterations=1))
    applied.apply()
    assert compare_untargeted(applied.open(), curve=True) is not None, "one iteration starts from the base"


@pytest.mark.parametrize(
    ("change", "iteration", "why"),
    [
        ({}, 0, "trained nothing"),
        ({"init": "incumbent"}, 2, "train.init: incumbent.*--curve --iterations 1"),
        ({"method": "grpo"}, 1, "train.method: grpo"),
    ],
)
def test_where_there_is_no_curve_it_is_said(domain: Domain, change: dict[str, Any], iteration: int, why: str) -> None:
    from flywheel.engine.curve import refuse_curve

    domain.edit(lambda spec: spec["train"].update(change))
    with pytest.raises(UsageError, match=why):
        refuse_curve(domain.open().spec, iteration, "targeted")


# --- parts of lessons -------------------------------------------------------------------------------------------------


def rows(new: int, human: int) -> list[dict[str, Any]]:
    found = [{"lesson_id": f"l{n}", "origin": "new" if n % 3 else "replay"} for n in range(new)]
    return found + [{"lesson_id": f"s{n}", "origin": "seed"} for n in range(human)]


def test_smaller_parts_lie_within_larger_ones_and_keep_the_share_of_human_rows() -> None:
    everything = rows(80, 20)
    parts = [[row["lesson_id"] for row in thinned(everything, share, 7)] for share in (1 / 8, 1 / 4, 1 / 2, 1)]

    assert [len(part) for part in parts] == [12, 25, 50, 100]
    assert all(set(less) < set(more) for less, more in pairwise(parts))
    assert [sum(name.startswith("s") for name in part) for part in parts] == [2, 5, 10, 20]
    assert parts[-1] == [row["lesson_id"] for row in everything]
    assert thinned(everything, 1 / 8, 8) != thinned(everything, 1 / 8, 7), "another training draws again"
    assert len(thinned(rows(3, 0), 1 / 8, 1)) == 1


# --- what is said -----------------------------------------------------------------------------------------------------


def parts(*right: int) -> list[Part]:
    """100, 200, … lessons after which so many of 100 items are right."""
    table = [
        {f"i{n}": {"score": float(n < number), "cluster": None, "mode": None} for n in range(100)} for number in right
    ]
    return [Part(100 * 2**k, {"holdout": scores}) for k, scores in enumerate(table)]


def curve_of(domain: Domain, ours: list[Part], control: list[Part]) -> Any:
    (found,) = curves_of(domain.open().spec, [(ours, control)])
    return found


def test_half_of_the_lessons_are_said_to_be_half(domain: Domain) -> None:
    found = curve_of(domain, parts(40, 60, 80, 90), parts(20, 40, 60, 80))

    assert found.targeted_needs.lessons == pytest.approx(400)
    assert "targeted: the 80.0% of 800 untargeted lessons takes 400 lessons, 0.50 times as many" in curve_text(found)
    assert math.isinf(found.untargeted_needs.lessons)
    assert "untargeted: the 90.0% of 800 targeted lessons is not reached within 800 lessons" in curve_text(found)
    assert "over 1.00 times as many" in curve_text(found)


def test_what_the_smallest_part_reaches_is_so_many_or_fewer(domain: Domain) -> None:
    found = curve_of(domain, parts(70, 75, 80, 90), parts(20, 30, 40, 50))

    assert "takes 100 lessons or fewer, 0.12 times as many (95% interval 0.12 or less to 0.12 or less)" in curve_text(
        found
    )


def test_an_item_without_a_verdict_counts_for_no_point(domain: Domain) -> None:
    ours, control = parts(40, 60), parts(20, 40)
    ours[0].scores["holdout"]["i3"]["score"] = None  # type: ignore[index]

    found = curve_of(domain, ours, control)
    assert found.items == 99
    assert found.untargeted[0].score == pytest.approx(19 / 99)
