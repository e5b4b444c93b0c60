"""MLflow's traces: their spans in its three versions. Previews of requests and answers are cut, and never read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Flag, Found, LeftOut, LoggedExchange, Opinion
from flywheel.traffic.importer import Importer, first, mapping
from flywheel.traffic.messages import as_exchange, decoded, grade, hexadecimal, moment, whole
from flywheel.traffic.otlp import attributes_of

_CALLS = ("CHAT_MODEL", "LLM")


class Mlflow(Importer):
    name = "mlflow"
    about = "MLflow traces, with their spans"

    def sees(self, item: Row) -> bool:
        trace = _trace(item)
        spans = trace.get("spans")
        info = mapping(trace, "info")
        return isinstance(spans, list) and bool(info or (spans and _is_span(spans[0])))

    def found(self, item: Row) -> Iterator[Found]:
        trace = _trace(item)
        info = mapping(trace, "info")
        calls = 0
        for span in trace["spans"]:
            attributes = _attributes(span)
            kind = str(attributes.get("mlflow.spanType") or span.get("type") or "").upper()
            if kind in _CALLS:
                calls += 1
                yield _exchange(info, span, attributes)
            else:
                yield LeftOut(f"a span of the kind {kind.lower() or '(none)'}")
        if not trace["spans"]:
            yield LeftOut("a trace without its spans, which hold the calls")
        yield from _opinions(info)


def _trace(item: Row) -> Row:
    """`{info, spans}` of a trace, of its JSON, or of a row of `search_traces`."""
    inner = decoded(item.get("trace"))
    item = inner if isinstance(inner, dict) else item
    data = decoded(item.get("data"))
    spans = decoded(data.get("spans") if isinstance(data, dict) else item.get("spans"))
    found = decoded(first(item, "info", "trace_info"))
    info = found if isinstance(found, dict) else {}
    if not info and item.get("trace_id") and isinstance(spans, list):
        info = {key: decoded(item.get(key)) for key in ("trace_id", "assessments", "trace_metadata", "tags")}
    return {"info": info, "spans": spans}


def _is_span(span: Any) -> bool:
    return isinstance(span, dict) and any(key.startswith("mlflow.") for key in _attributes(span))


def _attributes(span: Row) -> dict[str, Any]:
    """Each value is JSON text of its own."""
    return {key: decoded(value) for key, value in attributes_of(span.get("attributes")).items()}


def _exchange(info: Row, span: Row, attributes: Mapping[str, Any]) -> LoggedExchange:
    context = mapping(span, "context")
    trace = str(info.get("trace_id") or info.get("request_id") or attributes.get("mlflow.traceRequestId") or "")
    number = hexadecimal(first(span, "span_id", "spanId") or context.get("span_id"))
    usage = attributes.get("mlflow.chat.tokenUsage") or {}
    metadata = mapping(info, "trace_metadata") or mapping(info, "request_metadata")
    asked = attributes.get("mlflow.spanInputs")
    return as_exchange(
        f"{trace}/{number}" if trace and number else "",
        asked,
        attributes.get("mlflow.spanOutputs"),
        _flags(span),
        conversation=str(metadata.get("mlflow.trace.session") or ""),
        trace=trace,
        tools=attributes.get("mlflow.chat.tools") or (asked.get("tools") if isinstance(asked, dict) else None),
        model=str(attributes.get("mlflow.llm.model") or (asked.get("model") if isinstance(asked, dict) else "") or ""),
        at=moment(first(span, "start_time_unix_nano", "start_time", "start_time_ns")),
        input_tokens=whole(usage.get("input_tokens")) if isinstance(usage, dict) else None,
        output_tokens=whole(usage.get("output_tokens")) if isinstance(usage, dict) else None,
    )


def _flags(span: Row) -> list[Flag]:
    status = first(span, "status", "status_code")
    code = first(status, "code", "status_code") if isinstance(status, dict) else status
    return ["failed"] if str(code).rpartition("_")[2].upper() == "ERROR" or code == 2 else []


def _opinions(info: Row) -> Iterator[Opinion]:
    for said in info.get("assessments") or ():
        source = mapping(said, "source")
        kind = str(first(source, "source_type", "sourceType") or "").upper()
        value = mapping(said, "feedback").get("value")
        expected = mapping(said, "expectation")
        right = first(expected, "value") or decoded(mapping(expected, "serialized_value").get("value"))
        about = (
            f"{info.get('trace_id')}/{hexadecimal(said['span_id'])}" if said.get("span_id") else info.get("trace_id")
        )
        author = "person" if kind == "HUMAN" else str(said.get("assessment_name") or said.get("name") or kind)
        yield Opinion(
            str(said.get("assessment_id") or ""), str(about or ""), moment(first(said, "create_time", "createTime")),
            grade(value), right if isinstance(right, str) else None, said.get("rationale"), author,
        )  # fmt: skip
