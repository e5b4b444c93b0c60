"""Every fault of a teacher, over both transports: its class, what it costs, how often it is tried.

Where the catalogue's cases (section E of the research notes, and the table of litellm's own faults) are tested:

    80  429, Retry-After in s, ms, as a date      test_pace: nothing_is_sent_before_retry_after, …_a_date
    81  429 without a header                      test_pace: concurrency_finds_the_servers_capacity
    82  insufficient_quota, 401, 403, 404         LASTING; after_a_refused_key_nothing_more_is_sent
    83  5xx burst                                 PASSING; test_pace: the_breaker_…
    84  hang                                      PASSING; total_deadline_holds
    85  dribble                                   PASSING; total_deadline_holds
    86  reset after processing                    PASSING (counted at its bound)
    87  stream cut, error event                   no call is streamed: nothing_is_streamed
    88  truncated                                 LASTING; raw_text_of_an_unusable_answer_is_kept
    89  content_filter                            LASTING
    90  refusal                                   LASTING
    91  null content, no choices, null choices    LASTING; PASSING
    92  malformed, fenced, trailing text          test_structured
    93  80 MB                                     a_huge_body_is_cut_at_the_cap
    94  HTML with 200; another model              PASSING; another_model_is_not_the_one_asked_for
    95  usage missing, 0, negative                unusable_usage_counts_as_the_upper_bound
    96  no price, but a budget                    test_money: an_unknown_price_with_a_limit_is_refused
    97  limit with 128 in flight                  test_money: dollars_are_never_overspent
    98  crash at the limit                        test_desk: a_limit_holds_over_kills; test_faulty_endpoint
    99  samples; one key asked twice at once      test_desk: samples_of_one_prompt_…, one_key_is_asked_once
    100 key echoed                                the_key_is_shown_nowhere
    101 all teachers down                         an_outage_leaves_nothing_final_behind
    102 the same answer again and again           test_diversity
        hidden retries of litellm                 every_request_is_counted
        unknown fields of a refusal               LASTING (litellm moves the field)
"""

from __future__ import annotations

import base64
import time
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import pytest
from desks import KEY, chat_desk, request
from stub_server import (
    Behaviour,
    StubServer,
    answers,
    completion,
    cut_short,
    drip,
    echo_key,
    hang,
    huge,
    raw,
    reset,
    says,
    status,
)

from flywheel.errors import BudgetStop
from flywheel.records import Reply
from flywheel.teachers import OUT_OF_REACH, Spent, is_final, read_journal
from flywheel.teachers.chat import retry_after
from flywheel.teachers.faults import TeacherFault

LEAN = "openai/stub"
LITELLM = "litellm_proxy/stub"
#: The prompt's bytes and the template allowance, and max_tokens: what an attempt may cost at most.
BOUND = (len("prompt 0") + 2 * 64) * 1.0 + 100 * 2.0
BILLED = 7 * 1.0 + 3 * 2.0


