"""The one answer in what a model wrote, in a task's language."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Literal

from flywheel.answers.blocks import (
    SHOWN,
    Block,
    blocks_in,
    has_fences,
    indented,
    is_shown,
    last,
    lines_of,
    only_block,
    span,
)
from flywheel.answers.python import python_in
from flywheel.answers.thoughts import without_thoughts, without_wrapping

Language = Literal["text", "label", "python", "sql", "json", "math"]


def extract_answer(text: str, language: Language = "text", names: Collection[str] = ()) -> str:
    """The one answer in `text`, in the task's language. Never raises.

    `names`: what a Python answer defines (its entry point), where that is known. Of several blocks that could be the
    answer the last counts. Python keeps the indentation of its first line; all else is stripped.
    """
    bare = without_wrapping(without_thoughts(text.removeprefix("\ufeff")))
    if language == "python":
        return python_in(bare, names)
    bare = bare.strip()
    if language == "math":  # a block is part of the working, unless it is all there is
        return only_block(bare)
    found = blocks_in(bare) if has_fences(bare) else _set_off(bare, language)
    if found:
        return _CHOICE[language](found).strip()
    return span(bare, _WORDS.get(language, ""))


#: What may name the language in back-ticks on one line.
_WORDS: dict[Language, str] = {"sql": "sql|sqlite|duckdb|postgresql|mysql", "json": "jsonc?", "label": "text"}


def _set_off(text: str, language: Language) -> list[Block]:
    """Indented blocks between words; none in a text that is an answer itself, which may be indented as it likes."""
    is_answer = {
        "sql": _begins(_QUERY, text) or _begins(_STATEMENT, text),
        "json": text.startswith(("{", "[")),
        "label": "\n" not in text,
    }
    return [] if is_answer.get(language, True) else indented(lines_of(text))


def _text(blocks: Sequence[Block]) -> str:
    return last(blocks, lambda block: not block.shows)


def _label(blocks: Sequence[Block]) -> str:
    """Where a fence is left open the label may stand before it or behind it: it is the shorter of the two."""
    return _text(blocks) if blocks[-1].closed else min((block.body for block in blocks), key=len)


_COMMENTS = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_QUERY = re.compile(r"(?:select|with|values|from|table|pivot|unpivot)\b", re.IGNORECASE)
_STATEMENT = re.compile(r"(?:explain|insert|update|delete|create|alter|drop|describe|show|pragma|set)\b", re.IGNORECASE)
_OTHER_THAN_SQL = SHOWN | {"python", "py", "python3", "json", "yaml", "java", "javascript", "js", "r", "markdown", "md"}


def _sql(blocks: Sequence[Block]) -> str:
    """A query before other statements (a schema, EXPLAIN), and a block that is marked as another language last."""

    return last(
        blocks,
        lambda block: _begins(_QUERY, block.body) and block.info not in _OTHER_THAN_SQL and not block.shows,
        lambda block: _begins(_QUERY, block.body),
        lambda block: _begins(_STATEMENT, block.body),
    )


def _begins(pattern: re.Pattern[str], text: str) -> bool:
    comments = _COMMENTS.match(text)
    return pattern.match(text, comments.end() if comments else 0) is not None


def _json(blocks: Sequence[Block]) -> str:
    """An object or a list before a single value, which may be what a program printed."""
    return last(
        blocks,
        lambda block: block.info.startswith("json") and _is_container(block.body),
        lambda block: _is_container(block.body) and not is_shown(block),
        lambda block: _is_container(block.body),
        lambda block: block.info.startswith("json"),
    )


def _is_container(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


_CHOICE: dict[Language, Callable[[Sequence[Block]], str]] = {
    "text": _text,
    "label": _label,
    "sql": _sql,
    "json": _json,
}
