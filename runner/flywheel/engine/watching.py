"""`flywheel watch`: takes in what the server logged, and turns the wheel once more when enough came or it is time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flywheel.engine.apply import ApplyOutcome, apply, command_of
from flywheel.engine.events import Listener
from flywheel.engine.history import open_lookup
from flywheel.engine.ingest import ingest
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace, open_project
from flywheel.errors import UsageError
from flywheel.plan import Plan
from flywheel.records.nodes import Query
from flywheel.text import plural

#: Between two looks, in seconds.
LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class Patience:
    """When the wheel turns: after so many `new` exchanges and opinions, or so long `after` the last turn."""

    new: int | None = None
    after: timedelta | None = None

    def why(self, came: int, since: timedelta | None) -> str:
        """Why it is time, or nothing. `since`: the last turn; None where there was none."""
        if self.new is not None and came >= self.new:
            return f"{plural(came, 'exchange')} and opinions came in"
        if self.after is not None and (since is None or since >= self.after):
            return "it is time"
        return ""


def look(file: Path, patience: Patience, say: Callable[[str], None], listener: Listener) -> ApplyOutcome | None:
    """Take in the log of this project's server, and turn the wheel where it is time: how that ended, None where it was
    not time.

    Raises UsageError where nobody said when, or money could be spent without a limit, StoreLocked where somebody else
    is at work, SpecInvalid.
    """
    project = open_project(file)  # anew each time: the spec may be edited meanwhile
    if patience.new is None and patience.after is None:
        raise UsageError("say when the wheel turns: --new 200 (exchanges and opinions), --hours 24, or both.")
    for done in ingest(project, sorted((project.state / "served").glob("*.jsonl"))):
        if done.stored or done.opinions:
            say(f"{done.file}: {done.stored:,} exchanges and {done.opinions:,} opinions taken in.")
    with open_lookup(project.state) as query:
        since = _last_turn(query)
        came = _came_in(query, since)
    why = patience.why(came, None if since is None else datetime.now(UTC) - since)
    if not why:
        return None
    plan = next_turn(project)
    _refuse_unlimited(project, plan)
    say(f"{why}: iteration {plan.iterations}.")
    return apply(project, iterations=plan.iterations, listener=listener, command=command_of(plan.iterations))


def next_turn(project: Workspace) -> Plan:
    """Up to the first iteration that is not done: also one that was stopped, or that an edited spec makes anew."""
    plan = make_plan(project, 1)
    while not plan.pending:
        plan = make_plan(project, plan.iterations + 1)
    return plan


def _last_turn(query: Query) -> datetime | None:
    """When the last run began that came to an end, good or bad: one that failed or spent its limit is not tried again
    each minute."""
    ended = "ended_at IS NOT NULL AND status != 'interrupted'"
    found: datetime | None = query(f"SELECT max(started_at) AS at FROM runs WHERE {ended}")[0]["at"]
    return found


def _came_in(query: Query, since: datetime | None) -> int:
    """Exchanges that may be learned from, and opinions."""
    counted = [
        query(f"SELECT count(*) AS n FROM {table} WHERE {which} AND (? IS NULL OR ingested_at > ?)", [since, since])
        for table, which in (("traffic", "len(flags) = 0"), ("feedback", "true"))
    ]
    return sum(int(rows[0]["n"]) for rows in counted)


def _refuse_unlimited(project: Workspace, plan: Plan) -> None:
    if project.spec.loop.max_usd is None and any(node.estimate.usd for node in plan.pending):
        raise UsageError(
            "this turn costs money, and nobody is asked before it. Set loop.max_usd, the most that a turn may cost."
        )
