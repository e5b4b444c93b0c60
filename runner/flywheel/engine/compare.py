"""`flywheel compare --untargeted`: does it pay to buy lessons where the errors are?

The same spec turns once more in `.flywheel/compare/untargeted/`: the same teachers, the same number of lessons, the
same seeds, and lessons made from the task's probe rows as they come, whatever the student fails at. Then the two models
that were trained last are compared on the items of the target suites.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.engine.apply import EXIT_DONE, EXIT_NOTHING_PROMOTED, apply
from flywheel.engine.events import Listener
from flywheel.engine.history import open_lookup
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.errors import BudgetStop, FlywheelError, NodeFailed, UsageError
from flywheel.nodes.measuring.pairing import paired
from flywheel.plan import Plan
from flywheel.records.decision import PairedItem
from flywheel.records.nodes import Query, finished, rows_as_stored
from flywheel.store import Store

Row = dict[str, Any]

#: `ablations.node` of the comparison's rows; a later comparison replaces them.
NODE = "compare:untargeted"
ALL_MODES = "all modes"


@dataclass(frozen=True)
class Side:
    """What one of the two loops came to."""

    iteration: int
    """The last one that trained; 0 where none did and the base itself is compared."""
    model_id: str
    bought: Mapping[str, int]
    """Mode → lessons that the budget bought, over all iterations."""
    trained: int
    """New lessons that survived verification and curation."""
    scores: Mapping[str, Mapping[str, Row]]
    """Suite → item → its row of `scores`."""
    environment: str


@dataclass(frozen=True)
class Compared:
    """`rows` as stored in table `ablations`, without `detail`: `with_part` is the targeted loop."""

    iterations: int
    targeted: Side
    untargeted: Side
    rows: list[Row]
    warnings: tuple[str, ...]


def compare_untargeted(
    project: Workspace,
    iterations: int | None = None,
    listener: Listener = lambda event: None,
    confirm: Callable[[Plan], bool] = lambda plan: True,
) -> Compared | None:
    """Turn the untargeted wheel as often as the project's own has turned (or `iterations` times), compare, store.

    Answers that the project has paid for are not paid for again. None where `confirm` says no. Raises UsageError where
    the project's own iterations are not done, NodeFailed where the untargeted loop fails, BudgetStop at a declared
    limit, KeyboardInterrupt; all of them go on where they stopped when it is called again.
    """
    with open_lookup(project.state) as query:
        wanted = _finished(project, query, iterations)
        targeted = _side(project, query, wanted)
        paid = query("SELECT * FROM calls WHERE status = 'ok'")
        known = {table: query(sql) for table, sql in _MEASURED.items()}
        known["nodes"] = rows_as_stored(query, {row["node"] for rows in known.values() for row in rows})
        traffic = {table: query(f"SELECT * FROM {table}") for table in ("traffic", "feedback", "ingests")}
    other = _scratch(project)
    _give_answers(other, paid)
    _give_measurements(other, known)
    _give_traffic(other, traffic)
    if not _turned(other, wanted, listener, confirm):
        return None
    with open_lookup(other.state) as query:
        untargeted = _side(other, query, wanted)
    rows = [row for suite in _targets(project) for row in _rows(project, suite, targeted, untargeted)]
    found = Compared(wanted, targeted, untargeted, rows, _warnings(targeted, untargeted))
    _keep(project, found)
    return found


# --- the project's own loop -------------------------------------------------------------------------------------------


def _finished(project: Workspace, query: Query, iterations: int | None) -> int:
    """How many iterations to compare: as many as are evaluated, or `iterations`, which then must be."""
    plan = make_plan(project, iterations, query)
    done = {node.iteration for node in plan.of("evaluate") if node.status == "reused"}
    last = next((n for n in range(plan.iterations, 0, -1) if set(range(1, n + 1)) <= done), 0)
    if last == 0 or (iterations is not None and last < iterations):
        raise UsageError(
            f"the targeted loop has {last} finished iterations of {plan.iterations}: there is nothing to compare with. "
            f"Run `flywheel apply --iterations {plan.iterations}` first."
        )
    return last


def _side(project: Workspace, query: Query, iterations: int) -> Side:
    chain = make_plan(project, iterations, query).chain()
    for n in range(iterations, 0, -1):
        if rows := _scores(query, chain[n]["evaluate"], "candidate"):
            break
    else:
        n, rows = 0, _scores(query, chain[1]["evaluate"], "incumbent")
    scores: dict[str, dict[str, Row]] = {}
    for row in rows:
        scores.setdefault(row["suite"], {})[row["item_id"]] = row
    return Side(
        iteration=n,
        model_id=rows[0]["model_id"] if rows else "",
        bought=_bought(query, _all(chain, "budget")),
        trained=_trained(query, _all(chain, "curate")),
        scores=scores,
        environment=_environment(query, chain[n or 1]["evaluate"]),
    )


def _all(chain: Mapping[int, Mapping[str, Sequence[str]]], verb: str) -> list[str]:
    return [node for nodes in chain.values() for node in nodes.get(verb, ())]


def _scores(query: Query, nodes: Sequence[str], arm: str) -> list[Row]:
    return query(
        """SELECT suite, item_id, model_id, score, mode, "cluster" FROM scores
           WHERE list_contains(?, node) AND arm = ? ORDER BY suite, item_id""",
        [list(nodes), arm],
    )


def _bought(query: Query, nodes: Sequence[str]) -> dict[str, int]:
    rows = query(
        "SELECT mode, sum(lessons) AS lessons FROM budgets WHERE list_contains(?, node) GROUP BY mode ORDER BY mode",
        [list(nodes)],
    )
    return {row["mode"]: int(row["lessons"]) for row in rows}


def _trained(query: Query, nodes: Sequence[str]) -> int:
    rows = query("SELECT count(*) AS n FROM dataset WHERE list_contains(?, node) AND origin = 'new'", [list(nodes)])
    return int(rows[0]["n"])


def _environment(query: Query, nodes: Sequence[str]) -> str:
    return str(finished(query, nodes)[-1].summary["environment"])


# --- the untargeted loop ----------------------------------------------------------------------------------------------


def _scratch(project: Workspace) -> Workspace:
    """The same project in a folder of its own, for a loop that neither ablates, nor deploys, nor asks anybody."""
    root = project.state / "compare" / "untargeted"
    _mirror(project, root)
    spec = project.spec
    spec = spec.model_copy(
        update={
            "ablate": [],
            "deploy": spec.deploy.model_copy(update={"approve": "gate"}),
            "evals": {name: suite.model_copy(update={"teachers": []}) for name, suite in spec.evals.items()},
        }
    )
    return Workspace(replace(project.loaded, spec=spec, root=root), root / project.file.name, untargeted=True)


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
            shutil.copytree(
                entry, root / entry.name, copy_function=_link, ignore=_HIDDEN, ignore_dangling_symlinks=True
            )
        elif entry.is_file():
            _link(entry, root / entry.name)


_HIDDEN = shutil.ignore_patterns(".*", "__pycache__")


def _link(source: str | Path, target: str | Path) -> None:
    """A hard link costs nothing, however large the model; a copy where the file system has none."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _give_answers(other: Workspace, paid: Sequence[Row]) -> None:
    """What the project has paid for is known here, and has cost nothing here."""
    free = {"usd": 0.0, "attempts": 0, "input_tokens": 0, "output_tokens": 0}
    with Store(other.store_path) as store:
        known = {row["key"] for row in store.query("SELECT key FROM calls WHERE status = 'ok'")}
        store.write("calls", [{**row, **free} for row in paid if row["key"] not in known])


