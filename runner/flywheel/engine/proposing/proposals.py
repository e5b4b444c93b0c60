"""Modes proposed for the failures that have none yet, of one iteration's probes and traffic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.engine.planning import make_plan
from flywheel.engine.project import Workspace
from flywheel.engine.proposing.groups import grouped
from flywheel.engine.proposing.predicates import Discerned, telling
from flywheel.engine.proposing.tells import Tell, tells
from flywheel.errors import UsageError
from flywheel.hashing import fingerprint
from flywheel.records import Verdict
from flywheel.records.nodes import Query, finished
from flywheel.store.taxonomy import Failed, held, open_table
from flywheel.text import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Failures of a task that are looked at, by the hash of their ids; and examples of each proposed mode.
AT_MOST, EXAMPLES = 2_000, 3
_NAME_CHARS = 40


@dataclass(frozen=True)
class Proposal:
    """A mode for a group of failures. Empty `when`: no predicate told it, a person may find one.

    `said`, `right`, `there`: among those failures of the fallback that the predicate was not found on, how many it
    names, how many of those are of the group, and how many the group has.
    """

    name: str
    task: str
    severity: str
    description: str
    when: str
    failures: int
    right: int
    said: int
    there: int
    examples: list[dict[str, Any]]
    """question, gold, answer, reasons."""


@dataclass(frozen=True)
class Unnamed:
    """What a task's fallback took: `failures` of `all_failures`, of which `looked_at` were grouped."""

    task: str
    fallback: str
    failures: int
    all_failures: int
    looked_at: int
    proposals: list[Proposal]


def propose(project: Workspace, query: Query, iteration: int | None) -> list[Unnamed]:
    """Of each task with failures in its fallback; of the last iteration in which anything failed, if none is named.

    Raises UsageError where no failures are named yet.
    """
    node = _diagnosed(project, query, iteration)
    found = query(
        """SELECT a.*, f.task AS of_task, f.mode FROM failures f JOIN answers a USING (answer_id)
           WHERE f.node = ? ORDER BY a.answer_id""",
        [node],
    )
    verdicts = _verdicts(query, node)
    taken = {mode.name for mode in project.spec.taxonomy}
    return [
        _unnamed(project, task, [row for row in found if row["of_task"] == task], verdicts, taken)
        for task in project.spec.tasks
        if any(row["of_task"] == task and row["mode"] == _fallback(project, task) for row in found)
    ]


def chosen(found: Sequence[Unnamed], names: Sequence[str]) -> list[Proposal]:
    """The named ones that have a predicate. Raises UsageError where one is not among them."""
    known = {one.name: one for task in found for one in task.proposals if one.when}
    if strange := [name for name in names if name not in known]:
        near = did_you_mean(strange[0], known) or "None is."
        raise UsageError(f'no mode "{strange[0]}" is proposed. {near}')
    return [known[name] for name in dict.fromkeys(names)]


def _diagnosed(project: Workspace, query: Query, iteration: int | None) -> str:
    chain = make_plan(project, iteration, query).chain()
    nodes = {node: number for number, kinds in chain.items() for node in kinds.get("diagnose", ())}
    done = {nodes[record.node]: record.node for record in finished(query, list(nodes))}
    failing = {row["node"] for row in query("SELECT DISTINCT node FROM failures")}
    last = max((number for number, node in done.items() if node in failing), default=max(done, default=0))
    wanted = iteration if iteration is not None else last
    if wanted not in done:
        known = ", ".join(map(str, sorted(done))) or "none"
        raise UsageError(
            f"no failures of iteration {wanted or 1} are named yet (iterations: {known}). Run `flywheel apply`."
        )
    return done[wanted]


def _verdicts(query: Query, node: str) -> dict[str, list[Verdict]]:
    rows = query(
        """SELECT DISTINCT v.* EXCLUDE (node) FROM verdicts v
           JOIN failures f ON f.answer_id = v.subject_id WHERE f.node = ? ORDER BY ALL""",
        [node],
    )
    found: dict[str, list[Verdict]] = {}
    for row in rows:
        verdict = Verdict(row["subject_id"], row["verifier"], row["version"], row["outcome"], row["reason"])
        found.setdefault(row["subject_id"], []).append(verdict)
    return found


def _fallback(project: Workspace, task: str) -> str:
    return next(mode.name for mode in project.spec.modes_of(task) if mode.when is None)


def _unnamed(
    project: Workspace,
    task: str,
    rows: Sequence[Mapping[str, Any]],
    verdicts: Mapping[str, list[Verdict]],
    taken: set[str],
) -> Unnamed:
    fallback = _fallback(project, task)
    left = sorted((row for row in rows if row["mode"] == fallback), key=lambda row: fingerprint(row["answer_id"]))
    looked_at = left[:AT_MOST]
    target = project.spec.tasks[task].target
    failed = [
        Failed(
            {name: value for name, value in row["row"].items() if name != target},
            row["answer"],
            row["gold"],
            verdicts.get(row["answer_id"], []),
        )
        for row in looked_at
    ]
    found = proposals(failed, task, project.spec.tasks[task].verify, taken)
    return Unnamed(task, fallback, len(left), len(rows), len(looked_at), found)


def proposals(failed: Sequence[Failed], task: str, verifiers: Sequence[str], taken: set[str]) -> list[Proposal]:
    """Those whose predicate names the fewest others come first, as the first mode that holds wins; groups that no
    predicate tells come last. `taken`: names that modes have; those given out are added. `failed` in random order:
    every other one is for measuring."""
    import numpy as np

    shown = [{tell.when: tell for tell in tells(one)} for one in failed]
    groups = grouped([[t.when for t in of_one.values() if t.of_answer] for of_one in shown])
    if not groups:
        return []
    holds = _holds(failed, verifiers, shown)
    found_on = np.arange(len(failed)) % 2 == 0
    told = [(telling(group, shown, holds, found_on), group) for group in groups]
    told.sort(key=lambda one: -one[0].found_precision if one[0] else 1.0)
    return [_proposal(group, failed, task, found, taken) for found, group in told]


def _holds(
    failed: Sequence[Failed], verifiers: Sequence[str], shown: Sequence[Mapping[str, Tell]]
) -> dict[str, NDArray[np.bool_]]:
    """For each SQL that several failures show, of which failures the engine says that it is true."""
    import numpy as np

    counts: dict[str, int] = {}
    for of_one in shown:
        for when in of_one:
            counts[when] = counts.get(when, 0) + 1
    connection = open_table(failed, verifiers)
    try:
        return {
            when: np.array([value == "true" for value in held(connection, when)])
            for when, count in counts.items()
            if count > 1
        }
    finally:
        connection.close()


def _proposal(
    group: Sequence[int], failed: Sequence[Failed], task: str, told: Discerned | None, taken: set[str]
) -> Proposal:
    words = " and ".join(tell.name for tell in told.tells) if told else "alike"
    name = _name(words, taken)
    examples = [_example(failed[place]) for place in group[:EXAMPLES]]
    numbers = (told.right, told.said, told.there) if told else (0, 0, len(group))
    description = words[0].upper() + words[1:] + "."
    return Proposal(name, task, "major", description, told.when if told else "", len(group), *numbers, examples)


def _example(one: Failed) -> dict[str, Any]:
    reasons = {v.verifier: v.reason for v in one.verdicts if v.outcome == "fail"}
    return {"question": dict(one.row), "gold": one.gold, "answer": one.answer, "reasons": reasons}


def _name(words: str, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").lower()[:_NAME_CHARS].strip("_")
    base = plain if plain[:1].isalpha() else f"mode_{plain}".strip("_")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name
