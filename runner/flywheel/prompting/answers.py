"""Raw text of a model → rows, or one answer. Nothing raises here: what cannot be used comes back as a
problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flywheel.records import Row
from flywheel.text import did_you_mean, one_line

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_OBJECT = re.compile(r"\{\s*[\"'}]")
_STARTS = re.compile(r"[\[{]")
_NEXT_LINE = re.compile(r"\n[ \t]*(?=\{)")
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_BRACE = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}]', re.DOTALL)

MAX_BROKEN = 50
"""Broken pieces after which the rest of an answer is given up: a text made of brackets costs quadratic time.
"""


MAX_ROW_CHARACTERS = 50_000
"""How far the end of a broken row is looked for."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def extract_answer(text: str) -> str:
    """The one answer in `text`: without thoughts, code fences (the last one counts) and blanks around it."""
    bare = _THOUGHT.sub("", text).strip()
    fenced = [match[1] for match in _FENCE.finditer(bare)]
    if fenced:
        return fenced[-1].strip()
    if len(bare) > 2 and bare.count("`") == 2 and bare[0] == bare[-1] == "`":
        return bare[1:-1].strip()
    return bare


def parse_rows(text: str, columns: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Rows with exactly `columns`, and one problem for each piece that was dropped.

    Reads a JSON array, JSON lines, objects in a code fence or with text around them, an object that wraps a
    list of rows, trailing commas; of a truncated answer the complete objects. Keys other than `columns` are
    left out. Never raises.
    """
    found = _Found(columns)
    for value in _values(_THOUGHT.sub("", text), found.problems):
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
            return f'column "{column}" {state}. {did_you_mean(column, set(item) - set(columns))}'.rstrip(" .")
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


def _values(text: str, problems: list[str]) -> Iterator[Any]:
    """Every JSON array or object in `text`, outermost first; broken ones become problems."""
    position = broken = 0
    while match := _STARTS.search(text, position):
        start = match.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            broken += 1
            if broken > MAX_BROKEN:
                problems.append(f"more than {MAX_BROKEN} broken pieces; dropped the rest from character {start}")
                return
            value, position = _repaired(text, start, problems)
        if value is not None:
            yield value


def _repaired(text: str, start: int, problems: list[str]) -> tuple[Any, int]:
    """(the object that starts here, or None; where to go on). An array goes on inside, object by object."""
    if not _OBJECT.match(text, start):
        return None, start + 1
    end = _closing(text, start)
    if end is None:
        # With JSON lines, one broken line does not take the rest along.
        following = _NEXT_LINE.search(text, start)
        end = following.end() if following else len(text)
        problems.append(f"cut off in the middle of a row: {_quoted(text[start:end])}")
        return None, end
    piece = text[start:end]
    try:
        return _DECODER.decode(_TRAILING_COMMA.sub(lambda m: m[1] or "", piece)), end
    except (ValueError, RecursionError) as error:
        reason = str(error).split(":")[0] if isinstance(error, ValueError) else "nested too deeply"
        problems.append(f"not valid JSON ({reason}): {_quoted(piece)}")
        return None, end


def _closing(text: str, start: int) -> int | None:
    """Where the object that opens at `start` closes, braces in strings aside; None past `MAX_ROW_CHARACTERS`."""
    depth = 0
    for match in _BRACE.finditer(text, start, start + MAX_ROW_CHARACTERS):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return None
