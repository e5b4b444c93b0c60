"""Limits hold whatever the concurrency; prices are known before anything is spent."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web
from desks import chat_desk, chat_teacher, request
from stub_server import Hit, StubServer, completion, hang, status

from flywheel.errors import BudgetStop, SpecInvalid
from flywheel.records import Message
from flywheel.spec.models import Loop
from flywheel.spec.teachers import DatasetTeacher, LitellmTeacher
from flywheel.teachers import Desk, DeskStopped, Spent, check_prices, read_journal
from flywheel.teachers.bill import Bill
from flywheel.teachers.money import Price, declared_price, input_bound
from flywheel.teachers.prices import price_of

#: Dollars a token, so that a call's bound is (prompt bytes + 64 x 2) + 2 x 100.
BOUND = len("prompt 000") + 128 + 200


class Billing:
    """A server that bills at random within the bound, and adds up what it billed."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        self.usd = 0.0

    async def __call__(self, hit: Hit) -> web.StreamResponse:
        tokens = self.random.randint(1, 20), self.random.randint(1, 100)
        self.usd += tokens[0] + 2 * tokens[1]
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        return web.json_response(completion("ok", usage=usage))


def prompts(count: int) -> list[object]:
    return [request(i, messages=(Message("user", f"prompt {i:03d}"),)) for i in range(count)]


@pytest.mark.parametrize("where", ["teacher", "loop"])
def test_dollars_are_never_overspent(tmp_path: Path, server: StubServer, where: str) -> None:
    server.usual = billing = Billing()
    cap = 20_000.0
    teacher = {"concurrency": 128, "max_usd": cap} if where == "teacher" else {"concurrency": 128}
    limits = Loop(max_usd=cap) if where == "loop" else Loop()
    with chat_desk(tmp_path, server.url, teacher, limits=limits) as desk:
        with pytest.raises(BudgetStop, match=r"max_usd: \$[\d,.]+ of \$20,000.0000 usd are spent"):
            desk.ask(prompts(600))  # type: ignore[arg-type]
        spent = desk.spent()["gpt"].usd
    assert spent == pytest.approx(billing.usd)
    # The stop comes only when another call might not fit.
    assert cap - BOUND < spent <= cap
    saved = list(read_journal(tmp_path / "calls"))
    assert len(saved) == len(server.hits)
    assert sum(reply.usd for _, reply in saved) == pytest.approx(billing.usd)


def test_calls_and_tokens_have_limits_too(tmp_path: Path, server: StubServer) -> None:
    with chat_desk(tmp_path / "a", server.url, {"max_calls": 7}) as desk, pytest.raises(BudgetStop, match="max_calls"):
        desk.ask([request(i) for i in range(20)])
    assert len(server.hits) == 7
    limits = Loop(max_tokens=3_000)
    with chat_desk(tmp_path / "b", server.url, limits=limits) as desk:
        with pytest.raises(BudgetStop, match="max_tokens"):
            desk.ask([request(i) for i in range(600)])
        assert desk.spent()["gpt"].tokens <= 3_000


def test_attempts_that_may_have_been_paid_count(tmp_path: Path, server: StubServer) -> None:
    server.usual = hang
    with (
        chat_desk(tmp_path, server.url, {"max_usd": 2.5 * BOUND, "timeout_seconds": 0.2, "max_retries": 9}) as desk,
        pytest.raises(BudgetStop),
    ):
        desk.ask(prompts(1))  # type: ignore[arg-type]
    assert len(server.hits) == 2
    (_, reply) = next(read_journal(tmp_path / "calls"))
    assert (reply.fault, reply.attempts, reply.usd) == ("timeout", 2, 2 * BOUND)


def test_a_kill_between_attempts_counts_what_they_cost(tmp_path: Path, server: StubServer) -> None:
    """Not the bound of the last one: its reservation is free for others by then."""
    server.enqueue(status(500, headers={"Retry-After": "60"}))
    with chat_desk(tmp_path, server.url) as desk:
        asking = threading.Thread(target=ask_until_stopped, args=(desk,))
        asking.start()
        while not any(reply.usd == 0 for _, reply in read_journal(tmp_path / "calls")):
            time.sleep(0.01)
        ((_, reply),) = read_journal(tmp_path / "calls")
        assert (reply.fault, reply.attempts, reply.usd) == ("interrupted", 1, 0.0)
        desk.stop(0.1)
        asking.join(5)


