"""Looking at what happened: a row's whole life, the state of things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flywheel.errors import UsageError
from flywheel.records.nodes import Query, finished

#: Tables whose rows people ask after, and the column that names them.
_NAMED = (
    ("answers", "answer_id"),
    ("failures", "failure_id"),
    ("candidates", "candidate_id"),
    ("dataset", "lesson_id"),
    ("calls", "key"),
    ("adapters", "model_id"),
    ("scores", "item_id"),
)

Chapter = tuple[str, dict[str, Any]]


def life(query: Query, row_id: str) -> list[Chapter]:
    """Everything the store knows of a row, in the order in which it happened: (what, columns).

    `row_id` is an answer, failure, candidate, lesson, call, model or eval item id, or the start of one (8 characters at
    least). Raises UsageError where there is none, or several.
    """
    table, column, found = _find(query, row_id)
    if table == "answers":
        return _of_failures(query, _failures_of(query, found)) or _answer(query, found)
    if table == "failures":
        return _of_failures(query, [found])
    if table == "calls":
        return _of_candidates(query, _ids(query, "SELECT candidate_id AS id FROM candidates WHERE call_key = ?", found))
    if table == "dataset":
        ids = _ids(
            query,
            "SELECT DISTINCT candidate_id AS id FROM dataset WHERE lesson_id = ? AND candidate_id NOT NULL",
            found,
        )
        return _of_candidates(query, ids) if ids else _rows(query, "dataset row", table, column, found)
    if table == "candidates":
        return _of_candidates(query, [found])
    if table == "adapters":
        return _of_model(query, found)
    return _rows(query, "score", table, column, found)


def _find(query: Query, row_id: str) -> tuple[str, str, str]:
    if len(row_id) < 8:
        raise UsageError(f'"{row_id}" is too short to name a row: give at least 8 characters of its id.')
    for table, column in _NAMED:
        ids = _ids(query, f"SELECT DISTINCT {column} AS id FROM {table} WHERE starts_with({column}, ?) LIMIT 3", row_id)
        if len(ids) > 1:
            raise UsageError(f'"{row_id}" begins several ids in {table}: {", ".join(ids)}, … Give more of it.')
        if ids:
            return table, column, ids[0]
    raise UsageError(
        f'no row has the id "{row_id}". Look one up, for instance: flywheel query "SELECT candidate_id FROM candidates"'
    )


def _ids(query: Query, sql: str, value: str) -> list[str]:
    return [row["id"] for row in query(sql, [value])]


def _rows(query: Query, what: str, table: str, column: str, value: str) -> list[Chapter]:
    rows = query(f"SELECT * FROM {table} WHERE {column} = ?", [value])
    names = {record.node: record.name for record in finished(query, {row["node"] for row in rows if row.get("node")})}
    return [(what, {**row, "node_name": names.get(str(row.get("node")))}) for row in rows]


def _failures_of(query: Query, answer_id: str) -> list[str]:
    return _ids(query, "SELECT failure_id AS id FROM failures WHERE answer_id = ?", answer_id)


def _of_failures(query: Query, failure_ids: list[str]) -> list[Chapter]:
    """A failure, and every lesson that was asked for because of it."""
    chapters: list[Chapter] = []
    for failure_id in failure_ids:
        chapters += _failure(query, failure_id)
        ids = _ids(query, "SELECT candidate_id AS id FROM candidates WHERE list_contains(failure_ids, ?)", failure_id)
        chapters.append(("lessons asked for", {"candidates": ids}))
    return chapters


def _failure(query: Query, failure_id: str) -> list[Chapter]:
    failure = _rows(query, "failure", "failures", "failure_id", failure_id)
    return [*(chapter for _, row in failure for chapter in _answer(query, row["answer_id"])), *failure]


def _answer(query: Query, answer_id: str) -> list[Chapter]:
    return [
        *_rows(query, "answer", "answers", "answer_id", answer_id),
        *_rows(query, "verdict", "verdicts", "subject_id", answer_id),
    ]


def _of_candidates(query: Query, candidate_ids: list[str]) -> list[Chapter]:
    """failure → call → candidate → verdicts → curation → dataset → adapter → scores."""
    chapters: list[Chapter] = []
    for candidate_id in candidate_ids:
        candidates = _rows(query, "candidate", "candidates", "candidate_id", candidate_id)
        for _, candidate in candidates:
            for failure_id in candidate["failure_ids"] or []:
                chapters += _failure(query, failure_id)
            chapters += [("call", row) for row in query("SELECT * FROM calls WHERE key = ?", [candidate["call_key"]])]
        chapters += candidates
        chapters += _rows(query, "verdict", "verdicts", "subject_id", candidate_id)
        chapters += _rows(query, "judged", "judged", "candidate_id", candidate_id)
        chapters += _rows(query, "curation", "curation", "candidate_id", candidate_id)
        datasets = _rows(query, "dataset row", "dataset", "candidate_id", candidate_id)
        chapters += datasets
        for adapter in _trained_on(query, [row["node"] for _, row in datasets]):
            chapters += _of_model(query, adapter)
    return chapters


def _trained_on(query: Query, curates: list[str]) -> list[str]:
    """Models trained on what these curate nodes kept."""
    hashes = {record.summary.get("dataset_hash") for record in finished(query, curates)}
    rows = query("SELECT DISTINCT model_id AS id FROM adapters WHERE list_contains(?, dataset_hash)", [list(hashes)])
    return [row["id"] for row in rows]


def _of_model(query: Query, model_id: str) -> list[Chapter]:
    chapters = _rows(query, "adapter", "adapters", "model_id", model_id)
    scores = query(
        "SELECT suite, arm, count(*) AS items, avg(score) AS score FROM scores WHERE model_id = ? "
        "GROUP BY ALL ORDER BY ALL",
        [model_id],
    )
    chapters += [("scores", row) for row in scores]
    chapters += _rows(query, "decision", "decisions", "candidate_id", model_id)
    return chapters + _rows(query, "deployment", "deployments", "model_id", model_id)


def last_events(state: Path, limit: int = 400) -> list[dict[str, Any]]:
    """The newest run's events, of its progress the last; they can be read while an apply holds the store."""
    runs = sorted((state / "runs").glob("*/events.jsonl")) if (state / "runs").exists() else []
    if not runs:
        return []
    with runs[-1].open(encoding="utf-8") as handle:
        lines = handle.readlines()
    progress = '{"event": "progress"'
    told = [line for i, line in enumerate(lines) if i >= len(lines) - limit or not line.startswith(progress)]
    return [json.loads(line) for line in told if line.endswith("\n")]
