"""Charts put the right number in the right place."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from flywheel.report import Report, charts
from flywheel.report.model import AfterLessons, Learned, LoopCurves, LossPoint, Rate, TrendScore, TrendTurn

LOW = Rate(value=0.2, low=0.1, high=0.3)
HIGH = Rate(value=0.8, low=0.7, high=0.9)


def _attributes(svg: str, tag: str, name: str) -> list[dict[str, str]]:
    found = (dict(re.findall(r'(\S+)="([^"]*)"', tagged)) for tagged in re.findall(rf"<{tag} ([^>]*)/?>", svg))
    return [attributes for attributes in found if attributes.get("class") == name]


def test_a_dumbbell_places_rates_and_intervals() -> None:
    svg = charts.dumbbell(LOW, HIGH)
    assert _attributes(svg, "circle", "dot before")[0]["cx"] == "20.00%"
    assert _attributes(svg, "circle", "dot after")[0]["cx"] == "80.00%"
    whisker = _attributes(svg, "line", "whisker before")[0]
    assert (whisker["x1"], whisker["x2"]) == ("10.00%", "30.00%")


def test_a_dumbbell_scales_to_its_axis() -> None:
    assert _attributes(charts.dumbbell(LOW, None, 0.4), "circle", "dot before")[0]["cx"] == "50.00%"


def test_a_dumbbell_without_a_candidate_has_one_dot() -> None:
    svg = charts.dumbbell(LOW, None)
    assert "dot after" not in svg
    assert "link" not in svg


@pytest.mark.parametrize(
    ("values", "top"), [([], 1.0), ([0.0], 0.04), ([0.26], 0.4), ([0.05, 0.2], 0.2), ([0.81], 1.0)]
)
def test_the_axis_holds_every_value(values: list[float], top: float) -> None:
    assert charts.ceiling(values) == top


def test_a_waterfall_starts_each_loss_where_the_last_ended(promoted: Report) -> None:
    rows = charts.waterfall(promoted.funnel)
    whole = promoted.funnel.stages[0].rows
    level = whole
    for _, count, kind, bar in rows:
        if kind == "loss":
            level += count
            drawn = _attributes(bar, "rect", "bar loss")[0]
            assert float(drawn["x"][:-1]) == pytest.approx(100 * level / whole, abs=0.01)
        else:
            assert count == level


def test_the_loss_curve_keeps_to_its_box() -> None:
    svg = charts.loss_curve([LossPoint(step=s, loss=3.0 / s) for s in range(1, 50)])
    points = re.findall(r"([\d.]+),([\d.]+)", svg)
    assert len(points) == 49
    assert all(0 <= float(x) <= 100 and 0 <= float(y) <= 100 for x, y in points)


def test_a_loss_that_is_no_number_ends_the_line() -> None:
    svg = charts.loss_curve([LossPoint(step=1, loss=1.0), LossPoint(step=2, loss=float("nan"))])
    assert "nan" not in svg.lower()
    assert charts.loss_curve([LossPoint(step=1, loss=float("inf"))]) == ""


def _trend_score(iteration: int, before: float, after: float | None) -> TrendScore:
    rate = None if after is None else Rate(value=after, low=after - 0.05, high=after + 0.05)
    was = Rate(value=before, low=before, high=before)
    return TrendScore(iteration=iteration, suite="s", role="target", incumbent=was, candidate=rate)


def test_the_trend_line_follows_what_is_in_service() -> None:
    scores = {1: _trend_score(1, 0.4, 0.7), 2: _trend_score(2, 0.7, 0.5), 3: _trend_score(3, 0.7, None)}
    served = charts.serving({1: "promote", 2: "reject", 3: "untrained"}, scores)
    assert served == [(0, 0.4), (1, 0.7), (2, 0.7), (3, 0.7)]


def test_a_refused_candidate_is_a_ring_off_the_line() -> None:
    turns = [TrendTurn(iteration=n, outcome=o, trained_rows=1, seconds=1.0) for n, o in ((1, "promote"), (2, "reject"))]  # type: ignore[arg-type]
    svg = charts.trend(turns, [_trend_score(1, 0.4, 0.7), _trend_score(2, 0.7, 0.5)], "s")
    assert len(_attributes(svg, "circle", "dot after")) == 2  # the start, and the promoted one
    assert len(_attributes(svg, "circle", "dot refused")) == 1


def test_an_interval_has_ends_wider_than_its_dot() -> None:
    narrow = Rate(value=0.5, low=0.495, high=0.505)
    ends = [w for w in _attributes(charts.dumbbell(narrow, None), "line", "whisker before") if w["x1"] == w["x2"]]
    [dot] = _attributes(charts.dumbbell(narrow, None), "circle", "dot before")
    assert {end["x1"] for end in ends} == {"49.50%", "50.50%"}
    assert all(float(end["y2"]) - float(end["y1"]) > 2 * float(dot["r"]) for end in ends)


def _learned(lessons: int, value: float) -> Learned:
    return Learned(iteration=lessons, suite="s", lessons=lessons, score=Rate(value=value, low=value, high=value))


def test_a_learning_curve_places_candidates_by_lessons() -> None:
    svg = charts.learning_curve([_learned(0, 0.1), _learned(30, 0.5), _learned(100, 0.8)], [])
    across = [float(dot["cx"][:-1]) for dot in _attributes(svg, "circle", "dot after")]
    assert (across[1] - across[0]) / (across[2] - across[0]) == pytest.approx(0.3, abs=0.001)
    assert charts.learning_curve([_learned(0, 0.1)], []) == ""


@pytest.mark.parametrize("turns", [1, 4, 12, 40])
def test_no_two_figures_of_a_chart_collide(turns: int) -> None:
    scores = [_trend_score(n, 0.7, 0.7) for n in range(1, turns + 1)]
    svg = charts.trend([], scores, "s")
    places = sorted(float(text["x"][:-1]) for text in _attributes(svg, "text", "value"))
    assert places
    assert all(after - before >= 12 for before, after in pairwise(places))


def test_figures_stay_within_the_box_and_the_scale_off_the_dots() -> None:
    svg = charts.learning_curve([_learned(0, 0.1), _learned(30, 1.0)], [])
    first, last = _attributes(svg, "text", "value")
    assert (first["text-anchor"], last["text-anchor"], last["x"]) == ("start", "end", "100.00%")
    dot = _attributes(svg, "circle", "dot after")[0]
    assert {mark["dx"] for mark in _attributes(svg, "text", "tick") if "dx" in mark} == {"-9"}
    assert float(dot["r"]) < 9


def test_both_loops_are_drawn_over_the_same_lessons() -> None:
    def points(*lessons: float) -> tuple[AfterLessons, ...]:
        return tuple(AfterLessons(lessons=n, score=Rate(value=0.5, low=0.4, high=0.6)) for n in lessons)

    known = {"suite": "s", "items": 9, "seeds": 1, "needs": ()}
    svg = charts.loop_curves(LoopCurves(targeted=points(10, 40), untargeted=points(20, 80), **known))
    ours, control = (
        [float(dot["cx"][:-1]) for dot in _attributes(svg, "circle", f"dot {name}")] for name in ("after", "before")
    )
    assert ours[1] - ours[0] == pytest.approx((control[1] - control[0]) / 2, abs=0.1)
    assert svg.count("<polyline") == 2
    assert charts.loop_curves(LoopCurves(targeted=(), untargeted=(), **known)) == ""


def test_text_in_a_chart_is_escaped() -> None:
    assert "<b>" not in charts._scale(["<b>", "x"])[1]
