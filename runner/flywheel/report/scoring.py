"""How good each arm is: suites, slices, error modes, items that moved, trend. Rows in, model values out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from flywheel.report import queries
from flywheel.report.facts import ModeFact, ReportFacts
from flywheel.report.model import (
    ArmAnswers,
    Change,
    Example,
    Examples,
    Learned,
    Mode,
    Modes,
    Movement,
    Rate,
    Score,
    Scores,
    Trend,
    TrendScore,
    TrendTurn,
)
from flywheel.report.words import objections, shown
from flywheel.stats import paired_difference_interval, wilson
from flywheel.text import plural

Row = dict[str, Any]
Query = Callable[[str, Sequence[Any]], list[Row]]
Chain = Mapping[int, queries.Nodes]


def decoded(value: Any) -> Any:
    """A JSON column as a value, whether or not the query has decoded it."""
    return json.loads(value) if isinstance(value, str) else value


def keyed(rows: list[Row], column: str) -> dict[str, Row]:
    return {row[column]: row for row in rows if row[column] is not None}


#: Characters of a question or an answer that the page shows.
TEXT_LIMIT = 600
#: Slices that a page has room for.
SLICES = 150


def rate(hits: float, items: int) -> Rate | None:
    """Share of `items` with its Wilson interval; for graded scores `hits` is their sum (a wide interval)."""
    if not items:
        return None
    low, high = wilson(hits, items)
    return Rate(value=hits / items, low=low, high=high)


def change(gained: float, lost: float, items: int) -> Change | None:
    """(gained - lost) / items, paired; for graded scores the sums of all rises and of all falls."""
    if not items:
        return None
    low, high = paired_difference_interval(gained, lost, items)
    return Change(value=(gained - lost) / items, low=low, high=high)


def _arm(row: Row, arm: str) -> Rate | None:
    return None if row[arm] is None else rate(row[arm], row["items"])


def _change(row: Row) -> Change | None:
    return None if row["after"] is None else change(row["gained"], row["lost"], row["items"])


def _score(row: Row, roles: Mapping[str, str]) -> Score:
    return Score(
        suite=row["suite"],
        role=roles.get(row["suite"], "watch"),
        column=row.get("slice_column", ""),
        slice=shown(str(row.get("slice_value", "")), 80),
        incumbent=_arm(row, "before"),
        candidate=_arm(row, "after"),
        change=_change(row),
        **{k: row[k] for k in ("items", "unknown", "fixed", "broken", "still_right", "still_wrong")},
    )


def suite_roles(facts: ReportFacts) -> dict[str, str]:
    return {suite.name: suite.role for suite in facts.suites}


def scores(query: Query, chain: Chain, iteration: int, facts: ReportFacts) -> Scores:
    """Suites in the order of the spec, slices under them."""
    roles = suite_roles(facts)
    order = list(roles)
    now = {iteration: chain[iteration]}
    sql, slices_sql, arms_sql = queries.scores(now), queries.slices(now), queries.arms(chain[iteration])
    suites = sorted(
        (_score(r, roles) for r in query(sql, ())),
        key=lambda s: (order.index(s.suite) if s.suite in order else len(order), s.suite),
    )
    slices = [_score(r, roles) for r in query(slices_sql, ())]
    largest = _shown_slices(slices, SLICES)
    return Scores(
        suites=tuple(suites),
        slices=largest,
        slices_left_out=len(slices) - len(largest),
        arms=tuple(_arm_answers(row) for row in query(arms_sql, ())),
        query=sql,
        slices_query=slices_sql,
        arms_query=arms_sql,
    )


def _arm_answers(row: Row) -> ArmAnswers:
    known = {key: row[key] for key in ("suite", "items", "unknown", "tokens", "seconds", "truncated")}
    return ArmAnswers(arm=shown(row["arm"], 80), score=rate(row["score"] or 0, row["items"]), **known)


def _shown_slices(slices: list[Score], limit: int) -> tuple[Score, ...]:
    """At most `limit`, in the order given: those that got worse beyond chance, then those over the most items."""
    ranked = sorted(range(len(slices)), key=lambda i: (not _fell(slices[i]), -slices[i].items))
    return tuple(slices[i] for i in sorted(ranked[:limit]))


def _fell(score: Score) -> bool:
    return score.change is not None and score.change.direction == "down"


def targets(facts: ReportFacts) -> tuple[str, ...]:
    return tuple(suite.name for suite in facts.suites if suite.role == "target")


#: What lessons that were made from no failure are listed under: it is no way to fail and has no rate.
ANY = "any"
_MEANING = {ANY: "Lessons that were made from no failure."}


def _mode_facts(facts: ReportFacts, seen: set[str]) -> list[ModeFact]:
    """The taxonomy in its order, then modes that only the rows know."""
    known = {mode.name for mode in facts.taxonomy}
    return [
        *facts.taxonomy,
        *(ModeFact(n, "" if n == ANY else "major", _MEANING.get(n, "")) for n in sorted(seen - known)),
    ]


def _mode(fact: ModeFact, items: int, trained: bool, rows: Mapping[str, Mapping[str, Row]], judged: int) -> Mode:
    seen = {kind: found.get(fact.name, {}) for kind, found in rows.items()}
    moved = seen["rates"]
    if fact.name == ANY and not moved:
        items = 0
    return Mode(
        name=fact.name,
        severity=fact.severity,
        description=shown(fact.description, 300),
        task=fact.task,
        items=items,
        before=rate(moved.get("before", 0), items),
        after=rate(moved.get("after", 0), items) if trained else None,
        change=change(moved.get("caught", 0), moved.get("cured", 0), items) if trained else None,
        from_wrong=moved.get("from_wrong", 0) if trained else 0,
        from_right=moved.get("from_right", 0) if trained else 0,
        harm=change(moved.get("from_right", 0), moved.get("to_right", 0), items) if trained else None,
        probe_failures=seen["failures"].get("failures", 0),
        in_traffic=rate(seen["traffic"].get("failures", 0), judged) if judged else None,
        budget=int(seen["budget"].get("lessons", 0)),
        candidates=seen["lessons"].get("generated", 0),
        accepted=seen["lessons"].get("chosen", 0),
        trained=seen["lessons"].get("trained", 0),
    )


def modes(
    query: Query, nodes: queries.Nodes, iteration: int, facts: ReportFacts, scored: Scores, taught: Sequence[Row]
) -> Modes:
    """Each error mode, from its rate before through the lessons bought for it to its rate after. `taught`: rows of
    `queries.taught`."""
    suites = targets(facts)
    sql = {
        "rates": queries.mode_rates({iteration: nodes}, suites),
        "failures": queries.failures(nodes),
        "traffic": queries.in_traffic(nodes),
        "budget": queries.budgets(nodes),
    }
    rows = {kind: keyed(query(text, ()), "mode") for kind, text in sql.items()}
    rows["lessons"] = _by_mode(taught)
    on_target = [s for s in scored.suites if s.suite in suites]
    items = sum(s.items for s in on_target)
    task_of, of_task = {suite.name: suite.task for suite in facts.suites}, Counter[str]()
    for score in on_target:
        of_task[task_of.get(score.suite, "")] += score.items
    trained = any(s.candidate is not None for s in on_target)
    live = query(queries.traffic(nodes), ())[0]
    every = _mode_facts(facts, {name for found in rows.values() for name in found})
    return Modes(
        rows=tuple(
            _mode(fact, of_task[fact.task] if fact.task else items, trained, rows, live["judged"]) for fact in every
        ),
        items=items,
        suites=suites,
        probes=query(queries.probes(nodes), ())[0]["probes"],
        probe_failures=sum(row["failures"] for row in rows["failures"].values()),
        traffic=live["judged"],
        traffic_failures=live["failures"],
        cannot_pay=tuple(
            shown(text, 300)
            for row in query(queries.cannot_pay(nodes), ())
            for text in decoded(row["cannot_pay"]) or ()
        ),
        undecided=_undecided(query(queries.undecided(nodes), ())),
        rates_query=sql["rates"],
        failures_query=sql["failures"],
        traffic_query=sql["traffic"],
        budget_query=sql["budget"],
        lessons_query=queries.taught(nodes),
    )


def _by_mode(taught: Sequence[Row]) -> dict[str, Row]:
    """Lessons of all generators and teachers together."""
    found: dict[str, Row] = defaultdict(lambda: dict.fromkeys(("generated", "chosen", "trained"), 0))
    for row in taught:
        for column, number in found[row["mode"]].items():
            found[row["mode"]][column] = number + row[column]
    return dict(found)


def _undecided(rows: Sequence[Row]) -> tuple[str, ...]:
    found = {where: said for row in rows for where, said in (decoded(row["undecided"]) or {}).items()}
    return tuple(
        shown(f"{where} could not be computed for {plural(said['rows'], 'wrong answer')}: {said['why']}", 300)
        for where, said in sorted(found.items())
    )


# --- items that moved ---------------------------------------------------------------------------------------


def _spread(rows: list[Row], limit: int) -> list[Row]:
    """At most `limit` rows, in turn from each (suite, mode before, mode after): no mode hides another."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["suite"], row["mode_before"] or "", row["mode_after"] or "")].append(row)
    rounds = zip_longest(*(groups[key] for key in sorted(groups)))
    return [row for turn in rounds for row in turn if row is not None][:limit]


