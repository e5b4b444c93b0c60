"""What the student earned for its own answers, round by round, and whether that was worth anything."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.report import queries, words
from flywheel.report.facts import ReportFacts
from flywheel.report.model import Audit, Audited, Rate, RewardError, RewardRound, Rewards, SinceLessons
from flywheel.report.scoring import Query, Row, change, rate
from flywheel.stats import wilson

_CHEATS = (
    "The student may have learned to please the verifiers: read answers that pass (table samples), run flywheel audit, "
    "and add the cheats that you find to train.canaries."
)
_NOT_MEASURED = (
    "What the lessons alone would have scored was not measured: train.method: sft, applied once, measures it, and runs "
    "only what comes after train."
)


def rewards(query: Query, nodes: queries.Nodes, facts: ReportFacts, audit: Audit) -> Rewards | None:
    """None where the student learned from lessons alone."""
    if not facts.rounds:
        return None
    sql, suites_sql = queries.rewards(nodes), queries.since_first_round(nodes)
    rounds = tuple(_round(row) for row in query(sql, ()))
    suites = tuple(_since(row) for row in query(suites_sql, ()))
    targets = {suite.name for suite in facts.suites if suite.role == "target"}
    return Rewards(
        method=facts.method,
        rounds=rounds,
        errors=tuple(_error(row) for row in audit.rows),
        suites=suites,
        verdict=_verdict(rounds, [suite for suite in suites if suite.suite in targets]),
        query=sql,
        suites_query=suites_sql,
    )


def _round(row: Row) -> RewardRound:
    counts = ("round", "questions", "new_questions", "answers", "unknown", "units", "left_out", "steps")
    return RewardRound(**{key: row[key] for key in counts}, reward=_reward(row))


def _reward(row: Row) -> Rate | None:
    """Share of the decided answers that passed. Its Wilson interval is that of so many independent answers as would
    vary as much (Kish 1965, design effect); where all earned the same, of one answer a question."""
    decided = row["answers"] - row["unknown"]
    if not decided:
        return None
    share = row["passed"] / decided
    alike = share * (1 - share) / row["variance"] if row["variance"] else row["questions"]
    low, high = wilson(share * min(alike, decided), min(alike, decided))
    return Rate(value=share, low=low, high=high)


def _since(row: Row) -> SinceLessons:
    items = row["items"]
    return SinceLessons(
        suite=row["suite"],
        before=rate(row["before"], items),
        after=rate(row["after"], items),
        change=change(row["gained"], row["lost"], items),
    )


def _error(row: Audited) -> RewardError:
    return RewardError(
        task=row.task, verifier=row.verifier, false_accept=row.false_accept, false_reject=row.false_reject
    )


def _verdict(rounds: Sequence[RewardRound], targets: Sequence[SinceLessons]) -> str:
    """In words: the reward over the rounds beside the suites that should rise."""
    known = [found.reward for found in rounds if found.reward is not None]
    if not known:
        return "No answer could be judged: nothing was learned from any."
    rose = known[-1].low > known[0].high
    return f"{_earned(known[0].value, known[-1].value, len(known), rose)} {_worth(rose, targets)}"


def _earned(first: float, last: float, rounds: int, rose: bool) -> str:
    if rounds == 1:
        return f"Before the only round {words.percent(first)} of its answers earned the reward."
    change = "rose" if rose else "did not rise beyond chance"
    return f"The reward {change}: {words.percent(first)} before the first round, {words.percent(last)} before the last."


def _worth(rose: bool, targets: Sequence[SinceLessons]) -> str:
    if not targets:
        return _NOT_MEASURED
    moved = ", ".join(
        f"{suite.suite} {words.percent(suite.before.value)} → {words.percent(suite.after.value)}"
        for suite in targets
        if suite.before and suite.after
    )
    flat = [suite for suite in targets if suite.change is None or suite.change.direction != "up"]
    if not flat:
        return f"Since the first round what should rise did: {moved}."
    said = f"Since the first round what should rise did not, beyond chance: {moved}."
    return f"{said} {_CHEATS}" if rose else said
