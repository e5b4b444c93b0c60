"""Rows of a task that production was asked: which are looked at for failures, which are kept for the shadow replay, and
who judges an answer to one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flywheel.json_text import as_json
from flywheel.nodes.context import Context, watched
from flywheel.nodes.lessons.lesson import Lesson, overlaps_with_evals
from flywheel.records import Row, Subject, Verdict
from flywheel.text import normalised, one_line
from flywheel.traffic.matching import Matched, matched

PERSON = "person"
"""Who says that an answer was wrong, where a person did."""


@dataclass(frozen=True)
class Production:
    """Rows of one task, newest first; `left_out`: reason → how many were no use to anybody."""

    mined: tuple[Matched, ...]
    kept: tuple[Matched, ...]
    """`traffic.shadow` keeps them from lessons."""
    left_out: dict[str, int]

    @property
    def rows(self) -> int:
        return len(self.mined) + len(self.kept) + sum(self.left_out.values())


def production_of(ctx: Context, task: str, until: datetime | None = None) -> Production:
    """What the store holds of a task now, or held at `until`."""
    found = matched(ctx.query, task, ctx.spec.traffic.match[task], until)
    whole = _whole(ctx, task, found)
    clean = _clean(ctx, task, whole)
    share = ctx.spec.traffic.shadow
    kept = [is_kept(task, one.row, share) for one in clean]
    return Production(
        tuple(one for one, is_for_shadow in zip(clean, kept, strict=True) if not is_for_shadow),
        tuple(one for one, is_for_shadow in zip(clean, kept, strict=True) if is_for_shadow),
        {"overlap": len(whole) - len(clean), "columns": len(found) - len(whole)},
    )


def is_kept(task: str, row: Row, share: float | None) -> bool:
    """Whether a row is kept for the shadow replay. It hangs on what the row says alone: the same question is on the
    same side for ever, whoever asks it, and whether the answer was right has no say."""
    said = {column: normalised(value) if isinstance(value, str) else value for column, value in row.items()}
    digest = hashlib.sha256(f"shadow {task} {as_json(sorted(said.items()))}".encode()).digest()
    return share is not None and int.from_bytes(digest[:8], "big") < share * 2**64


def _whole(ctx: Context, task: str, found: Sequence[Matched]) -> list[Matched]:
    probes = ctx.spec.tasks[task].probes
    return whole_rows(found, ctx.columns(task), ctx.seen(task, probes) if probes is not None and found else [])


def whole_rows(found: Sequence[Matched], columns: Sequence[str], like: Sequence[Row]) -> list[Matched]:
    """Those that have every column, each read as the rows of `like` have it."""
    numbers = {column for column in columns if like and all(_is_number(row.get(column)) for row in like)}
    return [
        replace(one, row={column: _typed(one.row[column], column in numbers) for column in columns})
        for one in found
        if all(column in one.row for column in columns)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _typed(value: Any, is_number: bool) -> Any:
    """A number that a regular expression read is text."""
    if not is_number or not isinstance(value, str):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return value


def _clean(ctx: Context, task: str, found: Sequence[Matched]) -> list[Matched]:
    """Without what overlaps an item of a suite: that must be measured, and never be learned from."""
    lessons = [Lesson("", None, task, None, None, "", one.row, one.correction or one.answer) for one in found]
    overlaps = overlaps_with_evals(ctx, lessons) if lessons else {}
    return [one for index, one in enumerate(found) if index not in overlaps]


def judged(ctx: Context, task: str, asked: Sequence[Matched], subjects: Sequence[Subject]) -> list[list[Verdict]]:
    """All verifiers where there is a correction, else those that need no known answer; and the people."""
    known = [i for i, subject in enumerate(subjects) if subject.reference is not None]
    others = [i for i, subject in enumerate(subjects) if subject.reference is None]
    spec = ctx.spec.tasks[task]
    free = [name for name in spec.verify if not ctx.spec.verifiers[name].needs_reference]
    verdicts: list[list[Verdict]] = [[] for _ in subjects]
    for chosen, verify in ((known, spec.verify), (others, free)):
        if chosen and verify:
            picked = [subjects[i] for i in chosen]
            tasks = {task: spec.model_copy(update={"verify": verify})}
            for i, said in zip(chosen, watched(ctx, ctx.judge(picked, tasks=tasks), len(picked)), strict=True):
                verdicts[i] = said
    compared = len(free) < len(spec.verify)
    for one, subject, said in zip(asked, subjects, verdicts, strict=True):
        said += _of_people(one, subject, compared)
    return verdicts


def _of_people(one: Matched, subject: Subject, compared: bool) -> list[Verdict]:
    """What was said of the answer that was given holds for the same answer. A correction that no verifier compares with
    says all the same which answers are wrong."""
    comment = f": {one_line(one.comment, 200)}" if one.comment else ""
    is_the_same = normalised(subject.answer) == normalised(one.answer)
    rating = one.rating if is_the_same else None
    corrected = one.correction is not None and normalised(one.correction) != normalised(one.answer) and is_the_same
    if rating == -1 or (corrected and not compared):
        return [Verdict(subject.subject_id, PERSON, "1", "fail", f"a person said so{comment}")]
    return [Verdict(subject.subject_id, PERSON, "1", "pass", f"a person said so{comment}")] if rating == 1 else []
