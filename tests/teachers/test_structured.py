"""Answers in JSON: the form they are asked for in, what counts as readable, and the one repair."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from desks import KEY, chat_desk, request
from stub_server import Behaviour, StubServer, answers, hang, status

from flywheel.errors import BudgetStop
from flywheel.records import Generation, LessonRequest, Message, Reply
from flywheel.spec.teachers import StudentTeacher
from flywheel.teachers import Desk, DeskStopped, Spent, read_journal
from flywheel.teachers.structured import misfit

ROW = {"type": "object", "properties": {"q": {"type": "string"}, "a": {"type": "string"}}, "required": ["q", "a"]}
ROWS = {"type": "object", "properties": {"rows": {"type": "array", "items": ROW}}, "required": ["rows"]}
VOTE = {"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"]}
GOOD = '{"rows": [{"q": "1", "a": "2"}]}'
BILLED = 7 * 1.0 + 3 * 2.0
MODELS = pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])


def row_request(sample: int = 0) -> LessonRequest:
    return request(sample, schema=ROWS)


def forms(server: StubServer) -> list[str]:
    return [(hit.body.get("response_format") or {}).get("type", "text") for hit in server.hits]


def ask(folder: Path, server: StubServer, *requests: LessonRequest, **teacher: Any) -> list[Reply]:
    """With long deadlines: litellm's first call in a process imports for a second."""
    with chat_desk(folder, server.url, {"timeout_seconds": 60.0, **teacher}) as desk:
        return desk.ask(list(requests))


# --- what is asked for


@MODELS
def test_a_schema_goes_out_with_the_request(tmp_path: Path, server: StubServer, model: str) -> None:
    server.usual = answers(GOOD)
    (reply,) = ask(tmp_path, server, row_request(), model=model)
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": ROWS}}
    assert server.hits[0].body["response_format"] == wanted
    assert (reply.text, reply.detail, reply.attempts) == (GOOD, "", 1)


@pytest.mark.parametrize(
    ("output", "form"), [("auto", "json_schema"), ("schema", "json_schema"), ("json", "json_object"), ("text", "text")]
)
def test_the_spec_names_the_form(tmp_path: Path, server: StubServer, output: str, form: str) -> None:
    server.usual = answers(GOOD)
    ask(tmp_path, server, row_request(), output=output)
    assert forms(server) == [form]


def test_without_a_schema_nothing_is_asked_for_or_mended(tmp_path: Path, server: StubServer) -> None:
    (reply,) = ask(tmp_path, server, request(), output="json")
    assert (forms(server), reply.text) == (["text"], "re: prompt 0")


