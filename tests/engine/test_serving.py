"""`flywheel serve`: OpenAI's protocol, receipts, feedback, a model that changes, and what is refused."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.api import Project
from flywheel.engine.serving import batching, guard
from flywheel.engine.serving import server as serving
from flywheel.engine.serving.log import read_served
from flywheel.engine.watching import Patience, look
from flywheel.errors import FlywheelError
from mini_domain import Domain, judged_by_labels, rows
from served_domain import Served, another, colour_of, deployed, point, records, running

SKY, ROSE = {"text": "old sky 1"}, {"text": "old rose 2"}


@pytest.fixture
def served(applied: Domain) -> Iterator[Served]:
    with running(applied) as found:
        yield found


# --- what is asked and answered -------------------------------------------------------------------------------------


def test_openais_client_is_answered_at_once_and_in_a_stream(served: Served) -> None:
    client = served.openai()
    asked = {"model": "deployed", "messages": [{"role": "user", "content": "old sky 1"}]}

    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))

    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("blue", "stop")
    assert whole.model == deployed(served.domain) == chunks[0].model
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert ("".join(pieces), pieces[0]) == ("blue", "bl"), "words come as they are written"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens == len("old sky 1") + 1


def test_openais_client_completes_a_text(served: Served) -> None:
    client = served.openai()

    whole = client.completions.create(model="deployed", prompt="old sky 1\ncolour:")
    streamed = client.completions.create(model="deployed", prompt=["old rose 2"], stream=True)

    assert whole.choices[0].text == "blue"
    assert "".join(chunk.choices[0].text for chunk in streamed) == "red"


def test_a_row_of_a_task_is_asked_by_the_tasks_own_prompt(served: Served, flywheel) -> None:
    client = served.openai()
    extension = {"flywheel": {"task": "colour", "row": {**SKY, "label": "red"}}}

    said = client.chat.completions.create(model="colours", messages=[], extra_body=extension)

    assert said.choices[0].message.content == "blue"
    assert said.usage is not None
    assert said.usage.prompt_tokens == len("old sky 1\ncolour:"), "the student does not see the right answer"
    assert flywheel(served.domain, "ask", "colour", "text=old sky 1")[1] == "blue\n"


def test_every_name_of_the_model_is_listed_and_answers(served: Served) -> None:
    client = served.openai()

    names = [model.id for model in client.models.list()]

    assert names == [deployed(served.domain), "deployed", "colours"]
    assert [served.ask(SKY, model=name).status_code for name in names] == [200, 200, 200]
    assert client.models.retrieve("colours").id == "colours"
    with pytest.raises(NotFoundError, match=r'no model "gpt-5" is served here. Known: .*deployed, colours'):
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "x"}])


def test_requests_of_many_clients_get_their_own_answers(served: Served) -> None:
    asked = [(SKY, "blue"), (ROSE, "red")] * 20

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda pair: served.ask(pair[0]).json(), asked))

    assert [one["choices"][0]["message"]["content"] for one in found] == [colour for _, colour in asked]
    assert len({one["id"] for one in found}) == len(asked)


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_an_answer_is_in_the_log_under_its_receipt(served: Served) -> None:
    row = served.ask(SKY)
    chat = served.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "old rose"}]})
    text = served.post("/v1/completions", {"prompt": "old sky"})

    found = served.records("answer")

    assert [record["id"] for record in found] == [one.headers["x-flywheel-receipt"] for one in (row, chat, text)]
    assert [record["id"] for record in found] == [one.json()["id"] for one in (row, chat, text)]
    asked = [(one["task"], one["row"], one["messages"], one["prompt"], one["answer"]) for one in found]
    assert asked == [
        ("colour", SKY, None, None, "blue"),
        (None, None, [{"role": "user", "content": "old rose"}], None, "red"),
        (None, None, None, "old sky", "blue"),
    ]
    assert set(found[0]) == {
        "kind", "id", "at", "model_id", "task", "row", "messages", "prompt", "answer", "finish_reason",
        "prompt_tokens", "completion_tokens", "seconds",
    }  # fmt: skip
    assert found[0]["model_id"] == deployed(served.domain)
    assert found[0]["at"].endswith("Z")


def test_feedback_is_kept_for_answers_of_this_server_and_of_earlier_ones(applied: Domain) -> None:
    with running(applied) as first:
        early = first.ask(SKY).json()["id"]
    with running(applied) as second:
        late = second.ask(SKY).json()["id"]
        said = [
            second.post("/feedback", {"receipt": early, "rating": -1, "correction": "navy"}),
            second.post("/feedback", {"receipt": late, "comment": "fine"}),
        ]

    assert [one.status_code for one in said] == [200, 200]
    found = [record for record in records(applied) if record["kind"] == "feedback"]
    assert [record["id"] for record in found] == [one.json()["id"] for one in said]
    assert [(one["receipt"], one["rating"], one["correction"], one["comment"]) for one in found] == [
        (early, -1, "navy", None), (late, None, None, "fine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"receipt": "20260101T000000Z-1-0123456789abcdef", "rating": 1}, 404, "no answer was given"),
        ({"receipt": "../../flywheel", "rating": 1}, 404, "no answer was given"),
        ({"receipt": "x"}, 400, "it says nothing"),
        ({"receipt": "x", "rating": 5}, 400, "rating"),
        ({"rating": 1}, 400, "receipt"),
        ({"receipt": "x", "ratings": 1}, 400, 'Did you mean "rating"'),
    ],
)
def test_feedback_on_nothing_is_refused(served: Served, body: dict[str, Any], status: int, words: str) -> None:
    said = served.post("/feedback", body)

    assert said.status_code == status
    assert words in said.json()["error"]["message"]
    assert served.records("feedback") == []


def test_half_a_line_at_the_end_is_left_out_and_any_other_is_a_fault_with_its_place(served: Served) -> None:
    served.ask(SKY)
    (path,) = (served.domain.root / ".flywheel" / "served").glob("*.jsonl")
    whole = path.read_bytes()

    path.write_bytes(whole + whole[:-20])
    assert (len(read_served(path).records), read_served(path).torn) == (1, 1)

    path.write_bytes(whole[:-20] + b"\n" + whole)
    with pytest.raises(FlywheelError, match=rf"{path.name}:1: no record of an answer"):
        read_served(path)


def test_no_answer_leaves_that_the_disk_did_not_take(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flywheel.engine.serving.log.os.fsync", full)
    said = served.ask(SKY)
    monkeypatch.undo()

    assert (said.status_code, "No space left" in said.json()["error"]["message"]) == (503, True)
    assert served.records("answer") == []


# --- what is refused ------------------------------------------------------------------------------------------------

USER = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": USER, "n": 2}, "n", '"n" is not supported'),
        ({"messages": USER, "logprobs": True}, "logprobs", "not supported"),
        ({"messages": USER, "tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"messages": USER, "temprature": 1}, "temprature", 'Did you mean "temperature"'),
        ({"messages": USER, "temperature": 3}, "temperature", "less than or equal to 2"),
        ({"messages": USER, "top_p": 0}, "top_p", "greater than 0"),
        ({"messages": USER, "max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": USER, "seed": "7"}, "seed", "valid integer"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "'user'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type", "'text'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, None, "must be the user's"),
        ({"messages": [*USER, {"role": "system", "content": "x"}, *USER]}, None, "stands before all others"),
        ({}, None, "must be the user's"),
        ({"flywheel": {"task": "color", "row": SKY}}, "flywheel", 'Did you mean "colour"'),
        ({"flywheel": {"task": "colour", "row": {"txt": "x"}}}, "flywheel", "no attribute 'text'"),
        ({"flywheel": {"task": "colour"}}, "flywheel.row", "required"),
        ([], None, "must be a JSON object"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(served: Served, body: Any, param: str | None, words: str) -> None:
    said = served.post("/v1/chat/completions", body)

    error = said.json()["error"]
    assert (said.status_code, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]
    assert param is None or error["param"] == param
    assert served.records("answer") == []


def test_parameters_that_ask_for_nothing_are_taken(served: Served) -> None:
    body = {"n": 1, "logprobs": False, "tools": None, "frequency_penalty": 0, "user": "me", "top_p": 1.0, "stop": []}

    assert served.ask(SKY, **body).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"messages": NaN}', b"[" * 100_000, b'{"model": "a", "model": "b"}', b'"\\ud800"', b"\xff"]
)
def test_what_is_no_json_is_refused(served: Served, content: bytes) -> None:
    with served.http(**{"content-type": "application/json"}) as client:
        said = client.post("/v1/chat/completions", content=content)

    assert said.status_code == 400
    assert said.json()["error"]["message"]


def test_a_fault_of_one_client_is_told_to_openais_client_as_such(served: Served) -> None:
    with pytest.raises(BadRequestError, match='"n" is not supported'):
        served.openai().chat.completions.create(model="deployed", messages=USER, n=2)  # type: ignore[arg-type]


def test_a_model_that_fails_is_told_and_the_next_batch_is_answered(served: Served) -> None:
    said = served.post("/v1/completions", {"prompt": "crash"})

    assert said.status_code == 503
    assert "Ask again" in said.json()["error"]["message"]
    assert any("too much" in words for words in served.said)
    assert served.ask(SKY).status_code == 200


def test_a_full_queue_says_when_to_come_again(applied: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING_BATCHES", 1)
    applied.edit(lambda spec: spec["student"].update(batch_size=1))
    held = threading.Event()
    with running(applied) as served, ThreadPoolExecutor(8) as pool:
        monkeypatch.setattr("stand_in.say", lambda adapter, prompt: str(held.wait(20)))
        asked = [pool.submit(served.ask, SKY) for _ in range(8)]
        refused = next(one for one in _as_done(asked) if one.status_code == 429)
        held.set()
        answered = [one.result() for one in asked if one.result().status_code == 200]

    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert answered
    assert len(answered) == sum(record["kind"] == "answer" for record in records(applied))


def _as_done(futures: list[Any]) -> Iterator[httpx.Response]:
    from concurrent.futures import as_completed

    return (future.result() for future in as_completed(futures))


# --- who may ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_without_keys_only_the_servers_own_names_are_answered(served: Served, host: str) -> None:
    with served.http(host=host) as client:
        assert client.get("/v1/models").status_code in (400, 403)
        assert client.get("/health").json() == {"status": "ok"} if host else True
    with served.http(host="localhost:9") as client:
        assert client.get("/v1/models").status_code == 200


def test_a_page_elsewhere_can_post_nothing(served: Served) -> None:
    with served.http(origin="https://evil.example") as client:
        body = json.dumps({"messages": USER})
        posted = client.post("/v1/chat/completions", content=body, headers={"content-type": "text/plain"})
        asked = client.options("/v1/chat/completions", headers={"access-control-request-method": "POST"})

    assert posted.status_code == 415
    assert asked.status_code == 405
    assert not [name for name in (*posted.headers, *asked.headers) if name.startswith("access-control")]


def test_with_keys_one_must_be_shown(applied: Domain) -> None:
    keys = ("k" * 20, "l" * 20)
    with running(applied, keys) as served:
        shown = [served.ask(SKY).status_code]
        for value in ("Bearer wrong", f"Basic {keys[0]}", "Bearer", f"Bearer {keys[0]}", f"bearer {keys[1]}"):
            shown.append(served.post("/v1/completions", {"prompt": "sky"}, authorization=value).status_code)
        with served.http(host="model.example", authorization=f"Bearer {keys[0]}") as client:
            assert client.get("/v1/models").status_code == 200, "behind a proxy it has another name"

    assert shown == [401, 401, 401, 401, 200, 200]


@pytest.mark.parametrize(
    ("host", "variable", "value", "words"),
    [
        ("0.0.0.0", None, "", "must show a key"),
        ("example.org", None, "", "must show a key"),
        ("127.0.0.1", "KEYS", "", "no such variable"),
        ("0.0.0.0", "KEYS", "short", "at least 16 characters"),
    ],
)
def test_nobody_listens_elsewhere_without_a_key(
    monkeypatch: pytest.MonkeyPatch, host: str, variable: str | None, value: str, words: str
) -> None:
    monkeypatch.setenv("KEYS", value)
    with pytest.raises(FlywheelError, match=words):
        guard.keys_of(variable, host)


def test_several_keys_are_read_and_this_machine_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", f"{'a' * 16}, {'b' * 16}\n{'c' * 16}")
    assert guard.keys_of("KEYS", "0.0.0.0") == ("a" * 16, "b" * 16, "c" * 16)
    assert [guard.keys_of(None, host) for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost")] == [()] * 4


def test_a_body_has_an_end(served: Served) -> None:
    long = {"prompt": "x" * guard.MAX_BODY}
    with served.http(**{"content-type": "application/json"}) as client:
        parts = client.post("/v1/completions", content=(b"x" * 65_536 for _ in range(40)))

    assert [served.post("/v1/completions", long).status_code, parts.status_code] == [413, 413]


def test_a_client_that_does_not_go_on_is_left(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.1)
    place = ("127.0.0.1", int(served.address.rpartition(":")[2]))
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(place) as slow:
        slow.settimeout(20)
        slow.sendall(head)
        assert slow.recv(100) == b"", "the head did not end"
    with socket.create_connection(place) as slow:
        slow.settimeout(20)
        slow.sendall(head + b"Content-Length: 9\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/v1/completions", 405)])
def test_other_addresses_are_none(served: Served, method: str, path: str, status: int) -> None:
    with served.http() as client:
        said = client.request(method, path)

    assert said.status_code == status
    assert "There are: POST /v1/chat/completions" in said.json()["error"]["message"]


# --- once round through production ------------------------------------------------------------------------------------


def test_what_people_corrected_in_production_is_learned_and_served_without_a_dropped_request(domain: Domain) -> None:
    """Nobody thought of green things: no probe has one. People ask for them, correct what they are told, and the next
    model, which the gate lets pass, knows."""
    knows_green_lessons(domain)
    assert domain.apply(iterations=1).promoted == [1]
    first = deployed(domain)
    with running(domain) as served:
        wrong = [one for one in asked_in_production(served) if colour_of(one)[1] != "green"]
        for one in wrong[::5]:
            body = {"receipt": one.headers["x-flywheel-receipt"], "rating": -1, "correction": "green"}
            assert served.post("/feedback", body).status_code == 200

        with asking_all_the_while(served) as answers:
            outcome = look(domain.root / "flywheel.yaml", Patience(new=10), served.said.append, lambda event: None)
            assert outcome is not None
            assert outcome.promoted == [2]
            assert colour_of(served.ask({"text": "old grass 1"})) == (deployed(domain), "green")

    assert {one.status_code for one in answers} == {200}
    assert {one.json()["model"] for one in answers} <= {first, deployed(domain)}
    [mined] = domain.query("SELECT summary FROM nodes WHERE name = 'i2.mine.colour'")
    assert (mined["summary"]["corrected"], mined["summary"]["wrong"]) == (12, 12)


def knows_green_lessons(domain: Domain) -> None:
    """The holdout and the lessons that people wrote have green things; probes do not."""
    judged_by_labels(domain, "red", "blue", "green")
    green = [{"text": f"old grass {number}", "label": "green"} for number in range(600, 640)]
    domain.write_rows("evals/lessons.jsonl", [*rows(500, 40), *green[:16]])
    domain.write_rows("evals/holdout.jsonl", [*rows(300, 16), *green[16:]])

    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["person"]["match"] = "label"
        spec["traffic"] = {"match": {"colour": {}}}

    domain.edit(change)


def asked_in_production(served: Served) -> list[httpx.Response]:
    return [served.ask({"text": f"new grass {number}"}) for number in range(60)]


@contextmanager
def asking_all_the_while(served: Served) -> Iterator[list[httpx.Response]]:
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            answers.append(served.ask(SKY))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        stop.set()
        asker.join()


# --- a model that changes -------------------------------------------------------------------------------------------


def test_the_next_batch_is_answered_by_what_is_deployed_then(served: Served) -> None:
    first, second = deployed(served.domain), another(served.domain)

    before = colour_of(served.ask(SKY))
    point(served.domain, second)
    after = colour_of(served.ask(SKY))
    gone = served.ask(SKY, model=first)
    point(served.domain, first)
    back = colour_of(served.ask(SKY))

    assert (before, after, back) == ((first, "blue"), (second, "grey"), (first, "blue"))
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")
    assert [record["model_id"] for record in served.records("answer")] == [first, second, first]


def test_no_request_is_dropped_while_the_model_changes(served: Served) -> None:
    first, second = deployed(served.domain), another(served.domain)
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(0.05):
            point(served.domain, second if deployed(served.domain) == first else first)

    mover = threading.Thread(target=move)
    mover.start()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: served.ask(SKY), range(12)))
    stop.set()
    mover.join()

    assert {one.status_code for one in found} == {200}
    assert {colour_of(one) for one in found} <= {(first, "blue"), (second, "grey")}


@pytest.mark.parametrize("part", ["adapter_model.safetensors", "manifest.json", "README.md"])
def test_a_tampered_deployment_is_refused_and_the_old_one_goes_on(served: Served, part: str) -> None:
    first, second = deployed(served.domain), another(served.domain)
    path = served.domain.root / "deploy" / second / part
    path.write_bytes(path.read_bytes() + b" " if part != "manifest.json" else b"{")

    point(served.domain, second)
    said = colour_of(served.ask(SKY))
    with served.http() as client:
        health = client.get("/health").json()

    assert said == (first, "blue")
    assert any(words.endswith(f"{first} goes on serving.") for words in served.said)
    assert (health["model_id"], bool(health["refused"])) == (first, True)


def test_an_edit_of_what_is_served_is_seen_and_said(served: Served) -> None:
    page = served.domain.root / "deploy" / "current" / "README.md"
    whole = page.read_text()

    page.write_text(f"{whole} ")
    edited = colour_of(served.ask(SKY))
    page.write_text(whole)
    restored = colour_of(served.ask(SKY))

    assert edited == restored == (deployed(served.domain), "blue")
    assert any("README.md: has changed since it was deployed" in words for words in served.said)
    assert served.said[-1] == f"serving {deployed(served.domain)} from now on, by the spec as it is"


def test_a_spec_that_is_not_valid_is_said_and_a_mended_one_taken(served: Served) -> None:
    file = served.domain.root / "flywheel.yaml"
    whole = file.read_text()

    file.write_text(f"{whole}\nnonsense: 1\n")
    broken = colour_of(served.ask(SKY))
    file.write_text(whole.replace("name: colours", "name: hues"))
    mended = colour_of(served.ask(SKY, model="deployed"))

    assert broken == mended == (deployed(served.domain), "blue")
    assert any("nonsense" in words for words in served.said)
    assert served.ask(SKY, model="hues").status_code == 200


def test_nothing_is_served_where_nothing_is_deployed(domain: Domain) -> None:
    with pytest.raises(FlywheelError, match="nothing is deployed yet"), running(domain):
        pass


def test_a_port_that_is_taken_is_said(applied: Domain) -> None:
    file = applied.root / "flywheel.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(FlywheelError, match=f"port {port}: Address already in use. Name another with --port"),
            serving.model_server(file, "127.0.0.1", port, (), print),
        ):
            pass


# --- a real student -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_student_answers_as_ask_does_to_the_token(real_domain: Domain) -> None:
    real_domain.edit(lambda spec: spec.update(gate=[{"suite": "guard", "not_worse_than": 0.99}]))
    assert real_domain.apply().promoted
    asked = [{"text": row["text"]} for row in rows(300, 12)]
    with Project.open(real_domain.root) as project:
        alone = project.answers("colour", asked)

    with running(real_domain) as served, ThreadPoolExecutor(12) as pool:
        together = [one.json() for one in pool.map(served.ask, asked)]
        drawn = [served.ask(asked[0], temperature=1.5, seed=7, max_tokens=20).json() for _ in range(2)]
        stream = served.openai().chat.completions.create(
            model="deployed", messages=[], stream=True, extra_body={"flywheel": {"task": "colour", "row": asked[0]}}
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]

    said = [(one["choices"][0]["message"]["content"], one["usage"]["completion_tokens"]) for one in together]
    assert said == [(one.text, one.tokens) for one in alone]
    assert {one["model"] for one in together} == {one.model_id for one in alone}
    assert [one["choices"][0]["finish_reason"] == "length" for one in together] == [one.truncated for one in alone]
    assert "".join(pieces) == alone[0].text
    assert drawn[0]["choices"] == drawn[1]["choices"]
    assert drawn[0]["choices"] != together[0]["choices"]
