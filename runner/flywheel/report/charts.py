"""Inline SVG, drawn in percent of its box: it fits any width without a script, and its text keeps its size.

Colours are CSS classes, so that light, dark and print need no second drawing. Every function gives `Markup`;
text that goes in is escaped. A table beside each chart says the same to a screen reader, so charts are hidden
from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from flywheel.report.model import Funnel, Learned, LoopCurves, LossPoint, Rate, TrendScore, TrendTurn

_SVG = Markup('<svg class="{}" width="100%" height="{}" aria-hidden="true" focusable="false">{}</svg>')
_LINE = Markup('<line class="{}" x1="{}%" y1="{}" x2="{}%" y2="{}"/>')
_DOT = Markup('<circle class="{}" cx="{}%" cy="{}" r="{}"/>')
_TEXT = Markup('<text class="{}" x="{}%" y="{}" text-anchor="{}">{}</text>')
_MARK = Markup('<text class="tick" x="{}%" dx="-9" y="{}" text-anchor="end">{}</text>')
_RECT = Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>')
_PATH = Markup(
    '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none">'
    '<polyline class="{}" points="{}"/></svg>'
)


def _svg(name: str, height: int, parts: Sequence[Markup]) -> Markup:
    return _SVG.format(name, height, Markup("").join(parts))


def _at(value: float) -> str:
    return f"{value:.2f}"


def ceiling(values: Sequence[float]) -> float:
    """The round share at or above the largest of `values` on which an axis of four steps ends."""
    top = max(values, default=1.0)
    return next((step for step in (0.04, 0.08, 0.2, 0.4, 0.6, 0.8) if top <= step), 1.0)


def dumbbell(before: Rate | None, after: Rate | None, top: float = 1.0) -> Markup:
    """Incumbent (ring, above) and candidate (dot, below) with their intervals, on an axis from 0 to `top`."""
    parts = [_LINE.format("grid", _at(25 * k), 2, _at(25 * k), 34) for k in range(5)]
    if before and after:
        parts.append(_LINE.format("link", _place(before.value, top), 12, _place(after.value, top), 24))
    if before:
        parts += _whisker("before", before, 12, top)
    if after:
        parts += _whisker("after", after, 24, top)
    return _svg("dumbbell", 36, parts)


def _place(value: float, top: float) -> str:
    return _at(100 * min(value / top, 1.0))


def _whisker(name: str, rate: Rate, y: int, top: float) -> list[Markup]:
    """An interval with its ends marked, so that a narrow one shows beside its dot."""
    low, high = _place(rate.low, top), _place(rate.high, top)
    ends = [_LINE.format(f"whisker {name}", end, y - 5, end, y + 5) for end in (low, high)]
    return [
        _LINE.format(f"whisker {name}", low, y, high, y),
        *ends,
        _DOT.format(f"dot {name}", _place(rate.value, top), y, 3.5),
    ]


def axis(top: float) -> Markup:
    """The scale under a column of dumbbells."""
    anchors = ("start", "middle", "middle", "middle", "end")
    marks = (
        _TEXT.format("tick", _at(25 * k), 12, anchor, f"{100 * top * k / 4:g}%") for k, anchor in enumerate(anchors)
    )
    return _svg("axis", 16, list(marks))


#: Stages that say nothing new where nothing was lost before them.
_QUIET = ("fitting", "chosen")
_LABELS = {"fitting": "within the rules", "chosen": "one a question"}


def waterfall(funnel: Funnel) -> list[tuple[str, int, str, Markup]]:
    """Rows of (label, count, class, bar): stages from the left, losses where they fall off the last stage."""
    whole = max(funnel.stages[0].rows, 1)
    rows = []
    for number, stage in enumerate(funnel.stages):
        right = funnel.stages[number - 1].rows if number else 0
        if stage.name in _QUIET and not stage.losses and stage.rows == right:
            continue
        for loss in stage.losses:
            rows.append((loss.cause, -loss.rows, "loss", _bar("bar loss", right - loss.rows, loss.rows, whole)))
            right -= loss.rows
        label = _LABELS.get(stage.name, stage.name)
        rows.append((label, stage.rows, "stage", _bar(f"bar {stage.name}", 0, stage.rows, whole)))
    return rows


def _bar(name: str, start: int, length: int, whole: int) -> Markup:
    track = _RECT.format("track", 0, 4, 100, 12)
    return _svg("bars", 20, [track, _RECT.format(name, _at(100 * start / whole), 4, _at(100 * length / whole), 12)])


def stacked(parts: Sequence[tuple[str, int]], whole: int) -> Markup:
    """One bar of (class, count) pieces, `whole` wide in all."""
    pieces, start = [_RECT.format("track", 0, 4, 100, 12)], 0
    for name, size in parts:
        pieces.append(
            _RECT.format(f"bar {name}", _at(100 * start / max(whole, 1)), 4, _at(100 * size / max(whole, 1)), 12)
        )
        start += size
    return _svg("bars", 20, pieces)


# --- lines --------------------------------------------------------------------------------------------------

_LEFT, _WIDTH, _TOP, _HEIGHT = 12.0, 82.0, 18, 180
"""Plot area of a line chart: percent across, pixels down."""
_FOOT = _TOP + _HEIGHT + 18
"""Where what stands under the axis has its foot."""


def _x(share: float) -> float:
    return _LEFT + _WIDTH * share


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _polyline(name: str, shares: Sequence[tuple[float, float]]) -> Markup:
    """A line through (across, up) shares of the plot area."""
    points = " ".join(f"{100 * x:.2f},{100 * (1 - y):.2f}" for x, y in shares)
    return _PATH.format(_LEFT, _TOP, _WIDTH, _HEIGHT, name, points)


def _scale(labels: Sequence[str]) -> list[Markup]:
    """Horizontal rules with labels, evenly spaced from the bottom; pixels keep a label off a dot on the axis."""
    parts = []
    for number, label in enumerate(labels):
        y = _at(_y(number / (len(labels) - 1)))
        parts.append(_LINE.format("grid", _LEFT, y, _LEFT + _WIDTH, y))
        parts.append(_MARK.format(_LEFT, float(y) + 4, label))
    return parts


def loss_curve(points: Sequence[LossPoint]) -> Markup:
    """Training loss over steps, from 0; a loss that is not a number ends the line where it happened."""
    finite = [p for p in points if math.isfinite(p.loss)]
    if not finite:
        return Markup("")
    top = _round_up(max(p.loss for p in finite))
    first, last = finite[0].step, finite[-1].step
    span = max(last - first, 1)
    line = [((p.step - first) / span, p.loss / top) for p in finite]
    parts = _scale([f"{top * k / 4:.2g}" for k in range(5)])
    parts.append(_polyline("curve", line))
    parts.append(_TEXT.format("tick", _LEFT, _FOOT, "start", f"step {first}"))
    parts.append(_TEXT.format("tick", _LEFT + _WIDTH, _FOOT, "end", f"step {last}"))
    return _svg("plot", _FOOT + 8, parts)


def _round_up(value: float) -> float:
    """The next number whose quarter is round."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if value <= step * power * (1 + 1e-12))


