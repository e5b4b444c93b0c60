"""The model that a gain is over: whether its wrong answers are its own, and what it can do when shown how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from flywheel.prompting.artefacts import CAUSES, Cause, TaskReading, WrongAnswer, claims, enumerated, remedy, said_of
from flywheel.report import queries, words
from flywheel.report.facts import ReportFacts, SuiteFact
from flywheel.report.model import Artefact, ArtefactCount, Baseline, WithShots
from flywheel.report.scoring import Query, Row, change, rate
from flywheel.report.words import shown
from flywheel.text import plural

#: So many solved examples are proposed, to see what the base does when shown how.
SHOTS = 5
_Counts = Mapping[tuple[str, Cause], list[ArtefactCount]]


def baseline(query: Query, nodes: queries.Nodes, facts: ReportFacts, incumbent: str) -> Baseline:
    """`incumbent`: its model id, as the gate has it; empty where no gate decided."""
    probes_sql, suites_sql = queries.wrong_probes(nodes), queries.wrong_items(nodes)
    constants_sql = queries.most_frequent(nodes)
    probes, items = query(probes_sql, ()), query(suites_sql, ())
    models = {row["model_id"] for row in (*probes, *items)} | ({incumbent} - {""})
    who: Literal["base", "incumbent"] = "base" if models <= {facts.base_id} else "incumbent"
    counts = _counts(probes, items, facts)
    readings = {task.name: task.reading for task in facts.tasks if task.reading is not None}
    artefacts = tuple(_artefact(readings[task], cause, found, who) for (task, cause), found in counts.items())
    shots = tuple(row for pair in _pairs(facts) for row in _with_shots(query, nodes, *pair, who))
    return Baseline(
        who=who,
        artefacts=artefacts,
        shots=shots,
        advice=_advice(facts, {artefact.task for artefact in artefacts}, who),
        constants=_constants(query(constants_sql, ()), facts),
        constants_query=constants_sql,
        probes_query=probes_sql,
        suites_query=suites_sql,
    )


# --- artefacts --------------------------------------------------------------------------------------------------------


def _counts(probes: list[Row], items: list[Row], facts: ReportFacts) -> _Counts:
    """In the order of the tasks; of each cause the probes, then the suites in their order."""
    of_task: dict[str, list[WrongAnswer]] = defaultdict(list)
    of_suite: dict[str, list[WrongAnswer]] = defaultdict(list)
    for found, rows, column in ((of_task, probes, "task"), (of_suite, items, "suite")):
        for row in rows:
            found[row[column]].append(WrongAnswer(row["answer"] or "", row["gold"] or "", row["truncated"]))
    counts: dict[tuple[str, Cause], list[ArtefactCount]] = {}
    for task in facts.tasks:
        if task.reading is None:
            continue
        places = [("", of_task[task.name], 0)]
        places += [(s.name, of_suite[s.name], s.shots) for s in facts.suites if s.task == task.name]
        claimed = [(suite, len(wrong), claims(task.reading, wrong, shots)) for suite, wrong, shots in places]
        for cause in CAUSES:
            found_here = [
                ArtefactCount(suite=suite, hits=hits[cause], wrong=wrong)
                for suite, wrong, hits in claimed
                if cause in hits
            ]
            counts |= {(task.name, cause): found_here} if found_here else {}
    return counts


def _artefact(reading: TaskReading, cause: Cause, counts: list[ArtefactCount], who: str) -> Artefact:
    first = plural(counts[0].wrong, "wrong answer")
    places = [
        f"{count.hits:,} of {first if count is counts[0] else f'{count.wrong:,}'} "
        + (f"on {count.suite}" if count.suite else f"to the probes of {reading.task}")
        for count in counts
    ]
    order = remedy(reading, cause)
    return Artefact(
        task=reading.task,
        cause=cause,
        counts=tuple(counts),
        text=shown(said_of(reading, cause, enumerated(places), who), 600),
        remedy=shown(f"{order[:1].upper()}{order[1:]}.", 400),
    )


def _constants(rows: list[Row], facts: ReportFacts) -> tuple[str, ...]:
    """What it is worth to know which label is the most frequent, and nothing else."""
    labelled = {task.name for task in facts.tasks if task.reading is not None and task.reading.labels.declared}
    suites = {s.name for s in facts.suites if s.role == "target" and s.task in labelled}
    return tuple(
        shown(
            f"One answer to everything, “{row['gold']}”, would get {words.percent(row['times'] / row['items'])} of "
            f"{row['suite']} ({row['times']:,} of {plural(row['items'], 'item')}).",
            300,
        )
        for row in rows
        if row["suite"] in suites
    )


# --- shots ------------------------------------------------------------------------------------------------------------


def _pairs(facts: ReportFacts) -> list[tuple[SuiteFact, SuiteFact]]:
    """Each suite without shots, beside those that ask the same with shots, be it of fewer items."""
    return [
        (suite, other)
        for suite in facts.suites
        for other in facts.suites
        if suite.task and not suite.shots and other.shots and other.asks == suite.asks
    ]


def _with_shots(
    query: Query, nodes: queries.Nodes, suite: SuiteFact, other: SuiteFact, who: str
) -> tuple[WithShots, ...]:
    """Nothing where no candidate was measured."""
    sql = queries.with_shots(nodes, suite.name, other.name)
    row = query(sql, ())[0]
    items = row["items"]
    rates = [rate(row[column] or 0, items) for column in ("after", "before", "shown")]
    over = change(row["gained"] or 0, row["lost"] or 0, items)
    over_shown = change(row["gained_over_shown"] or 0, row["lost_to_shown"] or 0, items)
    candidate, without, with_shots = rates
    if candidate is None or without is None or with_shots is None or over is None or over_shown is None:
        return ()
    text = (
        f"{suite.name}: {words.points(over.value)} points over the {who} without shots, "
        f"{words.points(over_shown.value)} ({words.interval(over_shown)}) over the same {who} with "
        f"{plural(other.shots, 'shot')} ({other.name}, {plural(items, 'item')} of both)."
    )
    return (
        WithShots(
            suite=suite.name,
            shown=other.name,
            shots=other.shots,
            items=items,
            candidate=candidate,
            without=without,
            with_shots=with_shots,
            over_without=over,
            over_with_shots=over_shown,
            text=text,
            query=sql,
        ),
    )


def _advice(facts: ReportFacts, tasks: set[str], who: str) -> str:
    """For the first target whose base is in doubt, and of which no suite shows it with shots."""
    paired = {suite.name for suite, _ in _pairs(facts)}
    doubtful = [s for s in facts.suites if s.role == "target" and s.task in tasks and not s.shots]
    suite = next((s for s in doubtful if s.name not in paired), None)
    if suite is None:
        return ""
    asks = suite.asks if suite.limit is None else f"{suite.asks}, limit: {suite.limit}"
    key = f"{suite.name}_shots: {{{asks}, role: watch, num_fewshot: {SHOTS}}}"
    seeds = any(task.name == suite.task and task.seeds for task in facts.tasks)
    more = "" if seeds else f" Shots are solved seeds: add tasks.{suite.task}.seeds, too."
    return shown(f"To see what the same {who} does when shown how, add to evals: {key}.{more}", 600)