REFUSED = status(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.")
UNPROCESSABLE = status(422, "extra fields not permitted", param="response_format")


@pytest.mark.parametrize(
    ("model", "refusal"),
    [("openai/stub", REFUSED), ("litellm_proxy/stub", REFUSED), ("openai/stub", UNPROCESSABLE)],
)
def test_a_refused_form_is_left_for_good(tmp_path: Path, server: StubServer, model: str, refusal: Behaviour) -> None:
    server.enqueue(refusal, refusal)
    server.usual = answers(GOOD)
    with chat_desk(tmp_path, server.url, {"model": model, "timeout_seconds": 60.0}) as desk:
        (first,) = desk.ask([row_request(0)])
        (second,) = desk.ask([row_request(1)])
    assert forms(server) == ["json_schema", "json_object", "text", "text"]
    assert (first.status, first.attempts, first.usd) == ("ok", 3, BILLED)
    assert (second.status, second.attempts) == ("ok", 1)


def test_litellm_may_refuse_twice_and_return_nothing(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[UNPROCESSABLE] * 4)
    server.usual = answers(GOOD)
    (reply,) = ask(tmp_path, server, row_request(), model="litellm_proxy/stub")
    assert (reply.status, reply.text, reply.usd) == ("ok", GOOD, BILLED)
    server.enqueue(*[UNPROCESSABLE] * 2)
    (reply,) = ask(tmp_path / "text", server, request(1), model="litellm_proxy/stub")
    assert (reply.fault, reply.detail) == ("bad_request", "HTTP 422: the server refuses this")


def test_calls_refused_together_step_down_once(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[status(400, "json_schema is not supported")] * 8)
    server.usual = answers(GOOD)
    replies = ask(tmp_path, server, *[row_request(i) for i in range(8)], concurrency=8)
    assert {reply.status for reply in replies} == {"ok"}
    assert forms(server) == ["json_schema"] * 8 + ["json_object"] * 8


def test_a_form_that_the_spec_demands_is_not_lowered(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(status(400, "response_format is not supported"))
    (reply,) = ask(tmp_path, server, row_request(), output="schema")
    assert (reply.fault, reply.attempts, len(server.hits)) == ("bad_request", 1, 1)


def test_another_bad_request_does_not_lower_the_form(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(status(400, "temperature must be 1"))
    (reply,) = ask(tmp_path, server, row_request())
    assert (reply.fault, forms(server)) == ("bad_request", ["json_schema"])


@MODELS
def test_sampling_settings_are_passed_on(tmp_path: Path, server: StubServer, model: str) -> None:
    settings = {"temperature": 0.7, "top_p": 0.9, "presence_penalty": 1.5, "model": model}
    ask(tmp_path, server, request(0), request(1, temperature=0.0), **settings, concurrency=1)
    sent = [(hit.body["temperature"], hit.body["top_p"], hit.body["presence_penalty"]) for hit in server.hits]
    assert sent == [(0.7, 0.9, 1.5), (0.0, 0.9, 1.5)]


def test_the_schema_is_in_the_bound(tmp_path: Path, server: StubServer) -> None:
    server.usual = answers(GOOD, usage=None)
    (reply,) = ask(tmp_path, server, row_request())
    assert reply.usd == (len("prompt 0") + 2 * 64) + (len(json.dumps(ROWS)) + 64) + 100 * 2.0


# --- what can be read


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        '{"rows": []}',
        "Here you are:\n```json\n" + GOOD + "\n```\nAnything else?",
        '[{"q": "1", "a": "2"}]',
        '{"q": "1", "a": "2"}\n{"q": "3", "a": "4"}',
        '{"rows": [{"q": "1", "a": "2",},]}',
        '{"rows": [{"q": "1"}, {"q": "1", "a": "2", "more": 3}]}',
        '<think>{"rows": 3}</think>{"rows": [{"q": "1", "a": "2"}]}',
    ],
)
def test_readable(text: str) -> None:
    assert misfit(text, ROWS) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I would rather not.", "there is no JSON object or array in it"),
        ('{"rows": [{"q": "1"}]}', '"a" is missing'),
        ('{"rows": [{"q": "1", "a": null}]}', '"a" is missing'),
        ('{"rows": {"q": "1"}}', "a list is wanted, not dict"),
        ('{"lines": []}', '"rows" is missing'),
        ('{"rows": [{"q": "1", "a": "2"', "cut off in the middle of a row"),
        ('{"rows": [{"q": "1" "a": "2"}]}', "not valid JSON (Expecting ',' delimiter)"),
    ],
)
def test_not_readable(text: str, problem: str) -> None:
    assert misfit(text, ROWS) == problem


def test_a_vote_is_an_object_with_its_key() -> None:
    assert misfit('Well: {"verdict": "pass"}', VOTE) == ""
    assert misfit('{"verdict_": "pass"}', VOTE) == '"verdict" is missing'
    assert misfit("[1, 2]", VOTE) == "an object is wanted, not list"


# --- the repair