def trend(turns: Sequence[TrendTurn], scores: Sequence[TrendScore], suite: str) -> Markup:
    """Score of one suite over iterations: the line is the model in service, the dots are candidates.

    Promoted candidates are filled and lie on the line; others are rings beside it.
    """
    by_turn = {s.iteration: s for s in scores if s.suite == suite}
    outcomes = {t.iteration: t.outcome for t in turns}
    served = serving(outcomes, by_turn)
    last = max([*outcomes, *by_turn], default=1)
    parts = _scale([f"{25 * k}%" for k in range(5)])
    parts.append(_polyline("curve", [(n / last, value) for n, value in served]))
    points = [(n / last, by_turn[n].candidate, outcomes.get(n) == "promote") for n in by_turn]
    first = by_turn[min(by_turn)].incumbent if by_turn else None
    parts += _points([*([((min(by_turn) - 1) / last, first, True)] if by_turn else []), *points])
    parts.append(_TEXT.format("tick", _LEFT, _FOOT, "middle", "start"))
    for n in range(1, last + 1):
        if n % math.ceil(last / 12) == 0 or n == last:
            parts.append(_TEXT.format("tick", _at(_x(n / last)), _FOOT, "middle", f"{n}"))
    return _svg("plot", _FOOT + 8, parts)


