"""Thoughts that a server gives apart from the answer: kept with it, in tags that every reader leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import chat_desk, request
from stub_server import StubServer, answers, completion

from flywheel.answers import without_thoughts
from flywheel.prompting import parse_rows
from flywheel.teachers.chat import read_completion
from flywheel.teachers.faults import TeacherFault

FIELDS = pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])


@FIELDS
def test_a_thought_of_its_own_field_stands_before_the_answer(field: str) -> None:
    text = read_completion(completion("12", **{field: "5 + 7 = 12"})).text
    assert text == "<think>\n5 + 7 = 12\n</think>\n\n12"
    assert without_thoughts(text).strip() == "12"


@FIELDS
def test_a_thought_without_an_answer_is_no_answer(field: str) -> None:
    with pytest.raises(TeacherFault, match="no text"):
        read_completion(completion("", **{field: "5 + 7 = 12"}))


def test_a_thought_that_stands_in_the_text_too_is_not_said_twice() -> None:
    said = "<think>hm</think>12"
    assert read_completion(completion(said, reasoning_content="hm")).text == said


@pytest.mark.parametrize("thought", [None, "", "  ", 3, ["hm"], {"summary": "hm"}])
def test_what_is_no_text_is_no_thought(thought: object) -> None:
    assert read_completion(completion("12", reasoning_content=thought)).text == "12"


def test_a_tag_in_the_thought_does_not_end_it() -> None:
    text = read_completion(completion("12", reasoning_content="</think> is a tag, <think> too: 13")).text
    assert without_thoughts(text).strip() == "12"


def test_rows_in_a_thought_are_none_of_the_answer() -> None:
    text = read_completion(completion('[{"q": "right"}]', reasoning_content='perhaps [{"q": "wrong"}]')).text
    assert parse_rows(text, ["q"]) == ([{"q": "right"}], [])


@pytest.mark.parametrize("model", ["openai/stub", "litellm_proxy/stub"])
def test_both_ways_to_a_server_bring_it(tmp_path: Path, server: StubServer, model: str) -> None:
    server.usual = answers("12", reasoning_content="hm")
    with chat_desk(tmp_path, server.url, {"model": model, "timeout_seconds": 60.0}) as desk:
        (reply,) = desk.ask([request()])
    assert reply.text == "<think>\nhm\n</think>\n\n12"
