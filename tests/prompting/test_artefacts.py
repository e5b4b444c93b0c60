"""Wrong answers that the way of asking made: each cause, and the neighbours that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from flywheel.answers import Language
from flywheel.prompting.artefacts import (
    LEAST_ANSWERS,
    TaskReading,
    WrongAnswer,
    claims,
    enumerated,
    noted,
    remedy,
    said_of,
    task_reading,
    untold_tasks,
)
from flywheel.spec.labels import Labels
from mini_domain import Domain, judged_by_labels

RED_BLUE = ("red", "blue", "dark blue")


def reading(
    labels: Sequence[str] = (), language: Language = "text", final: str | None = None, told: bool = True, **more: Any
) -> TaskReading:
    known = {"task": "colour", "prompt": "prompts/colour.md", "many": False, "max_new_tokens": 64, **more}
    declared = Labels(tuple(labels))
    return TaskReading(language="label" if labels else language, final=final, labels=declared, told=told, **known)


def claimed(of: TaskReading, answer: str, gold: str, cut: bool | None = False, shots: int = 0) -> set[str]:
    """The causes that are claimed where every wrong answer is like this."""
    return set(claims(of, [WrongAnswer(answer, gold, cut)] * LEAST_ANSWERS, shots))


# --- from which number on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "whole", "is_claimed"), [(4, 0, False), (5, 0, True), (5, 20, True), (5, 21, False), (0, 9, False)]
)
def test_a_cause_is_claimed_from_five_answers_and_a_fifth_on(cut: int, whole: int, is_claimed: bool) -> None:
    wrong = [WrongAnswer("blue", "red", True)] * cut + [WrongAnswer("blue", "red", False)] * whole
    assert claims(reading(RED_BLUE), wrong) == ({"cut": cut} if is_claimed else {})


def test_without_wrong_answers_nothing_is_claimed() -> None:
    assert claims(reading(RED_BLUE, told=False), []) == {}


def test_where_it_is_not_known_whether_answers_were_cut_none_was() -> None:
    assert claimed(reading(), "green", "red", cut=None) == set()


# --- the right answer inside a longer one -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gold", "is_inside"),
    [
        ("The colour is red.", "red", True),
        ("The colour is Red, I think.", "red", True),
        ("**red**, as roses are", "red", True),
        ("<think>red?</think>It is green", "red", False),  # what it thought is no answer
        ("It is dark blue.", "dark blue", True),
        ("It is dark blue.", "blue", False),  # another label
        ("It is red or blue.", "red", False),  # who weighs several has not answered
        ("The choices are red, blue, dark blue", "blue", False),
        ("infrared light", "red", False),  # part of another word
        ("red_ish it is", "red", False),
        ("green it is", "red", False),
        ("Red", "red", False),  # not longer: another way to write it
        ("", "red", False),
    ],
)
def test_a_label_inside_a_longer_answer(answer: str, gold: str, is_inside: bool) -> None:
    assert ("inside" in claimed(reading(RED_BLUE), answer, gold)) == is_inside


@pytest.mark.parametrize(
    ("answer", "gold", "is_inside"),
    [
        ("The label is 1.", "1", True),
        ("The label is 10.", "1", False),
        ("1 or 0", "1", False),
        ("1.5", "1", False),
    ],
)
def test_labels_that_are_numbers(answer: str, gold: str, is_inside: bool) -> None:
    assert ("inside" in claimed(reading(("0", "1", "2")), answer, gold)) == is_inside


@pytest.mark.parametrize(
    ("answer", "is_inside"), [("The answer is (A).", True), ("a rose, as said", False), ("A, or B", False)]
)
def test_labels_that_are_single_letters_are_capital(answer: str, is_inside: bool) -> None:
    assert ("inside" in claimed(reading(("A", "B", "C")), answer, "A")) == is_inside


def test_labels_without_blanks_between_words() -> None:
    assert claimed(reading(("正面", "负面")), "答案是正面的", "正面") == {"inside"}


def test_a_set_of_labels_inside_a_sentence() -> None:
    of = reading(RED_BLUE, many=True)
    assert claimed(of, "They are red and blue, as I see it", "red, blue") == {"inside"}
    assert claimed(of, "They are red, as I see it", "red, blue") == set()


@pytest.mark.parametrize(
    ("answer", "gold", "is_inside"),
    [
        ("The capital of France is Paris.", "Paris", True),
        ("The capital of Texas is Parisville.", "Paris", False),
        ("New York City, of course", "new york", True),
        ("York, New", "New York", False),
        ("The answer is 8.", "8", True),
        ("3 + 5 = 9", "3", False),  # the right number among others
        ("It is 8.5", "8", False),
        ("5 apples and 3 pears", "5 apples", True),
    ],
)
def test_plain_text_inside_a_longer_answer(answer: str, gold: str, is_inside: bool) -> None:
    assert ("inside" in claimed(reading(), answer, gold)) == is_inside


@pytest.mark.parametrize("language", ["sql", "math", "json", "python"])
def test_what_has_a_reader_of_its_own_is_not_looked_into(language: Language) -> None:
    answer = "SELECT a FROM t WHERE b\n\nQuestion: what is asked here?"
    assert claimed(reading(language=language), answer, "SELECT a FROM t") == set()


def test_a_final_answer_that_was_marked_is_looked_at_alone() -> None:
    of = reading(final="#### (.+)")
    assert claimed(of, "It looks red.\n#### green", "red") == set()
    assert claimed(of, "It looks red.", "so it is\n#### red") == {"inside"}


# --- running on, and labels that nothing names --------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gold", "final", "runs_on"),
    [
        ("green\n\nQuestion: and the sea?", "red", None, True),
        ("green\n<|im_start|>user\nand the sea?", "red", None, True),
        ("green, as roses are\nin summer", "red", None, False),
        ("Dear Sir,\n\nQuestion: what now?", "Dear Sir,\nit is red", None, False),  # more than one line is asked for
        ("colour: green\nQuestion: and the sea?", "colour: red", "colour: (.+)", False),  # judged by the first
    ],
)
def test_running_on_into_a_next_question(answer: str, gold: str, final: str | None, runs_on: bool) -> None:
    assert ("ran_on" in claimed(reading(final=final), answer, gold)) == runs_on


@pytest.mark.parametrize(
    ("answer", "final", "was_cut"),
    [
        ("Let me see, it is", None, True),
        ("green\nQuestion: and the sea?\nred\nQuestion: and", None, False),  # more tokens make no better answer
        ("Let me see, it is", "colour: (.+)", True),
        ("colour: green\nas I was about to", "colour: (.+)", False),  # the answer was there
        ("<think>colour: green, or", "colour: (.+)", True),
    ],
)
def test_an_answer_is_cut_before_it_is_there(answer: str, final: str | None, was_cut: bool) -> None:
    assert ("cut" in claimed(reading(final=final), answer, "red", cut=True)) == was_cut


def test_labels_that_the_prompt_does_not_name() -> None:
    untold = reading(RED_BLUE, told=False)
    assert claimed(untold, "crimson", "red") == {"untold"}
    assert claimed(untold, "blue", "red") == set()  # it knows the labels all the same
    assert claimed(untold, "crimson", "red", shots=3) == set()  # the shots name them


@pytest.mark.parametrize(
    ("answer", "says_none"),
    [
        ("crimson", True),
        ("", True),
        ("K", True),
        ("blue", False),
        ("The colour is red.", False),  # inside a longer one
        ("crimson\n\nQuestion: and the sea?", False),  # it ran on
    ],
)
def test_an_answer_that_is_no_label_though_the_prompt_names_them(answer: str, says_none: bool) -> None:
    assert ("no_label" in claimed(reading(RED_BLUE), answer, "red")) == says_none
    assert "no_label" not in claimed(reading(()), answer, "red")


# --- what a prompt names ------------------------------------------------------------------------------------


FILES = ("probes", "seeds", "holdout", "guard", "lessons")


def asked(domain: Domain, prompt: str, labels: Sequence[str] = ("red", "blue")) -> Domain:
    (domain.root / "prompts" / "colour.md").write_text(prompt)
    return judged_by_labels(domain, *labels)


def told(domain: Domain) -> bool:
    project = domain.open()
    return task_reading(project.spec, project.root, "colour").told


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("{{ row.text }}\ncolour:", False),
        ("red or blue?\n{{ row.text }}", True),
        ("RED, or BLUE?\n{{ row.text }}", True),
        ("{% for c in ['red', 'blue'] %}\n- {{ c }}\n{% endfor %}\n{{ row.text }}", True),
        ("A tired bluebell\n{{ row.text }}", False),
        ("{{ row.text }}{# red or blue #}\ncolour:", False),  # a comment is shown to nobody
        ("{{ row.choices }}\n{{ row.text }}", True),
    ],
)
def test_whether_a_prompt_names_labels(domain: Domain, prompt: str, names: bool) -> None:
    asked(domain, prompt)
    for number, name in enumerate(FILES):
        found = [{"text": f"old rose {number}{i}", "label": "red", "choices": ["red", "blue"]} for i in range(9)]
        domain.write_rows(f"evals/{name}.jsonl", found)
    assert told(domain) == names


def test_a_row_that_has_a_label_in_its_own_words_is_not_the_prompt(domain: Domain) -> None:
    probes = [{"text": f"a {noun} {i}", "label": "red"} for i, noun in enumerate(("red rose", "rose", "brick"))]
    domain.write_rows("evals/probes.jsonl", probes)
    assert not told(asked(domain, "{{ row.text }}\ncolour:"))


def test_labels_that_are_numbers_are_named_as_words(domain: Domain) -> None:
    labels = ["0", "1", "2"]
    for prompt, names in (("{{ row.text }}\ngrade:", False), ("{{ row.text }}\ngrade from 0 to 2:", True)):
        asked(domain, prompt, labels)
        for number, name in enumerate(FILES):
            found = [{"text": f"rose of {1000 * number + 100 + i}", "label": "1"} for i in range(9)]
            domain.write_rows(f"evals/{name}.jsonl", found)
        assert told(domain) == names


def test_the_system_message_may_name_them(domain: Domain) -> None:
    asked(domain, "{{ row.text }}\ncolour:")
    domain.edit(lambda spec: spec["student"].update(system="Answer red or blue."))
    assert told(domain)


def test_without_probes_the_holdout_is_looked_at(domain: Domain) -> None:
    asked(domain, "{{ row.text }}\ncolour:")
    domain.edit(lambda spec: (spec["tasks"]["colour"].pop("probes"), spec["generate"][0].update({"from": "seeds"})))
    assert not told(domain)


def test_a_task_whose_answers_are_no_labels_has_nothing_to_name(domain: Domain) -> None:
    project = domain.open()
    assert untold_tasks(project.spec, project.root) == []


# --- in words -----------------------------------------------------------------------------------------------


def test_what_is_said_names_the_setting_and_the_file() -> None:
    of = reading(RED_BLUE, told=False)
    assert said_of(of, "cut", "57 of 60 wrong answers on holdout") == (
        "The base’s score is partly an artefact: 57 of 60 wrong answers on holdout were cut at "
        "student.max_new_tokens (64)."
    )
    assert said_of(of, "untold", "9 of 9 wrong answers on holdout") == (
        "The base was never told the labels: prompts/colour.md names none of the 3, and 9 of 9 wrong answers on "
        "holdout are none of them."
    )
    assert noted(of, "untold", "9 of 9 wrong answers") == (
        "9 of 9 wrong answers are none of the labels, and the prompt names none: name the labels in prompts/colour.md"
    )


def test_who_has_a_final_is_not_told_to_set_one() -> None:
    assert "tasks.colour.final" in remedy(reading(), "ran_on")
    assert "final" not in remedy(reading(final="#### (.+)"), "inside")


def test_parts_are_enumerated() -> None:
    assert [enumerated(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