def learning_curve(learned: Sequence[Learned], turns: Sequence[TrendTurn]) -> Markup:
    """Score over the lessons that had been trained on by then, from the model that the first iteration began with."""
    outcomes = {t.iteration: t.outcome for t in turns}
    most = max((point.lessons for point in learned), default=0)
    if not most:
        return Markup("")
    parts = _scale([f"{25 * k}%" for k in range(5)])
    parts.append(_polyline("curve", [(p.lessons / most, p.score.value) for p in learned]))
    parts += _points([(p.lessons / most, p.score, outcomes.get(p.iteration) in ("promote", None)) for p in learned])
    for point in _apart([p.lessons / most for p in learned], _TICK_ROOM):
        parts.append(_TEXT.format("tick", _at(_x(point)), _FOOT, "middle", f"{round(point * most):,}"))
    return _svg("plot", _FOOT + 8, parts)


def loop_curves(curves: LoopCurves) -> Markup:
    """Both loops' scores over lessons, from none to the most that either had: filled dots are the targeted loop's."""
    most = max((p.lessons for p in (*curves.targeted, *curves.untargeted)), default=0)
    if not most:
        return Markup("")
    parts = _scale([f"{25 * k}%" for k in range(5)])
    for name, dot, points in (("curve control", "before", curves.untargeted), ("curve", "after", curves.targeted)):
        parts.append(_polyline(name, [(p.lessons / most, p.score.value) for p in points]))
        for p in points:
            parts += _point(p.lessons / most, p.score, dot)
    for place in _apart([0.0, *(p.lessons / most for p in curves.targeted)], _TICK_ROOM):
        parts.append(_TEXT.format("tick", _at(_x(place)), _FOOT, "middle", f"{round(place * most):,}"))
    return _svg("plot", _FOOT + 8, parts)


#: Shares of a narrow plot's width that a figure above a point, and one under the axis, take.
_VALUE_ROOM, _TICK_ROOM = 0.16, 0.12


def _apart(places: Sequence[float], room: float) -> list[float]:
    """Of the places those that have room for a text; the last before the others, then from the left."""
    kept = list(places[-1:])
    for place in places[:-1]:
        if all(abs(place - other) >= room for other in kept):
            kept.append(place)
    return sorted(kept)


def _points(points: Sequence[tuple[float, Rate | None, bool]]) -> list[Markup]:
    """(across, rate, promoted) with intervals, and the figure where it has room."""
    drawn = [(across, rate, promoted) for across, rate, promoted in points if rate is not None]
    told = _apart([across for across, _, _ in drawn], _VALUE_ROOM)
    parts: list[Markup] = []
    for number, (across, rate, promoted) in enumerate(drawn):
        parts += _point(across, rate, "after" if promoted else "refused")
        if across in told:
            rises = not number and any(after.value > rate.value for _, after, _ in drawn[1:2])
            parts.append(_value(across, rate.value, _beside(rate, rises)))
    return parts


def _beside(rate: Rate, rises: bool) -> float:
    """Above the interval, or beneath it: near the top, and where the line rises from the first point."""
    return _y(rate.low) + 16 if rises or rate.high > 0.9 else _y(rate.high) - 8


def _value(across: float, value: float, y: float) -> Markup:
    """The figure itself; at the left edge beside the scale, not on it, and at the right edge within the box."""
    anchor, x = ("middle", _x(across)) if across else ("start", _x(across) + 0.6)
    if across > 0.97:
        anchor, x = "end", 100.0
    return _TEXT.format("value", _at(x), _at(y), anchor, f"{100 * value:.1f}%")


def _point(across: float, rate: Rate, name: str) -> list[Markup]:
    x, low, high = _x(across), _at(_y(rate.low)), _at(_y(rate.high))
    ends = [_LINE.format(f"whisker {name}", _at(x - 0.9), y, _at(x + 0.9), y) for y in (low, high)]
    return [
        _LINE.format(f"whisker {name}", _at(x), low, _at(x), high),
        *ends,
        _DOT.format(f"dot {name}", _at(x), _at(_y(rate.value)), 4),
    ]


def serving(outcomes: Mapping[int, str], scores: Mapping[int, TrendScore]) -> list[tuple[int, float]]:
    """(iteration, score) of the model in service after it; 0 is the model that the first began with."""
    line: list[tuple[int, float]] = []
    for n in sorted(scores):
        score = scores[n]
        if not line and score.incumbent:
            line.append((n - 1, score.incumbent.value))
        after = score.candidate if outcomes.get(n) == "promote" else score.incumbent
        if after:
            line.append((n, after.value))
    return line
