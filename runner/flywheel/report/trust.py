"""Whether the figures can be trusted: audits, judges, ablations, how suites were measured, who approved, where."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from flywheel.report import queries, words
from flywheel.report.facts import JudgeFact, ReportFacts
from flywheel.report.model import (
    Ablated,
    Ablations,
    AfterLessons,
    Approval,
    Approvals,
    Audit,
    Audited,
    AuditRate,
    AuditSource,
    Change,
    Judged,
    LabelScore,
    LiveTested,
    LoopCurves,
    Measurement,
    Noise,
    RanOn,
    Rate,
    RunFact,
    StockCommand,
    Thoughts,
    WrongCase,
)
from flywheel.report.scoring import Query, Row, decoded, keyed, rate
from flywheel.report.words import shown
from flywheel.stats import Needed

#: Stands for all verifiers of a task together, in table `audits`.
TOGETHER = "*"
#: Cases that verifiers got wrong, for which a page has room.
WRONG_CASES = 12


# --- verifiers ----------------------------------------------------------------------------------------------


def audit(query: Query, facts: ReportFacts) -> Audit:
    """The newest audit of each task's verifiers in the versions that judge now, and the judges' calibrations."""
    versions = {
        (task.name, name): version
        for task in facts.tasks
        for name, version in [(TOGETHER, task.together), *task.verify]
    }
    sql = queries.audits((*key, version) for key, version in versions.items())
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in query(sql, ()):
        groups[row["task"], row["verifier"]].append(row)
    judged, judges_sql = _judges(query, facts)
    never = [name for task, name in versions if name != TOGETHER and (task, name) not in groups]
    found = [groups[key] for key in versions if key in groups]
    return Audit(
        rows=tuple(_audited(rows) for rows in found),
        never=tuple(dict.fromkeys(never)),
        judges=judged,
        wrong=_wrong_cases(found),
        query=sql,
        judges_query=judges_sql,
    )


def _audited(rows: list[Row]) -> Audited:
    first = rows[0]
    counts = ("source", "expected", "cases", "passed", "failed", "unknown")
    return Audited(
        task=first["task"],
        verifier="" if first["verifier"] == TOGETHER else first["verifier"],
        version=first["version"],
        at=first["at"],
        false_accept=_audit_rate(rows, "fail", "passed"),
        false_reject=_audit_rate(rows, "pass", "failed"),
        sources=tuple(AuditSource(**{key: row[key] for key in counts}) for row in rows),
    )


def _audit_rate(rows: list[Row], expected: str, wrong: str) -> AuditRate:
    chosen = [row for row in rows if row["expected"] == expected]
    cases, hits = sum(row["passed"] + row["failed"] for row in chosen), sum(row[wrong] for row in chosen)
    unknown = sum(row["unknown"] for row in chosen)
    return AuditRate(cases=cases, wrong=hits, unknown=unknown, rate=rate(hits, cases))


def _wrong_cases(groups: list[list[Row]]) -> tuple[WrongCase, ...]:
    """Some of those that all verifiers together got wrong, else of single ones, in turn from each source."""
    rows = [row for rows in groups for row in rows if row["verifier"] == TOGETHER]
    rows = rows or [row for rows in groups for row in rows]
    cases = [(row, (decoded(row["wrong"]) or [])[place : place + 1]) for place in range(WRONG_CASES) for row in rows]
    found = [_wrong_case(row, case[0]) for row, case in cases if case]
    return tuple(found[:WRONG_CASES])


def _wrong_case(row: Row, case: dict[str, Any]) -> WrongCase:
    asked = json.dumps(case.get("row") or {}, ensure_ascii=False)
    texts = {"row": asked, **{key: case.get(key) for key in ("answer", "reference", "reason")}}
    return WrongCase(
        task=row["task"],
        verifier="" if row["verifier"] == TOGETHER else row["verifier"],
        source=row["source"],
        expected=row["expected"],
        text=shown("\n".join(f"{name}: {value}" for name, value in texts.items() if value), 600),
    )


def _judges(query: Query, facts: ReportFacts) -> tuple[tuple[Judged, ...], str]:
    versions = {name: version for task in facts.tasks for name, version in task.verify}
    sql = queries.calibrations((judge.name, versions.get(judge.name, "")) for judge in facts.judges)
    rows = keyed(query(sql, ()), "verifier")
    return tuple(_judge(judge, rows.get(judge.name)) for judge in facts.judges), sql


def _judge(fact: JudgeFact, row: Row | None) -> Judged:
    """Without a calibration it is not known how good the judge is."""
    known: Row = row or {"problem": "its agreement with people is not measured", "cases": 0, "agreed": 0, "at": ""}
    problem = known["problem"] or ""
    return Judged(
        verifier=fact.name,
        teacher=fact.teacher,
        cases=known["cases"],
        agreed=known["agreed"],
        kappa=known.get("kappa"),
        low=known.get("low"),
        high=known.get("high"),
        min_kappa=fact.min_kappa,
        calibrated=not problem,
        problem=shown(problem, 300),
        at=known["at"],
    )


# --- parts, measurement, people, runs -----------------------------------------------------------------------


def ablations(query: Query, nodes: queries.Nodes) -> Ablations:
    sql = queries.ablations(nodes)
    rows = query(sql, ())
    curves: list[Row] = next((found for row in rows if (found := decoded(row["curves"]))), [])
    return Ablations(rows=tuple(map(_ablated, rows)), curves=tuple(map(_curves, curves)), query=sql)


def _curves(curve: Row) -> LoopCurves:
    sides = ("targeted", "untargeted")
    points = {side: tuple(_after_lessons(**point) for point in curve[side]) for side in sides}
    trained = {side: [point.lessons for point in points[side]] for side in sides}
    needs = (
        words.lessons_needed(side, trained[side], _needed(curve[f"{side}_needs"]), other, trained[other][-1])
        for side, other in (sides, sides[::-1])
    )
    return LoopCurves(
        suite=curve["suite"],
        items=curve["items"],
        seeds=curve["seeds"],
        targeted=points["targeted"],
        untargeted=points["untargeted"],
        needs=tuple(needs),
    )


def _after_lessons(lessons: float, score: float, low: float, high: float) -> AfterLessons:
    return AfterLessons(lessons=lessons, score=Rate(value=score, low=low, high=high))


def _needed(stored: Row) -> Needed:
    """JSON has no infinity: what is not reached is null."""
    return Needed(**{key: math.inf if value is None else value for key, value in stored.items()})


def _ablated(row: Row) -> Ablated:
    known = ("name", "without", "suite", "lessons", "items", "with_part", "without_part", "p_value")
    change = Change(value=row["difference"], low=row["low"], high=row["high"])
    return Ablated(**{key: row[key] for key in known}, change=change, note=shown(row["note"] or "", 400))


def measurement(query: Query, nodes: queries.Nodes) -> Measurement:
    """As the evaluate node recorded it; empty where nothing was evaluated."""
    sql = queries.measurement(nodes)
    row: Row = {key: decoded(value) for key, value in next(iter(query(sql, ())), {}).items()}
    settings, noise, too_long, commands, ran_on, thoughts, labels = (
        row.get(key) or {}
        for key in ("settings", "noise", "too_long", "lm_eval_commands", "ran_on", "thoughts", "labels")
    )
    return Measurement(
        settings=tuple((str(name), shown(str(value), 160)) for name, value in sorted(settings.items())),
        reused=tuple(row.get("measured_before") or ()),
        noise=tuple(Noise(suite=suite, items=n["items"], differ=n["differ"]) for suite, n in sorted(noise.items())),
        too_long=tuple(sorted(too_long.items())),
        ran_on=tuple(
            RanOn(suite=suite, arm=arm, answers=answers)
            for suite, arms in sorted(ran_on.items())
            for arm, answers in sorted(arms.items())
        ),
        thoughts=tuple(
            Thoughts(suite=suite, arm=arm, **counts)
            for suite, arms in sorted(thoughts.items())
            for arm, counts in sorted(arms.items())
        ),
        stopped_thinking=tuple(suite for suite, arms in sorted(thoughts.items()) if _stopped_thinking(arms)),
        labels=tuple(
            LabelScore(suite=suite, arm=arm, label=shown(label, 80), f1=_f1(**counts), **counts)
            for suite, arms in sorted(labels.items())
            for arm, by_label in sorted(arms.items())
            for label, counts in sorted(by_label.items())
        ),
        commands=tuple(
            StockCommand(suite=suite, arm=arm, command=shown(command, 4_000))
            for suite, arms in sorted(commands.items())
            for arm, command in arms.items()
        ),
        query=sql,
    )


def _stopped_thinking(arms: Mapping[str, Mapping[str, int]]) -> bool:
    if "incumbent" not in arms or "candidate" not in arms:
        return False
    before, after = (arms[arm]["thinking"] / max(1, arms[arm]["answers"]) for arm in ("incumbent", "candidate"))
    return before > 0 and after < before / 2


def _f1(gold: int, said: int, right: int) -> float | None:
    return 2 * right / (gold + said) if gold + said else None


def approvals(query: Query, nodes: queries.Nodes, facts: ReportFacts, promoted: bool) -> Approvals:
    sql = queries.approvals(nodes)
    rows = (
        Approval(
            person=shown(row["person"] or "", 80),
            verdict=row["verdict"],
            note=shown(row["note"] or "", 600),
            at=row["at"] or "",
        )
        for row in query(sql, ())
    )
    return Approvals(needed=promoted and facts.approve == "human", rows=tuple(rows), query=sql)


def live(facts: ReportFacts, models: Collection[str]) -> tuple[LiveTested, ...]:
    """What live traffic found of `models`, oldest first."""
    return tuple(
        LiveTested(
            model_id=test.model_id, former_id=test.former_id, verdict=test.verdict, at=test.at[:16].replace("T", " "),
            found=test.words,
        )
        for test in facts.live
        if test.model_id in models
    )  # fmt: skip


def runs(query: Query, nodes: queries.Nodes) -> tuple[tuple[RunFact, ...], str]:
    sql = queries.runs(nodes)
    return tuple(RunFact(**row) for row in query(sql, ())), sql
