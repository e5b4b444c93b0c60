"""What makes a candidate a lesson: its verdicts, and that it is the best sample of its question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.records import Reference, Subject, Verdict
from flywheel.spec.strategies import Generator
from flywheel.text import normalised


def subject_of_row(row: Mapping[str, Any]) -> Subject:
    """A row of `candidates` as verifiers see it."""
    known = Reference.stored(row["reference"], row["reference_from"])
    return Subject(
        row["candidate_id"], row["task"], row["row"], row["target"], known.text if known else None,
        known is not None and known.trusted, row["teacher"],
    )  # fmt: skip


def select(
    generator: Generator, rows: Sequence[Mapping[str, Any]], judged: list[dict[str, Any]], answers: int = 1
) -> None:
    """Leaves the best `answers` different passing samples a group, none where the question is too easy; the others
    become spare."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row["group_id"]:
            groups[row["group_id"]].append(index)
    for members in groups.values():
        passing = [i for i in members if judged[i]["outcome"] == "pass"]
        decided = [i for i in members if judged[i]["outcome"] != "unknown"]
        rate = len(passing) / len(decided) if decided else None
        limit = generator.too_easy_from
        too_easy = limit is not None and len(decided) > 1 and rate is not None and rate >= limit
        passing.sort(key=lambda i: (-(judged[i]["score"] or 0.0), len(rows[i]["target"]), i))
        best = _different([rows[i]["target"] for i in passing], passing)[:answers]
        for i in members:
            judged[i]["pass_rate"] = rate
            if judged[i]["outcome"] == "pass" and (too_easy or i not in best):
                why = f"too easy: {len(passing)} of {len(decided)} samples are right" if too_easy else "another sample"
                judged[i] |= {"outcome": "spare", "reason": why}


def _different(texts: Sequence[str], indices: Sequence[int]) -> list[int]:
    """The first index of each text."""
    first: dict[str, int] = {}
    for text, index in zip(texts, indices, strict=True):
        first.setdefault(normalised(text), index)
    return list(first.values())


def grade(verdicts: Sequence[Verdict]) -> float | None:
    """The mean of what grading verifiers gave."""
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    return sum(scores) / len(scores) if scores else None
