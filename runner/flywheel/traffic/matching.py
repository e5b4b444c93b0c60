"""Which exchange is a row of which task, as `traffic.match` says; and those of the store, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flywheel.hashing import fingerprint
from flywheel.records import Row
from flywheel.records.nodes import Query
from flywheel.records.rows import target_text
from flywheel.spec.traffic import Match
from flywheel.text import named_groups
from flywheel.traffic.messages import decoded

PAGE = 2_000
"""Exchanges of the store in memory at a time."""


@dataclass(frozen=True)
class Matched:
    """A row of a task that production was asked."""

    source_id: str
    row: Row
    answer: str
    model: str
    rating: int | None = None
    comment: str = ""
    correction: str | None = None
    """The right answer, as a person says."""


def row_of(task: str, match: Match, name: str, messages: Sequence[Row], row: Row | None) -> Row | None:
    """The row of the task that an exchange asked; None where it is none of the task's."""
    if (row is not None and name and match.name is None and name != task) or match.name not in (None, name):
        return None
    if match.system is not None:
        system = "\n".join(message["content"] for message in messages if message["role"] == "system")
        if named_groups(match.system, system) is None:
            return None
    asked = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    if match.user is not None:
        return named_groups(match.user, asked)
    found = row or decoded(asked)
    return found if isinstance(found, dict) and found else None


def matched(query: Query, task: str, match: Match, until: datetime | None = None) -> list[Matched]:
    """The newest rows of the task that nothing is to be said against, with what people said of them; of what was taken
    in until then."""
    found: list[Row] = []
    for one in _usable(query, until):
        row = row_of(task, match, one["name"], one["messages"], one["row"])
        if row is not None:
            found.append({**one, "row": row})
            if len(found) == match.limit:
                break
    return _with_opinions(query, found, until)


def _usable(query: Query, until: datetime | None) -> Iterator[Row]:
    after = 0
    while page := query(
        """SELECT source_id, trace, name, messages, "row", answer, model FROM traffic
           WHERE len(flags) = 0 AND ingested_at <= coalesce(CAST(? AS TIMESTAMPTZ), 'infinity')
           ORDER BY coalesce(called_at, ingested_at) DESC, source_id LIMIT ? OFFSET ?""",
        [until, PAGE, after],
    ):
        yield from page
        after += PAGE


def _with_opinions(query: Query, found: Sequence[Row], until: datetime | None) -> list[Matched]:
    """Of one about a trace, its last call is meant."""
    said = _opinions(query, [about for one in found for about in (one["source_id"], one["trace"]) if about], until)
    asked = []
    for one in found:
        of_trace = said.pop(one["trace"], {}) if one["trace"] != one["source_id"] else {}
        opinion = {**of_trace, **{k: v for k, v in said.get(one["source_id"], {}).items() if v is not None}}
        asked.append(
            Matched(
                one["source_id"], one["row"], one["answer"], one["model"] or "", opinion.get("rating"),
                opinion.get("comment") or "", opinion.get("correction"),
            )
        )  # fmt: skip
    return asked


def _opinions(query: Query, about: list[str], until: datetime | None) -> dict[str, Row]:
    """What a person said last."""
    rows = query(
        """SELECT about, arg_max(rating, coalesce(given_at, ingested_at)) AS rating,
               arg_max(correction, coalesce(given_at, ingested_at)) AS correction,
               arg_max(comment, coalesce(given_at, ingested_at)) AS comment
           FROM feedback WHERE author = 'person' AND list_contains(?, about)
               AND ingested_at <= coalesce(CAST(? AS TIMESTAMPTZ), 'infinity')
           GROUP BY about""",
        [about, until],
    )
    return {row["about"]: row for row in rows}


def digest_of(asked: Sequence[Matched]) -> str:
    """Of everything in them, in any order."""
    return fingerprint(sorted(target_text([vars(one)[key] for key in sorted(vars(one))]) for one in asked))


def counted(matches: Mapping[str, Match], name: str, messages: Sequence[Row], row: Row | None) -> list[str]:
    """The tasks of which an exchange is a row."""
    return [task for task, match in matches.items() if row_of(task, match, name, messages, row) is not None]
