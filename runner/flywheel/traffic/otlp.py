"""OpenTelemetry OTLP/JSON: spans and log records of calls of models, by today's GenAI conventions and by those before.

What was asked and answered stands on the span or on a log record beside it, as values, as JSON text, or as JSON text in
JSON text; both have the ids of trace and span, and become one exchange in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from flywheel.records import Row
from flywheel.records.traffic import Flag, Found, LeftOut, LoggedExchange, Opinion
from flywheel.traffic.attributes import DIALECTS, exchange_of
from flywheel.traffic.importer import Importer, mapping
from flywheel.traffic.messages import grade, hexadecimal, moment, whole

_SIGNALS = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}
"""Kind of data → where its records are."""
_DETAILS = "gen_ai.client.inference.operation.details"
_EVALUATION = "gen_ai.evaluation.result"


class Otlp(Importer):
    name = "otlp"
    about = "OpenTelemetry OTLP/JSON: traces or logs, as the file exporter and collectors write them"

    def sees(self, item: Row) -> bool:
        return any(isinstance(item.get(signal), list) for signal in _SIGNALS)

    def found(self, item: Row) -> Iterator[Found]:
        for signal, (scopes, records) in _SIGNALS.items():
            for resource in item.get(signal) or ():
                for scope in resource.get(scopes) or ():
                    for record in scope.get(records) or ():
                        yield from _OF_SIGNAL[signal](record)


def _metric(record: Row) -> Iterator[Found]:
    del record
    yield LeftOut("a metric")


def _span(record: Row) -> Iterator[Found]:
    """A span; opinions are events of it, and items of their own."""
    attributes = attributes_of(record.get("attributes"))
    events = [(event, attributes_of(event.get("attributes"))) for event in record.get("events") or ()]
    for event, inner in events:
        if event.get("name") == _EVALUATION:
            yield _evaluation(record, inner, moment(event.get("timeUnixNano")))
        elif any(key.startswith(("gen_ai.", "llm.")) for key in inner):
            attributes = {**attributes, **inner}  # before messages were attributes, events had them
    failed = mapping(record, "status").get("code") in (2, "STATUS_CODE_ERROR")
    yield _call(record, attributes, failed, moment(record.get("startTimeUnixNano")))


def _log(record: Row) -> Iterator[Found]:
    attributes = attributes_of(record.get("attributes"))
    body = value_of(record.get("body"))
    if isinstance(body, Mapping):
        attributes = {**attributes, **{str(key): value for key, value in body.items()}}
    name = record.get("eventName") or attributes.get("event.name")
    at = moment(record.get("timeUnixNano") or record.get("observedTimeUnixNano"))
    if name == _EVALUATION:
        yield _evaluation(record, attributes, at)
    elif name != _DETAILS and "gen_ai.input.messages" not in attributes:
        yield LeftOut("a log record that holds no call of a model")
    else:
        yield _call(record, attributes, False, at)


_OF_SIGNAL = {"resourceSpans": _span, "resourceLogs": _log, "resourceMetrics": _metric}


def _call(record: Row, attributes: Mapping[str, Any], failed: bool, at: datetime | None) -> LoggedExchange | LeftOut:
    trace, span = hexadecimal(record.get("traceId")), hexadecimal(record.get("spanId"))
    flags: list[Flag] = ["failed"] if failed or attributes.get("error.type") else []
    if whole(record.get("droppedAttributesCount")):  # which ones is not told; a message may be among them
        flags.append("truncated")
    dialect = next((dialect for dialect in DIALECTS if dialect.speaks(attributes)), None)
    if dialect is None:
        return LeftOut("a span that is no call of a model")
    if reason := dialect.refused(attributes):
        return LeftOut(reason)
    return exchange_of(dialect, attributes, _id(trace, span), trace, at, flags)


def _id(trace: str, span: str) -> str:
    return f"{trace}/{span}" if trace and span else ""


def _evaluation(record: Row, attributes: Mapping[str, Any], at: datetime | None) -> Opinion:
    """The convention does not say who evaluates; a name that does counts."""
    name = str(attributes.get("gen_ai.evaluation.name") or "")
    label, score = attributes.get("gen_ai.evaluation.score.label"), attributes.get("gen_ai.evaluation.score.value")
    trace, span = hexadecimal(record.get("traceId")), hexadecimal(record.get("spanId"))
    of_label, of_score = grade(label), grade(score)
    rating = of_label if of_label is not None else of_score
    comment = attributes.get("gen_ai.evaluation.explanation")
    person = any(word in name.lower() for word in ("user", "human", "person", "thumb"))
    about = _id(trace, span) or str(attributes.get("gen_ai.response.id") or "")
    return Opinion("", about, at, rating, None, None if comment is None else str(comment), "person" if person else name)


# --- AnyValue ---------------------------------------------------------------------------------------------------------


def attributes_of(pairs: Any) -> dict[str, Any]:
    """`[{key, value}]` as a mapping; one that is a mapping already, as other exporters write, as it is."""
    if isinstance(pairs, Mapping):
        return dict(pairs)
    return {str(pair["key"]): value_of(pair.get("value")) for pair in pairs or () if isinstance(pair, Mapping)}


def value_of(value: Any) -> Any:
    """An AnyValue as JSON has it; whole numbers come as text."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return value
    (kind, inner), *_ = value.items()
    if kind == "intValue":
        return int(inner)
    if kind == "arrayValue":
        return [value_of(item) for item in inner.get("values") or ()]
    if kind == "kvlistValue":
        return attributes_of(inner.get("values"))
    return inner if kind in ("stringValue", "boolValue", "doubleValue", "bytesValue") else value