def question(row: Any, gold: str, target: str, slices: Collection[str] = (), limit: int = TEXT_LIMIT) -> str:
    """The row's columns without the right answer and without `slices`, one a line; a single column stands alone."""
    columns = json.loads(row) if isinstance(row, str) else row
    if not isinstance(columns, dict):
        return shown(str(columns), limit)
    asked = {k: v for k, v in columns.items() if k != target and str(v) != gold}
    asked = {k: v for k, v in asked.items() if k not in slices} or asked
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in asked.items()}
    if len(texts) == 1:
        return shown(next(iter(texts.values())), limit)
    return shown("\n".join(f"{k}: {v}" for k, v in texts.items()), limit)


def _example(moved: Row, arms: Mapping[str, Row], target: str) -> Example:
    before, after = arms["incumbent"], arms["candidate"]
    gold = before["gold"] or ""
    return Example(
        suite=moved["suite"],
        item_id=shown(moved["item_id"], 80),
        movement=moved["movement"],
        question=question(before["question"], gold, target),
        gold=shown(gold, TEXT_LIMIT),
        incumbent_answer=shown(before["answer"] or "", TEXT_LIMIT),
        candidate_answer=shown(after["answer"] or "", TEXT_LIMIT),
        incumbent_mode=before["mode"] or "",
        candidate_mode=after["mode"] or "",
        incumbent_reason=shown(objections(decoded(before["verdicts"]) or ()), 300),
        candidate_reason=shown(objections(decoded(after["verdicts"]) or ()), 300),
    )


