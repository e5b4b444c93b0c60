"""Votes of a judge: what a reply says, and what the votes on one answer come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flywheel.answers import without_thoughts
from flywheel.json_text import json_values
from flywheel.records import LessonRequest, Outcome, Reply, Row
from flywheel.text import one_line, plural

Meaning = tuple[Outcome, float | None]
"""What a verdict says of the answer: outcome, and a grade where the reply has none."""


@dataclass(frozen=True)
class Ballot:
    """One question to the teacher, and what its possible answers mean: verdict → (outcome, grade or None)."""

    request: LessonRequest
    place: int
    """Whose answer is judged."""
    order: int
    """In a pair: 0 where the answer stands first, 1 where the reference does."""
    meaning: Mapping[str, Meaning]


@dataclass(frozen=True)
class Vote:
    order: int
    outcome: Outcome
    grade: float
    why: str


class Tally:
    """The votes on one subject, and why others were not counted."""

    def __init__(self) -> None:
        self.votes: list[Vote] = []
        self.seconds = 0.0
        self._trouble = "no vote"

    def count(self, ballot: Ballot, reply: Reply) -> bool:
        self.seconds += reply.seconds
        if reply.status == "failed":
            self._trouble = f"no answer ({reply.fault}: {reply.detail})"
            return False
        vote = _read(reply.text, ballot)
        if vote is None:
            self._trouble = f'cannot be read: "{one_line(reply.text, 80)}"'
            return False
        self.votes.append(vote)
        return True

    def decided(self, orders: int) -> tuple[Outcome, str]:
        """Outcome and reason: what the majority says, in every order alike."""
        said = [_majority([vote for vote in self.votes if vote.order == order]) for order in range(orders)]
        if len(set(said)) == 1 and said[0] != "unknown":
            return said[0], self._words(said[0])
        if any(all(vote.order != order for vote in self.votes) for order in range(orders)):
            return "unknown", self._trouble
        if "unknown" in said:
            return "unknown", f"a tie: {self._share('pass')} say pass"
        return "unknown", "depends on the order in which the answers stand"

    def _words(self, outcome: Outcome) -> str:
        why = next(vote.why for vote in self.votes if vote.outcome == outcome)
        return why if len(self.votes) == 1 else f"{why} ({self._share(outcome)})"

    def _share(self, outcome: Outcome) -> str:
        return f"{sum(vote.outcome == outcome for vote in self.votes)} of {plural(len(self.votes), 'vote')}"


def _majority(votes: Sequence[Vote]) -> Outcome:
    passes = sum(vote.outcome == "pass" for vote in votes)
    if 2 * passes == len(votes):
        return "unknown"
    return "pass" if 2 * passes > len(votes) else "fail"


def _read(text: str, ballot: Ballot) -> Vote | None:
    """The vote, or None where there is none, or more than one that do not agree."""
    found = [value for value in json_values(without_thoughts(text)) if isinstance(value, dict) and "verdict" in value]
    votes = [_vote(value, ballot) for value in found]
    if not votes or len({vote and vote.outcome for vote in votes}) > 1:
        return None
    return votes[-1]


def _vote(value: Row, ballot: Ballot) -> Vote | None:
    outcome, grade = ballot.meaning.get(str(value["verdict"]).strip(), ("unknown", None))
    if grade is None:
        grade = value.get("grade")
    if outcome == "unknown" or isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 <= grade <= 1:
        return None
    return Vote(ballot.order, outcome, float(grade), str(value.get("why") or f"says {value['verdict']}"))
