"""A teacher that does not teach is asked no more, and its fallback takes over."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "teachers"))

from stub_server import Hit, StubServer, answers

from flywheel.nodes.lessons.stopping import ALPHA, FEWEST, USABLE, is_useless
from mini_domain import Domain

# --- the test ---------------------------------------------------------------------------------------------------------


def ever_stopped(rate: float, length: int, rng: random.Random) -> bool:
    used = 0
    for number in range(1, length + 1):
        used += rng.random() < rate
        if is_useless(used, number - used):
            return True
    return False


def test_one_that_can_be_used_is_hardly_ever_stopped_however_often_it_is_looked_at() -> None:
    rng = random.Random(1)
    assert sum(ever_stopped(USABLE, 600, rng) for _ in range(2_000)) / 2_000 <= ALPHA


def test_one_that_never_can_is_stopped_soon() -> None:
    assert not is_useless(0, FEWEST - 1)
    assert is_useless(0, FEWEST)
    assert FEWEST < 40


def test_a_single_good_answer_among_many_bad_ones_does_not_save_it_for_ever() -> None:
    assert not is_useless(1, FEWEST)
    assert is_useless(1, 2 * FEWEST)


# --- in a round -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as started:
        yield started


def asked_of(server: StubServer) -> int:
    """Questions, not attempts: what cannot be read is asked for once more in the same conversation."""
    return sum(not any(m["role"] == "assistant" for m in hit.body["messages"]) for hit in server.hits)


def paid(domain: Domain, server: StubServer, calls: int, **teacher: Any) -> Domain:
    def change(spec: dict[str, Any]) -> None:
        spec["teachers"]["paid"] = {
            "kind": "litellm", "model": "hosted_vllm/stub-1", "api_base": server.url, "max_tokens": 50,
            "usd_per_million_input": 0.0, "usd_per_million_output": 0.0, **teacher,
        }  # fmt: skip
        spec["generate"][0] |= {"teachers": ["paid"], "accept": calls // 2, "per_call": 1, "rounds": 2}

    return domain.edit(change)


def generated(domain: Domain) -> list[dict[str, Any]]:
    return [r["summary"] for r in domain.query("SELECT summary FROM nodes WHERE kind = 'generate' ORDER BY round")]


def test_one_whose_answers_never_can_be_read_is_stopped_with_what_it_wrote(domain: Domain, server: StubServer) -> None:
    server.usual = answers("I am happy to help!")
    paid(domain, server, 120, fallback=["careful"]).apply(until="curate")

    first, second = generated(domain)
    assert asked_of(server) == FEWEST
    assert first["notes"] == [f"paid was stopped: 0 of {FEWEST} answers could be read; it wrote: 'I am happy to help!'"]
    assert domain.query("SELECT DISTINCT teacher FROM candidates WHERE status = 'parsed'") == [{"teacher": "careful"}]
    assert second["wanted"] == {} or any("paid for not_blue was stopped" in note for note in second["notes"])


def test_without_a_fallback_nobody_is_asked_in_its_place(domain: Domain, server: StubServer) -> None:
    server.usual = answers("I am happy to help!")
    outcome = paid(domain, server, 120).apply(until="curate")

    assert asked_of(server) == FEWEST, "neither the rest of the round nor the next one"
    assert not [name for name in outcome.failed if "generate" in name]
    assert all(summary["notes"] for summary in generated(domain))


def test_one_that_can_be_read_and_is_always_wrong_is_not_asked_in_the_next_round(
    domain: Domain, server: StubServer
) -> None:
    async def wrong(hit: Hit) -> Any:
        rows = [{"text": f"old sky {len(server.hits)}{random.random()}", "label": "green"}]
        return await answers(json.dumps(rows))(hit)

    server.usual = wrong
    paid(domain, server, 120, fallback=["careful"]).apply(until="curate")

    first, second = generated(domain)
    assert first["notes"] == []
    assert [note.partition(":")[0] for note in second["notes"]] == ["paid for not_blue was stopped"]
    assert "of its" not in second["notes"][0]
    assert "candidates were accepted" in second["notes"][0]
    assert all(key.startswith("careful/") for key in second["asked"])


def test_one_that_is_read_now_and_then_goes_on(domain: Domain, server: StubServer) -> None:
    async def sometimes(hit: Hit) -> Any:
        number = len(server.hits)
        text = json.dumps([{"text": f"old sky {number}", "label": "blue"}]) if number % 3 == 0 else "Sure!"
        return await answers(text)(hit)

    server.usual = sometimes
    paid(domain, server, 120).apply(until="curate")

    assert asked_of(server) > 2 * FEWEST
    assert generated(domain)[0]["notes"] == []


def test_one_whose_answers_are_all_cut_off_is_stopped_too(domain: Domain, server: StubServer) -> None:
    server.usual = answers("I am happy to help you with", finish="length")
    paid(domain, server, 120, fallback=["careful"]).apply(until="curate")

    first, second = generated(domain)
    assert asked_of(server) == FEWEST, "neither the rest of the round nor the next one"
    assert first["notes"] == [
        f"paid was stopped: 0 of {FEWEST} answers could be read; it wrote: 'I am happy to help you with'"
    ]
    assert domain.query("SELECT count(*) AS n FROM candidates WHERE problem = 'the answer met max_tokens'") == [
        {"n": FEWEST}
    ]
    assert second["wanted"] == {} or any("paid for not_blue was stopped" in note for note in second["notes"])


def test_whole_rows_of_an_answer_that_was_cut_off_are_used(domain: Domain, server: StubServer) -> None:
    async def cut(hit: Hit) -> Any:
        rows = json.dumps([{"text": f"old sky {len(server.hits)}", "label": "blue"}] * 2)
        return await answers(rows[:-9], finish="length")(hit)

    server.usual = cut
    paid(domain, server, 40).apply(until="curate")

    assert domain.query(
        "SELECT status, count(*) = count(DISTINCT call_key) AS one FROM candidates GROUP BY status"
    ) == [{"status": "parsed", "one": True}]
    assert set(generated(domain)[0]["calls_failed"]) == {"truncated"}
    assert generated(domain)[0]["notes"] == []
