"""Charts put the right number in the right place."""

from __future__ import annotations

import re

import pytest

from flywheel.report import Report, charts
from flywheel.report.model import LossPoint, Rate, TrendScore, TrendTurn

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
    assert len(_attributes(svg, "circle", "dot after")) == 1
    assert len(_attributes(svg, "circle", "dot refused")) == 1


def test_text_in_a_chart_is_escaped() -> None:
    assert "<b>" not in charts._scale(["<b>", "x"])[1]
