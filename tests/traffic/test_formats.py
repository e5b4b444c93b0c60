"""Every format by a file that its own library wrote (`make_files.py`), and by the variants that are met in the wild."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.records.traffic import Found, LeftOut, LoggedExchange, Opinion
from flywheel.spec.traffic import Columns
from flywheel.traffic import IMPORTERS, detected, read_items
from flywheel.traffic.messages import as_exchange, hexadecimal, messages_of, moment

FILES = Path(__file__).parent / "files"
ASKED = [{"role": "system", "content": "Say colours."}, {"role": "user", "content": "old sky 900001\ncolour:"}]


def read(name: str, format: str) -> list[Found]:
    items = [item for _, item in read_items(FILES / name)]
    importer = detected(name, items, Columns())
    assert importer.name == format
    return [found for item in items for found in importer.found(item)]


def of(format: str, *items: dict[str, Any]) -> list[Found]:
    """By detection, so that no item may be taken for another format's."""
    importer = detected("a file", items, Columns())
    assert importer.name == format
    return [found for item in items for found in importer.found(item)]


def exchanges(found: list[Found]) -> list[LoggedExchange]:
    return [one for one in found if isinstance(one, LoggedExchange)]


def left_out(found: list[Found]) -> list[str]:
    return [one.reason for one in found if isinstance(one, LeftOut)]


@pytest.mark.parametrize(
    ("file", "format", "tokens", "refused"),
    [
        ("otlp_spans_hexadecimal.jsonl", "otlp", (9, 1), ["the operation execute_tool"]),
        ("otlp_logs.json", "otlp", (9, 1), []),
        ("openinference.jsonl", "openinference", (9, 1), ["a span of the kind CHAIN"]),
        ("mlflow.json", "mlflow", (9, 1), ["a span of the kind unknown"]),
    ],
)
def test_what_the_real_library_wrote_is_the_conversation_that_was(
    file: str, format: str, tokens: tuple[int, int], refused: list[str]
) -> None:
    found = read(file, format)
    (one,) = exchanges(found)
    assert (list(one.messages), one.answer, one.flags) == (ASKED, "blue", ())
    assert (one.model, one.input_tokens, one.output_tokens) == ("gpt-x", *tokens)
    assert one.source_id
    assert one.at is not None
    assert one.at.year == 2026
    assert left_out(found) == refused


def test_a_span_and_its_log_have_one_id_so_that_they_join() -> None:
    (span,), (log,) = (exchanges(read(name, "otlp")) for name in ("otlp_spans_without_text.json", "otlp_logs.json"))
    assert (span.source_id, span.flags, log.flags) == (log.source_id, ("no_content",), ())


def test_litellms_own_payload_is_read_and_a_failed_call_is_flagged() -> None:
    found = exchanges(read("litellm.jsonl", "litellm"))
    (right,) = [one for one in found if not one.flags]
    assert (list(right.messages), right.answer, right.model) == (ASKED, "blue", "gpt-4o-mini")
    assert (right.input_tokens, right.output_tokens, right.usd) == (10, 20, 1.35e-05)
    assert [one.flags for one in found if one.flags] == [("empty", "failed")]


def test_mlflows_people_speak_of_the_trace() -> None:
    said = [one for one in read("mlflow.json", "mlflow") if isinstance(one, Opinion)]
    assert [(one.author, one.rating, one.correction) for one in said] == [
        ("person", -1, None),
        ("person", None, "grey"),
    ]
    assert said[0].about.startswith("tr-")
    assert exchanges(read("mlflow.json", "mlflow"))[0].trace == said[0].about


def span(attributes: dict[str, Any], **beside: Any) -> dict[str, Any]:
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    one = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "2",
        "startTimeUnixNano": "1764331200000000000",
        "attributes": pairs,
        **beside,
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
OUTPUT = [{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "yo"}]}]


@pytest.mark.parametrize("times", [1, 2])
def test_messages_in_json_text_and_in_json_text_of_json_text_are_the_same(times: int) -> None:
    def dumped(value: Any) -> str:
        for _ in range(times):
            value = json.dumps(value)
        return str(value)

    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": dumped(MESSAGES),
        "gen_ai.output.messages": dumped(OUTPUT),
    }
    (one,) = exchanges(of("otlp", span(attributes)))
    assert (one.messages, one.answer) == (({"role": "user", "content": "hi"},), "yo")
    assert one.at == moment("2025-11-28T12:00:00Z")