_MEASURED = {
    "answers": "SELECT * FROM answers",
    "verdicts": "SELECT * FROM verdicts WHERE node IN (SELECT node FROM answers)",
    "failures": "SELECT * FROM failures",
    "scores": "SELECT * FROM scores",
}
"""Rows of probes and evaluations: which of the control's are the same, their fingerprints say."""


def _give_measurements(other: Workspace, known: Mapping[str, Sequence[Row]]) -> None:
    """What the project has probed and measured is not probed and measured again: the base, above all."""
    with Store(other.store_path) as store, store.transaction() as transaction:
        have = {record.node for record in finished(store.query)}
        for table, rows in known.items():
            transaction.insert(table, [row for row in rows if row["node"] not in have])


def _give_traffic(other: Workspace, known: Mapping[str, Sequence[Row]]) -> None:
    """What production was asked, it was asked here too."""
    with Store(other.store_path) as store, store.transaction() as transaction:
        for table, rows in known.items():
            transaction.execute(f"DELETE FROM {table}")
            transaction.insert(table, rows)


def _turned(other: Workspace, iterations: int, listener: Listener, confirm: Callable[[Plan], bool]) -> bool:
    """Whether the untargeted loop is done; False where nobody wanted to pay for it."""
    agreed = True

    def asked(plan: Plan) -> bool:
        nonlocal agreed
        agreed = confirm(plan)
        return agreed

    outcome = apply(
        other, iterations=iterations, listener=listener, confirm=asked, command="flywheel compare --untargeted"
    )
    if outcome.exit_code not in (EXIT_DONE, EXIT_NOTHING_PROMOTED):
        raise _error(outcome.exit_code, outcome.error)
    return agreed


