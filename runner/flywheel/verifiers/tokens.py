"""The words and signs of an SQL text, with strings, quoted names and comments whole. Joined they are the text again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<string>'(?:[^']|'')*(?:'|\Z))"
    r'|(?P<name>"(?:[^"]|"")*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)|\[[^\]]*(?:\]|\Z))'
    r"|(?P<space>\s+)"
    r"|(?P<word>[^\W\d][\w$]*)"
    r"|(?P<number>\.?\d[\w.]*)"
    r"|(?P<sign>.)",
    re.DOTALL,
)


class SqlToken(NamedTuple):
    kind: Literal["comment", "string", "name", "space", "word", "number", "sign"]
    text: str


def tokens(sql: str) -> Iterator[SqlToken]:
    for found in _TOKEN.finditer(sql):
        yield SqlToken(found.lastgroup, found[0])  # type: ignore[arg-type]


def first_word(sql: str) -> str:
    """The word that the text begins with, in capitals; empty where there is none."""
    for token in tokens(sql):
        if token.kind == "word":
            return token.text.upper()
        if token.kind not in ("space", "comment"):
            return token.text if token.text == "(" else ""
    return ""


def is_ordered(sql: str) -> bool:
    """Whether the text has an ORDER BY outside all parentheses."""
    depth, last = 0, ""
    for token in tokens(sql):
        if token.kind in ("space", "comment"):
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        word = token.text.upper() if token.kind == "word" else ""
        if depth == 0 and last == "ORDER" and word == "BY":
            return True
        last = word
    return False
