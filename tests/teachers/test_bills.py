"""What a server says that a call cost: believed within reason, priced as the provider does, never a reason to stop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from desks import chat_desk, chat_teacher, request
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_server import Hit, StubServer, answers, completion, raw, says

from flywheel.errors import BudgetStop
from flywheel.records import Message
from flywheel.spec.models import Loop
from flywheel.spec.teachers import LitellmTeacher
from flywheel.store.database import Store
from flywheel.teachers import read_journal
from flywheel.teachers.bill import BEYOND_BELIEF, NO_BILL, Bill, read_bill
from flywheel.teachers.chat import read_completion, retry_after
from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.journal import Journal, Sent, drain, request_json
from flywheel.teachers.money import Price, declared_price
from flywheel.teachers.prices import price_of

#: Of "prompt 0", with 100 tokens of answer at a dollar a token in and two out.
PROMPT_BOUND = len("prompt 0") + 128
BOUND = PROMPT_BOUND + 2 * 100
BELIEVED = "usage was not believed"


def usage(prompt: Any, completion: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "bill"),
    [
        (None, NO_BILL),
        (usage(7, 3, total_tokens=10), Bill(7, 3)),
        (usage(7.0, 3), Bill(7, 3)),
        (usage(7, 0), NO_BILL),
        (usage(7, None), NO_BILL),
        (usage(7, 3, prompt_tokens_details={"cached_tokens": 5}), Bill(7, 3, 5)),
        (usage(7, 3, prompt_tokens_details={"cached_tokens": 50}), Bill(7, 3, 7)),
        (usage(7, 3, prompt_tokens_details={"cached_tokens": -5}), Bill(7, 3)),
        (usage(7, 3, prompt_tokens_details="5 cached"), Bill(7, 3)),
        (usage(7, 30, completion_tokens_details={"reasoning_tokens": 20}), Bill(7, 30)),
        # Reasoning that the completion leaves out: the total has it, or it is more than the completion.
        (usage(7, 3, total_tokens=110, completion_tokens_details={"reasoning_tokens": 100}), Bill(7, 103)),
        (usage(7, 3, total_tokens=110), Bill(7, 103)),
        (usage(7, 3, completion_tokens_details={"reasoning_tokens": 100}), Bill(7, 103)),
        (usage(7, 3, total_tokens=9), Bill(7, 3)),
    ],
)
def test_tokens_are_counted_as_the_provider_bills_them(said: Any, bill: Bill) -> None:
    assert read_bill(said) == bill


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        (usage("7", 3), "prompt_tokens is '7'"),
        (usage(7, True), "completion_tokens is True"),
        (usage(7, -3), "completion_tokens is -3"),
        (usage(7.5, 3), "prompt_tokens is 7.5"),
        (usage(float("nan"), 3), "prompt_tokens is nan"),
        (usage(float("inf"), 3), "prompt_tokens is inf"),
        (usage([7], 3), "prompt_tokens is a list"),
        (usage(7, 3, total_tokens={"n": 10}), "total_tokens is a dict"),
        ("many", "usage is 'many'"),
        ([7, 3], "usage is a list"),
    ],
)
def test_what_is_no_number_of_tokens_is_a_doubt(said: Any, doubt: str) -> None:
    assert read_bill(said) == Bill(doubt=doubt)


def test_a_bill_far_above_the_bound_is_a_doubt_and_one_above_it_is_none() -> None:
    assert Bill(7, 5_000).within(300) == Bill(7, 5_000)
    assert Bill(0, 300 + BEYOND_BELIEF).within(300).doubt == ""
    assert Bill(1, 300 + BEYOND_BELIEF).within(300) == Bill(doubt="1,048,877 tokens for a call of at most 300")
    assert Bill(1, 10**300).within(300).doubt == "about 2^996 tokens for a call of at most 300"


# --- a whole call -----------------------------------------------------------------------------------------------------

ABSURD = [10**300, 2**63, 2**63 - 1, 2**64, 10**9, -1, -(2**70), 1.5, True, "12", [1], {"n": 1}]


@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
@pytest.mark.parametrize("number", ABSURD, ids=lambda n: str(n)[:12])
def test_an_absurd_usage_costs_the_bound_and_the_answer_stands(
    tmp_path: Path, server: StubServer, number: Any, model: str
) -> None:
    server.usual = answers("fine", usage=usage(7, number))
    events: list[dict[str, Any]] = []
    teacher = {"max_usd": 20 * BOUND, "model": model, "timeout_seconds": 20.0}
    with chat_desk(tmp_path, server.url, teacher, on_event=events.append) as desk:
        replies = [desk.ask([request(i)])[0] for i in range(3)]
        if model == "openai/stub":
            assert [(r.status, r.text, r.usd) for r in replies] == [("ok", "fine", BOUND)] * 3
            assert all(BELIEVED in r.detail for r in replies)
            assert BELIEVED in next(e["detail"] for e in events if e["event"] == "bill")
        # Litellm reads the numbers first: some it leaves out, some it refuses, and then the call has failed.
        assert all(0 < r.usd <= 4 * BOUND for r in replies)
        assert desk.spent()["gpt"].usd == sum(r.usd for r in replies)
    stored(tmp_path)


def stored(project: Path) -> None:
    """The journal drains into a store."""
    with Store(project / "flywheel.duckdb") as store:
        count = drain(project / "calls", lambda entries: store.save_calls("r", entries))
        assert count == store.query("SELECT count(*) AS n FROM calls")[0]["n"] > 0


@pytest.mark.parametrize("digits", ["9" * 400, "9" * 5_000, "1e999", "NaN", "-Infinity", "1.0e5"])
def test_a_number_that_python_cannot_read_spoils_no_answer(tmp_path: Path, server: StubServer, digits: str) -> None:
    body = json.dumps(completion("fine", usage=usage(7, 3), index=0)).replace("3}", f"{digits}}}")
    server.enqueue(raw(body.encode()))
    with chat_desk(tmp_path, server.url) as desk:
        (reply,) = desk.ask([request()])
    assert (reply.status, reply.text) == ("ok", "fine")
    assert reply.usd == (BOUND if digits != "1.0e5" else 7 + 2e5)
    stored(tmp_path)


@pytest.mark.parametrize("where", ["reply", "sent"])
def test_a_journal_that_an_earlier_version_poisoned_drains(tmp_path: Path, where: str) -> None:
    from asyncio import run

    from flywheel.records import Reply

    async def write() -> None:
        journal, asked = Journal(tmp_path / "calls"), request()
        brief = {"key": asked.key, "teacher": "gpt", "purpose": "lessons", "mode": "wrong"}
        absurd = 10**300
        journal.sent(Sent("f", brief, "gpt", 1, 336 if where == "reply" else absurd, 1.25))
        if where == "reply":
            kept = request_json(asked, asked.key) | {"attempts": [{"tokens": absurd, "usd": 1e300}]}
            await journal.append(kept, Reply(asked.key, "gpt", "ok", "fine", "", "", absurd, absurd, 1e300), "f")
        journal.close()

    run(write())
    ((kept, reply),) = read_journal(tmp_path / "calls")
    if where == "reply":
        assert (reply.text, reply.input_tokens, reply.output_tokens, reply.usd) == ("fine", 336, 0, 1.25)
        assert "beyond belief" in reply.detail
        assert kept["attempts"] == []
    else:
        assert (reply.fault, reply.output_tokens, reply.usd) == ("interrupted", 0, 0.0)
    stored(tmp_path)


# --- prices -----------------------------------------------------------------------------------------------------------


def test_cached_tokens_have_a_price_of_their_own(tmp_path: Path, server: StubServer) -> None:
    server.usual = answers("ok", usage=usage(100, 10, prompt_tokens_details={"cached_tokens": 80}))
    with chat_desk(tmp_path / "own", server.url, {"usd_per_million_cached": 1e5}) as desk:
        assert desk.ask([request()])[0].usd == pytest.approx(20 + 0.1 * 80 + 2 * 10)
    with chat_desk(tmp_path / "none", server.url) as desk:
        assert desk.ask([request()])[0].usd == pytest.approx(100 + 2 * 10)


def test_litellm_knows_the_price_of_cached_tokens() -> None:
    price = price_of(LitellmTeacher(kind="litellm", model="openai/gpt-4o-mini"))
    assert price is not None
    assert price.cached is not None
    assert 0 < price.cached < price.input


def test_a_price_is_no_part_of_what_a_teacher_says(tmp_path: Path) -> None:
    from flywheel.teachers import parameters

    cheap, dear = (chat_teacher("http://127.0.0.1:1", usd_per_million_cached=usd) for usd in (1.0, 2.0))
    assert parameters("gpt", cheap, tmp_path) == parameters("gpt", dear, tmp_path)
    assert declared_price(cheap) == Price(1e6, 2e6, 1.0)


# --- more than max_tokens ---------------------------------------------------------------------------------------------


class Thinking:
    """A server that bills reasoning beyond `max_tokens`: from `least` to `most` tokens, and adds up what it billed."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most, self.calls, self.usd = least, most, 0, 0.0

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        tokens = self.least + (self.most - self.least) * (self.calls % 5) // 4
        self.calls += 1
        self.usd += 10 + 2 * tokens
        return web.json_response(completion("ok", usage=usage(10, tokens, total_tokens=10 + tokens)))


