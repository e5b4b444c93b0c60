"""`flywheel compare --untargeted`: does it pay to buy lessons where the errors are?

The same spec turns once more in `.flywheel/compare/untargeted/`: the same teachers, the same number of lessons, the
same seeds, and lessons made from the task's probe rows as they come, whatever the student fails at. Then the two models
that were trained last are compared on the items of the target suites. With several seeds both loops turn again, each in
a folder of its own, with nothing but another seed of their trainings. With `--curve` the last training of every loop is
repeated on parts of its lessons: how many does either side need for the other's score?
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flywheel.engine.apply import EXIT_DONE, EXIT_NOTHING_PROMOTED, apply
from flywheel.engine.curve import Curve, Part, curve_json, curves_of, parts_of, refuse_curve
from flywheel.engine.events import Listener
from flywheel.engine.history import open_lookup
from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.engine.scratch import give, give_adapters, scratch
from flywheel.errors import BudgetStop, FlywheelError, NodeFailed, UsageError
from flywheel.nodes.measuring.pairing import paired, paired_over_seeds
from flywheel.plan import Plan
from flywheel.records.decision import PairedItem
from flywheel.records.nodes import Query, finished
from flywheel.stats import MOST_SEEDS, seeds_needed
from flywheel.store import Store
from flywheel.text import plural

Row = dict[str, Any]

#: `ablations.node` of the comparison's rows; a later comparison replaces them.
NODE = "compare:untargeted"
ALL_MODES = "all modes"
COMMAND = "flywheel compare --untargeted"
#: The difference of which is said how many seeds it needs.
WORTH_KNOWING = 0.02


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
    seeds: int = 1
    by_seed: tuple[float, ...] = ()
    """The first suite's difference under each seed."""
    curves: tuple[Curve, ...] = ()
    """One of each target suite, where they were asked for."""


@dataclass(frozen=True)
class Varied:
    """What the first suite's difference varies by: variances by another seed and by other items, on so many items."""

    of_seeds: float
    of_items: float
    items: int


def compare_untargeted(
    project: Workspace,
    iterations: int | None = None,
    listener: Listener = lambda event: None,
    confirm: Callable[[Plan], bool] = lambda plan: True,
    seeds: int = 1,
    curve: bool = False,
) -> Compared | None:
    """Turn the untargeted wheel as often as the project's own has turned (or `iterations` times), compare, store.

    With `seeds` above 1 both loops are trained so many times, and the interval covers items and trainings; with `curve`
    the last training of each is repeated on parts of its lessons. Answers that the project has paid for are not paid
    for again. None where `confirm` says no. Raises UsageError where the project's own iterations are not done, or where
    its last training is no curve's, NodeFailed where a loop fails, BudgetStop at a declared limit,
    KeyboardInterrupt; all of them go on where they stopped when it is called again.
    """
    with open_lookup(project.state) as query:
        wanted = _finished(project, query, iterations)
        targeted = _side(project, query, wanted)
        varied = _varied_before(query)
    if curve:
        refuse_curve(project.spec, targeted.iteration, "targeted")
    with Store(project.store_path):
        pass  # brought up to date before its tables are read
    turning = _Turning(wanted, listener, confirm)
    if seeds > 1:
        turning.note(_seeds_in_words(varied, "by the comparison before: " if varied else ""))
    try:
        pairs = _all_sides(project, targeted, seeds, turning)
        curves = _curves(project, pairs, turning) if curve else []
    except _Refused:
        return None
    found = replace(_compared(project, wanted, pairs), curves=tuple(curves))
    _keep(project, found, pairs)
    return found


def _compared(project: Workspace, iterations: int, pairs: Sequence[tuple[Side, Side]]) -> Compared:
    rows = [row for suite in _targets(project) for row in _rows(project, suite, pairs)]
    warnings = (*_about_seeds(pairs), *_warnings(*pairs[0]))
    return Compared(iterations, *pairs[0], rows, warnings, len(pairs), _by_seed(project, pairs))


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


# --- the other loops --------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """Nobody wanted to pay for it."""


@dataclass(frozen=True)
class _Turning:
    """What all loops of one comparison have in common."""

    iterations: int
    listener: Listener
    confirm: Callable[[Plan], bool]

    def turned(self, other: Workspace, arm: str) -> Side:
        """The loop in `other`, done. Raises _Refused."""
        self.turn(other, arm)
        with open_lookup(other.state) as query:
            return _side(other, query, self.iterations)

    def turn(self, other: Workspace, arm: str) -> None:
        """Raises _Refused."""

        def asked(plan: Plan) -> bool:
            if not self.confirm(plan):
                raise _Refused
            return True

        outcome = apply(
            other, iterations=self.iterations, listener=self.listener, confirm=asked, command=COMMAND,
            shown=False,
        )  # fmt: skip
        if outcome.exit_code not in (EXIT_DONE, EXIT_NOTHING_PROMOTED):
            raise _error(arm, outcome.exit_code, outcome.error)

    def note(self, text: str) -> None:
        self.listener({"event": "note", "at": round(time.time(), 3), "detail": text})


