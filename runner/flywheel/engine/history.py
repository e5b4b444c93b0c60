"""Looking back: the store's facts as the plan and the commands want them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import StoreLocked, UsageError
from flywheel.records.nodes import NodeRecord, Query, finished

if TYPE_CHECKING:
    from flywheel.plan.compiler import Done
    from flywheel.plan.estimates import History, Seconds


@contextmanager
def open_lookup(state: Path) -> Iterator[Query]:
    """A read-only `query(sql, parameters)` over the store, or over the snapshot while an apply holds it.

    Raises StoreError where there is no store yet.
    """
    with open_store_or_copy(state) as (query, _):
        yield query


@contextmanager
def open_store_or_copy(state: Path) -> Iterator[tuple[Query, bool]]:
    """The same, and whether it is the snapshot, another process writing to the store now.

    Raises StoreLocked where there is no snapshot yet.
    """
    from flywheel.store import read_only
    from flywheel.store.database import rows_of

    try:
        opened, held = read_only(state / "flywheel.duckdb"), False
        connection = opened.__enter__()
    except StoreLocked:
        if not (state / "snapshot.duckdb").exists():
            raise
        opened, held = read_only(state / "snapshot.duckdb"), True
        connection = opened.__enter__()
    try:

        def query(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
            return rows_of(connection, sql, parameters)

        yield query, held
    finally:
        opened.__exit__(None, None, None)


def asked(query: Query, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
    """Rows of a person's query. Raises UsageError where it cannot run."""
    import duckdb

    try:
        return query(sql, parameters)
    except duckdb.Error as error:
        raise UsageError(f'{error}\nThe tables: flywheel query "SHOW TABLES"') from error


def done_nodes(query: Query, root: Path) -> dict[str, Done]:
    """Finished nodes by fingerprint, oldest first; one whose files were deleted since is not finished."""
    from flywheel.plan.compiler import Done  # `status` and `show` look into the store and need no plan

    records = finished(query)
    lost = _without_files(query, records, root)
    return {record.node: Done(record.node, record.name, record.inputs) for record in records if record.node not in lost}


def _without_files(query: Query, records: Sequence[NodeRecord], root: Path) -> set[str]:
    """Train and report nodes whose artifact is gone, and deploy nodes where nothing is deployed any more
    or was undone."""
    adapters = query("SELECT node, path FROM adapters")
    files = [(row["node"], f"{row['path']}/adapter_model.safetensors") for row in adapters]
    undone = set[str]()
    for record in records:
        said = record.summary
        if "artifact" in said:  # a report
            files += [(record.node, said["path"]), (record.node, f"{said['artifact']}/report.json")]
        elif said.get("deployed"):
            files.append((record.node, said["path"]))
        elif said.get("undone"):  # its target did not serve the model: to be tried again
            undone.add(record.node)
    return undone | {node for node, file in files if not (root / file).exists()}


def measured(query: Query) -> History:
    """Seconds, acceptance and call sizes from what was done before."""
    from flywheel.plan.estimates import CallSize, History

    accepted = query(
        """SELECT c.generator, count(*) FILTER (j.outcome = 'pass') / count(*) AS share
           FROM candidates c LEFT JOIN judged j USING (candidate_id) GROUP BY c.generator"""
    )
    calls = query(
        """SELECT teacher, CASE WHEN purpose = 'judge' THEN 'judge'
                   WHEN key IN (SELECT call_key FROM candidates) THEN 'writer' ELSE 'opinion' END AS role,
               avg(input_tokens) AS input, avg(output_tokens) AS output, avg(usd) AS usd
           FROM calls WHERE status = 'ok' GROUP BY ALL"""
    )
    return History(
        seconds=_by_subject(finished(query)),
        acceptance={row["generator"]: row["share"] for row in accepted},
        calls={(row["teacher"], row["role"]): CallSize(row["input"], row["output"], row["usd"]) for row in calls},
    )


def _by_subject(records: Sequence[NodeRecord]) -> dict[tuple[str, str], Seconds]:
    """Least and most over iterations and rounds: `i2.generate.targeted.r1` counts for (generate, targeted)."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        found.setdefault((record.verb, record.subject), []).append(record.seconds)
    return {key: (min(values), max(values)) for key, values in found.items()}