class Together:
    """Answers only when so many calls are there."""

    def __init__(self, count: int) -> None:
        self.count, self.here = count, 0
        self.all_here = asyncio.Event()

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        self.here += 1
        if self.here == self.count:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), 20)
        return web.json_response(completion("ok"))


def prompts(count: int) -> list[Any]:
    return [request(i, messages=(Message("user", "prompt 0"),)) for i in range(count)]


@pytest.mark.parametrize(("least", "most"), [(1_000, 1_000), (600, 1_000), (90, 110)])
@pytest.mark.parametrize("where", ["teacher", "loop", "tokens"])
def test_a_server_that_bills_reasoning_beyond_max_tokens_does_not_overdraw_the_limit(
    tmp_path: Path, server: StubServer, least: int, most: int, where: str
) -> None:
    server.usual = billing = Thinking(least, most)
    cap = 60_000.0
    limits = {"loop": Loop(max_usd=cap), "tokens": Loop(max_tokens=30_000)}.get(where, Loop())
    teacher = {"concurrency": 64, "timeout_seconds": 60.0, **({"max_usd": cap} if where == "teacher" else {})}
    with chat_desk(tmp_path, server.url, teacher, limits=limits) as desk:
        with pytest.raises(BudgetStop, match="bill more than max_tokens" if most > 200 else "are spent"):
            desk.ask(prompts(900))
        spent = desk.spent()["gpt"]
    assert spent.usd == pytest.approx(billing.usd)
    assert spent.usd <= cap
    assert spent.tokens <= 30_000 or where != "tokens"
    # It is not over-careful either: at most two excesses are left.
    assert spent.usd > cap - BOUND - 2 * 2 * (most + 10) or where == "tokens"


