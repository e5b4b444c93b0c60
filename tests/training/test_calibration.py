"""How fast a student is: what is measured is that student, and the model that is asked afterwards is untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.spec.models import Train
from flywheel.student import locate
from flywheel.student.chat import Chat
from flywheel.student.loading import base_arm, forget, load
from flywheel.student.work import AnswerJob, Asking, answer
from flywheel.training import CalibrationJob, calibrate
from flywheel.training.calibration import seconds_a_row

PAIRS = tuple((f"sky {i}\ncolour:", "blue") for i in range(8))


def test_everything_takes_time_and_a_longer_answer_takes_longer(mini_student: Path) -> None:
    arm = base_arm(locate(str(mini_student), None, mini_student), "float32", "cpu")
    asking = Asking(Chat(), 96, 8)
    forget()
    before = answer(AnswerJob(arm, asking, (("it", "sky 1\ncolour:"),)), lambda message: None)

    found = calibrate(CalibrationJob(arm, asking, PAIRS, Train().model_dump(mode="json")), lambda message: None)

    assert min(found.load, found.answer_short, found.read, found.learn) > 0
    assert found.answer_long > found.answer_short
    assert calibrate(CalibrationJob(arm, asking, PAIRS, None), lambda message: None).learn is None
    assert not hasattr(load(arm).model, "peft_config")
    assert answer(AnswerJob(arm, asking, (("it", "sky 1\ncolour:"),)), lambda message: None) == before


@pytest.mark.parametrize(("most", "given"), [(1, [1, 1]), (8, [1, 1, 2, 4, 8]), (5, [1, 1, 2, 4, 5])])
def test_ever_more_rows_are_given_as_long_as_there_is_time(most: int, given: list[int]) -> None:
    seen: list[int] = []

    assert seconds_a_row(seen.append, most, seconds=3600) >= 0
    assert seen == given


def test_without_time_one_round_has_to_do() -> None:
    seen: list[int] = []

    seconds_a_row(seen.append, 64, seconds=0.0)

    assert seen == [1, 1]
