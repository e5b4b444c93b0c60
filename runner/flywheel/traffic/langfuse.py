"""Langfuse exports: observations and scores, a row each, in any of its encodings; traces with observations in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Flag, Found, LeftOut, LoggedExchange, Opinion
from flywheel.traffic.importer import Importer, first
from flywheel.traffic.messages import as_exchange, decoded, grade, moment, number, whole


class Langfuse(Importer):
    name = "langfuse"
    about = "Langfuse's exports: observations, scores, traces with their observations"

    def sees(self, item: Row) -> bool:
        return _is_score(item) or _is_observation(item) or _is_trace(item)

    def found(self, item: Row) -> Iterator[Found]:
        if _is_score(item):
            yield _opinion(item)
        elif _is_observation(item):
            yield _exchange(item)
        else:
            inner = decoded(item.get("observations"))
            beside = {"sessionId": first(item, "sessionId", "session_id"), "traceId": item.get("id")}
            for observation in inner if isinstance(inner, list) else ():
                yield _exchange({**beside, **observation} if isinstance(observation, dict) else {})
            if not isinstance(inner, list):
                yield LeftOut("a trace without its observations, which are the calls")


def _is_score(item: Row) -> bool:
    told = any(key in item for key in ("dataType", "data_type", "stringValue", "string_value"))
    return told and "name" in item and ("value" in item or "stringValue" in item) and "input" not in item


def _is_observation(item: Row) -> bool:
    return "type" in item and any(key in item for key in ("traceId", "trace_id")) and _has_time(item)


def _is_trace(item: Row) -> bool:
    return "observations" in item and "id" in item and ("timestamp" in item or "input" in item)


def _has_time(item: Row) -> bool:
    return "startTime" in item or "start_time" in item


def _exchange(item: Row) -> LoggedExchange | LeftOut:
    kind = str(item.get("type") or "").upper()
    if kind != "GENERATION":
        return LeftOut(f"an observation of the kind {kind.lower() or '(none)'}")
    if str(item.get("environment") or "").startswith("langfuse-"):
        return LeftOut("a call of Langfuse's own, as of its judges")
    usage = decoded(first(item, "usageDetails", "usage_details", "usage")) or {}
    asked = decoded(item.get("input"))
    flags: list[Flag] = ["failed"] if str(item.get("level") or "").upper() == "ERROR" else []
    return as_exchange(
        str(item.get("id") or ""),
        asked,
        item.get("output"),
        flags,
        conversation=str(first(item, "sessionId", "session_id") or ""),
        trace=str(first(item, "traceId", "trace_id") or ""),
        name=str(first(item, "promptName", "prompt_name") or ""),
        tools=asked.get("tools") if isinstance(asked, dict) else None,
        model=str(first(item, "providedModelName", "provided_model_name", "model") or ""),
        at=moment(first(item, "startTime", "start_time")),
        input_tokens=whole(_use(item, usage, "input")),
        output_tokens=whole(_use(item, usage, "output")),
        usd=number(first(item, "totalCost", "total_cost", "calculatedTotalCost")),
    )


def _use(item: Row, usage: Any, side: str) -> Any:
    pairs = dict(pair for pair in usage if len(pair) == 2) if isinstance(usage, list) else usage
    return pairs.get(side) if isinstance(pairs, dict) else first(item, f"{side}Usage", f"{side}_usage")


def _opinion(item: Row) -> Opinion:
    """A number says nothing where its scale is not known: of those, nothing and less are bad."""
    kind = str(first(item, "dataType", "data_type") or "").upper()
    text, value = first(item, "stringValue", "string_value"), item.get("value")
    correction = first(item, "longStringValue", "long_string_value") or text if kind == "CORRECTION" else None
    rating = None if kind == "CORRECTION" else grade(text) if kind == "CATEGORICAL" else grade(value)
    if kind == "NUMERIC" and rating == 1:
        rating = None
    person = str(item.get("source") or "").upper() == "ANNOTATION" or kind == "CORRECTION" or _names_a_person(item)
    about = first(item, "observationId", "observation_id", "traceId", "trace_id")
    comment = item.get("comment") or None
    at = moment(first(item, "timestamp", "createdAt", "created_at"))
    author = "person" if person else str(item.get("name") or "")
    return Opinion(
        str(item.get("id") or ""), str(about or ""), at, rating, correction, comment, author
    )  # fmt: skip


def _names_a_person(item: Row) -> bool:
    """What an application's own buttons send comes by the interface, under a name that says so."""
    name = str(item.get("name") or "").lower()
    return any(word in name for word in ("user", "human", "person", "thumb"))
