"""A batch of a server's requests: each answered as if it were alone, and in pieces that make up the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flywheel.records import Generation
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import Arm, load
from flywheel.student.sampling import generate
from flywheel.student.serving import Question, QuestionJob, respond
from flywheel.student.work import Asking

TEXTS = [f"{'word ' * (i % 5)}item {i} is" for i in range(12)]


def arm(folder: Path) -> Arm:
    return Arm(str(folder), None, "float32", "cpu", "hash")


def asked(folder: Path, *questions: Question, system: str | None = None) -> tuple[list[Generation], list[str]]:
    """The answers, and what was streamed of each before it was done."""
    answers: dict[int, Generation] = {}
    streamed = [""] * len(questions)

    def hear(told: dict[str, Any]) -> None:
        for place, more in told["said"]:
            assert place not in answers
            streamed[place] += more
        for place, said, _ in told["done"]:
            assert place not in answers, "an answer comes once"
            answers[place] = said

    respond(QuestionJob(arm(folder), Asking(Chat(system), 8, 64), questions), hear)
    return [answers[place] for place in range(len(questions))], streamed


def alone(folder: Path, text: str, **options: Any) -> Generation:
    how = {"chat": Chat(options.pop("system", None)), "max_new_tokens": 8, "batch_size": 1, **options}
    return generate(load(arm(folder)), [("0", text)], **how)[0]


def user(text: str, **options: Any) -> Question:
    return Question(**{"turns": (("user", text),), "max_new_tokens": 8, **options})


@pytest.mark.parametrize("student", ["mini_student", "chat_student"])
def test_requests_with_nothing_in_common_are_answered_together_as_each_alone(
    student: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(student)
    stop = alone(folder, TEXTS[2]).text[2:4]

    found, _ = asked(
        folder,
        user(TEXTS[0]),
        user(TEXTS[1], max_new_tokens=3),
        user(TEXTS[2], stop=(stop, "never said")),
        user(TEXTS[3], temperature=1.0, seed=7),
        user(TEXTS[4], temperature=0.5, top_p=0.9, seed=8, max_new_tokens=20),
        user(TEXTS[5], streamed=True),
    )

    one = [
        alone(folder, TEXTS[0]),
        alone(folder, TEXTS[1], max_new_tokens=3),
        alone(folder, TEXTS[2], stop=(stop, "never said")),
        alone(folder, TEXTS[3], temperature=1.0, seeds=[7]),
        alone(folder, TEXTS[4], temperature=0.5, top_p=0.9, seeds=[8], max_new_tokens=20),
        alone(folder, TEXTS[5]),
    ]
    assert [(a.text, a.truncated) for a in found] == [(a.text, a.truncated) for a in one]
    assert [a.tokens for a in found] == [a.tokens for a in one]


def test_what_is_streamed_is_the_beginning_of_the_answer_and_never_of_a_stop(mini_student: Path) -> None:
    whole = [alone(mini_student, text, max_new_tokens=40).text for text in TEXTS]
    stops = [text[20:24] for text in whole]

    found, streamed = asked(
        mini_student,
        *(user(t, max_new_tokens=40, streamed=True, stop=(s,)) for t, s in zip(TEXTS, stops, strict=True)),
    )

    for answer, pieces, stop in zip(found, streamed, stops, strict=True):
        assert answer.text.startswith(pieces)
        assert len(pieces) >= len(answer.text) - 4 - len(stop), "it comes as it is written"
        assert stop not in pieces


@pytest.mark.parametrize("text", ["naïve ☕ 日本語 sky", "plain", "é"])
def test_no_half_of_a_character_is_streamed(mini_student: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    tokens = load(arm(mini_student)).tokenizer.encode(text)

    def says(*_: Any, watch: Any) -> None:
        for length in range(1, len(tokens) + 1):
            watch([tokens[:length]])

    monkeypatch.setattr("flywheel.student.serving.generate_batch", says)
    found, streamed = asked(mini_student, user("x", max_new_tokens=len(tokens), streamed=True))

    assert found[0].text == text
    assert text.startswith(streamed[0])
    assert len(streamed[0]) >= len(text) - 2


def test_a_conversation_is_put_to_the_student_as_solved_examples_are(chat_student: Path) -> None:
    prompter = Prompter(load(arm(chat_student)).tokenizer, Chat("be brief"))
    turns = [("user", "one"), ("assistant", "two<|im_end|>"), ("user", "three")]

    assert prompter.conversation(turns) == prompter.ids("three", [("one", "two<|im_end|>")])
    assert prompter.raw(prompter.text("three")) == prompter.ids("three")
    assert prompter.raw("<|im_end|>") != prompter.ids("<|im_end|>")


def test_a_system_message_of_the_request_stands_in_the_place_of_the_specs(chat_student: Path) -> None:
    lengths: list[int] = []
    questions = (user("three"), user("three", system="be"), user("three", system=""))
    job = QuestionJob(arm(chat_student), Asking(Chat("be brief"), 8, 64), questions)
    respond(job, lambda told: lengths.extend(asked for _, _, asked in sorted(told["done"])))

    assert sorted(lengths) == sorted(
        len(Prompter(load(arm(chat_student)).tokenizer, Chat(system)).ids("three")) for system in ("be brief", "be", "")
    )


def test_without_a_template_the_last_turn_is_the_prompt(mini_student: Path) -> None:
    turns = (("user", "x"), ("assistant", "y"), ("user", "z"))

    assert asked(mini_student, Question(turns, 8))[0][0].text == alone(mini_student, "z").text


def test_what_cannot_be_asked_says_why_and_takes_no_other_along(mini_student: Path) -> None:
    found, _ = asked(mini_student, user("word " * 600), user(TEXTS[1]), user(""), user("x\ud800"))

    assert "do not fit the model's 512" in found[0].problem
    assert found[1].text == alone(mini_student, TEXTS[1]).text
    assert found[2].problem == "the prompt is empty"
    assert found[3].problem


def test_a_batch_that_does_not_fit_the_memory_is_halved(mini_student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flywheel.student import serving

    whole, _ = asked(mini_student, *map(user, TEXTS))
    real, sizes = serving.generate_batch, []

    def scarce(loaded: Any, rows: list[list[int]], *rest: Any, watch: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 4:
            raise RuntimeError("CUDA out of memory")
        return real(loaded, rows, *rest, watch=watch)

    monkeypatch.setattr(serving, "generate_batch", scarce)

    assert asked(mini_student, *map(user, TEXTS))[0] == whole
    assert sizes == [12, 6, 3, 3, 6, 3, 3]