@MODELS
def test_an_unreadable_answer_is_asked_for_once_more(tmp_path: Path, server: StubServer, model: str) -> None:
    server.enqueue(answers(f'{{"rows": [{{"q": "{KEY}"}}]}}'), answers(GOOD))
    (reply,) = ask(tmp_path, server, row_request(), model=model)
    assert (reply.status, reply.text, reply.attempts, reply.usd) == ("ok", GOOD, 2, 2 * BILLED)
    assert reply.detail == 'repaired: "a" is missing. The first answer: {"rows": [{"q": "[secret]"}]}'
    first, again = (hit.body["messages"] for hit in server.hits)
    assert again[: len(first)] == first
    assert [message["role"] for message in again[len(first) :]] == ["assistant", "user"]
    assert '"a" is missing' in again[-1]["content"]
    assert json.dumps(ROWS) in again[-1]["content"]


def test_both_calls_are_in_the_ledger_and_the_journal(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers("no"), answers("no again"))
    with chat_desk(tmp_path, server.url) as desk:
        (reply,) = desk.ask([row_request()])
        assert desk.spent()["gpt"] == Spent(2 * BILLED, 2, 20)
        (again,) = desk.ask([row_request()])
    assert (reply.status, reply.text, again.cached) == ("ok", "no again", True)
    assert "The first answer: no" in reply.detail
    ((kept, journaled),) = read_journal(tmp_path / "calls")
    assert journaled == reply
    assert [(attempt["fault"], attempt["usd"]) for attempt in kept["attempts"]] == [("", BILLED)] * 2
    assert (kept["key"], kept["messages"]) == (row_request().key, [["user", "prompt 0"]])
    assert len(server.hits) == 2


def test_a_repair_that_fails_leaves_the_first_answer(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers("half"), status(500), status(400, "too bad"))
    (reply,) = ask(tmp_path, server, row_request())
    assert (reply.status, reply.text, reply.attempts) == ("ok", "half", 3)
    assert "not repaired: bad_request: HTTP 400" in reply.detail


def test_a_limit_before_the_repair_loses_no_answer(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers("half"))
    with chat_desk(tmp_path, server.url, {"max_calls": 1}) as desk, pytest.raises(BudgetStop):
        desk.ask([row_request()])
    ((_, reply),) = read_journal(tmp_path / "calls")
    assert (reply.status, reply.text, reply.usd) == ("ok", "half", BILLED)


def test_a_stop_during_the_repair_loses_no_answer(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers("half"), hang)
    desk = chat_desk(tmp_path, server.url, {"timeout_seconds": 60.0})

    def ask_and_be_stopped() -> None:
        with pytest.raises(DeskStopped):
            desk.ask([row_request()])

    asking = threading.Thread(target=ask_and_be_stopped)
    asking.start()
    while len(server.hits) < 2:
        time.sleep(0.01)
    desk.stop(grace_seconds=0.1)
    asking.join(5)
    ((kept, reply),) = read_journal(tmp_path / "calls")
    assert (reply.status, reply.text, reply.attempts) == ("ok", "half", 2)
    assert [attempt["fault"] for attempt in kept["attempts"]] == ["", "interrupted"]


def test_a_truncated_answer_is_no_matter_of_form(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers('{"rows": [', finish="length"))
    (reply,) = ask(tmp_path, server, row_request())
    assert (reply.fault, reply.attempts) == ("truncated", 1)


def test_other_kinds_of_teachers_ignore_the_schema(tmp_path: Path) -> None:
    def generate(prompts: list[str], temperature: float, top_p: float, seeds: list[int]) -> list[Generation]:
        return [Generation(str(i), f"{prompt} at {temperature}", 3, False) for i, prompt in enumerate(prompts)]

    student = StudentTeacher(kind="student", temperature=0.7)
    asked = [
        request(i, schema=VOTE, temperature=t, messages=(Message("user", f"{i}"),))
        for i, t in enumerate([None, 0.2, None])
    ]
    with Desk({"gpt": student}, tmp_path, tmp_path / "calls", generate=generate) as desk:
        replies = desk.ask(asked)
    assert [reply.text for reply in replies] == ["0 at 0.7", "1 at 0.2", "2 at 0.7"]
    assert {reply.attempts for reply in replies} == {1}
