"""Raw text of a model → rows. Nothing raises here: what cannot be used comes back as a problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.answers import without_thoughts
from flywheel.json_text import json_values
from flywheel.records import Row
from flywheel.text import did_you_mean, one_line


def parse_rows(text: str, columns: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Rows with exactly `columns`, and one problem for each piece that was dropped.

    Reads a JSON array, JSON lines, objects in a code fence or with text around them, an object that wraps a
    list of rows, trailing commas; of a truncated answer the complete objects. Keys other than `columns` are
    left out. Never raises.
    """
    found = _Found(columns)
    for value in json_values(without_thoughts(text), found.broken):
        found.take(value)
    if not found.rows and not found.problems:
        found.problems.append(f"no JSON object in the answer: {_quoted(text) or '(empty)'}")
    return found.rows, found.problems


@dataclass
class _Found:
    columns: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, value: Any) -> None:
        """Rows from one JSON value; a list without any object (a footnote, `[1]`) is text, not rows."""
        if isinstance(value, dict):
            inner = self._wrapped(value)
            self._take_object(value) if inner is None else self.take(inner)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for item in value:
                self._take_object(item)

    def broken(self, reason: str, piece: str) -> None:
        self.problems.append(f"{reason}: {_quoted(piece)}" if piece else reason)

    def _wrapped(self, value: Row) -> list[Any] | None:
        """The rows in `{"rows": […]}`, whatever the key."""
        lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
        return lists[0] if len(lists) == 1 and not set(value) & set(self.columns) else None

    def _take_object(self, item: Any) -> None:
        problem = _row_problem(item, self.columns)
        if problem:
            self.problems.append(f"{problem}: {_quoted(_shown(item))}")
        else:
            self.rows.append({column: item[column] for column in self.columns})


def _row_problem(item: Any, columns: Sequence[str]) -> str:
    if not isinstance(item, dict):
        return f"a row must be an object, not {type(item).__name__}"
    for column in columns:
        if item.get(column) is None:
            state = "is null" if column in item else "is missing"
            near = did_you_mean(column, set(item) - set(columns), cut=False)
            return f'column "{column}" {state}. {near}'.rstrip(" .")
    return "" if _encodable([item[column] for column in columns]) else "not valid Unicode (a lone surrogate)"


def _encodable(value: Any) -> bool:
    try:
        _shown(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    """The start of a dropped piece, safe to show and to store."""
    return one_line(text[:1_000].encode("utf-8", "backslashreplace").decode(), 80)