def _error(exit_code: int, error: str) -> BaseException:
    message = f"the untargeted loop did not end: {error} Run `flywheel compare --untargeted` again: it goes on there."
    kinds: dict[int, type[FlywheelError]] = {BudgetStop.exit_code: BudgetStop, NodeFailed.exit_code: NodeFailed}
    return kinds[exit_code](message) if exit_code in kinds else KeyboardInterrupt()


# --- comparing --------------------------------------------------------------------------------------------------------


def _targets(project: Workspace) -> list[str]:
    return [name for name, suite in project.spec.evals.items() if suite.role == "target"]


def _rows(project: Workspace, suite: str, targeted: Side, untargeted: Side) -> list[Row]:
    """The suite's score, and for each mode that either model still shows the share of items free of it."""
    ours, theirs = targeted.scores.get(suite, {}), untargeted.scores.get(suite, {})
    items = [
        PairedItem(
            item, theirs[item]["score"], ours[item]["score"], theirs[item]["mode"], ours[item]["mode"],
            ours[item]["cluster"],
        )
        for item in sorted(ours.keys() & theirs.keys())
    ]  # fmt: skip
    shown = {mode for item in items for mode in (item.incumbent_mode, item.candidate_mode) if mode}
    modes = [mode.name for mode in project.spec.taxonomy if mode.name in shown]
    found = []
    for mode in [None, *modes]:
        if pair := paired(items, project.spec.seed, mode):
            name = ALL_MODES if mode is None else f"free of {mode}"
            about = {"name": name, "without": "targeting", "suite": suite, "lessons": targeted.trained}
            found.append({"node": NODE, **about, **asdict(pair)})
    return found


def _warnings(targeted: Side, untargeted: Side) -> tuple[str, ...]:
    found = []
    if targeted.environment != untargeted.environment:
        found.append("the two were measured with other versions of packages, or on other machines")
    if targeted.trained != untargeted.trained:
        found.append(f"{targeted.trained:,} lessons survived with targeting, {untargeted.trained:,} without")
    if targeted.iteration != untargeted.iteration:
        found.append(f"the last training was in iteration {targeted.iteration} and {untargeted.iteration}")
    return tuple(found)


def _keep(project: Workspace, found: Compared) -> None:
    detail = {
        "iterations": found.iterations,
        "models": [found.targeted.model_id, found.untargeted.model_id],
        "bought": [dict(found.targeted.bought), dict(found.untargeted.bought)],
        "trained": [found.targeted.trained, found.untargeted.trained],
        "warnings": list(found.warnings),
    }
    with Store(project.store_path) as store:
        with store.transaction() as transaction:
            transaction.execute("DELETE FROM ablations WHERE node = ?", [NODE])
            transaction.insert("ablations", [{**row, "detail": json.dumps(detail)} for row in found.rows])
        store.snapshot(project.state / "snapshot.duckdb")
