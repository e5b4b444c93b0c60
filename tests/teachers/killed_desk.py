"""A process that asks, to be killed: `main(folder, url, calls, in flight, dollars)`; exit 5 at the limit."""

from __future__ import annotations

import sys
from pathlib import Path

from desks import chat_desk, request

from flywheel.errors import BudgetStop


def main(folder: str, url: str, calls: str, in_flight: str, max_usd: str) -> None:
    teacher = {"concurrency": int(in_flight), "max_usd": float(max_usd), "timeout_seconds": 30.0}
    with chat_desk(Path(folder), url, teacher) as desk:
        try:
            replies = desk.ask([request(i) for i in range(int(calls))])
        except BudgetStop as stop:
            sys.exit(stop.exit_code)
    assert all(reply.status == "ok" for reply in replies)
