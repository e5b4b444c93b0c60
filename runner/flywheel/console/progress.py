"""A run as it happens: a live picture in a terminal, a line an event elsewhere, JSON lines for programs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flywheel.console.view import RunView
from flywheel.json_text import as_json
from flywheel.text import duration, one_line, plural

Event = dict[str, Any]
Listener = Callable[[Event], None]

#: Seconds without a line after which plain output says what runs.
QUIET_SECONDS = 9.0


@contextmanager
def listener(as_json: bool) -> Iterator[Listener]:
    """The right way to show events here: JSON lines, live, or plain lines."""
    if as_json:
        yield _print_json
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        with _live() as show:
            yield show
    else:
        lines = PlainLines()
        with _every_second(lines.beat):
            yield lines


def _print_json(event: Event) -> None:
    print(as_json(event), flush=True)


@contextmanager
def _every_second(beat: Callable[[], None]) -> Iterator[None]:
    """Calls `beat` from a thread of its own, whatever the others wait for."""
    ended = threading.Event()

    def beats() -> None:
        while not ended.wait(1.0):
            beat()

    thread = threading.Thread(target=beats, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class PlainLines:
    """A line when a node ends, and one for each that runs where nothing was said for a while; for CI and files.

    `clock` gives seconds as `time.time` does.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.view = RunView()
        self._clock = clock
        self._said_at = clock()
        self._odd_bills: set[str] = set()
        self._mutex = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._mutex:
            self.view.take(event)
            self._tell(event)

    def beat(self) -> None:
        """Says what runs, where nothing was said for `QUIET_SECONDS`."""
        with self._mutex:
            now = self._clock()
            if now - self._said_at < QUIET_SECONDS:
                return
            running = {name: node.in_words(now) for name, node in self.view.running.items()}
            for name, words in (running | self.view.asking or {"preparing": ""}).items():
                self._say(name, "…", words)

    def _tell(self, event: Event) -> None:
        match event["event"]:
            case "run_started":
                waiting = sum(node.state != "reused" for node in self.view.nodes.values())
                self._print(f"{self.view.name}: {plural(waiting, 'node')} to run (run {event['run_id']})")
            case "node_done":
                node = self.view.nodes[event["node"]]
                if not node.had_nothing_to_do:
                    self._say(event["node"], duration(event["seconds"]), one_line(node.words, 400))
            case "node_failed":
                self._say(event["node"], "FAILED", event["error"])
            case "store_recovered":
                self._print(recovered(event))
            case "note":
                self._print(event["detail"])
            case "budget_stop":
                self._say(event["node"], "STOPPED", event["error"])
            case "bill" if event["teacher"] not in self._odd_bills:  # the first of a teacher; events have them all
                self._odd_bills.add(event["teacher"])
                self._say(event["teacher"], "BILL", one_line(event["detail"], 200))

    def _say(self, who: str, what: str, words: str) -> None:
        self._print(f"{who:<28} {what:>9}  {words}".rstrip())

    def _print(self, line: str) -> None:
        self._said_at = self._clock()
        print(line, flush=True)


def recovered(event: Event) -> str:
    return f"the store's log could not be read and was moved to {event['moved']}; what it held is done again"


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live

    from flywheel.console.picture import Picture

    view = RunView()
    with Live(Picture(view), console=Console(), refresh_per_second=4) as live:

        def show(event: Event) -> None:
            if event["event"] == "store_recovered":
                live.console.print(recovered(event), markup=False)
            if event["event"] == "note":
                live.console.print(event["detail"], markup=False)
            view.take(event)

        yield show
