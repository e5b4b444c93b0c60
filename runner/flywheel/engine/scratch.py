"""Folders in which the wheel turns once more, for a comparison: the project's files as they are now, and of its store
what need not be paid, probed or measured again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flywheel.engine.project import Workspace
from flywheel.nodes.lessons.queue import FOLDER as QUEUES
from flywheel.plan import VERBS
from flywheel.records.nodes import Query, finished, rows_as_stored
from flywheel.store import Store
from flywheel.store.migrations import NODE_TABLES

Row = dict[str, Any]


def scratch(project: Workspace, arm: str, untargeted: bool = False, retraining: int = 0) -> Workspace:
    """The same project in a folder of its own, for a loop that neither ablates, nor deploys, nor asks anybody."""
    root = project.state / "compare" / (f"{arm}-{retraining + 1}" if retraining else arm)
    _mirror(project, root)
    spec = project.spec
    spec = spec.model_copy(
        update={
            "ablate": [],
            "deploy": spec.deploy.model_copy(update={"approve": "gate"}),
            "evals": {name: suite.model_copy(update={"teachers": []}) for name, suite in spec.evals.items()},
        }
    )
    loaded = replace(project.loaded, spec=spec, root=root)
    return Workspace(loaded, root / project.file.name, untargeted=untargeted, retraining=retraining)


def _mirror(project: Workspace, root: Path) -> None:
    """Put the project's files, as they are now, into `root`; what an earlier comparison did there stays."""
    outputs = {"reports", Path(project.spec.deploy.path).parts[0]}
    root.mkdir(parents=True, exist_ok=True)
    for entry in root.iterdir():
        if entry.name not in outputs and not entry.name.startswith("."):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for entry in project.root.iterdir():
        if entry.name in outputs or entry.name.startswith("."):
            continue
        if entry.is_dir():
            # What waits for people is written to: a link would put the other loop's questions into the project's queue.
            copy = shutil.copy2 if entry.name == QUEUES else _link
            shutil.copytree(entry, root / entry.name, copy_function=copy, ignore=_HIDDEN, ignore_dangling_symlinks=True)
        elif entry.is_file():
            _link(entry, root / entry.name)


_HIDDEN = shutil.ignore_patterns(".*", "__pycache__")


def _link(source: str | Path, target: str | Path) -> None:
    """A hard link costs nothing, however large the model; a copy where the file system has none."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def give(query: Query, other: Workspace, everything: bool = False) -> None:
    """What was asked, probed, curated and measured for one loop is known in another one, and has cost nothing there.
    Which of the other's nodes are the same, their fingerprints say. `everything`: what was trained and decided, too."""
    paid = query("SELECT * FROM calls WHERE status = 'ok'")
    done = {r.node for r in finished(query) if VERBS[r.verb].serves_other_loops or everything}
    traffic = {table: query(f"SELECT * FROM {table}") for table in ("traffic", "feedback", "ingests")}
    with Store(other.store_path) as store:
        _give_answers(store, paid)
        _give_traffic(store, traffic)
        new = sorted(done - {record.node for record in finished(store.query)})
        with store.transaction() as transaction:
            for table in NODE_TABLES:
                transaction.insert(table, query(f"SELECT * FROM {table} WHERE list_contains(?, node)", [new]))
            transaction.insert("nodes", rows_as_stored(query, new))


def give_adapters(project: Workspace, other: Workspace) -> None:
    """What was trained is there too, under its own hash; what is there already stays."""
    for adapter in (project.state / "artifacts").glob("*/adapter_model.safetensors"):
        folder = other.state / "artifacts" / adapter.parent.name
        if not folder.exists():
            shutil.copytree(adapter.parent, folder, copy_function=_link)


def _give_answers(store: Store, paid: Sequence[Row]) -> None:
    free = {"usd": 0.0, "attempts": 0, "input_tokens": 0, "output_tokens": 0}
    known = {row["key"] for row in store.query("SELECT key FROM calls WHERE status = 'ok'")}
    store.write("calls", [{**row, **free} for row in paid if row["key"] not in known])


def _give_traffic(store: Store, known: Mapping[str, Sequence[Row]]) -> None:
    """What production was asked, it was asked here too."""
    with store.transaction() as transaction:
        for table, rows in known.items():
            transaction.execute(f"DELETE FROM {table}")
            transaction.insert(table, rows)