def _fetched(query: Query, nodes: queries.Nodes, chosen: list[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    wanted: dict[str, list[str]] = defaultdict(list)
    for row in chosen:
        wanted[row["suite"]].append(row["item_id"])
    arms: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for suite, item_ids in wanted.items():
        for row in query(queries.items(nodes, suite, item_ids), ()):
            arms[(row["suite"], row["item_id"])][row["arm"]] = row
    return arms


def examples(
    query: Query,
    nodes: queries.Nodes,
    iteration: int,
    facts: ReportFacts,
    suites: Sequence[str],
    wanted: Mapping[Movement, int],
) -> Examples:
    """Items of these suites, at most so many of each movement, as both arms answered them."""
    sql = queries.movements({iteration: nodes}, suites, max(wanted.values()))
    moved = query(sql, ())
    chosen = [
        row for kind, limit in wanted.items() for row in _spread([r for r in moved if r["movement"] == kind], limit)
    ]
    arms = _fetched(query, nodes, chosen)
    target = {suite.name: suite.target for suite in facts.suites}
    rows = (_example(r, arms[(r["suite"], r["item_id"])], target.get(r["suite"], "")) for r in chosen)
    return Examples(rows=tuple(rows), query=sql)


# --- trend --------------------------------------------------------------------------------------------------


def _turn(row: Row) -> TrendTurn:
    return TrendTurn(
        iteration=row["iteration"],
        outcome=row["outcome"] if row["trained"] and row["outcome"] else "untrained",
        trained_rows=row["rows"] or 0,
        seconds=row["seconds"],
    )


def trend(query: Query, chain: Chain, facts: ReportFacts) -> Trend:
    """All iterations so far: what their gates said and how both arms scored."""
    roles = suite_roles(facts)
    sql, turns_sql, learned_sql = queries.scores(chain), queries.turns(chain), queries.lessons_so_far(chain)
    points = tuple(
        TrendScore(
            iteration=row["iteration"],
            suite=row["suite"],
            role=roles.get(row["suite"], "watch"),
            incumbent=_arm(row, "before"),
            candidate=_arm(row, "after"),
        )
        for row in query(sql, ())
    )
    turns = tuple(_turn(row) for row in query(turns_sql, ()))
    lessons = {row["iteration"]: row["lessons"] for row in query(learned_sql, ())}
    return Trend(
        turns=turns,
        scores=points,
        learned=tuple(learned for suite in targets(facts) for learned in _learned(suite, points, lessons)),
        query=sql,
        turns_query=turns_sql,
        learned_query=learned_sql,
    )


def _learned(suite: str, points: Sequence[TrendScore], lessons: Mapping[int, int]) -> list[Learned]:
    """The model that the first iteration began with, then each candidate."""
    own = [point for point in points if point.suite == suite]
    start = [Learned(iteration=0, suite=suite, lessons=0, score=p.incumbent) for p in own[:1] if p.incumbent]
    return start + [
        Learned(iteration=p.iteration, suite=suite, lessons=lessons[p.iteration], score=p.candidate)
        for p in own
        if p.candidate and p.iteration in lessons
    ]