def test_what_older_emitters_wrote_is_read_too() -> None:
    numbered = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "hi",
        "gen_ai.completion.0.content": "yo",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.finish_reason": "length",
        "gen_ai.usage.prompt_tokens": "3",
        "llm.request.type": "chat",
    }
    events = [
        {
            "name": "gen_ai.content.prompt",
            "attributes": [
                {"key": "gen_ai.prompt", "value": {"stringValue": json.dumps([{"role": "user", "content": "hi"}])}}
            ],
        },
        {
            "name": "gen_ai.content.completion",
            "attributes": [
                {
                    "key": "gen_ai.completion",
                    "value": {"stringValue": json.dumps([{"role": "assistant", "content": "yo"}])},
                }
            ],
        },
    ]
    (cut,), (whole,) = (
        exchanges(of("otlp", span(numbered))),
        exchanges(of("otlp", span({"gen_ai.operation.name": "chat"}, events=events))),
    )
    assert (cut.messages, cut.answer, cut.input_tokens, cut.flags) == (whole.messages, "yo", 3, ("truncated",))
    assert (whole.answer, whole.flags) == ("yo", ())


@pytest.mark.parametrize(
    ("key", "rest"),
    [
        ("llm.input_messages.{}.message", {"llm.output_messages.0.message.content": "yo"}),
        ("gen_ai.prompt.{}", {"gen_ai.completion.0.content": "yo"}),
    ],
)
@pytest.mark.parametrize(("numbers", "flags"), [((0, 1, 2), ()), ((2, 3, 4), ("truncated",)), ((0, 2), ("truncated",))])
def test_a_conversation_whose_numbers_have_a_gap_is_not_whole(
    key: str, rest: dict[str, Any], numbers: tuple[int, ...], flags: tuple[str, ...]
) -> None:
    asked = {
        f"{key.format(number)}.{part}": value
        for number in numbers
        for part, value in (("role", "user"), ("content", f"q{number}"))
    }
    (one,) = exchanges(of("otlp", span({**asked, **rest})))
    assert ([message["content"] for message in one.messages], one.answer) == (
        [f"q{number}" for number in numbers],
        "yo",
    )
    assert one.flags == flags
    if key.startswith("llm"):
        (exported,) = exchanges(of("openinference", {"span_id": "b" * 16, "attributes": {**asked, **rest}}))
        assert exported.flags == flags


@pytest.mark.parametrize(("count", "flags"), [(0, ()), (3, ("truncated",)), ("3", ("truncated",))])
def test_a_span_that_lost_attributes_is_not_whole(count: Any, flags: tuple[str, ...]) -> None:
    said = {"gen_ai.input.messages": json.dumps(MESSAGES), "gen_ai.output.messages": json.dumps(OUTPUT)}
    (one,) = exchanges(of("otlp", span(said, droppedAttributesCount=count)))
    assert (one.answer is not None, one.flags) == (True, flags)


def test_what_is_compacted_failed_or_no_call_is_told() -> None:
    said = {"gen_ai.input.messages": json.dumps(MESSAGES), "gen_ai.output.messages": json.dumps(OUTPUT)}
    (compacted,) = exchanges(of("otlp", span({**said, "gen_ai.conversation.compacted": "true"})))
    (failed,) = exchanges(of("otlp", span(said, status={"code": 2})))
    assert (compacted.flags, failed.flags) == (("compacted",), ("failed",))
    for attributes in ({"gen_ai.operation.name": "embeddings"}, {"http.method": "GET"}):
        assert len(left_out(of("otlp", span(attributes)))) == 1


def test_an_evaluation_of_a_user_is_an_opinion_and_one_of_a_program_is_nobodys_word() -> None:
    def event(name: str) -> dict[str, Any]:
        pairs = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.label": "incorrect"}
        return {
            "name": "gen_ai.evaluation.result",
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in pairs.items()],
        }

    found = of("otlp", span({"gen_ai.operation.name": "chat"}, events=[event("user_feedback"), event("faithfulness")]))
    said = [one for one in found if isinstance(one, Opinion)]
    assert [(one.rating, one.author) for one in said] == [(-1, "person"), (-1, "faithfulness")]
    assert {one.about for one in said} == {exchanges(found)[0].source_id}


SPEND = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "spend": 0.5,
    "startTime": "2026-11-28T10:00:00Z",
    "messages": {},
    "response": {},
    "model": "m",
    "status": "success",
    "cache_hit": "False",
    "session_id": "s",
}


