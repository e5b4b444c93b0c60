"""The state of a project, from the newest run's events and the store (or its snapshot while a run holds it)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.engine.history import open_lookup
from flywheel.engine.lookback import last_events
from flywheel.errors import StoreError


def status(state: Path) -> dict[str, Any]:
    """`run`: the newest run as its events tell; `decisions`, `approvals` and `deployments` as the store has them."""
    events = last_events(state)
    found: dict[str, Any] = {"run": _run(events), "decisions": [], "approvals": [], "deployments": []}
    try:
        with open_lookup(state) as query:
            found["decisions"] = query(
                "SELECT iteration, outcome, candidate_id, explanation, decided_at FROM decisions ORDER BY decided_at"
            )
            found["approvals"] = query(
                "SELECT sequence, iteration, verdict, person, note, decision_hash, given_at FROM approvals "
                "ORDER BY sequence"
            )
            found["deployments"] = query(
                "SELECT sequence, action, iteration, model_id, deployed_at FROM deployments ORDER BY sequence"
            )
    except StoreError as error:
        found["store"] = str(error)
    return found


def _run(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not events:
        return None
    running: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "node_started":
            running[event["node"]] = {}
        elif event["event"] == "progress":
            running[event["node"]] = {k: event.get(k) for k in ("done", "total", "what")}
        elif event["event"] in ("node_done", "node_failed"):
            running.pop(event["node"], None)
    ended = events[-1] if events[-1]["event"] == "run_ended" else None
    return {
        "run_id": events[0].get("run_id"),
        "status": ended["status"] if ended else "running, or killed",
        "running": {} if ended else running,
        "last_event_at": events[-1]["at"],
        "error": ended["error"] if ended else "",
    }
