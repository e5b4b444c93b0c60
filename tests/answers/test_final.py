"""The final answer, and what follows it."""

from __future__ import annotations

import time

import pytest

from flywheel.answers import final_answer, ran_on, stopped

HASHES = "#### (.+)"


@pytest.mark.parametrize(
    "after",
    [
        "\n\nQuestion: Tom has 3 pens.\nAnswer: 3\n#### 3",
        "\n\nQ: Tom has 3 pens.\nA: 3\n#### 3",
        "\n\nQ2: Tom has 3 pens.\n#### 3",
        "\n\n**Question 2:** Tom has 3 pens.\n#### 3",
        "\n\n### Problem 2\nTom has 3 pens.\n#### 3",
        "\n\nAnother question: Tom has 3 pens.\n#### 3",
        "\n\n## Next question\nTom has 3 pens.\n#### 3",
        "\n2. Problem: Tom has 3 pens.\n#### 3",
        "\n\nExample 2\nTom has 3 pens.\n#### 3",
        "\n\n### Instruction:\nTom has 3 pens.\n#### 3",
        "\nInput: Tom has 3 pens.\n#### 3",
        "\nUser: Tom has 3 pens.\n#### 3",
        "<|im_end|>\n<|im_start|>user\nTom has 3 pens.\n#### 3",
        "</s>[INST] Tom has 3 pens. [/INST]\n#### 3",
        "\n\nTom has 3 pens and buys 2 more. How many pens does Tom have?\n#### 5",
        "\nTom has 3 pens and buys 2 more. How many pens does Tom have?\nHe has 5.\n#### 5",
        "\n\n问题：小明有三支笔。\n#### 3",
        "\n\n小明有三支笔，又买了两支笔，现在小明一共有几支笔？\n#### 5",
        "\n\nQuestion: Tom has 3 pens and",
    ],
)
def test_who_runs_on_is_taken_at_the_first_answer(after: str) -> None:
    text = f"3 * 6 = 18\n#### 18{after}"
    assert final_answer(text, HASHES) == "18"
    assert ran_on(text, HASHES)


@pytest.mark.parametrize(
    "after",
    [
        "\nWait, that is wrong: 3 * 7 = 21.",
        "\n\nHmm, did I use the right price for all of the pens? No.",
        "\nLet me check: is 18 what the question asks for in the end?",
        "\n\nThe price was 7, so it is 3 * 7.",
        "\nIs that right? No.",
    ],
)
def test_who_corrects_itself_is_taken_at_the_last_word(after: str) -> None:
    text = f"3 * 6 = 18\n#### 18{after}\n#### 21"
    assert final_answer(text, HASHES) == "21"
    assert not ran_on(text, HASHES)


def test_a_question_before_the_first_answer_is_none_that_follows() -> None:
    text = "Question: how many?\nProblem: 3 * 6 = 18\n#### 18"
    assert (final_answer(text, HASHES), ran_on(text, HASHES)) == ("18", False)


def test_the_end_of_a_turn_alone_is_no_run_on() -> None:
    assert (final_answer("#### 18<|im_end|>\n", HASHES), ran_on("#### 18<|im_end|>\n", HASHES)) == ("18", False)


def test_what_is_thought_is_no_final_answer() -> None:
    assert final_answer("<think>#### 17\n\nQuestion: is it?</think>#### 18", HASHES) == "18"
    assert not ran_on("<think>#### 17\n\nQuestion: is it?</think>#### 18", HASHES)
    assert final_answer("#### 17, or not</think>\nIt is 18", HASHES) == "\nIt is 18"


def test_a_pattern_that_takes_all_of_the_rest_stops_at_the_next_question() -> None:
    text = "Answer: 18\nand so on\n\nHuman: and now?\nAnswer: 3"
    assert final_answer(text, r"(?s)Answer: (.+)") == "18\nand so on"


def test_without_a_pattern_or_a_match_all_of_the_text_is_meant() -> None:
    assert final_answer("18\n\nQuestion: 3", None) == "18\n\nQuestion: 3"
    assert final_answer("18", HASHES) == "18"
    assert not ran_on("18\n\nQuestion: 3", None)
    assert not ran_on("18\n\nQuestion: 3", HASHES)


def test_generation_stops_at_the_first_of_the_strings() -> None:
    assert stopped("a\n\nb END c", ["END", "\n\n"]) == "a"
    assert stopped("a", ["END"]) == stopped("a", []) == "a"


@pytest.mark.parametrize("text", ["#### 1\n" + "# " * 100_000, "#### 1\n" + " " * 200_000, "#### 1\n" + "a " * 100_000])
def test_hostile_text_ends_soon(text: str) -> None:
    started = time.monotonic()
    ran_on(text, HASHES)
    assert time.monotonic() - started < 60
