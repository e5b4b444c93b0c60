"""What a promotion changes in production: rows that it was asked, answered by both models before."""

from __future__ import annotations

from flywheel.report import queries
from flywheel.report.facts import ReportFacts
from flywheel.report.model import Change, ShadowExample, ShadowReplay
from flywheel.report.scoring import TEXT_LIMIT, Query, Row, decoded, question, rate
from flywheel.report.words import shown

#: Answers that changed, of each way to change.
EXAMPLES = 4


def shadow(query: Query, nodes: queries.Nodes, facts: ReportFacts) -> tuple[ShadowReplay, ...]:
    """A part for each task whose rows of production are kept for it; none where the spec keeps none."""
    if not nodes.get("shadow"):
        return ()
    sql, changed_sql = queries.shadow(nodes), queries.shadow_changed(nodes, EXAMPLES)
    examples: dict[str, list[ShadowExample]] = {}
    targets = {suite.task: suite.target for suite in facts.suites}
    for row in query(changed_sql, ()):
        examples.setdefault(row["task"], []).append(_example(row, targets.get(row["task"], "")))
    return tuple(
        _replay(row["task"], decoded(row["summary"]), examples.get(row["task"], []), sql, changed_sql)
        for row in query(sql, ())
    )


def _replay(task: str, found: Row, examples: list[ShadowExample], sql: str, changed_sql: str) -> ShadowReplay:
    if not found["rows"]:
        return ShadowReplay(
            task=task, rows=0, left_out=found["left_out"], why=found["why"], query=sql, examples_query=changed_sql
        )
    judged, right, difference = found["judged"], found["right"], found["difference"]
    return ShadowReplay(
        task=task,
        rows=found["rows"],
        questions=found["questions"],
        left_out=found["left_out"],
        same=found["same"],
        as_logged=found["as_logged"],
        judged=judged,
        judged_by=tuple(found["judged_by"].items()),
        incumbent=rate(right["incumbent"], judged),
        candidate=rate(right["candidate"], judged),
        fixed=found["fixed"],
        broken=found["broken"],
        change=None if difference is None else Change(**difference),
        examples=tuple(examples),
        query=sql,
        examples_query=changed_sql,
    )


def _example(row: Row, target: str) -> ShadowExample:
    gold = row["gold"] or ""
    return ShadowExample(
        question=question(row["question"], gold, target),
        gold=shown(gold, TEXT_LIMIT),
        incumbent_answer=shown(row["incumbent_answer"] or "", TEXT_LIMIT),
        candidate_answer=shown(row["candidate_answer"] or "", TEXT_LIMIT),
        incumbent_outcome=row["incumbent_outcome"],
        candidate_outcome=row["candidate_outcome"],
    )
