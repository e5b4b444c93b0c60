"""Colour where there is a terminal that takes it. What is said is the same without."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

#: Pattern of what is styled → style, as rich has them.
Styles = Mapping[str, str]

PLAN: Styles = {
    r"(?m)^iteration \d+": "bold",
    r"(?m)^  \+ .{28} new": "green",
    r"(?m)^  ~ .{28} changed": "yellow",
    r"(?m)^  ! .{28} blocked": "red",
    r"(?m)^  = .*$": "dim",
}
FAULTS: Styles = {
    r"(?m)^\S+:\d+(:\d+)?:": "bold",
    r"(?m)^warning:": "yellow",
    r"(?m)^ +\^$": "red",
    r": valid$": "green",
}


def say(text: str, styles: Styles, stream: TextIO | None = None) -> None:
    """Prints `text`; on a terminal with colours, unless NO_COLOR is set or TERM is dumb."""
    stream = stream or sys.stdout
    if not stream.isatty():
        print(text, file=stream)
        return
    from rich.console import Console
    from rich.text import Text

    shown = Text(text)
    for pattern, style in styles.items():
        shown.highlight_regex(pattern, style)
    Console(file=stream).print(shown, soft_wrap=True)
