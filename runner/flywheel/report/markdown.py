"""Text and tables of markdown, whoever wrote what stands in them."""

from __future__ import annotations

from flywheel.report import words
from flywheel.text import one_line


def plain(text: str) -> str:
    """Text that markdown and HTML leave alone, on one line."""
    flat = one_line(words.shown(text), 400)
    for mark in "\\`*_{}[]()#+!|<>&~@":
        flat = flat.replace(mark, f"\\{mark}" if mark not in "<>&@" else f"&#{ord(mark)};")
    return flat


def table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
