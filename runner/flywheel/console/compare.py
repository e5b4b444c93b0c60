"""`flywheel compare` as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flywheel.console.looks import table_text
from flywheel.engine.compare import Compared, Side
from flywheel.engine.curve import Curve, Point, curve_json
from flywheel.report import words
from flywheel.report.model import Change, Rate
from flywheel.stats import Needed
from flywheel.text import plural


def compare_text(found: Compared) -> str:
    """What was bought on either side, then the paired differences; the sign is the targeted loop's."""
    ours, control = found.targeted.bought, found.untargeted.bought
    bought = [
        {"lessons for": mode or "rows as they come", "targeted": ours.get(mode, 0), "untargeted": control.get(mode, 0)}
        for mode in sorted({*ours, *control}, key=lambda mode: (mode == "", mode))
        if ours.get(mode) or control.get(mode)
    ]
    head = [_side("targeted", found.targeted), _side("untargeted", found.untargeted)]
    blocks = ["\n".join([f"{plural(found.iterations, 'iteration')} each", *head]), table_text(bought)]
    blocks.append(table_text([_row(row) for row in found.rows]))
    if found.seeds > 1:
        each = ", ".join(words.points(difference) for difference in found.by_seed)
        blocks.append(f"points by seed: {each}")
    blocks += [curve_text(curve) for curve in found.curves]
    return "\n\n".join([*blocks, *(f"note: {warning}" for warning in found.warnings)])


def compare_json(found: Compared) -> dict[str, Any]:
    """The last of the JSON lines."""
    sides = {name: asdict(side) for name, side in (("targeted", found.targeted), ("untargeted", found.untargeted))}
    for side in sides.values():
        del side["scores"]  # thousands of rows; the store has them
    return {
        "event": "compared",
        "iterations": found.iterations,
        "seeds": found.seeds,
        "by_seed": list(found.by_seed),
        **sides,
        "rows": found.rows,
        "curves": [curve_json(curve) for curve in found.curves],
        "warnings": list(found.warnings),
    }


def curve_text(curve: Curve) -> str:
    """The points of both sides, then how many lessons each needs for the other's last score."""
    rows = [
        {**_point("targeted", ours), **_point("untargeted", control)}
        for ours, control in zip(curve.targeted, curve.untargeted, strict=True)
    ]
    needed = [
        _needed("targeted", curve.targeted, curve.targeted_needs, "untargeted", curve.untargeted[-1]),
        _needed("untargeted", curve.untargeted, curve.untargeted_needs, "targeted", curve.targeted[-1]),
    ]
    head = f"{curve.suite} by lessons, {plural(curve.items, 'item')}, {plural(curve.seeds, 'seed')}"
    return "\n".join([head, table_text(rows), *needed])


def _point(side: str, point: Point) -> dict[str, Any]:
    limits = words.interval(Rate(value=point.score, low=point.low, high=point.high))
    return {f"{side} lessons": f"{point.lessons:,.0f}", side: words.percent(point.score), f"{side} 95%": limits}


def _needed(side: str, own: tuple[Point, ...], needed: Needed, other: str, end: Point) -> str:
    return words.lessons_needed(side, [point.lessons for point in own], needed, other, end.lessons)


def _side(name: str, side: Side) -> str:
    what = f"trained in iteration {side.iteration}" if side.iteration else "the base: nothing was trained"
    return f"{name:<10}  model {side.model_id}, {what}, {plural(side.trained, 'new lesson')} in all"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    change = Change(value=row["difference"], low=row["low"], high=row["high"])
    return {
        "suite": row["suite"], "score": row["name"], "items": row["items"],
        "targeted": words.percent(row["with_part"]), "untargeted": words.percent(row["without_part"]),
        "points": words.points(change.value), "95% interval": words.interval(change), "p": f"{row['p_value']:.3g}",
    }  # fmt: skip