@pytest.mark.parametrize(
    ("beside", "flags"),
    [
        ({}, ("no_content",)),
        ({"proxy_server_request": {"messages": MESSAGES}, "response": "yo"}, ()),
        ({"messages": json.dumps(MESSAGES), "response": {"choices": [{"message": {"content": "yo"}}]}}, ()),
        ({"messages": MESSAGES, "response": "yo", "cache_hit": "True"}, ("cached",)),
        ({"messages": MESSAGES, "response": "redacted-by-litellm"}, ("redacted",)),
        (
            {
                "messages": MESSAGES,
                "response": {
                    "choices": [{"finish_reason": "content_filter", "message": {"role": "assistant", "content": "no"}}]
                },
            },
            ("filtered",),
        ),
    ],
)
def test_litellms_table_of_spend_is_read_where_it_has_texts(beside: dict[str, Any], flags: tuple[str, ...]) -> None:
    (one,) = exchanges(of("litellm", {**SPEND, **beside}))
    assert (one.source_id, one.conversation, one.usd, one.flags) == ("chatcmpl-1", "s", 0.5, flags)


def test_a_call_that_answers_nobody_is_left_out() -> None:
    assert left_out(of("litellm", {**SPEND, "call_type": "aembedding"})) == ["a call of the kind aembedding"]


OBSERVATION = {
    "id": "o1",
    "traceId": "t1",
    "type": "GENERATION",
    "startTime": "2026-11-28T10:00:00.000Z",
    "name": "chat",
    "input": [{"role": "user", "content": "hi"}],
    "output": {"role": "assistant", "content": "yo"},
    "providedModelName": "m",
    "usageDetails": {"input": 3, "output": 1},
    "totalCost": 0.25,
    "promptName": "greet",
}


@pytest.mark.parametrize(
    "asked",
    [
        [{"role": "user", "content": "hi"}],
        {"messages": [{"role": "user", "content": "hi"}], "tools": []},
        "hi",
        json.dumps([{"role": "user", "content": "hi"}]),
        [
            [
                {
                    "lc": 1,
                    "type": "constructor",
                    "id": ["langchain", "schema", "HumanMessage"],
                    "kwargs": {"content": "hi"},
                }
            ]
        ],
        [{"type": "human", "content": "hi"}],
    ],
)
def test_langfuses_observations_are_read_whatever_their_input_looks_like(asked: Any) -> None:
    (one,) = exchanges(of("langfuse", {**OBSERVATION, "input": asked}))
    assert (one.messages, one.answer, one.name) == (({"role": "user", "content": "hi"},), "yo", "greet")
    assert (one.source_id, one.trace, one.input_tokens, one.usd) == ("o1", "t1", 3, 0.25)


def test_langfuses_tables_have_other_names_for_the_same() -> None:
    snake = {
        "id": "o1",
        "trace_id": "t1",
        "type": "GENERATION",
        "start_time": "2026-11-28 10:00:00",
        "input": '"hi"',
        "output": "yo",
        "provided_model_name": "m",
        "usage_details": [["input", 3], ["output", 1]],
        "total_cost": "0.25",
        "prompt_name": "greet",
    }
    (one,) = exchanges(of("langfuse", snake))
    (other,) = exchanges(of("langfuse", OBSERVATION))
    assert one == other


def test_langfuses_own_judges_and_steps_that_are_no_calls_are_left_out() -> None:
    items = [{**OBSERVATION, "environment": "langfuse-llm-as-a-judge"}, {**OBSERVATION, "type": "SPAN"}]
    assert len(left_out(of("langfuse", *items))) == 2


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ({"dataType": "BOOLEAN", "value": 0, "source": "ANNOTATION"}, (-1, None, "person")),
        ({"dataType": "NUMERIC", "value": 1, "source": "API", "name": "user-feedback"}, (None, None, "person")),
        ({"dataType": "NUMERIC", "value": 0, "source": "API", "name": "user-feedback"}, (-1, None, "person")),
        ({"dataType": "CATEGORICAL", "value": 0, "stringValue": "good", "source": "EVAL"}, (1, None, "tone")),
        ({"dataType": "CORRECTION", "value": 0, "longStringValue": "hello"}, (None, "hello", "person")),
    ],
)
def test_langfuses_scores_are_opinions_of_whoever_gave_them(score: dict[str, Any], said: tuple[Any, ...]) -> None:
    (one,) = of("langfuse", {"id": "s1", "traceId": "t1", "observationId": "o1", "name": "tone", **score})
    assert isinstance(one, Opinion)
    assert (one.opinion_id, one.about, (one.rating, one.correction, one.author)) == ("s1", "o1", said)