@pytest.fixture(scope="module", autouse=True)
def _warm_litellm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its first call in a process takes a second of imports, more than the deadlines here allow."""
    with StubServer() as server:
        assert ask(tmp_path_factory.mktemp("warm"), server, LITELLM, timeout_seconds=60.0).status == "ok"


PASSING: list[tuple[Behaviour, float]] = [
    (status(429), 0.0),
    (status(500), 0.0),
    (status(503, headers={"Retry-After": "0"}), 0.0),
    (reset, BOUND),
    (cut_short, BOUND),
    (hang, BOUND),
    (drip, BOUND),
    (raw(b"<html>gateway</html>", "text/html"), BOUND),
    (raw(b'{"choices": [{"mess'), BOUND),
    (says({"id": "x", "object": "chat.completion", "created": 1, "model": "stub", "choices": None}), BOUND),
]
LASTING: list[tuple[Behaviour, str, float]] = [
    (status(401), "auth", 0.0),
    (status(403), "auth", 0.0),
    (status(404, "no such model"), "not_found", 0.0),
    (status(429, "You exceeded your current quota", code="insufficient_quota"), "quota", 0.0),
    (status(400, "bad field"), "bad_request", 0.0),
    (status(400, "maximum context length is 10 tokens"), "context_length", 0.0),
    (status(400, "stopped", code="content_filter"), "content_filter", 0.0),
    (answers("half of", finish="length"), "truncated", BILLED),
    (answers("some", finish="content_filter"), "content_filter", BILLED),
    (answers(None, refusal="I cannot help"), "refusal", BILLED),
    (answers("  "), "empty", BILLED),
    (says(completion(None)), "empty", BILLED),
    (says({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}), "empty", BOUND),
]


def ask(folder: Path, server: StubServer, model: str = LEAN, **teacher: object) -> Reply:
    with chat_desk(folder, server.url, {"model": model, **teacher}) as desk:
        reply = desk.ask([request()])[0]
        cost = desk.spent()["gpt"]
    assert cost == Spent(reply.usd, reply.attempts, reply.input_tokens + reply.output_tokens)
    return reply


@pytest.mark.parametrize("model", [LEAN, LITELLM])
@pytest.mark.parametrize(("behaviour", "cost"), PASSING)
def test_passing_fault_is_tried_again(
    tmp_path: Path, server: StubServer, model: str, behaviour: Behaviour, cost: float
) -> None:
    server.enqueue(behaviour)
    reply = ask(tmp_path, server, model, timeout_seconds=2.0 if behaviour in (hang, drip) else 60.0)
    assert (reply.status, reply.text, reply.attempts) == ("ok", "re: prompt 0", 2)
    assert len(server.hits) == 2
    assert reply.usd == pytest.approx(BILLED + cost)


@pytest.mark.parametrize("model", [LEAN, LITELLM])
@pytest.mark.parametrize(("behaviour", "fault", "cost"), LASTING)
def test_lasting_fault_is_not(
    tmp_path: Path, server: StubServer, model: str, behaviour: Behaviour, fault: str, cost: float
) -> None:
    server.enqueue(behaviour)
    reply = ask(tmp_path, server, model)
    assert (reply.status, reply.fault, reply.attempts) == ("failed", fault, 1)
    assert fault != "truncated" or reply.text == "half of"
    assert len(server.hits) == 1
    assert reply.usd == pytest.approx(cost)


def test_raw_text_of_an_unusable_answer_is_kept(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers('[{"q": 1}, {"q"', finish="length"))
    assert '[{"q": 1}, {"q"' in ask(tmp_path, server).detail


@pytest.mark.parametrize("model", [LEAN, LITELLM])
def test_a_huge_body_is_cut_at_the_cap(tmp_path: Path, server: StubServer, model: str) -> None:
    server.enqueue(huge, huge, huge, huge)
    reply = ask(tmp_path, server, model, timeout_seconds=60.0)
    assert (reply.fault, reply.attempts) == ("malformed", 4)
    assert "longer than 8 MB" in reply.detail


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(answers("a\ud800b \ud83d\ude00"))
    assert ask(tmp_path, server).text == "a\ufffdb \U0001f600"


@pytest.mark.parametrize("model", [LEAN, LITELLM])
@pytest.mark.parametrize("behaviour", [drip, hang])
def test_total_deadline_holds(tmp_path: Path, server: StubServer, behaviour: Behaviour, model: str) -> None:
    server.enqueue(behaviour)
    reply = ask(tmp_path, server, model, max_retries=0, timeout_seconds=0.5)
    assert reply.fault == "timeout"
    assert 0.5 <= reply.seconds < 30


@pytest.mark.parametrize("model", [LEAN, LITELLM])
def test_nothing_is_streamed(tmp_path: Path, server: StubServer, model: str) -> None:
    ask(tmp_path, server, model)
    assert not server.hits[0].body.get("stream")


@pytest.mark.parametrize("model", [LEAN, LITELLM])
def test_every_request_is_counted(tmp_path: Path, server: StubServer, model: str) -> None:
    """Neither litellm nor an SDK under it asks again by itself."""
    server.usual = status(500)
    reply = ask(tmp_path, server, model, max_retries=1)
    assert (reply.attempts, len(server.hits)) == (2, 2)
    ((kept, _),) = read_journal(tmp_path / "calls")
    assert [attempt["fault"] for attempt in kept["attempts"]] == ["server", "server"]
    assert all(attempt["sent_at"] > 1.7e9 and attempt["seconds"] > 0 for attempt in kept["attempts"])


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("stub", True),
        ("Stub-1-2025-08-07", True),
        ("some/folder/stub@main", True),
        ("", True),
        ("other", False),
        ("openai/other-large", False),
    ],
)
def test_another_model_is_not_the_one_asked_for(tmp_path: Path, server: StubServer, said: str, same: bool) -> None:
    body = {**completion("a lesson"), "model": said}
    server.usual = says(body)
    with chat_desk(tmp_path, server.url, {"concurrency": 1}) as desk:
        first, second = desk.ask([request(0), request(1)])
    if same:
        assert (first.status, first.model, second.status) == ("ok", said, "ok")
        return
    assert (first.status, first.fault, first.text, first.usd) == ("failed", "wrong_model", "", BILLED)
    assert f'"stub" was asked and "{said}" answered' in first.detail
    assert "a lesson" in first.detail
    assert (second.fault, second.attempts, len(server.hits)) == ("wrong_model", 0, 1)
    assert not is_final(first)


def test_an_outage_leaves_nothing_final_behind(tmp_path: Path, server: StubServer) -> None:
    requests = [request(i) for i in range(30)]
    server.usual = status(503)
    with chat_desk(tmp_path, server.url, {"max_retries": 1}) as desk:
        replies = desk.ask(requests)
    assert {reply.fault for reply in replies} <= {"server", "unavailable"}
    assert not any(is_final(reply) for reply in replies)
    server.usual = answers()
    with chat_desk(tmp_path, server.url) as desk:
        again = desk.ask(requests)
    assert [(reply.status, reply.cached) for reply in again] == [("ok", False)] * 30


def test_a_fallback_makes_sense_for_every_fault_of_reach() -> None:
    assert {"unavailable", "auth", "quota", "server", "connection", "timeout", "rate_limit"} <= OUT_OF_REACH
    assert not OUT_OF_REACH & {"refusal", "content_filter", "truncated", "empty", "bad_request", "context_length"}
    assert not issubclass(BudgetStop, TeacherFault)


def test_retries_end(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[status(500, f"no {i}") for i in range(9)])
    reply = ask(tmp_path, server, max_retries=2)
    assert (reply.fault, reply.attempts, len(server.hits)) == ("server", 3, 3)
    assert "no 2" in reply.detail


@pytest.mark.parametrize("model", [LEAN, LITELLM])
@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10},
    ],
)
def test_unusable_usage_counts_as_the_upper_bound(
    tmp_path: Path, server: StubServer, usage: object, model: str
) -> None:
    server.enqueue(answers("fine", usage=usage))
    reply = ask(tmp_path, server, model)
    assert reply.status == "ok"
    assert reply.usd == pytest.approx(BOUND)


def test_an_error_in_a_200_has_its_own_status(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(says({"error": {"code": 401, "message": "no"}}))
    assert ask(tmp_path, server).fault == "auth"


@pytest.mark.parametrize("model", [LEAN, LITELLM])
def test_the_key_is_shown_nowhere(tmp_path: Path, server: StubServer, model: str) -> None:
    encoded = base64.b64encode(KEY.encode()).decode()
    server.enqueue(echo_key(), answers(f"{KEY} and {encoded} and {quote(KEY, safe='')}"))
    reply = ask(tmp_path, server, model, timeout_seconds=60.0)
    assert "[secret]" in reply.detail
    fine = ask(tmp_path / "again", server, model, timeout_seconds=60.0)
    assert fine.text == "[secret] and [secret] and [secret]"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.journal"))
    assert len(list(read_journal(tmp_path / "calls"))) == 1
    for form in (KEY, encoded, quote(KEY, safe="")):
        assert form.encode() not in kept
    assert server.hits[-1].request.headers["Authorization"] == f"Bearer {KEY}"


def test_after_a_refused_key_nothing_more_is_sent(tmp_path: Path, server: StubServer) -> None:
    server.usual = status(401)
    with chat_desk(tmp_path, server.url, {"concurrency": 1}) as desk:
        replies = desk.ask([request(i) for i in range(20)])
    assert {reply.fault for reply in replies} == {"auth"}
    assert [reply.attempts for reply in replies] == [1] + [0] * 19
    assert len(server.hits) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date() -> None:
    assert retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)}) == pytest.approx(30, abs=1.5)
