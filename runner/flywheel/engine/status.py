"""The state of a project, from the newest run's events and the store (or its snapshot while a run holds it)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flywheel.engine.history import open_store_or_copy
from flywheel.engine.lookback import last_events
from flywheel.errors import StoreError, StoreLocked
from flywheel.records.live import live_tests
from flywheel.records.nodes import finished, held_back


def status(state: Path) -> dict[str, Any]:
    """`run`: the newest run as its events tell; `decisions`, `approvals` and `deployments` as the store has them, or
    where a run holds it its copy of the last apply that ended (`as_of_last_apply`); `lessons`: all that were
    accepted, each step as it was last done, and what all calls cost; `held_back`: iteration → why what it promoted is
    not deployed."""
    held = False
    found: dict[str, Any] = {"decisions": [], "approvals": [], "deployments": [], "canary": ""}
    found["held_back"] = {}
    found["lessons"] = {"accepted": 0, "usd": 0.0}
    try:
        with open_store_or_copy(state) as (query, held):
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
            found["held_back"] = held_back(query)
            # A step that an edited spec did again judged the same lessons once more.
            last = {record.name: record.node for record in finished(query, verb="verify")}
            [found["lessons"]] = query(
                "SELECT (SELECT count(*) FROM judged WHERE outcome = 'pass' AND list_contains(?, node)) AS accepted, "
                "(SELECT coalesce(round(sum(usd), 9), 0) FROM calls) AS usd",
                [list(last.values())],
            )
        found["canary"] = _last_canary(state / "canary")
    except StoreLocked:  # the first run has begun, and there is no copy yet
        held = True
    except StoreError as error:
        found["store"] = str(error)
    return {"run": _run(last_events(state), held), "as_of_last_apply": held, **found}


def _last_canary(folder: Path) -> str:
    """How the last trial of a promotion ended; nothing where none did."""
    tests = live_tests(folder)
    return f"{tests[-1].model_id} {tests[-1].verdict}: {tests[-1].words}" if tests else ""


def _run(events: list[dict[str, Any]], held: bool) -> dict[str, Any] | None:
    """`status` as the run ended; else `running`, or `killed` where no process holds the store."""
    if not events:
        return None
    running: dict[str, dict[str, Any]] = {}
    done = 0
    for event in events:
        if event["event"] == "node_started":
            running[event["node"]] = {}
        elif event["event"] == "progress":
            running[event["node"]] = {k: event.get(k) for k in ("done", "total", "what", "suite", "loss")}
        elif event["event"] in ("node_done", "node_failed"):
            running.pop(event["node"], None)
            done += event["event"] == "node_done"
    ended = events[-1] if events[-1]["event"] == "run_ended" else None
    nodes = events[0].get("nodes", ())
    return {
        "run_id": events[0].get("run_id"),
        "status": ended["status"] if ended else "running" if held else "killed",
        "seconds": round((time.time() if held and not ended else events[-1]["at"]) - events[0]["at"], 1),
        "steps": sum(status != "reused" for *_, status in nodes),
        "steps_done": done,
        "running": {} if ended or not held else running,
        "last_event_at": events[-1]["at"],
        "error": ended["error"] if ended else "",
    }
