"""What the student earned for its own answers, round by round, and whether that was worth anything."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.report import queries, words
from flywheel.report.facts import ReportFacts
from flywheel.report.model import Audit, RewardError, RewardRound, Rewards, Score, Scores
from flywheel.report.scoring import Query, Row, rate


def rewards(query: Query, nodes: queries.Nodes, facts: ReportFacts, audit: Audit, scores: Scores) -> Rewards:
    """Empty where the student learned from lessons alone."""
    if not facts.rounds:
        return Rewards()
    sql = queries.rewards(nodes)
    rounds = tuple(_round(row) for row in query(sql, ()))
    errors = tuple(
        RewardError(task=row.task, verifier=row.verifier, false_accept=row.false_accept, false_reject=row.false_reject)
        for row in audit.rows
    )
    targets = [score for score in scores.suites if score.role == "target"]
    return Rewards(
        method=facts.method, rounds=rounds, errors=errors, verdict=_verdict(rounds, targets, facts.rounds), query=sql
    )


def _round(row: Row) -> RewardRound:
    counts = ("round", "questions", "answers", "unknown", "units", "left_out", "steps")
    return RewardRound(**{key: row[key] for key in counts}, reward=rate(row["passed"], row["answers"] - row["unknown"]))


def _verdict(rounds: Sequence[RewardRound], targets: Sequence[Score], planned: int) -> str:
    """In words: the reward over the rounds beside the suites that should rise."""
    known = [found.reward for found in rounds if found.reward is not None]
    if not known:
        return "No answer could be judged: nothing was learned from any."
    if len(known) < 2:
        return f"{words.percent(known[0].value)} of the answers earned the reward before the {_rounds(planned)}."
    rose = known[-1].low > known[0].high
    earned = f"from {words.percent(known[0].value)} before the first round to {words.percent(known[-1].value)} before "
    earned += "the last"
    if not rose:
        return f"The reward did not rise beyond chance, {earned}."
    flat = [score for score in targets if score.change is None or score.change.direction != "up"]
    if not flat:
        return f"The reward rose {earned}, and {', '.join(score.suite for score in targets)} rose with it."
    return (
        f"The reward rose {earned}, and {', '.join(score.suite for score in flat)} did not. The student may have "
        "learned to please the verifiers: read answers that pass (table samples), run flywheel audit, and add the "
        "cheats that you find to train.canaries."
    )


def _rounds(planned: int) -> str:
    return "only round" if planned == 1 else "first round"
