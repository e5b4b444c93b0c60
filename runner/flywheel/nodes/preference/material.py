"""What a round learns from: pairs, single answers or groups, out of answers that verifiers passed and failed.

What could not be judged is no part of any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.nodes.context import Context
from flywheel.nodes.preference.questions import PolicyQuestion, is_learnable, questions
from flywheel.normal import normalised
from flywheel.training import OwnAnswer

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Unit:
    """A pair, or one answer with its reward. `origin` of what is refuted: a sample, a probe, a candidate."""

    question_id: str
    task: str
    prompt: str
    chosen: OwnAnswer | None
    rejected: OwnAnswer | None
    reward: float | None = None
    origin: str = "sample"

    @property
    def answers(self) -> tuple[OwnAnswer, ...]:
        return tuple(said for said in (self.chosen, self.rejected) if said is not None)

    def stored(self, node: str, position: int) -> dict[str, Any]:
        """As a row of `preferences`."""
        chosen, rejected = (said.text if said else None for said in (self.chosen, self.rejected))
        return {
            "node": node, "position": position, "task": self.task, "question_id": self.question_id,
            "prompt": self.prompt, "chosen": chosen, "rejected": rejected, "reward": self.reward, "origin": self.origin,
        }  # fmt: skip


def pairs(ctx: Context, samples: Sequence[Row]) -> list[Unit]:
    """A right and a wrong answer to one question: of the samples, each wrong one beside another right one or the known
    answer; in the first round also wrong probe answers, and lessons of which a sample passed and another failed."""
    found = [unit for group in _groups(samples) for unit in _paired(group, "sample")]
    if ctx.node.round == 1:
        found += [unit for group in (*_probed(ctx), *_candidates(ctx)) for unit in _paired(group, group[0]["origin"])]
    distinct = {(unit.prompt, *(normalised(said.text) for said in unit.answers)): unit for unit in found}
    return list(distinct.values())


def singles(samples: Sequence[Row]) -> list[Unit]:
    """Answers with what they earned; those to a question once each."""
    found: dict[tuple[str, str], Unit] = {}
    for row in samples:
        if row["outcome"] != "unknown":
            found.setdefault((row["question_id"], row["answer"]), _single(row, float(row["outcome"] == "pass")))
    return list(found.values())


def groups(samples: Sequence[Row]) -> list[Unit]:
    """Answers to questions that some got right and some wrong, with what each earned beyond its group's mean."""
    return [
        _single(row, float(row["outcome"] == "pass") - row["pass_rate"])
        for row in samples
        if row["outcome"] != "unknown" and is_learnable(row["pass_rate"])
    ]


def _single(row: Row, reward: float) -> Unit:
    said = _said(row)
    chosen, rejected = (said, None) if row["outcome"] == "pass" else (None, said)
    return Unit(row["question_id"], row["task"], row["prompt"], chosen, rejected, reward)


def _said(row: Row) -> OwnAnswer:
    return OwnAnswer(row["prompt"], row["answer"], not row["truncated"])


# --- pairs ------------------------------------------------------------------------------------------------------------


def _groups(rows: Sequence[Row]) -> Iterable[list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["question_id"], []).append(row)
    return found.values()


def _paired(group: Sequence[Row], origin: str) -> Iterable[Unit]:
    """Each different wrong answer beside a right one, the right ones in turn; the known answer where none passed."""
    wrong = _different([_said(row) for row in group if row["outcome"] == "fail"])
    right = _different([_said(row) for row in group if row["outcome"] == "pass"])
    if not right and group[0]["gold"] is not None:
        right = [OwnAnswer(group[0]["prompt"], group[0]["gold"])]
    for place, rejected in enumerate(wrong if right else ()):
        chosen = right[place % len(right)]
        yield Unit(group[0]["question_id"], group[0]["task"], chosen.prompt, chosen, rejected, None, origin)


def _different(said: Iterable[OwnAnswer]) -> list[OwnAnswer]:
    return list({normalised(one.text): one for one in said}.values())


def _probed(ctx: Context) -> list[list[Row]]:
    """Probe rows that were answered wrong, whoever was the student then."""
    known = {(question.task, question.prompt): question for question in questions(ctx)}
    rows = ctx.query(
        "SELECT task, prompt, answer, truncated, outcome FROM answers "
        "WHERE list_contains(?, node) AND outcome = 'fail' ORDER BY answer_id",
        [ctx.fingerprints("probe")],
    )
    return [[_of_question(row, known[row["task"], row["prompt"]], "probe")] for row in rows]


def _candidates(ctx: Context) -> list[list[Row]]:
    """Lessons of which several answers were written: which of them passed, needed or not, and which failed."""
    rows = ctx.query(
        """SELECT c.task, c."row", c.target AS answer, c.group_id, j.outcome FROM candidates c
           JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains($judged, j.node)
           WHERE list_contains($made, c.node) AND c.group_id <> '' AND j.outcome <> 'unknown'
           ORDER BY c.candidate_id""",
        {"judged": ctx.fingerprints("verify"), "made": ctx.fingerprints("generate")},
    )
    found: dict[str, list[Row]] = {}
    for row in rows:
        prompt = ctx.prompt(row["task"], row["row"])
        question = PolicyQuestion(row["task"], row["row"], prompt, None, False, None)
        outcome = "fail" if row["outcome"] == "fail" else "pass"  # a spare one passed
        judged = {"prompt": prompt, "answer": row["answer"], "truncated": False, "outcome": outcome}
        found.setdefault(row["group_id"], []).append(_of_question(judged, question, "candidate"))
    return list(found.values())


def _of_question(row: Row, question: PolicyQuestion, origin: str) -> Row:
    about = {"question_id": question.question_id, "task": question.task, "gold": question.right}
    return {**row, **about, "origin": origin}
