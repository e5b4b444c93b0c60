"""Which traffic a plan is about: a digest of the rows of each task, found anew only where something came in."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from flywheel.errors import FlywheelError
from flywheel.files import write_text
from flywheel.hashing import fingerprint
from flywheel.records.nodes import Query
from flywheel.spec.traffic import Traffic
from flywheel.traffic.matching import digest_of, matched


def traffic_digests(spec: Traffic, state: Path, query: Query | None) -> dict[str, str]:
    """Task → digest of the rows that `traffic.match` finds for it; nothing where the spec matches none."""
    if not spec.match:
        return {}
    if query is None:
        return {task: digest_of([]) for task in spec.match}
    last = query("SELECT coalesce(max(sequence), 0) AS last FROM ingests")[0]["last"]
    key = fingerprint([last, {task: match.model_dump() for task, match in spec.match.items()}])
    file = state / "traffic.json"
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads(file.read_text())
        if kept["key"] == key:
            return dict(kept["digests"])
    found = {task: digest_of(matched(query, task, match)) for task, match in spec.match.items()}
    with suppress(FlywheelError):  # where nothing can be kept, it is found again
        write_text(file, json.dumps({"key": key, "digests": found}))
    return found
