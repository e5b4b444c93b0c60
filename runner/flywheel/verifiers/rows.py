"""Whether two query results are the same, and how they first differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flywheel.text import one_line, plural

RELATIVE_TOLERANCE = 1e-9
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class Tolerance:
    """What numbers may differ by and be equal all the same: floating-point ones by `relative`, all by `absolute`."""

    relative: float = RELATIVE_TOLERANCE
    absolute: float = 0.0


_USUAL = Tolerance()


@dataclass(frozen=True)
class Table:
    """A query's result. `rows` holds hashable cells; `cut` says that there were more."""

    columns: int
    rows: list[_Row]
    cut: bool = False


def difference(answer: Table, gold: Table, ordered: bool, tolerance: Tolerance = _USUAL) -> str | None:
    """How `answer` first differs from `gold`, or None.

    Rows are compared as a multiset, or in order. Column names do not matter, number and order of columns do.
    Numbers are equal across types, floating-point ones within 1e-9 relative; a boolean is no number.
    """
    if answer.columns != gold.columns:
        return f"{plural(answer.columns, 'column')} instead of {gold.columns}"
    if answer.cut:
        return f"more than {plural(len(answer.rows), 'row')} instead of {len(gold.rows)}"
    if len(answer.rows) != len(gold.rows):
        return f"{plural(len(answer.rows), 'row')} instead of {len(gold.rows):,}"
    if answer.rows == gold.rows or (not ordered and Counter(answer.rows) == Counter(gold.rows)):
        return None
    if _alike(answer.rows, gold.rows, tolerance):
        return None
    if _alike(sorted(answer.rows, key=_sort_key), sorted(gold.rows, key=_sort_key), tolerance):
        return _other_order(answer.rows, gold.rows, tolerance) if ordered else None
    if tolerance.absolute and not ordered and _matched(answer.rows, gold.rows, tolerance):
        return None
    return _other_rows(answer.rows, gold.rows, ordered, tolerance)


def unlike(rows: Sequence[_Row], gold: Sequence[_Row], ordered: bool) -> str:
    """How rows differ that another rule than ours calls different."""
    return _other_rows(list(rows), list(gold), ordered, Tolerance(relative=0.0))


def cell(value: Any) -> Any:
    """The value as a hashable cell: lists and structs as tuples; booleans marked, for True == 1 in Python."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return ("struct", *((cell(k), cell(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return ("list", *map(cell, value))
    return value


def _alike(rows: Sequence[_Row], others: Sequence[_Row], tolerance: Tolerance) -> bool:
    return all(_same(row, other, tolerance) for row, other in zip(rows, others, strict=True))


#: Rows up to which each is looked for among all: sorting puts rows apart whose numbers are rounded.
_MATCHED = 1_000


def _matched(rows: Sequence[_Row], gold: Sequence[_Row], tolerance: Tolerance) -> bool:
    """Whether each row has a gold one of its own that it is the same as, taken greedily."""
    if len(gold) > _MATCHED:
        return False
    left = sorted(gold, key=_sort_key)
    for row in sorted(rows, key=_sort_key):
        place = next((i for i, other in enumerate(left) if _same(row, other, tolerance)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same(left: Any, right: Any, tolerance: Tolerance = _USUAL) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(_same(a, b, tolerance) for a, b in zip(left, right, strict=True))
    if left == right:
        return True
    if not (_is_number(left) and _is_number(right)):
        return False
    a, b = float(left), float(right)
    if tolerance.absolute and abs(a - b) <= tolerance.absolute * (1 + 1e-9):
        return True
    if float in (type(left), type(right)):
        return math.isclose(a, b, rel_tol=tolerance.relative) or (math.isnan(a) and math.isnan(b))
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal)


def _sort_key(row: _Row) -> tuple[Any, ...]:
    return tuple(map(_cell_key, row))


def _cell_key(value: Any) -> tuple[Any, ...]:
    """An order over all cells in which numbers that are equal within the tolerance stand together."""
    if value is None:
        return (0,)
    if _is_number(value):
        return _number_key(value)
    if isinstance(value, tuple):
        return (3, *map(_cell_key, value))
    return (4, type(value).__name__, str(value))


def _number_key(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, float) or value.is_integer() or math.isinf(value):
        return (1, value)
    return (2,) if math.isnan(value) else (1, float(f"{value:.8g}"))


def _other_order(rows: list[_Row], gold: list[_Row], tolerance: Tolerance) -> str:
    return f"other order: {_first_difference(rows, gold, tolerance)}"


def _other_rows(rows: list[_Row], gold: list[_Row], ordered: bool, tolerance: Tolerance) -> str:
    if not ordered:
        missing, extra = Counter(gold) - Counter(rows), Counter(rows) - Counter(gold)
        rows = [row for row in rows if row in extra] or rows
        gold = [row for row in gold if row in missing] or gold
    return f"other rows: {_first_difference(rows, gold, tolerance)}"


def _first_difference(rows: list[_Row], gold: list[_Row], tolerance: Tolerance) -> str:
    pairs = zip(rows, gold, strict=False)
    row, other = next(((r, g) for r, g in pairs if not _same(r, g, tolerance)), (rows[0], gold[0]))
    if _shown(row) == _shown(other):  # a type's or a letter's difference that does not show
        alike = [_same(a, b, tolerance) for a, b in zip(row, other, strict=True)]
        return f"first difference {_shown(row, alike)} instead of {_shown(other, alike)}"
    return f"first difference {_shown(row)} instead of {_shown(other)}"


def _shown(row: _Row, plain: Sequence[bool] = ()) -> str:
    """The row's first cells; those that are not `plain` with their types."""
    cells = [one_line(_shown_cell(value), 40) for value in row]
    for place, is_plain in enumerate(plain):
        if not is_plain:
            cells[place] = f"{_TYPES.get(type(row[place]), type(row[place]).__name__)} {_exact(row[place])}"
    # What differs is among the first eight, whether or not it stands there.
    first = sorted(range(len(row)), key=lambda place: (place >= len(plain) or plain[place], place))[:8]
    return "(" + ", ".join(cells[place] for place in sorted(first)) + ")"


_TYPES = {int: "integer", float: "double", str: "text", bytes: "blob", type(None): "", Decimal: "decimal"}


def _exact(value: Any) -> str:
    return one_line(repr(value) if isinstance(value, str | float | bytes) else _shown_cell(value), 40)


def _shown_cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, tuple):
        return str(value[1]).lower() if value[0] == "boolean" else f"[{', '.join(map(_shown_cell, value[1:]))}]"
    return str(value)
