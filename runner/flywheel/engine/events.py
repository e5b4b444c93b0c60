"""What happens during a run, as dicts: to a file, and to whoever shows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from flywheel.json_text import as_json

Event = dict[str, Any]
Listener = Callable[[Event], None]

#: Seconds between two progress events of one node.
PROGRESS_EVERY = 0.2


class EventLog:
    """Writes every event to `events.jsonl` and hands it to the listener. Thread-safe."""

    def __init__(self, path: Path, listener: Listener) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._listener = listener
        self._mutex = threading.Lock()
        self._shown: dict[str, float] = {}

    def emit(self, event: str, **details: Any) -> None:
        record = {"event": event, "at": round(time.time(), 3), **details}
        with self._mutex:
            self._file.write(as_json(record) + "\n")
            self._file.flush()
            self._listener(record)

    def progress(self, node: str, **details: Any) -> None:
        """A node's progress, thinned to a few a second; the first and the last step always come through."""
        now = time.monotonic()
        is_edge = details.get("done") in (0, details.get("total"))
        if not is_edge and now - self._shown.get(node, 0.0) < PROGRESS_EVERY:
            return
        self._shown[node] = now
        self.emit("progress", node=node, **details)

    def close(self) -> None:
        with self._mutex:
            self._file.close()
