"""Keys that are put together from parts are those of the whole."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from flywheel.hashing import ListFingerprint, fingerprint
from flywheel.records import LessonRequest, Message, Row, SharedRows

ROWS = some.lists(some.dictionaries(some.text(max_size=5), some.text(max_size=9) | some.integers() | some.none()))
REQUEST = LessonRequest(
    teacher="t", purpose="lessons", task="bench", mode="wrong", mode_description="", n=5, failures=(), seeds=(),
    row=None, messages=(Message("user", "Write."),), parameters={"model": "m"}, sample=1, seed=1,
)  # fmt: skip


@given(ROWS)
def test_a_list_that_comes_an_item_at_a_time_has_the_fingerprint_of_the_list(rows: list[Row]) -> None:
    whole = ListFingerprint()
    for row in rows:
        whole.add(row)
    assert whole.done() == fingerprint(rows)


@given(ROWS, ROWS)
def test_a_request_has_the_key_of_all_that_it_shows_shared_or_not(failures: list[Row], seeds: list[Row]) -> None:
    request = replace(REQUEST, failures=tuple(failures), seeds=tuple(seeds))
    whole = {
        "teacher": "t", "purpose": "lessons", "mode": "wrong", "n": 5, "row": None, "failures": failures,
        "seeds": seeds, "messages": [["user", "Write."]], "parameters": {"model": "m"}, "sample": 1, "seed": 1,
    }  # fmt: skip
    assert request.key == fingerprint(whole)[:32]
    assert replace(request, failures=SharedRows(failures)).key == request.key
