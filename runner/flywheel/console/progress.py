"""A run as it happens: a live picture in a terminal, a line an event elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flywheel.plan.verbs import VERBS
from flywheel.student.work import plain_merge_warning
from flywheel.text import duration, one_line, plural

Event = dict[str, Any]
Listener = Callable[[Event], None]


@contextmanager
def listener(as_json: bool) -> Iterator[Listener]:
    """The right way to show events here: JSON lines, live, or plain lines."""
    if as_json:
        yield _print_json
    elif sys.stdout.isatty():
        with _live() as show:
            yield show
    else:
        yield PlainLines()


def _print_json(event: Event) -> None:
    print(json.dumps(event, ensure_ascii=False, default=str), flush=True)


@dataclass
class NodeView:
    """What is known of one node."""

    kind: str
    iteration: int
    state: str
    done: int = 0
    total: int = 0
    what: str = ""
    started: float = 0.0
    seconds: float = 0.0
    words: str = ""

    def rate(self, now: float) -> str:
        elapsed = now - self.started
        return f"{self.done / elapsed:,.0f}/s" if self.done and elapsed > 0.5 else ""


@dataclass
class RunView:
    """The state of a run, fed by events."""

    name: str = ""
    nodes: dict[str, NodeView] = field(default_factory=dict)
    usd: float = 0.0
    calls: int = 0
    began: float = field(default_factory=time.time)

    def take(self, event: Event) -> None:
        kind = event["event"]
        if kind == "run_started":
            self.name = event["name"]
            self.nodes = {name: NodeView(k, n, state) for name, k, n, state in event["nodes"]}
        elif kind == "node_started":
            self._node(event, state="running", started=event["at"])
        elif kind == "progress":
            self._progress(event)
        elif kind == "node_done":
            self._node(
                event, state="done", seconds=event["seconds"], words=in_words(self.nodes[event["node"]].kind, event)
            )
            self.usd += event["summary"].get("usd") or 0.0
            self.calls += event["summary"].get("calls") or 0
        elif kind == "node_failed":
            self._node(event, state="failed", words=one_line(event["error"], 200))

    def _node(self, event: Event, **changes: Any) -> None:
        for key, value in changes.items():
            setattr(self.nodes[event["node"]], key, value)

    def _progress(self, event: Event) -> None:
        view = self.nodes[event["node"]]
        view.done, view.total = event.get("done") or 0, event.get("total") or 0
        view.what = event.get("suite") or event.get("what") or ""
        if "loss" in event:
            view.words = f"loss {event['loss']:.3f}"


def ablated(summary: Mapping[str, Any]) -> str:
    if not summary["measured"]:
        return f"not measured: {summary['why']}"
    low, high = (f"{100 * summary[edge]:+.1f}" for edge in ("low", "high"))
    return f"{summary['without']} brings {100 * summary['difference']:+.1f} points ({low} to {high})"


def in_words(kind: str, event: Event) -> str:
    """What a finished node found, in a few words."""
    summary, counts = event["summary"], event["counts"]
    match kind:
        case "probe":
            return f"{summary['right']}/{summary['rows']} right" + _notes(summary)
        case "diagnose":
            modes = ", ".join(f"{mode} {n}" for mode, n in list(summary["modes"].items())[:4])
            unknown = f" ({_undecided(summary['undecided'])})" if summary.get("undecided") else ""
            return f"{plural(summary['failures'], 'failure')}: {modes}{unknown}" if modes else "no failures"
        case "budget":
            return plural(sum(summary["lessons"].values()), "lesson") + " to buy"
        case "generate":
            failed = sum(summary["calls_failed"].values())
            broken = f", {failed} failed" if failed else ""
            return f"{plural(counts['kept'], 'candidate')} from {plural(summary['calls'], 'call')}{broken}" + _notes(
                summary
            )
        case "verify":
            unknown = f", {summary['unknown']} unknown" if summary["unknown"] else ""
            return f"{summary['passed']} pass, {summary['failed']} fail{unknown}"
        case "curate":
            dropped = sum(summary["dropped"].values())
            rows = sum(summary["origins"].values())
            return f"{summary['new']} new kept, {dropped} dropped; {plural(rows, 'training row')}" + _next(summary)
        case "train":
            if not summary["trained"]:
                return f"not trained: {summary['why']}"
            return f"{plural(summary['steps'], 'step')}, loss {summary['loss']:.3f}" + _notes(summary)
        case "ablate":
            return ablated(summary)
        case "evaluate":
            warning = plain_merge_warning(summary.get("effect") or {})
            return _scores(summary["scores"]) + (f"; {warning}" if warning else "")
        case "gate":
            return str(summary["explanation"])
        case "report":
            return str(summary["path"])
        case "deploy":
            return f"deployed {summary['model_id']}" if summary["deployed"] else f"kept: {summary['why']}"
    return ""


def _notes(summary: Mapping[str, Any]) -> str:
    return "".join(f"; {note}" for note in summary.get("notes", ()))


def _next(summary: Mapping[str, Any]) -> str:
    """Of the pairs next to the threshold of meaning the least alike, of those that agree in numbers and names."""
    near = [pair for pair in summary.get("alike", ()) if pair["agree"]]
    if not near:
        return ""
    pair = near[-1]
    one, other = (one_line(pair[side], 60) for side in ("one", "other"))
    return f"; least alike shown ({pair['similarity']:.3f}): “{one}” and “{other}”"


def _undecided(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Predicates that could not be computed for some failures; why, of the first."""
    counts = ", ".join(f"{where} of {said['rows']}" for where, said in list(found.items())[:3])
    return f"unknown: {counts}; {next(iter(found.values()))['why']}"


