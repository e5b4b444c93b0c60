#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2 and openinference-instrumentation 0.1.72, seen in November 2026.
#
# Behaviour: OpenInference writes a conversation as attributes of a span, two or more for each message, and OpenTelemetry's Python SDK keeps 128
# of a span. When they are full it drops the oldest, so that a conversation of 81 messages is exported as its last 63, without its system message, the
# first questions and the name of the model. What is left is numbered from 18 on, and looks like a shorter conversation to who does not look at that.
# The program that was traced says so in its own log, once for each; in the data there is `dropped_attributes`. OpenInference's own TracerProvider keeps
# 10,000.
# Expected: the OpenTelemetry specification ("Attribute limits": "the SDK MUST discard that attribute", the one that is too many): the end would be
# missing, and with it the answer, which one sees.
# Why it matters: long conversations of agents are those worth learning from. Without the system message they teach a model to do, unasked, what it was
# told to do there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "opentelemetry-sdk==1.45.2" "openinference-instrumentation==0.1.72"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
from openinference.instrumentation import TracerProvider as OpenInferenceTracerProvider
from openinference.instrumentation import get_llm_attributes
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def exported(provider, turns):
    """The span as an exporter gets it."""
    messages = [{"role": "system", "content": "Refund no more than 50 euros."}]
    for turn in range(turns):
        messages += [{"role": "user", "content": f"question {turn}"}, {"role": "assistant", "content": f"answer {turn}"}]
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("agent").start_as_current_span("call") as span:
        answer = [{"role": "assistant", "content": "done"}]
        span.set_attributes(get_llm_attributes(model_name="model", input_messages=messages, output_messages=answer))
    (span,) = exporter.get_finished_spans()
    asked = [key for key in span.attributes if key.startswith("llm.input_messages.") and key.endswith(".content")]
    print(f"{len(messages)} messages, kept {len(asked)} from {asked[0]}; model: {span.attributes.get('llm.model_name')};", span.dropped_attributes)
    return len(asked), asked[0], "llm.model_name" in span.attributes, span.dropped_attributes


short, long, own = exported(TracerProvider(), 20), exported(TracerProvider(), 40), exported(OpenInferenceTracerProvider(), 40)
assert short == (41, "llm.input_messages.0.message.content", True, 0), "the behaviour has changed"
assert long[1] == "llm.input_messages.18.message.content" and long[0] == 63 and not long[2] and long[3] > 0, "the behaviour has changed"
assert own == (81, "llm.input_messages.0.message.content", True, 0), "the behaviour has changed"
PYTHON
