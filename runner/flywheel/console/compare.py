"""`flywheel compare` as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flywheel.console.looks import table_text
from flywheel.engine.compare import Compared, Side
from flywheel.report import words
from flywheel.report.model import Change
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
        "warnings": list(found.warnings),
    }


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