def test_the_excess_is_told_once_for_what_it_is(tmp_path: Path, server: StubServer) -> None:
    server.usual = Thinking(1_000, 1_000)
    events: list[dict[str, Any]] = []
    with chat_desk(tmp_path, server.url, on_event=events.append) as desk:
        desk.ask(prompts(5))
    told = [e["detail"] for e in events if e["event"] == "bill"]
    assert told == [f"a call of at most {PROMPT_BOUND + 100} tokens was billed 1,010"]


def test_without_a_limit_nobody_waits_for_a_first_bill(tmp_path: Path, server: StubServer) -> None:
    server.usual = Together(8)
    with chat_desk(tmp_path / "free", server.url, {"concurrency": 8, "timeout_seconds": 60.0}) as desk:
        assert all(reply.status == "ok" for reply in desk.ask(prompts(8)))
    seen_at_first: list[int] = []

    async def first_alone(hit: Hit) -> web.StreamResponse:
        if not seen_at_first:
            await asyncio.sleep(0.3)
            seen_at_first.append(len(server.hits))
        return web.json_response(completion("ok"))

    server.usual = first_alone
    with chat_desk(tmp_path / "bound", server.url, {"concurrency": 8, "timeout_seconds": 60.0, "max_usd": 1e6}) as desk:
        desk.ask(prompts(8))
    assert seen_at_first == [len(server.hits) - 7]


