"""The log of flywheel's own server: `.flywheel/served/*.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Found, LoggedExchange, Opinion
from flywheel.traffic.importer import Importer, NotOfFormat
from flywheel.traffic.messages import as_exchange, moment

_KINDS = {"answer": ("id", "at", "model_id", "answer"), "feedback": ("id", "receipt", "at")}
"""Kind of line → what it cannot do without."""


class ServedLogs(Importer):
    name = "flywheel"
    about = "the log of `flywheel serve`"
    may_be_torn = True

    def sees(self, item: Row) -> bool:
        return item.get("kind") in _KINDS and ("model_id" in item or "receipt" in item)

    def found(self, item: Row) -> Iterator[Found]:
        kind = item.get("kind")
        if kind not in _KINDS:
            raise NotOfFormat(f'a line of the kind "{kind}"')
        if lost := [key for key in _KINDS[kind] if item.get(key) is None]:
            raise NotOfFormat(f'a line without "{lost[0]}"')
        yield _exchange(item) if kind == "answer" else _opinion(item)


def _exchange(item: Row) -> LoggedExchange:
    asked = item.get("messages")
    if asked is None and item.get("prompt") is not None:
        asked = [{"role": "user", "content": item["prompt"]}]
    return as_exchange(
        item["id"],
        asked,
        {"role": "assistant", "content": item["answer"], "finish_reason": item.get("finish_reason")},
        name=item.get("task") or "",
        row=item.get("row"),
        model=item["model_id"],
        at=moment(item["at"]),
        input_tokens=item.get("prompt_tokens"),
        output_tokens=item.get("completion_tokens"),
    )


def _opinion(item: Row) -> Opinion:
    rating: Any = item.get("rating")
    if rating not in (1, -1, None):
        raise NotOfFormat(f"a rating of {rating}: 1, -1 or null")
    about, at = item["receipt"], moment(item["at"])
    return Opinion(item["id"], about, at, rating, item.get("correction"), item.get("comment"))
