"""Forgetting: an exchange goes from the store, is never taken in again, and what learned from it is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flywheel.engine.ingest import key_of, next_sequence, source_hash
from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.records.nodes import Query, finished
from flywheel.store import Store
from flywheel.store.traffic import remove_exchanges
from flywheel.traffic import Pseudonyms


@dataclass(frozen=True)
class Forgotten:
    """What was removed, and what is left that came from it."""

    source_id: str
    exchanges: int
    opinions: int
    lessons: tuple[str, ...]
    """Lessons that were made from a failure in it."""
    models: tuple[str, ...]
    """Adapters that were trained on those, `model (iteration n)`."""
    deployed: str = ""
    """The one of them that is deployed, if one is."""


def forget(project: Workspace, source_id: str) -> Forgotten:
    """Raises UsageError where nothing here has this id, StoreLocked where an apply runs."""
    if not project.store_path.exists():
        raise UsageError(f"{project.store_path}: no store yet, so nothing to forget.")
    known = Pseudonyms(project.spec.traffic.redact, key_of(project.state, keep=False)).text(source_id)
    with Store(project.store_path) as store:
        ids = [source_id, known]
        opinions = store.query("SELECT count(*) AS n FROM feedback WHERE list_contains(?, about)", [ids])[0]["n"]
        lessons, models, deployed = _learned(store.query, ids)
        with store.transaction() as transaction:
            exchanges = remove_exchanges(transaction, ids)
            if not exchanges and not opinions:
                raise UsageError(f'"{source_id}": no such exchange. {_nearest(store.query, source_id)}')
            now = datetime.now(UTC)
            transaction.insert("forgotten", [{"source_hash": source_hash(known), "forgotten_at": now}])
            removal = {"sequence": next_sequence(transaction), "action": "forget", "removed": exchanges, "done_at": now}
            transaction.insert("ingests", [removal])
        store.checkpoint()
        snapshot = project.state / "snapshot.duckdb"
        if snapshot.exists():
            store.snapshot(snapshot)
    return Forgotten(source_id, exchanges, int(opinions), lessons, models, deployed)


def _nearest(query: Query, source_id: str) -> str:
    rows = query("SELECT source_id FROM traffic ORDER BY levenshtein(source_id, ?) LIMIT 1", [source_id[:200]])
    return f'The nearest is "{rows[0]["source_id"]}".' if rows else "No traffic was taken in yet: flywheel ingest FILE."


def _learned(query: Query, ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(lessons made from its failures, adapters trained on them, the deployed one among those)."""
    rows = query(_LESSONS, [list(ids)])
    curated = {record.node: record for record in finished(query, {row["node"] for row in rows}, "curate")}
    adapters = query("SELECT model_id, dataset_hash FROM adapters")
    models = {
        adapter["model_id"]: f"{adapter['model_id']} (iteration {record.iteration})"
        for record in curated.values()
        for adapter in adapters
        if adapter["dataset_hash"] == record.summary["dataset_hash"]
    }
    pointer = query("SELECT arg_max(model_id, sequence) AS model_id FROM deployments")[0]["model_id"]
    lessons = tuple(dict.fromkeys(row["lesson_id"] for row in rows))
    return lessons, tuple(models.values()), pointer if pointer in models else ""


#: From the exchange to what was trained on: its answers, their failures, candidates made from those.
_LESSONS = """
WITH failed AS (SELECT failure_id FROM answers a JOIN failures f USING (answer_id) WHERE list_contains(?, a.source_id)),
made AS (SELECT candidate_id FROM (SELECT candidate_id, unnest(failure_ids) AS failure_id FROM candidates)
         WHERE failure_id IN (SELECT failure_id FROM failed))
SELECT DISTINCT node, lesson_id FROM dataset WHERE candidate_id IN (SELECT candidate_id FROM made) ORDER BY ALL
"""