# --- fields of any type -----------------------------------------------------------------------------------------------

ODD: list[Any] = [None, True, 0, -1, 1.5, 10**300, "text", "", [], ["x"], [[]], {}, {"refusal": 5}, {"text": 5}]
PLACES = [
    ("choices",), ("choices", 0), ("choices", 0, "message"), ("choices", 0, "finish_reason"), ("model",), ("usage",),
    ("choices", 0, "message", "content"), ("choices", 0, "message", "refusal"), ("error",), ("id",), ("object",),
    ("choices", 0, "message", "provider_specific_fields"), ("choices", 0, "message", "tool_calls"), ("created",),
    ("usage", "prompt_tokens"), ("usage", "total_tokens"), ("usage", "prompt_tokens_details"),
    ("usage", "completion_tokens_details"), ("choices", 0, "message", "content", 0),
]  # fmt: skip


def put(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    head, *rest = place
    if isinstance(head, int):
        items = list(body) if isinstance(body, list) else [{"type": "text", "text": "x"}]
        return [put(items[head], tuple(rest), value), *items[head + 1 :]]
    return {**(body if isinstance(body, dict) else {}), head: put((body or {}).get(head), tuple(rest), value)}


@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_field_of_any_type_is_at_most_a_fault_of_its_call(
    tmp_path: Path, server: StubServer, place: tuple[Any, ...], model: str
) -> None:
    for value in ODD:
        server.enqueue(says(put(completion("fine"), place, value)))
    teacher = {"max_retries": 0, "concurrency": 1, "model": model, "timeout_seconds": 30.0}
    with chat_desk(tmp_path, server.url, teacher) as desk:
        replies = [desk.ask([request(i)])[0] for i, _ in enumerate(ODD)]
    # (One that names another model stops the teacher; the rest are then not sent.)
    assert all(reply.status == "ok" or reply.fault for reply in replies)
    assert all(isinstance(reply.text, str) and isinstance(reply.model, str) for reply in replies)
    stored(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["message", "content", "text", "refusal", "usage", "prompt_tokens", "completion_tokens", "error", "code",
         "choices", "finish_reason", "model", "provider_specific_fields", "total_tokens"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(JSON, st.sampled_from(PLACES))
def test_no_body_crashes_the_reader(value: Any, place: tuple[Any, ...]) -> None:
    for body in (value, put(completion("fine"), place, value)):
        try:
            found = read_completion(body)
        except TeacherFault:
            continue
        assert isinstance(found.text, str)
        assert found.text.strip()
        assert found.bill.tokens >= 0


def test_a_body_nested_without_end_is_a_fault() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TeacherFault, match="malformed"):
        read_completion(put(completion("x"), ("choices",), {"deep": deep}))
    with pytest.raises(TeacherFault):
        read_completion({"error": deep})


@pytest.mark.parametrize("value", ["nan", "inf", "1e300", "9" * 400, "-5", "soon", "²", "Fri, 99 Abc"])
def test_any_wait_that_a_server_asks_for_is_a_number_of_seconds(value: str) -> None:
    for header in ("retry-after", "retry-after-ms"):
        found = retry_after({header: value})
        assert found is None or 0 <= found <= 86_400