def _scores(scores: dict[str, float]) -> str:
    suites = dict.fromkeys(name.rsplit("/", 1)[0] for name in scores)
    parts = []
    for suite in suites:
        arms = [scores.get(f"{suite}/{arm}") for arm in ("incumbent", "candidate")]
        parts.append(f"{suite} " + " → ".join(f"{score:.1%}" for score in arms if score is not None))
    return ", ".join(parts)


class PlainLines:
    """A line when a node ends; for CI and files."""

    def __init__(self) -> None:
        self.view = RunView()
        self._odd_bills: set[str] = set()

    def __call__(self, event: Event) -> None:
        self.view.take(event)
        kind = event["event"]
        if kind == "run_started":
            waiting = sum(node.state != "reused" for node in self.view.nodes.values())
            print(f"{self.view.name}: {plural(waiting, 'node')} to run (run {event['run_id']})", flush=True)
        elif kind == "node_done" and not self._idle(event):
            node = self.view.nodes[event["node"]]
            print(f"{event['node']:<28} {duration(event['seconds']):>9}  {one_line(node.words, 400)}", flush=True)
        elif kind == "node_failed":
            print(f"{event['node']:<28} FAILED     {event['error']}", flush=True)
        elif kind == "store_recovered":
            print(f"the store's log could not be read and was moved to {event['moved']}; what it held is done again")
        elif kind == "budget_stop":
            print(f"{event['node']:<28} STOPPED    {event['error']}", flush=True)
        elif kind == "bill":
            self._bill(event)

    def _bill(self, event: Event) -> None:
        """The first of a teacher; all are in the run's events."""
        if event["teacher"] not in self._odd_bills:
            self._odd_bills.add(event["teacher"])
            print(f"{event['teacher']:<28} BILL       {one_line(event['detail'], 200)}", flush=True)

    def _idle(self, event: Event) -> bool:
        """A refill round with nothing to refill is not news."""
        return event["counts"]["rows_in"] == 0 and VERBS[self.view.nodes[event["node"]].kind].is_refilled


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    view = RunView()
    with Live(console=console, refresh_per_second=8, transient=False) as live:

        def show(event: Event) -> None:
            if event["event"] == "store_recovered":
                live.console.print(f"the store's log could not be read and was moved to {event['moved']}")
            view.take(event)
            live.update(picture(view))

        yield show


_GLYPHS = {
    "done": "[green]✓[/]",
    "reused": "[dim]=[/]",
    "running": "[cyan]▸[/]",
    "failed": "[red]✗[/]",
    "blocked": "[yellow]■[/]",
}


def picture(view: RunView) -> Any:
    """The DAG by iteration: finished iterations as one line, the current one node by node."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = time.time()
    cost = f" · ${view.usd:,.4f}" if view.usd else ""
    head = Text(
        f"{view.name} · {duration(now - view.began)} · {plural(view.calls, 'teacher call')}{cost}", style="bold"
    )
    table = Table.grid(padding=(0, 1))
    for iteration in sorted({node.iteration for node in view.nodes.values()}):
        nodes = {name: node for name, node in view.nodes.items() if node.iteration == iteration}
        if all(node.state in ("done", "reused") for node in nodes.values()):
            table.add_row("[green]✓[/]", f"[bold]iteration {iteration}[/]", "", _closing(nodes))
        elif any(node.state in ("done", "running", "failed") for node in nodes.values()):
            table.add_row("", f"[bold]iteration {iteration}[/]", "", "")
            for name, node in nodes.items():
                if not _quiet(node):
                    table.add_row(
                        _GLYPHS.get(node.state, "[dim]·[/]"), name.split(".", 1)[1], _bar(node), _said(node, now)
                    )
        else:
            table.add_row("[dim]·[/]", f"[dim]iteration {iteration}[/]", "", f"[dim]{plural(len(nodes), 'node')}[/]")
    return Group(head, table)


def _quiet(node: NodeView) -> bool:
    return node.state == "done" and VERBS[node.kind].is_refilled and node.words.startswith(("0 cand", "0 pass, 0 f"))


def _closing(nodes: dict[str, NodeView]) -> str:
    from rich.markup import escape

    words = [node.words for node in nodes.values() if VERBS[node.kind].tells_outcome]
    return escape(" · ".join(one_line(word, 110) for word in words if word)) or "[dim]reused[/]"


def _bar(node: NodeView) -> str:
    if node.state != "running" or not node.total:
        return ""
    filled = round(16 * node.done / node.total)
    return f"[cyan]{'━' * filled}[/][dim]{'━' * (16 - filled)}[/]"


def _said(node: NodeView, now: float) -> str:
    from rich.markup import escape

    if node.state == "running":
        counts = f"{node.done:,}/{node.total:,} {node.what}" if node.total else ""
        return escape("  ".join(p for p in (counts, node.rate(now), node.words, duration(now - node.started)) if p))
    if node.state == "done":
        return escape(f"{duration(node.seconds)}  {one_line(node.words, 130)}")
    return escape(one_line(node.words, 160)) if node.words else "[dim]waiting[/]"
