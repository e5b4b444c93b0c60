"""Makes `files/`: what the real libraries write of one small conversation. Run by hand, where they are installed:

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-common opentelemetry-util-genai \
        openinference-instrumentation mlflow-skinny litellm
    python tests/traffic/make_files.py

Their versions stand in `files/versions.json`. Langfuse's export is written by its server, which is not here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
SYSTEM, QUESTION, ANSWER = "Say colours.", "old sky 900001\ncolour:", "blue"


def write(name: str, items: list[Any]) -> None:
    (FILES / name).write_text("".join(json.dumps(item) + "\n" for item in items))


# --- OpenTelemetry ----------------------------------------------------------------------------------------------------


def otlp(mode: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(spans, logs) of one call, as protobuf's own JSON mapping writes them: ids in base64."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = mode
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.util.genai.handler import TelemetryHandler
    from opentelemetry.util.genai.types import InputMessage, OutputMessage, Text

    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    tracing, logging = TracerProvider(), LoggerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    logging.add_log_record_processor(SimpleLogRecordProcessor(logs))
    handler = TelemetryHandler(tracer_provider=tracing, logger_provider=logging)
    with handler.inference("openai", request_model="gpt-x") as call:
        call.system_instruction = [Text(content=SYSTEM)]
        call.input_messages = [InputMessage(role="user", parts=[Text(content=QUESTION)])]
        call.output_messages = [OutputMessage(role="assistant", parts=[Text(content=ANSWER)], finish_reason="stop")]
        call.input_tokens, call.output_tokens, call.finish_reasons = 9, 1, ["stop"]
    with handler.tool("look_up") as tool:
        tool.arguments = {"thing": "sky"}
    return (
        MessageToDict(encode_spans(spans.get_finished_spans())),
        MessageToDict(encode_logs(logs.get_finished_logs())),
    )


def in_hexadecimal(value: Any) -> Any:
    """As the specification of OTLP/JSON wants ids."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else in_hexadecimal(item)
            for key, item in value.items()
        }
    return [in_hexadecimal(item) for item in value] if isinstance(value, list) else value


# --- OpenInference ----------------------------------------------------------------------------------------------------


def openinference() -> list[dict[str, Any]]:
    """A row a span, as Phoenix's `get_spans_dataframe` has them."""
    from openinference.instrumentation import get_llm_attributes, get_session_attributes, get_span_kind_attributes

    attributes = {
        **get_span_kind_attributes("llm"),
        **get_session_attributes(session_id="s1"),
        **get_llm_attributes(
            model_name="gpt-x",
            input_messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            output_messages=[{"role": "assistant", "content": ANSWER}],
            token_count={"prompt": 9, "completion": 1, "total": 10},
        ),
    }
    ids = {"context.trace_id": "a" * 32, "start_time": "2026-11-28T11:00:00.000000+01:00", "status_code": "OK"}
    call = {f"attributes.{key}": value for key, value in attributes.items()}
    chain = {f"attributes.{key}": value for key, value in get_span_kind_attributes("chain").items()}
    return [
        {**ids, "context.span_id": "b" * 16, "span_kind": "LLM", **call},
        {**ids, "context.span_id": "c" * 16, "span_kind": "CHAIN", "attributes.input.value": QUESTION, **chain},
    ]


# --- MLflow -----------------------------------------------------------------------------------------------------------


def mlflow_trace() -> dict[str, Any]:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow
    from mlflow.entities import AssessmentSource

    mlflow.set_tracking_uri(f"file://{tempfile.mkdtemp()}")
    mlflow.set_experiment("small")
    with mlflow.start_span(name="chain") as outer:
        outer.set_inputs({"question": QUESTION})
        with mlflow.start_span(name="chat", span_type="CHAT_MODEL") as call:
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
            call.set_inputs({"model": "gpt-x", "messages": messages})
            message = {"role": "assistant", "content": ANSWER}
            call.set_outputs({"id": "c1", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})
            call.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10})
    trace_id = mlflow.get_last_active_trace_id()
    mlflow.flush_trace_async_logging()
    person = AssessmentSource(source_type="HUMAN", source_id="somebody")
    mlflow.log_feedback(trace_id=trace_id, name="right", value=False, source=person, rationale="it is grey")
    mlflow.log_expectation(trace_id=trace_id, name="expected_response", value="grey", source=person)
    trace: dict[str, Any] = json.loads(mlflow.get_trace(trace_id, flush=True).to_json())
    info = trace["info"]  # without what it says of the machine
    info["trace_metadata"] = {
        key: value
        for key, value in info["trace_metadata"].items()
        if not key.startswith(("mlflow.source", "mlflow.user"))
    }
    del info["tags"]["mlflow.artifactLocation"]
    return trace


# --- litellm ----------------------------------------------------------------------------------------------------------


def litellm_payloads() -> list[dict[str, Any]]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import asyncio

    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    found: list[dict[str, Any]] = []

    class Keep(CustomLogger):
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            found.append(json.loads(json.dumps(kwargs["standard_logging_object"], default=str)))

        async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            found.append(json.loads(json.dumps(kwargs["standard_logging_object"], default=str)))

    litellm.callbacks = [Keep()]
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]

    async def calls() -> None:
        await litellm.acompletion(model="gpt-4o-mini", messages=messages, mock_response=ANSWER, api_key="none")
        with contextlib.suppress(Exception):
            await litellm.acompletion(
                model="gpt-4o-mini", messages=messages, mock_response=Exception("no"), api_key="none", num_retries=0
            )
        await asyncio.sleep(2)

    asyncio.run(calls())
    for payload in found:  # without paths of this machine, and what nobody reads
        del payload["hidden_params"], payload["metadata"]
        payload["error_information"] = payload["error_str"] and {"error_class": "InternalServerError"}
        payload["error_str"] = payload["error_str"] and "no"
    return found


def main() -> None:
    FILES.mkdir(exist_ok=True)
    spans, logs = otlp("EVENT_ONLY")
    write("otlp_spans_without_text.json", [spans])
    write("otlp_logs.json", [logs])
    write("otlp_spans_hexadecimal.jsonl", [in_hexadecimal(otlp("SPAN_ONLY")[0])])
    write("openinference.jsonl", openinference())
    write("mlflow.json", [mlflow_trace()])
    write("litellm.jsonl", litellm_payloads())
    names = (
        "opentelemetry-sdk", "opentelemetry-util-genai", "openinference-instrumentation", "mlflow-skinny", "litellm",
    )  # fmt: skip
    (FILES / "versions.json").write_text(json.dumps({name: version(name) for name in names}, indent=1) + "\n")


if __name__ == "__main__":
    main()
