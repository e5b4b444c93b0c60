"""`flywheel diff` as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flywheel.console.looks import table_text
from flywheel.engine.diff import Diff
from flywheel.report import words
from flywheel.report.model import Change
from flywheel.text import one_line, plural, usd

Row = dict[str, Any]

#: Items shown of each movement; `--json` has them all.
SHOWN = 8


def diff_text(found: Diff) -> str:
    """What differs, in the order cause, effect, price."""
    a, b = f"iteration {found.a}", f"iteration {found.b}"
    blocks = [
        f"{a}: model {found.models[0]}\n{b}: model {found.models[1]}",
        _block("What was read", [_input(row, a, b) for row in found.inputs], "the same spec, data and teachers"),
        _block("Training rows that came and went", [_dataset(row) for row in found.rows], "the same training rows"),
        _block("Scores, on the same items", [_score(row, a, b) for row in found.scores], "no item in common"),
        _block("Error modes", [_mode(row, a, b) for row in found.modes], "neither failed an item"),
        *(_items(found.moved, movement, a, b) for movement in ("broken", "fixed")),
        _block("Cost", [_cost(row) for row in found.cost], ""),
    ]
    return "\n\n".join(blocks)


def _block(title: str, rows: Sequence[Row], nothing: str) -> str:
    return f"{title.upper()}\n{table_text(rows)}" if rows else f"{title.upper()}\n{nothing}"


def _input(row: Row, a: str, b: str) -> Row:
    names = {"part": "part", a: "a", b: "b"}
    return {shown: "nothing" if row[name] is None else str(row[name]) for shown, name in names.items()}


def _dataset(row: Row) -> Row:
    return {"mode": row["mode"] or "(none)", "teacher": row["teacher"] or "(people)"} | {
        name: row[name] for name in ("added", "removed")
    }


def _difference(row: Row) -> Row:
    change = Change(value=row["difference"], low=row["low"], high=row["high"])
    return {"points": words.points(change.value), "95% interval": words.interval(change)}


def _score(row: Row, a: str, b: str) -> Row:
    shares = {a: words.percent(row["a"]), b: words.percent(row["b"])}
    return {"suite": row["suite"], "items": row["items"], **shares, **_difference(row)} | {
        name: row[name] for name in ("fixed", "broken")
    }


def _mode(row: Row, a: str, b: str) -> Row:
    shares = {a: words.percent(row["a"]), b: words.percent(row["b"])}
    return {"suite": row["suite"], "mode": row["mode"], **shares, **_difference(row)}


def _items(moved: Sequence[Row], movement: str, a: str, b: str) -> str:
    names = {"suite": "suite", "item": "item_id", a: "a", b: "b"}
    rows = [row for row in moved if row["movement"] == movement]
    more = f"\n… and {plural(len(rows) - SHOWN, 'more item')}: --json has them all" if len(rows) > SHOWN else ""
    shown = [{label: one_line(str(row[name] or ""), 60) for label, name in names.items()} for row in rows]
    return _block(f"Items {movement}: {len(rows):,}", shown[:SHOWN], "none") + more


def _cost(row: Row) -> Row:
    return {
        "iteration": row["iteration"],
        "price": usd(row["usd"]),
        "tokens": row["tokens"],
        "calls": row["calls"],
        "time": words.seconds(row["seconds"]),
    }