def _error(arm: str, exit_code: int, error: str) -> BaseException:
    message = f"the {arm} loop did not end: {error} Run `{COMMAND}` again: it goes on there."
    kinds: dict[int, type[FlywheelError]] = {BudgetStop.exit_code: BudgetStop, NodeFailed.exit_code: NodeFailed}
    return kinds[exit_code](message) if exit_code in kinds else KeyboardInterrupt()


def _all_sides(project: Workspace, first: Side, seeds: int, turning: _Turning) -> list[tuple[Side, Side]]:
    """(targeted, untargeted) of each seed. The first targeted one is the project's own."""
    control = scratch(project, "untargeted", untargeted=True)
    with open_lookup(project.state) as query:
        give(query, control)
    pairs = [(first, turning.turned(control, "untargeted"))]
    for n in range(1, seeds):
        again = [scratch(project, arm, arm == "untargeted", retraining=n) for arm in ("targeted", "untargeted")]
        for source, other in zip((project, control), again, strict=True):
            with open_lookup(source.state) as query:
                give(query, other)
        targeted, untargeted = again
        pairs.append((turning.turned(targeted, "targeted"), turning.turned(untargeted, "untargeted")))
        if n == 1 and seeds > 2:
            turning.note(_seeds_in_words(_varied(project, pairs), "after two seeds: "))
    return pairs


def _curves(project: Workspace, pairs: Sequence[tuple[Side, Side]], turning: _Turning) -> list[Curve]:
    """Every loop's last training, on parts of its lessons. Raises _Refused."""
    found: list[tuple[list[Part], list[Part]]] = []
    for n, (targeted, untargeted) in enumerate(pairs):
        ours = _parts(project, targeted, "targeted", n, turning)
        found.append((ours, _parts(project, untargeted, "untargeted", n, turning)))
    return curves_of(project.spec, found)


def _parts(project: Workspace, side: Side, arm: str, n: int, turning: _Turning) -> list[Part]:
    refuse_curve(project.spec, side.iteration, arm)
    other = scratch(project, arm, arm == "untargeted", retraining=n)
    if (arm, n) == ("targeted", 0):  # the project's own loop: what it has trained is not trained again
        with open_lookup(project.state) as query:
            give(query, other, everything=True)
        give_adapters(project, other)
    turning.turn(replace(other, curve=side.iteration), arm)
    with open_lookup(other.state) as query:
        nodes = make_plan(replace(other, curve=side.iteration), turning.iterations, query).chain()[side.iteration]
        return [*parts_of(query, nodes), Part(_lessons(query, nodes["curate"]), side.scores)]


def _lessons(query: Query, curated: Sequence[str]) -> int:
    """What a training has learned from beside human seeds."""
    rows = query("SELECT count(*) AS n FROM dataset WHERE list_contains(?, node) AND origin != 'seed'", [list(curated)])
    return int(rows[0]["n"])


# --- comparing --------------------------------------------------------------------------------------------------------


def _targets(project: Workspace) -> list[str]:
    return [name for name, suite in project.spec.evals.items() if suite.role == "target"]


def _rows(project: Workspace, suite: str, pairs: Sequence[tuple[Side, Side]]) -> list[Row]:
    """The suite's score, and for each mode that any model still shows the share of items free of it."""
    seeds = [_items(suite, *pair) for pair in pairs]
    shown = {mode for items in seeds for item in items for mode in (item.incumbent_mode, item.candidate_mode) if mode}
    modes = [mode.name for mode in project.spec.taxonomy if mode.name in shown]
    found = []
    for mode in [None, *modes]:
        several = paired_over_seeds(seeds, mode) if len(seeds) > 1 else None
        if pair := several[0] if several else paired(seeds[0], project.spec.seed, mode):
            name = ALL_MODES if mode is None else f"free of {mode}"
            about = {"name": name, "without": "targeting", "suite": suite, "lessons": pairs[0][0].trained}
            found.append({"node": NODE, **about, **asdict(pair)})
    return found


