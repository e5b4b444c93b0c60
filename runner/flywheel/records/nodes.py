"""The one reader of the store's table `nodes`: what finished nodes read and said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Query = Callable[..., list[dict[str, Any]]]
"""Rows as dicts of a SELECT and its parameters."""


@dataclass(frozen=True)
class NodeRecord:
    """One finished node. Its name is made of `iteration`, `verb`, `subject` (a task, a generator, …) and `round`."""

    node: str
    """Its fingerprint."""
    name: str
    verb: str
    iteration: int
    subject: str
    round: int
    run_id: str
    parents: list[str]
    """Names of the nodes of its run that it waited for."""
    inputs: dict[str, Any]
    summary: dict[str, Any]
    started_at: datetime
    seconds: float

    @property
    def step(self) -> str:
        """The name without the iteration: the same in all of them."""
        return self.name.partition(".")[2]


def finished(query: Query, nodes: Collection[str] | None = None, verb: str | None = None) -> list[NodeRecord]:
    """Records of the nodes with these fingerprints, or of all, in the order in which they began; of one verb only
    where it is named. A node that ran again, its work having been lost, has a record for each time."""
    rows = query(
        """SELECT node, name, kind AS verb, iteration, subject, round, run_id, parents, inputs, summary, started_at,
               seconds
           FROM nodes WHERE status = 'done' AND (? OR list_contains(?, node)) AND (? OR kind = ?)
           ORDER BY started_at, node""",
        [nodes is None, list(nodes or ()), verb is None, verb or ""],
    )
    empty: dict[str, Any] = {"parents": [], "inputs": {}, "summary": {}}
    return [NodeRecord(**{**row, **{key: row[key] or none for key, none in empty.items()}}) for row in rows]


def makers(nodes: Mapping[str, Sequence[str]]) -> list[str]:
    """Of an iteration's nodes by verb the one that makes its model: the last that learned from judged answers, else the
    training on lessons."""
    return [*(nodes.get("prefer") or nodes.get("train", ()))][-1:]


def held_back(query: Query, nodes: Collection[str] | None = None) -> dict[int, str]:
    """Iteration → why what its gate promoted did not go into service, by its deploy node among these (or all) that was
    done last."""
    last = {record.iteration: record.summary for record in finished(query, nodes, verb="deploy")}
    return {n: str(said["why"]) for n, said in last.items() if said.get("held_back") or said.get("undone")}


def rows_as_stored(query: Query, nodes: Collection[str]) -> list[dict[str, Any]]:
    """The whole rows of those of these nodes that are finished, for another store."""
    return query("SELECT * FROM nodes WHERE status = 'done' AND list_contains(?, node)", [list(nodes)])


def record_of(query: Query, node: str) -> NodeRecord:
    """The last record of a node that is known to be done."""
    return finished(query, [node])[-1]
