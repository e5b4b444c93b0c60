"""The DAG by iteration, in as many lines as the window has: what runs is always in view, the rest folds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from flywheel.console.view import NodeView, RunView
from flywheel.plan.verbs import VERBS
from flywheel.text import duration, one_line, plural, usd

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_GLYPHS = {
    "done": ("✓", "green"), "reused": ("=", "dim"), "running": ("▸", "cyan"), "failed": ("✗", "red"),
    "blocked": ("■", "yellow"),
}  # fmt: skip
_AHEAD = ("·", "dim")
#: Windows of fewer columns have no room for a bar beside the figures.
WIDE = 100


class Picture:
    """Drawn anew whenever rich asks for it, so that its times go on. Once the run has ended nothing is folded or cut,
    lines wrap, and what is to come is left to the next run."""

    def __init__(self, view: RunView) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.view.has_ended:
            yield from lines(self.view, time.time(), options.max_width)
            return
        for line in lines(self.view, time.time(), options.max_width, console.height - 1):
            line.truncate(options.max_width, overflow="ellipsis")
            yield line


def lines(view: RunView, now: float, width: int, height: int | None = None) -> list[Text]:
    """A headline, then finished iterations, the steps of those that run, teachers that are asked, and what is to come.

    With `height` no more lines than that: what runs stays, and of the rest the newest that is finished.
    """
    groups = [_head(view, now), *_groups(view, now, width)]
    room = None if height is None else height - sum(len(group.lines) for group in groups if group.stays)
    shown = zip(groups, _shares(groups, room), strict=True)
    return [line for group, share in shown for line in group.shown(share)][:height]


class _Group:
    """Lines that stay, or that fold into one where there is no room: the last of them stay longest, or the first."""

    def __init__(self, lines: Sequence[Text], folded: str = "", glyph: tuple[str, str] = _AHEAD, last: bool = True):
        self.lines, self.stays = list(lines), not folded
        self.keeps_last, self._folded, self._glyph = last, folded, glyph

    def shown(self, share: int) -> list[Text]:
        if self.stays or share >= len(self.lines):
            return self.lines
        if not share:
            return []
        kept = self.lines[len(self.lines) - share + 1 :] if self.keeps_last else self.lines[: share - 1]
        fold = _line(self._glyph, "", f"{len(self.lines) - len(kept)} {self._folded}")
        return [fold, *kept] if self.keeps_last else [*kept, fold]


def _shares(groups: Sequence[_Group], room: int | None) -> list[int]:
    """Lines for each group: one for every group that folds; what is left goes to what is finished, the latest first,
    and then to what is to come."""
    if room is None:
        return [len(group.lines) for group in groups]
    folding = [i for i, group in enumerate(groups) if not group.stays and group.lines]
    shares = [0] * len(groups)
    for i in folding[: max(0, room)]:
        shares[i] = 1
    spare = max(0, room - len(folding))
    for i in sorted(folding, key=lambda i: (not groups[i].keeps_last, -i)):
        more = min(len(groups[i].lines) - 1, spare)
        shares[i] += more
        spare -= more
    return shares


def _head(view: RunView, now: float) -> _Group:
    cost = f" · {usd(view.usd)}" if view.usd else ""
    said = f"{view.name or 'preparing'} · {duration(now - view.began)} · {plural(view.calls, 'teacher call')}{cost}"
    return _Group([Text(said, style="bold")])


def _groups(view: RunView, now: float, width: int) -> list[_Group]:
    closed, begun, ahead = list[Text](), list[_Group](), list[Text]()
    for number in sorted({node.iteration for node in view.nodes.values()}):
        nodes = {name: node for name, node in view.nodes.items() if node.iteration == number}
        title = f"iteration {number}"
        if all(node.is_over for node in nodes.values()):
            closed.append(_line(_GLYPHS["done"], title, _closing(nodes), style="bold"))
        elif any(node.state in ("done", "running", "failed") for node in nodes.values()):
            steps = _steps(nodes, now, width)
            begun += [_Group([_line((" ", ""), title, style="bold")]), *(steps[:-1] if view.has_ended else steps)]
        else:
            ahead.append(_line(_AHEAD, title, plural(len(nodes), "step"), style="dim"))
    asked = [_line(_GLYPHS["running"], f"ask {name}", words) for name, words in view.asking.items()]
    return [
        _Group(closed, "finished iterations", _GLYPHS["done"]),
        *begun,
        _Group(asked),
        _Group([] if view.has_ended else ahead, "iterations to come", last=False),
    ]


def _steps(nodes: dict[str, NodeView], now: float, width: int) -> list[_Group]:
    """An iteration's steps: finished, running or failed, to come."""
    name_width = max(len(_short(name)) for name in nodes)

    def drawn(*states: str) -> list[Text]:
        return [
            _line(_GLYPHS.get(node.state, _AHEAD), _short(name).ljust(name_width), _said(node, now, width))
            for name, node in nodes.items()
            if node.state in states and not node.had_nothing_to_do
        ]

    return [
        _Group(drawn("done", "reused"), "finished steps", _GLYPHS["done"]),
        _Group(drawn("failed", "running")),
        _Group(drawn("new", "changed", "blocked"), "steps to come", last=False),
    ]


def _short(name: str) -> str:
    return name.partition(".")[2]


def _line(glyph: tuple[str, str], name: str, words: str = "", style: str = "") -> Text:
    said = Text.assemble(glyph, " ", (name, style), "  " if name and words else "")
    return said.append(words, style="dim" if glyph in (_AHEAD, _GLYPHS["reused"]) else "")


def _closing(nodes: dict[str, NodeView]) -> str:
    words = [node.words for node in nodes.values() if VERBS[node.kind].tells_outcome]
    return " · ".join(one_line(word, 600) for word in words if word) or "reused"


def _said(node: NodeView, now: float, width: int) -> str:
    if node.state == "running":
        return _bar(node, width) + node.in_words(now)
    if node.state == "done":
        return f"{duration(node.seconds)}  {one_line(node.words, 400)}"
    return one_line(node.words, 400)


def _bar(node: NodeView, width: int) -> str:
    if not node.total or width < WIDE:
        return ""
    filled = round(16 * node.done / node.total)
    return f"{'━' * filled}{'╌' * (16 - filled)}  "