def _items(suite: str, targeted: Side, untargeted: Side) -> list[PairedItem]:
    ours, theirs = targeted.scores.get(suite, {}), untargeted.scores.get(suite, {})
    return [
        PairedItem(
            item, theirs[item]["score"], ours[item]["score"], theirs[item]["mode"], ours[item]["mode"],
            ours[item]["cluster"],
        )
        for item in sorted(ours.keys() & theirs.keys())
    ]  # fmt: skip


# --- seeds ------------------------------------------------------------------------------------------------------------


def _varied(project: Workspace, pairs: Sequence[tuple[Side, Side]]) -> Varied | None:
    """Of the first suite that can be judged; None from one seed."""
    for suite in _targets(project) if len(pairs) > 1 else ():
        if found := paired_over_seeds([_items(suite, *pair) for pair in pairs]):
            return Varied(found[1].of_seeds, found[1].of_items, found[0].items)
    return None


def _varied_before(query: Query) -> Varied | None:
    """As an earlier comparison with several seeds has left it."""
    rows = query("SELECT detail FROM ablations WHERE node = ? AND name = ? LIMIT 1", [NODE, ALL_MODES])
    known = json.loads(rows[0]["detail"]).get("varied") if rows else None
    return Varied(**known) if known else None


def _seeds_in_words(varied: Varied | None, known_from: str) -> str:
    """How many trainings of either side a difference of 2 points needs."""
    points = f"{100 * WORTH_KNOWING:g} points"
    if varied is None:
        return f"how many seeds a difference of {points} needs is said after the second: nothing is known before"
    by = f"{known_from}trainings with another seed differ by {100 * varied.of_seeds**0.5:.1f} points"
    needed = seeds_needed(WORTH_KNOWING, varied.of_seeds, varied.of_items)
    if needed is None:
        return f"{by}; on {varied.items:,} items {MOST_SEEDS} seeds do not tell {points} from none: it needs more items"
    return f"{by}; a difference of {points} needs {needed} seeds (80% power, two-sided 5%)"


def _by_seed(project: Workspace, pairs: Sequence[tuple[Side, Side]]) -> tuple[float, ...]:
    for suite in _targets(project):
        seeds = [paired(_items(suite, *pair), project.spec.seed) for pair in pairs]
        if None not in seeds:
            return tuple(found.difference for found in seeds if found is not None)
    return ()


def _about_seeds(pairs: Sequence[tuple[Side, Side]]) -> tuple[str, ...]:
    if len(pairs) > 1:
        return (f"{len(pairs)} seeds of the trainings: the intervals are over items and seeds",)
    return (
        "one seed: the intervals are over items alone, and another training might have ended elsewhere (--seeds 3)",
    )


def _warnings(targeted: Side, untargeted: Side) -> tuple[str, ...]:
    found = []
    if targeted.environment != untargeted.environment:
        found.append("the two were measured with other versions of packages, or on other machines")
    if targeted.trained != untargeted.trained:
        found.append(f"{targeted.trained:,} lessons survived with targeting, {untargeted.trained:,} without")
    if targeted.iteration != untargeted.iteration:
        found.append(f"the last training was in iteration {targeted.iteration} and {untargeted.iteration}")
    return (*found, *_answered_in_part(targeted, untargeted))


def _answered_in_part(targeted: Side, untargeted: Side) -> list[str]:
    """Where a loop stopped when its gate had decided: its difference is then a little overstated."""
    pairs = [
        (suite, targeted.scores[suite].keys(), untargeted.scores.get(suite, {}).keys()) for suite in targeted.scores
    ]
    return [
        f"of {suite} {len(ours & theirs):,} items were answered by both, {len(ours):,} with targeting and "
        f"{len(theirs):,} without: set loop.stop_when_decided to false to compare on all"
        for suite, ours, theirs in pairs
        if ours != theirs
    ]


def _keep(project: Workspace, found: Compared, pairs: Sequence[tuple[Side, Side]]) -> None:
    varied = _varied(project, pairs)
    detail = {
        "iterations": found.iterations,
        "models": [found.targeted.model_id, found.untargeted.model_id],
        "bought": [dict(found.targeted.bought), dict(found.untargeted.bought)],
        "trained": [found.targeted.trained, found.untargeted.trained],
        "warnings": list(found.warnings),
        "seeds": found.seeds,
        "by_seed": list(found.by_seed),
        "varied": asdict(varied) if varied else None,
        "note": plural(found.seeds, "seed"),
        **({"curves": [curve_json(curve) for curve in found.curves]} if found.curves else {}),
    }
    with Store(project.store_path) as store:
        with store.transaction() as transaction:
            transaction.execute("DELETE FROM ablations WHERE node = ?", [NODE])
            transaction.insert("ablations", [{**row, "detail": json.dumps(detail)} for row in found.rows])
        store.snapshot(project.state / "snapshot.duckdb")
