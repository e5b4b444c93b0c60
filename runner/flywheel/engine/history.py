"""Looking back: the store's facts as the plan and the commands want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.errors import StoreLocked, UsageError
from flywheel.plan.compiler import Done
from flywheel.plan.estimates import History, TeacherHistory

Lookup = Callable[..., list[dict[str, Any]]]


@contextmanager
def open_lookup(state: Path) -> Iterator[Lookup]:
    """A read-only `query(sql, parameters)` over the store, or over the snapshot while an apply holds it.

    Raises StoreError where there is no store yet.
    """
    from flywheel.store import read_only
    from flywheel.store.database import rows_of

    try:
        opened = read_only(state / "flywheel.duckdb")
        connection = opened.__enter__()
    except StoreLocked:
        if not (state / "snapshot.duckdb").exists():
            raise
        opened = read_only(state / "snapshot.duckdb")
        connection = opened.__enter__()
    try:

        def query(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
            return rows_of(connection, sql, parameters)

        yield query
    finally:
        opened.__exit__(None, None, None)


def asked(query: Lookup, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
    """Rows of a person's query. Raises UsageError where it cannot run."""
    import duckdb

    try:
        return query(sql, parameters)
    except duckdb.Error as error:
        raise UsageError(f'{error}\nThe tables: flywheel query "SHOW TABLES"') from error


def done_nodes(query: Lookup, root: Path) -> dict[str, Done]:
    """Finished nodes by fingerprint, oldest first; one whose files were deleted since is not finished."""
    rows = query("SELECT node, name, inputs FROM nodes WHERE status = 'done' ORDER BY started_at, node")
    lost = _without_files(query, root)
    return {row["node"]: Done(row["node"], row["name"], row["inputs"] or {}) for row in rows if row["node"] not in lost}


def _without_files(query: Lookup, root: Path) -> set[str]:
    """Train and report nodes whose artifact is gone, and deploy nodes where nothing is deployed any more."""
    adapters = query("SELECT node, path || '/adapter_model.safetensors' AS path FROM adapters")
    reports = query(
        """SELECT node, unnest([summary->>'$.path', (summary->>'$.artifact') || '/report.json']) AS path
           FROM nodes WHERE kind = 'report' AND status = 'done'"""
    )
    deployed = query(
        "SELECT node, summary->>'$.path' AS path FROM nodes WHERE kind = 'deploy' AND summary->>'$.deployed' = 'true'"
    )
    return {row["node"] for row in [*adapters, *reports, *deployed] if not (root / row["path"]).exists()}


def measured(query: Lookup) -> History:
    """Seconds, acceptance and call sizes from what was done before."""
    seconds = query("SELECT kind, name, avg(seconds) AS seconds FROM nodes WHERE status = 'done' GROUP BY kind, name")
    accepted = query(
        """SELECT c.generator, count(*) FILTER (j.outcome = 'pass') / count(*) AS share
           FROM candidates c LEFT JOIN judged j USING (candidate_id) GROUP BY c.generator"""
    )
    calls = query(
        """SELECT teacher, count(*) AS calls, avg(input_tokens) AS input, avg(output_tokens) AS output, avg(usd) AS usd,
               avg(seconds) AS seconds FROM calls WHERE status = 'ok' GROUP BY teacher"""
    )
    return History(
        seconds=_by_subject(seconds),
        acceptance={row["generator"]: row["share"] for row in accepted},
        teachers={
            row["teacher"]: TeacherHistory(row["calls"], row["input"], row["output"], row["usd"], row["seconds"])
            for row in calls
        },
    )


def _by_subject(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Means over iterations and rounds: `i2.generate.targeted.r1` counts for (generate, targeted)."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        parts = row["name"].split(".")[2:]
        subject = parts[0] if parts else ""
        found.setdefault((row["kind"], subject), []).append(row["seconds"])
    return {key: sum(values) / len(values) for key, values in found.items()}