def ask_until_stopped(desk: Desk) -> None:
    with pytest.raises(DeskStopped):
        desk.ask(prompts(1))  # type: ignore[arg-type]


def test_attempts_that_were_not_paid_do_not(tmp_path: Path, server: StubServer) -> None:
    server.enqueue(*[status(500)] * 3)
    with chat_desk(tmp_path, server.url, {"max_usd": 1.5 * BOUND}) as desk:
        assert desk.ask(prompts(1))[0].attempts == 4  # type: ignore[arg-type]


def test_what_was_spent_before_counts(tmp_path: Path, server: StubServer) -> None:
    before = {"gpt": Spent(calls=5), "gone": Spent(calls=3)}
    limits = Loop(max_calls=10)
    with (
        chat_desk(tmp_path, server.url, limits=limits, spent_before=before) as desk,
        pytest.raises(BudgetStop, match=r"8 of 10 calls|9 of 10 calls|10 of 10 calls"),
    ):
        desk.ask([request(i) for i in range(5)])
    assert len(server.hits) == 2


def test_answers_left_in_the_journal_are_used_and_counted(tmp_path: Path, server: StubServer) -> None:
    with chat_desk(tmp_path, server.url, {"max_calls": 3}) as desk:
        desk.ask([request(i) for i in range(3)])
    with chat_desk(tmp_path, server.url, {"max_calls": 3}) as desk:
        assert all(reply.cached for reply in desk.ask([request(i) for i in range(3)]))
        with pytest.raises(BudgetStop):
            desk.ask([request(3)])
    assert len(server.hits) == 3


def test_two_asking_threads_share_one_limit(tmp_path: Path, server: StubServer) -> None:
    stops: list[BaseException] = []

    def ask(first: int) -> None:
        try:
            desk.ask([request(i) for i in range(first, first + 50)])
        except BudgetStop as stop:
            stops.append(stop)

    with chat_desk(tmp_path, server.url, {"max_calls": 60, "concurrency": 32, "timeout_seconds": 30.0}) as desk:
        threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.hits) == 60
    assert stops


def test_an_unknown_price_with_a_limit_is_refused(tmp_path: Path, server: StubServer) -> None:
    unpriced = {"usd_per_million_input": None, "usd_per_million_output": None}
    with pytest.raises(SpecInvalid, match=r"teachers.gpt: the price of \"openai/stub\" is not known"):
        chat_desk(tmp_path, server.url, {**unpriced, "max_usd": 1.0})
    teachers = {"gpt": chat_teacher(server.url, **unpriced), "rows": DatasetTeacher(kind="dataset", path="x.jsonl")}
    assert [fault.path for fault in check_prices(teachers, Loop(max_usd=1.0))] == [("teachers", "gpt")]
    assert check_prices(teachers, Loop()) == []
    assert check_prices({"gpt": chat_teacher(server.url)}, Loop(max_usd=1.0)) == []


def test_litellms_prices_are_used(tmp_path: Path) -> None:
    teacher = LitellmTeacher(kind="litellm", model="openai/gpt-4o-mini")
    price = price_of(teacher)
    assert price is not None
    assert price.output > price.input > 0
    assert check_prices({"gpt": teacher}, Loop(max_usd=1.0)) == []


def test_declared_prices() -> None:
    one_side = LitellmTeacher(kind="litellm", model="m", usd_per_million_output=3.0)
    assert declared_price(one_side) == Price(0.0, 3.0)
    assert declared_price(LitellmTeacher(kind="litellm", model="m")) is None
    assert Price(1.0, 2.0).usd(Bill(1_000_000, 500_000)) == 2.0


def test_the_bound_of_a_prompt_is_in_bytes() -> None:
    assert input_bound([Message("user", "né" * 10)]) == 30 + 128


def test_a_missing_environment_variable_is_named(tmp_path: Path) -> None:
    teacher = chat_teacher("http://127.0.0.1:1/v1", api_key="${env:NO_SUCH_STUB_KEY}")
    with pytest.raises(SpecInvalid, match=r"teachers.gpt.api_key: the environment variable NO_SUCH_STUB_KEY is not"):
        Desk({"gpt": teacher}, tmp_path, tmp_path / "calls")