def test_phoenixs_nested_spans_are_its_flat_ones() -> None:
    nested = {
        "context": {"trace_id": "a" * 32, "span_id": "b" * 16},
        "span_kind": "LLM",
        "start_time": "2026-11-28T10:00:00Z",
        "attributes": {
            "llm": {
                "model_name": "m",
                "input_messages": [{"message.role": "user", "message.content": "hi"}],
                "output_messages": [{"message": {"role": "assistant", "content": "yo"}}],
            },
            "annotations": [{"annotation": {"label": "bad", "annotator_kind": "HUMAN"}}],
        },
    }
    found = of("openinference", nested)
    (one,) = exchanges(found)
    assert (one.messages, one.answer, one.model) == (({"role": "user", "content": "hi"},), "yo", "m")
    assert [(said.rating, said.author) for said in found if isinstance(said, Opinion)] == [(-1, "person")]


@pytest.mark.parametrize(
    "ids",
    [
        {"context": {"trace_id": "0x" + "a" * 32, "span_id": "0x" + "bb" * 8}, "start_time": 1764331200000000000},
        {
            "trace_id": "qqqqqqqqqqqqqqqqqqqqqg==",
            "span_id": "u7u7u7u7u7s=",
            "start_time_unix_nano": 1764331200000000000,
        },
    ],
)
def test_each_version_of_mlflows_spans_is_one_exchange(ids: dict[str, Any]) -> None:
    told = {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.traceRequestId": '"tr-1"',
        "mlflow.spanInputs": json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        "mlflow.spanOutputs": json.dumps({"choices": [{"message": {"role": "assistant", "content": "yo"}}]}),
    }
    trace = {"info": {"request_id": "tr-1"}, "data": {"spans": [{**ids, "attributes": told}]}}
    (one,) = exchanges(of("mlflow", trace))
    assert (one.source_id, one.answer, one.model) == ("tr-1/" + "bb" * 8, "yo", "m")
    assert one.at == moment("2025-11-28T12:00:00Z")


def test_every_format_refuses_the_others_items() -> None:
    samples = {
        "otlp_logs.json": "otlp",
        "openinference.jsonl": "openinference",
        "mlflow.json": "mlflow",
        "litellm.jsonl": "litellm",
    }
    for name, format in samples.items():
        item = next(item for _, item in read_items(FILES / name))
        seen = [kind for kind, importer in IMPORTERS.items() if importer(Columns()).sees(item)]
        assert seen == [format], name


def test_arguments_of_a_tool_are_an_object_and_text_where_they_are_none() -> None:
    for arguments, read in (('{"x": 1}', {"x": 1}), ('{"x": ', '{"x": '), ({"x": 1}, {"x": 1})):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        (message,) = messages_of([{"role": "assistant", "content": None, "tool_calls": [call]}])
        assert message["tool_calls"] == [{"id": "1", "name": "f", "arguments": read}]


@pytest.mark.parametrize(
    "value",
    [
        "2025-11-28T12:00:00Z",
        "2025-11-28T13:00:00+01:00",
        "2025-11-28 12:00:00",
        1764331200,
        1764331200.0,
        1764331200000,
        "1764331200000000000",
        1764331200000000,
    ],
)
def test_a_time_is_utc_however_it_is_written(value: Any) -> None:
    found = moment(value)
    assert found is not None
    assert found.isoformat() == "2025-11-28T12:00:00+00:00"


@pytest.mark.parametrize("value", ["yesterday", "", None, "0", -5, [], {"a": 1}, 1e300])
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment(value) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        [],
        {},
        7,
        "text",
        ["a", 3, None],
        [{"role": 5, "content": 9}],
        {"x": 1},
        [[[]]],
        '"',
        "{",
        [{"content": [None, 3, {"type": None}]}],
        [{"parts": "x"}],
    ],
)
def test_no_shape_of_messages_ends_in_a_traceback(value: Any) -> None:
    one = as_exchange("id", value, value)
    assert all(isinstance(message["content"], str) for message in one.messages)


def test_an_id_is_the_same_in_hexadecimal_and_base64() -> None:
    assert hexadecimal("u7u7u7u7u7s=") == hexadecimal("BB" * 8) == "bb" * 8
    assert hexadecimal("my own id") == "my own id"
