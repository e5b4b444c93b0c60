"""A person's word on a promoted candidate: what was approved, and whether it is still that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from flywheel.errors import Tampered
from flywheel.nodes.trust.deployment import chained, first_broken
from flywheel.nodes.trust.evidence import Lineage, Query, dataset_hash, decision_of, report_hash
from flywheel.records.nodes import record_of
from flywheel.student.loading import adapter_hash

Word = Literal["approve", "reject"]

#: Column of `approvals` → what a person calls it.
SEEN = {
    "decision_hash": "the decision", "report_hash": "the report", "weights_hash": "the adapter",
    "dataset_hash": "the training rows",
}  # fmt: skip


def approvals(query: Query) -> list[dict[str, Any]]:
    """All of them, oldest first. Raises Tampered where a row was edited, removed or put in."""
    rows = query("SELECT * FROM approvals ORDER BY sequence")
    if (broken := first_broken(rows, "given_at")) is not None:
        raise Tampered(
            f"approvals: entry {broken['sequence']} ({broken['verdict']} of iteration {broken['iteration']} by "
            f"{broken['person']}) does not match its hash. The store was edited; put back a copy of it."
        )
    return rows


def last_word(query: Query, decision_hash: str) -> dict[str, Any] | None:
    """The newest word on this decision; the last one counts."""
    return next((row for row in reversed(approvals(query)) if row["decision_hash"] == decision_hash), None)


def seen_now(query: Query, root: Path, lineage: Lineage) -> dict[str, str]:
    """Hashes of what a person looks at, as they are now: the decision, report and adapter on disk, training rows.

    Raises Tampered where a file is gone.
    """
    report = record_of(query, lineage.report).summary
    adapter = query("SELECT path FROM adapters WHERE node = ?", [lineage.train])[-1]
    folder = root / adapter["path"]
    if not (folder / "adapter_model.safetensors").is_file():
        raise Tampered(f"{adapter['path']}: the adapter is gone. Run `flywheel apply` to train it again.")
    return {
        "decision_hash": decision_of(query, lineage.gate)["decision_hash"],
        "report_hash": report_hash(root, report),
        "weights_hash": adapter_hash(folder),
        "dataset_hash": dataset_hash(query, lineage.curate),
    }


def approval_row(
    history: Sequence[Mapping[str, Any]], *, gate: str, iteration: int, word: Word, person: str, note: str,
    seen: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """The next row of the append-only table."""
    row = {"node": gate, "iteration": iteration, "verdict": word, "person": person, "note": note, **seen}
    return chained(history, row, "given_at")


def verify_approval(query: Query, root: Path, lineage: Lineage, approval: Mapping[str, Any]) -> None:
    """Raise Tampered, naming what changed, where what was approved is not what is here now."""
    now = seen_now(query, root, lineage)
    changed = [name for column, name in SEEN.items() if now[column] != approval[column]]
    if changed:
        number = approval["iteration"]
        raise Tampered(
            f"{' and '.join(changed)} of iteration {number} changed since {approval['person']} approved it: the "
            f"approval no longer holds. Put back what was approved, or look at it again and run `flywheel approve "
            f"{number} --by NAME`. Nothing was deployed."
        )
