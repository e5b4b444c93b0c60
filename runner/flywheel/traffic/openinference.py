"""OpenInference's spans as Phoenix exports them: a row a span, its attributes flattened, nested, or a column each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Flag, Found, LeftOut, Opinion
from flywheel.traffic.attributes import OpenInferenceDialect, exchange_of
from flywheel.traffic.importer import Importer, first, mapping
from flywheel.traffic.messages import decoded, grade, hexadecimal, moment, nested


class OpenInference(Importer):
    name = "openinference"
    about = "OpenInference spans, as Phoenix exports them"

    def sees(self, item: Row) -> bool:
        if "resourceSpans" in item:
            return False
        attributes = flat_attributes(item)
        return "openinference.span.kind" in attributes or any(key.startswith("llm.") for key in attributes)

    def found(self, item: Row) -> Iterator[Found]:
        attributes = flat_attributes(item)
        dialect = OpenInferenceDialect()
        if reason := dialect.refused(attributes):
            yield LeftOut(reason)
            return
        context = mapping(item, "context")
        trace = hexadecimal(first(item, "context.trace_id", "trace_id", "traceId") or context.get("trace_id"))
        span = hexadecimal(first(item, "context.span_id", "span_id", "spanId") or context.get("span_id"))
        status = first(item, "status_code", "status.status_code") or mapping(item, "status").get("status_code")
        flags: list[Flag] = ["failed"] if str(status).rpartition(".")[2].upper() == "ERROR" else []
        source_id = f"{trace}/{span}" if trace and span else trace or span
        at = moment(first(item, "start_time", "startTime", "start_time_unix_nano"))
        exchange = exchange_of(dialect, attributes, source_id, trace, at, flags)
        yield exchange
        yield from _opinions(attributes, source_id)


def flat_attributes(item: Row) -> dict[str, Any]:
    """Attributes by their dotted names, wherever the row has them."""
    found = _flat("", {key.removeprefix("attributes."): v for key, v in item.items() if key.startswith("attributes.")})
    found |= _flat("", decoded(item.get("attributes")) or {})
    if kind := first(item, "span_kind", "attributes.openinference.span.kind"):
        found.setdefault("openinference.span.kind", kind)
    return found


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping | list) and value:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {k: v for key, item in pairs for k, v in _flat(f"{prefix}.{key}" if prefix else str(key), item).items()}
    return {prefix: value} if prefix and value is not None else {}


def _opinions(attributes: Mapping[str, Any], about: str) -> Iterator[Opinion]:
    for one in nested(attributes, "annotations") or ():
        said = one.get("annotation", one) if isinstance(one, Mapping) else {}
        kind = str(said.get("annotator_kind") or "")
        rating = grade(said.get("label")) if said.get("label") is not None else grade(said.get("score"))
        author = "person" if kind.upper() == "HUMAN" else str(said.get("name") or kind)
        yield Opinion("", about, None, rating, None, said.get("explanation"), author)
