"""Blocks in what a model wrote: between fences of back-ticks or tildes, three or more, or indented by four.

Also as models mean them: fences that are never closed, or closed at a line's end, or opened where one is open already;
and a closing fence whose opening one stood in the prompt.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """Lines between fences, or indented ones. `info`: the language that it is marked with, in lower case."""

    body: str
    info: str = ""
    shows: bool = False
    """The line before it says that it shows what comes out, or how it is used."""
    closed: bool = True


_OPENING = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*+>]|\d+[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)")
_CLOSING = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*")
#: In a short line before a block: it is what comes out, or how the solution is used.
_SHOWS = re.compile(
    r"\b(?:outputs?|prints?|printed|results?|stdout|console|usage|use it|examples?|tests?)\b", re.IGNORECASE
)
_WORDS_BEFORE = 8
_MARKDOWN = ("markdown", "md")


def has_fences(text: str) -> bool:
    return "```" in text or "~~~" in text


def blocks_in(text: str) -> list[Block]:
    """What stands between fences as Markdown has them or, where that leaves one open, as models mean them."""
    if not has_fences(text):
        return []
    lines = lines_of(text)
    found = list(fenced(lines, strict=True))
    if found and not found[-1].closed:
        found = list(fenced(lines, strict=False)) or found
    return [inner for block in found for inner in _inside(block) if inner.body.strip()]


def lines_of(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _inside(block: Block) -> list[Block]:
    """The block, or the blocks in it: Markdown in a longer fence, or a fence in a fence that says nothing itself."""
    body = block.body.strip()
    wraps = block.info in _MARKDOWN or (
        not block.info and re.match(r"`{3,}|~{3,}", body) and body[-3:] in ("```", "~~~")
    )
    return (blocks_in(body) or [block]) if wraps else [block]


def fenced(lines: Sequence[str], strict: bool) -> Iterator[Block]:
    """Not strict: a fence with a language opens a block where one is open; a fence may close at the end of a line."""
    opening: re.Match[str] | None = None
    body: list[str] = []
    outside: list[str] = []
    before = ""
    for line in lines:
        if opening is None:
            opening, body, before = _OPENING.fullmatch(line), [], _last_line(outside)
            if opening is None:
                outside.append(line)
        elif _closes(line, opening, strict):
            yield _block(body, opening, before)
            opening, outside = None, []
        elif not strict and (again := _OPENING.fullmatch(line)) and again["info"].strip():
            if opening["info"].strip().lower() not in _MARKDOWN:
                yield _block(_before_words(body), opening, before, closed=False)
            opening, body, before = again, [], _last_line(body)
        elif not strict and line.rstrip().endswith(opening["fence"]):
            yield _block([*body, line.rstrip().rstrip(opening["fence"][0])], opening, before)
            opening, outside = None, []
        else:
            body.append(line)
    if opening is not None:
        yield from _unclosed(outside, body, opening, before)


def _before_words(body: Sequence[str]) -> Sequence[str]:
    """What was written before the words that lead to the next block ("Usage:")."""
    kept = "\n".join(body).rstrip().split("\n")
    return kept[:-1] if kept[-1].rstrip().endswith(":") and not kept[-1][:1].isspace() else body


def _unclosed(outside: Sequence[str], body: list[str], opening: re.Match[str], before: str) -> Iterator[Block]:
    """A bare fence that is never closed may close what the prompt opened: then the answer stands before it."""
    said = "\n".join(outside)
    if said.strip() and not opening["info"].strip() and not said.rstrip().endswith(":"):
        yield Block(said, closed=False)
    if any(line.strip() for line in body):
        yield _block(body, opening, before, closed=False)


def _closes(line: str, opening: re.Match[str], strict: bool) -> bool:
    closing = _CLOSING.fullmatch(line)
    if closing is None or not closing["fence"].startswith(opening["fence"]):
        return False
    return not strict or len(closing["indent"].expandtabs(4)) <= len(opening["indent"].expandtabs(4)) + 3


def _block(body: Sequence[str], opening: re.Match[str], before: str, closed: bool = True) -> Block:
    width = len(opening["indent"])
    lines = [line[min(width, len(line) - len(line.lstrip())) :] for line in body]
    info = opening["info"].strip().lower().lstrip("{.").partition(" ")[0].rstrip("}")
    return Block("\n".join(lines), info, _says_it_shows(before), closed)


def _says_it_shows(line: str) -> bool:
    return len(line.split()) <= _WORDS_BEFORE and _SHOWS.search(line) is not None


def _last_line(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def indented(lines: Sequence[str]) -> list[Block]:
    """Runs of lines that are indented by four, after an empty line, in text that is not."""
    if all(line[:1].isspace() for line in lines if line.strip()):
        return []
    found: list[Block] = []
    run: list[str] = []
    for place, line in enumerate([*lines, "."]):
        blank = not line.strip()
        if line.startswith(("    ", "\t")) and (run or place == 0 or not lines[place - 1].strip()):
            run.append(line)
        elif blank and run:
            run.append("")
        elif run:
            start = place - len(run)
            before = _last_line(lines[max(start - 10, 0) : start])
            found.append(Block(textwrap.dedent("\n".join(run)).strip("\n"), "", _says_it_shows(before)))
            run = []
    return found


def only_block(text: str) -> str:
    """The content of the one fence that holds all of the text; else the text."""
    lines = text.split("\n")
    if not _OPENING.fullmatch(lines[0]) or not text.rstrip().endswith(("```", "~~~")):
        return span(text)
    found = list(fenced(lines, strict=True))
    return found[0].body.strip() if len(found) == 1 and found[0].closed else text


def span(text: str, words: str = "") -> str:
    """`text` without the back-ticks around all of it; `words`: a pattern of what may name a language behind three."""
    ticks = len(text) - len(text.lstrip("`"))
    inner = text[ticks:-ticks] if ticks else ""
    if not inner.strip() or "`" * ticks in inner or not text.endswith("`" * ticks):
        return text
    named = words and ticks >= 3
    return re.sub(rf"\A(?:{words})\s+", "", inner.strip(), flags=re.IGNORECASE) if named else inner.strip()


#: Marks of blocks that show something: what was typed, what came out.
SHOWN = frozenset(
    [
        "output",
        "out",
        "console",
        "shell",
        "bash",
        "sh",
        "zsh",
        "text",
        "txt",
        "plaintext",
        "stdout",
        "log",
        "diff",
        "csv",
    ]
)


def last(blocks: Sequence[Block], *tests: Callable[[Block], bool]) -> str:
    """The last block that passes the first test that any passes; else the last that shows no output; else the last."""
    for test in (*tests, _is_not_shown):
        for block in reversed(blocks):
            if test(block):
                return block.body
    return blocks[-1].body


def _is_not_shown(block: Block) -> bool:
    return not is_shown(block)


def is_shown(block: Block) -> bool:
    return block.shows or block.info in SHOWN
