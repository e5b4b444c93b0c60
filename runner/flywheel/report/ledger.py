"""What each teacher and each strategy cost, and what became of its lessons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flywheel.report import queries
from flywheel.report.facts import GeneratorFact, ReportFacts, TeacherFact
from flywheel.report.model import Modes, Strategies, Strategy, Teachers, TeacherShare, TeacherWork
from flywheel.report.scoring import Query, Row, decoded, keyed, rate
from flywheel.report.words import shown


def teachers(query: Query, nodes: queries.Nodes, facts: ReportFacts, modes: Modes, taught: Sequence[Row]) -> Teachers:
    """What each teacher cost and what of it was kept. Declared teachers that were not asked have zeros.

    `taught`: rows of `queries.taught`.
    """
    sql = {
        "lessons": queries.lessons(nodes, "teacher"),
        "calls": queries.calls(nodes, "teacher"),
        "dataset": queries.dataset(nodes, "teacher"),
    }
    rows = {what: query(text, ()) for what, text in sql.items()}
    known = {teacher.name: teacher for teacher in facts.teachers}
    fell = _fell(taught, "teacher", modes)
    found = tuple(
        _teacher(known.get(name, TeacherFact(name, "unknown")), _entry(rows, "teacher", name, fell))
        for name in _names(known, rows, "teacher")
    )
    queried = {f"{what}_query": text for what, text in sql.items()}
    return Teachers(rows=found, taught_query=queries.taught(nodes), **queried)


def _teacher(fact: TeacherFact, entry: dict[str, Any]) -> TeacherWork:
    own = entry.pop("own")
    accepted = entry["accepted"]
    return TeacherWork(
        kind=fact.kind,
        simulated=fact.simulated,
        style=shown(fact.style, 160),
        usd_per_accepted=own / accepted if accepted else None,
        **entry,
    )


def strategies(
    query: Query, nodes: queries.Nodes, facts: ReportFacts, modes: Modes, taught: Sequence[Row]
) -> Strategies:
    """What each generator cost, everything counted, and what of its lessons was kept."""
    sql = {
        "lessons": queries.lessons(nodes, "generator"),
        "calls": queries.calls(nodes, "generator"),
        "dataset": queries.dataset_by_generator(nodes),
        "asked": queries.asked(nodes),
    }
    rows = {what: query(text, ()) for what, text in sql.items()}
    known = {generator.name: generator for generator in facts.generators}
    fell = _fell(taught, "generator", modes)
    rounds: dict[str, list[Row]] = defaultdict(list)
    for row in rows["asked"]:
        rounds[row["generator"]].append(row)
    found = tuple(
        _strategy(known.get(name, GeneratorFact(name, "unknown")), _entry(rows, "generator", name, fell), rounds[name])
        for name in _names(known, rows, "generator")
    )
    return Strategies(
        rows=found,
        human_usd_per_example=facts.human_usd_per_example,
        human_minutes_per_example=facts.human_minutes_per_example,
        taught_query=queries.taught(nodes),
        **{f"{what}_query": text for what, text in sql.items()},
    )


def _strategy(fact: GeneratorFact, entry: dict[str, Any], rounds: list[Row]) -> Strategy:
    del entry["own"]
    accepted = entry["accepted"]
    allocated: Mapping[str, float] = next((found for row in rounds if (found := decoded(row["allocation"]))), {})
    shares = tuple(
        TeacherShare(teacher=name, weight=weight, allocated=allocated.get(name), bandit=fact.bandit.get(name))
        for name, weight in fact.weights.items()
    )
    return Strategy(
        strategy=fact.strategy,
        allocate=fact.allocate,
        shares=shares,
        same_answers=max((row["same_answers"] or 0.0 for row in rounds), default=0.0),
        promised=next((row["promised"] for row in rounds if row["promised"] is not None), None),
        usd_per_accepted=entry["usd"] / accepted if accepted else None,
        **entry,
    )


def _names(known: Iterable[str], rows: Mapping[str, list[Row]], column: str) -> list[str]:
    """Declared ones in their order, then those that only the rows know; rows of no strategy (judges') are left out."""
    seen = {row[column] for what in ("lessons", "calls") for row in rows[what]} - {None, ""}
    return [*known, *sorted(seen - set(known))]


def _entry(
    rows: Mapping[str, list[Row]], column: str, name: str, fell: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """The columns that all ledgers share."""
    lessons, calls, share = (keyed(rows[what], column).get(name, {}) for what in ("lessons", "calls", "dataset"))
    total = sum(row["lessons"] for row in rows["dataset"])
    accepted, questions = lessons.get("chosen", 0), lessons.get("questions", 0)
    return {
        "name": name,
        "calls": calls.get("calls", 0),
        "failed_calls": calls.get("failed", 0),
        "candidates": lessons.get("generated", 0),
        "questions": questions,
        "accepted": accepted,
        "acceptance": rate(lessons.get("answered", 0), questions),
        "trained": lessons.get("trained", 0),
        "dataset_share": share.get("lessons", 0) / total if total else None,
        "tokens": int(calls.get("tokens", 0)),
        "usd": calls.get("usd", 0.0),
        "own": calls.get("own", 0.0),
        "modes_fell": fell.get(name, ()),
    }


def _fell(taught: Sequence[Row], column: str, modes: Modes) -> dict[str, tuple[str, ...]]:
    """Of the modes for which it wrote lessons that were trained on: those whose rate fell beyond chance."""
    falling = {mode.name for mode in modes.rows if mode.change and mode.change.direction == "down"}
    found: dict[str, set[str]] = defaultdict(set)
    for row in taught:
        if row["trained"] and row["mode"] in falling:
            found[row[column]].add(row["mode"])
    return {name: tuple(sorted(modes)) for name, modes in found.items()}
