"""What an iteration was trained on, as a data set that stands alone: JSON lines, Parquet, and a card that the Hugging
Face hub and `datasets` read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from flywheel.engine.asking import trained_model
from flywheel.engine.history import open_lookup
from flywheel.engine.project import Workspace
from flywheel.errors import UsageError
from flywheel.files import build_new_folder, refuse_filled
from flywheel.json_text import as_json
from flywheel.records.nodes import NodeRecord, Query, finished, record_of
from flywheel.report import queries
from flywheel.report.card import COLUMNS, Card, render_card

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportedDataset:
    """What was written: `rows` in all, and of each origin (new, replay, seed)."""

    folder: Path
    model_id: str
    iteration: int
    rows: int
    origins: Mapping[str, int]


def export_dataset(project: Workspace, folder: Path, iteration: int | None = None) -> ExportedDataset:
    """Write what the deployed model, or the one that `iteration` trained, was trained on to `folder`, which appears
    only when it is whole. All of it comes from the store.

    Raises UsageError where the folder is not empty or there is no such model.
    """
    refuse_filled(folder)
    with open_lookup(project.state) as query:
        adapter = _deployed(query) if iteration is None else trained_model(query, iteration)
        train = record_of(query, adapter["node"])
        nodes = _steps(query, train, adapter["dataset_hash"])
        rows = _rows(query, nodes)
        card = _card(query, project.spec.name, adapter, train.iteration, nodes, rows)

    def build(scratch: Path) -> None:
        lines = "".join(f"{as_json(row)}\n" for row in rows)
        (scratch / "data.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        _write_parquet(scratch / "data.parquet", rows)
        (scratch / "README.md").write_text(render_card(card), encoding="utf-8", newline="\n")

    build_new_folder(folder, build)
    return ExportedDataset(folder, card.model_id, card.iteration, len(rows), Counter(row["origin"] for row in rows))


def _deployed(query: Query) -> Row:
    """The adapter of the model that the pointer was moved to last: of several trainings that came to the same weights,
    the one that was deployed, where its manifest says which (those of the first version do not)."""
    found = query(
        """WITH last AS (SELECT * FROM deployments ORDER BY sequence DESC LIMIT 1)
           SELECT a.* FROM adapters a JOIN last USING (model_id)
           ORDER BY a.node IS DISTINCT FROM json_extract_string(last.manifest, '$.lineage.train'), a.node LIMIT 1"""
    )
    if not found:
        raise UsageError(
            "nothing is deployed yet. Run `flywheel apply`, or name an iteration that trained a model: --iteration N."
        )
    return found[0]


# --- the steps that it came from --------------------------------------------------------------------------------------


def _steps(query: Query, train: NodeRecord, dataset_hash: str) -> dict[str, list[str]]:
    """Verb → the fingerprints that led to this training.

    The store has the names of what a step waited for. Where the spec was edited, several steps have one name: by their
    rows it is seen which of them the next step took.
    """
    records = [record for record in reversed(finished(query)) if record.iteration == train.iteration]
    curate = next(r for r in records if r.verb == "curate" and r.summary.get("dataset_hash") == dataset_hash)
    verifies = _before(query, records, curate, "verify", _PASSED, _ids(query, _CURATED, curate.node))
    generates = [
        generate
        for verify in verifies
        for generate in _before(query, records, verify, "generate", _PARSED, _ids(query, _JUDGED, verify.node))
    ]
    found: dict[str, list[str]] = defaultdict(list)
    for record in (train, curate, *verifies, *generates):
        found[record.verb].append(record.node)
    return found


_CURATED = "SELECT candidate_id AS id FROM curation WHERE node = ?"
_JUDGED = "SELECT candidate_id AS id FROM judged WHERE node = ?"
_PASSED = f"{_JUDGED} AND outcome = 'pass'"
_PARSED = "SELECT candidate_id AS id FROM candidates WHERE node = ? AND status = 'parsed'"


def _before(
    query: Query, records: Sequence[NodeRecord], child: NodeRecord, verb: str, sql: str, taken: set[str]
) -> list[NodeRecord]:
    """The steps that `child` waited for: of those with one name the one (the newest, of `records`) that gave most of
    what was `taken`, and nothing else."""
    found = []
    for name in child.parents:
        gave = [(_ids(query, sql, r.node), r) for r in records if r.name == name and r.verb == verb]
        fitting = [(ids, record) for ids, record in gave if ids <= taken]
        found += [max(fitting, key=lambda step: len(step[0]))[1]] if fitting else []
    return found


def _ids(query: Query, sql: str, node: str) -> set[str]:
    return {row["id"] for row in query(sql, [node])}


# --- the rows ---------------------------------------------------------------------------------------------------------


def _rows(query: Query, nodes: Mapping[str, Sequence[str]]) -> list[Row]:
    """In the order in which they were given to the training."""
    records = list(reversed(finished(query)))
    made = [*nodes["generate"], *(r.node for r in records if r.verb == "generate")]
    judged = [*nodes["verify"], *(r.node for r in records if r.verb == "verify")]
    found = query(
        """SELECT d.*, c.node AS made, c.generator, c.strategy, c.reference, c.reference_from, m.model
           FROM dataset d LEFT JOIN candidates c ON c.candidate_id = d.candidate_id AND list_contains($made, c.node)
           LEFT JOIN (SELECT key, arg_max(model, called_at) AS model FROM calls WHERE status = 'ok' GROUP BY key) m
             ON m.key = c.call_key
           WHERE list_contains($curate, d.node)
           QUALIFY row_number() OVER (PARTITION BY d.position ORDER BY list_position($made, c.node)) = 1
           ORDER BY d.position""",
        {"made": made, "curate": list(nodes["curate"])},
    )
    verdicts = _verdicts(query, judged, [row["candidate_id"] for row in found])
    iterations = {r.node: r.iteration for r in records}
    return [_row(row, verdicts.get(row["candidate_id"]), iterations.get(row["made"])) for row in found]


def _row(row: Row, verdicts: str | None, iteration: int | None) -> Row:
    told = row | {"row": as_json(row["row"]), "verdicts": verdicts, "model": _without_place(row["model"] or "")}
    texts = {name: _carried(told[name] or None) for name in COLUMNS if name != "iteration"}
    # A target may well be an empty text.
    return texts | {name: _carried(told[name] or "") for name in ("prompt", "target")} | {"iteration": iteration}


def _carried(text: str | None) -> str | None:
    """Half a surrogate pair has no UTF-8."""
    return text and text.encode("utf-8", "replace").decode()


def _without_place(model: str) -> str:
    """A served model may be named by its place on some machine (`openai//srv/models/x`): its last name is kept."""
    absolute = re.search(r"(?:^|/)(/.*)|^([A-Za-z]:[\\/].*)", model)
    if absolute is None:
        return model
    path = absolute[1] or absolute[2]
    return model.removesuffix(path) + PurePath(path.replace("\\", "/")).name


def _verdicts(query: Query, judged: Sequence[str], candidates: Sequence[str | None]) -> dict[str, str]:
    """Candidate → `known: pass; right: pass`, by the first of the nodes `judged` that looked at it."""
    rows = query(
        """SELECT subject_id, verifier, outcome, advisory, score FROM verdicts
           WHERE list_contains($judged, node) AND list_contains($candidates, subject_id)
           QUALIFY rank() OVER (PARTITION BY subject_id ORDER BY list_position($judged, node)) = 1
           ORDER BY subject_id, verifier""",
        {"judged": list(judged), "candidates": [candidate for candidate in candidates if candidate]},
    )
    said: dict[str, list[str]] = {}
    for row in rows:
        said.setdefault(row["subject_id"], []).append(_verdict(row))
    return {subject: "; ".join(found) for subject, found in said.items()}


def _verdict(row: Row) -> str:
    notes = [] if row["score"] is None else [f"{row['score']:.3g}"]
    notes += ["advisory"] if row["advisory"] else []
    return f"{row['verifier']}: {row['outcome']}" + (f" ({', '.join(notes)})" if notes else "")


# --- the files --------------------------------------------------------------------------------------------------------


def _card(
    query: Query, name: str, adapter: Row, iteration: int, nodes: Mapping[str, Sequence[str]], rows: Sequence[Row]
) -> Card:
    return Card(
        name=name,
        iteration=iteration,
        model_id=adapter["model_id"],
        base=adapter["base"],
        init=adapter["settings"].get("init", "base"),
        left_out=adapter["left_out"] or 0,
        rows=rows,
        stages=query(queries.lessons(nodes))[0],
        losses=query(queries.losses_on_the_way(nodes)),
    )


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """A column that is empty throughout is one of texts all the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, pa.int64() if name == "iteration" else pa.string()) for name in COLUMNS]
    pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(fields)), path, compression="zstd")
