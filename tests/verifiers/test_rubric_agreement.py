"""Labelled cases in files, and agreement with people in figures."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from flywheel.errors import SpecInvalid
from flywheel.spec.models import Task
from flywheel.stats import cohen_kappa
from flywheel.verifiers.agreement import read_cases

COLOURS = Task(prompt="p.md", target="gold", verify=["v"])
SUMS = Task(prompt="p.md", target="answer", verify=["v"])


def written(folder: Path, *rows: object) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_case_is_the_tasks_columns_an_answer_and_what_people_say(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": "a rose", "gold": "red", "answer": "crimson", "label": "pass"})

    [case] = read_cases(path, {"t": COLOURS}, "label")

    assert case.expected == "pass"
    subject = case.subject
    assert (subject.task, subject.row, subject.answer, subject.reference) == ("t", {"text": "a rose"}, "crimson", "red")


def test_where_the_target_is_called_answer_the_right_one_stands_in_reference(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"q": "1 + 1", "answer": 3, "reference": 2, "expect": "fail"},
        {"q": "1 + 1", "answer": 2, "expect": "pass"},
    )

    first, second = read_cases(path, {"t": SUMS}, "expect")

    assert (first.subject.row, first.subject.answer, first.subject.reference) == ({"q": "1 + 1"}, "3", "2")
    assert second.subject.reference is None


def test_what_people_said_is_no_right_answer_where_the_target_is_called_label(tmp_path: Path) -> None:
    labels = Task(prompt="p.md", target="label", verify=["v"])
    path = written(tmp_path, {"q": "a rose", "answer": "red", "label": "pass", "reference": "crimson"})

    [case] = read_cases(path, {"t": labels}, "label")
    assert (case.expected, case.subject.reference) == ("pass", "crimson")

    [case] = read_cases(written(tmp_path, {"q": "x", "answer": "y", "label": "fail"}), {"t": labels}, "label")
    assert case.subject.reference is None


def test_of_several_tasks_the_row_names_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, {"task": "b", "text": "x", "answer": "y", "label": "fail"})

    [case] = read_cases(path, {"a": COLOURS, "b": COLOURS}, "label")

    assert (case.subject.task, case.subject.row) == ("b", {"text": "x"})


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"text": "x", "answer": "y", "label": "good"},
        {"text": "x", "answer": "y", "label": "pass"},
        {"text": "x", "label": "pass"},
    )

    with pytest.raises(SpecInvalid) as raised:
        read_cases(path, {"t": COLOURS}, "label")

    assert [(fault.line, fault.message) for fault in raised.value.faults] == [
        (1, "column \"label\" is 'good'."),
        (3, 'missing column "answer".'),
    ]


def test_kappa_gives_textbook_values() -> None:
    """20 and 15 of 50 agreed, 5 and 10 not: 0.4; no more than chance: 0; every time: 1."""
    kappa = cohen_kappa([[20, 5], [10, 15]])
    assert kappa is not None
    assert kappa[0] == pytest.approx(0.4)
    assert kappa[1:] == pytest.approx((0.1250, 0.6180), abs=5e-4)
    chance, perfect = cohen_kappa([[9, 9], [9, 9]]), cohen_kappa([[10, 0], [0, 10]])
    assert chance is not None
    assert chance[0] == 0
    assert perfect is not None
    assert perfect[0] == perfect[2] == 1
    assert 0.6 < perfect[1] < 0.7


def test_kappa_is_undefined_without_cases_or_with_one_label() -> None:
    assert cohen_kappa([[0, 0], [0, 0]]) is None
    assert cohen_kappa([[7, 0], [0, 0]]) is None


@pytest.mark.parametrize(("n", "flip"), [(20, 0.1), (40, 0.2), (100, 0.05)])
def test_the_interval_of_kappa_holds_the_truth_as_often_as_it_says(n: int, flip: float) -> None:
    """Two raters who agree but for a coin that flips; balanced labels, so the true kappa is 1 - 2 flip."""
    rng = random.Random(5)
    held = 0
    for _ in range(1_000):
        table = [[0, 0], [0, 0]]
        for _ in range(n):
            label = rng.randrange(2)
            table[label][label ^ (rng.random() < flip)] += 1
        found = cohen_kappa(table)
        assert found is not None
        held += found[1] <= 1 - 2 * flip <= found[2]
    assert held >= 930
