"""examples/selfplay, phi4, tutor and practice: loops of the field, on domains small enough for `builtin:tiny`."""

from __future__ import annotations

import importlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flywheel.engine.planning import make_plan
from flywheel.engine.project import open_project

from ..templates.conftest import REPOSITORY, load_script, score_of, tiny, turn_once
from .test_examples import asked, copied, spec_of

__all__ = ["tiny"]  # a fixture

EXAMPLES = REPOSITORY / "examples"
#: What is cut in a shrunken run → what it becomes.
SHRUNKEN = {
    "selfplay": {"games: 1000": "games: 500"},
    "phi4": {"accept: 200": "accept: 120", "samples: 5, ": "samples: 3, "},
    "tutor": {"accept: 600": "accept: 300"},
    "practice": {"method: grpo": "preference: {rounds: 2, questions: 64}\n  method: grpo"},
}


@pytest.fixture(params=list(SHRUNKEN))
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copied(request.param, tmp_path)


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The Python file of an example."""
    file = EXAMPLES / request.param
    monkeypatch.syspath_prepend(str(file.parent))
    yield importlib.import_module(file.stem)
    del sys.modules[file.stem]


def test_an_example_is_valid_without_warnings_and_plans_all_its_iterations(project: Path) -> None:
    opened = open_project(project / "flywheel.yaml")

    assert opened.warnings == ()
    assert {node.iteration for node in make_plan(opened).nodes} == set(range(1, opened.spec.loop.iterations + 1))


def test_programs_that_stand_in_for_models_say_so(project: Path) -> None:
    assert all(teacher.simulated for teacher in spec_of(project).teachers.values() if teacher.kind == "python")


def test_the_rows_are_those_that_make_rows_writes(project: Path) -> None:
    committed = {path.name: path.read_text() for path in (project / "rows").iterdir()}

    subprocess.run([sys.executable, "make_rows.py"], cwd=project, check=True)

    assert {path.name: path.read_text() for path in (project / "rows").iterdir()} == committed


# --- selfplay


def refereed(nim: ModuleType, heaps: str, leave: str, record: str | None = None) -> tuple[bool, str]:
    ruling: tuple[bool, str] = nim.referee({"row": {"heaps": heaps}, "answer": leave, "reference": record})
    return ruling


@pytest.mark.parametrize("script", ["selfplay/nim.py"], indirect=True)
@pytest.mark.parametrize(
    ("leave", "why"),
    [
        ("7 and 12", "an illegal move"),  # nothing taken
        ("6 and 11", "an illegal move"),  # from both heaps
        ("7 and 13", "an illegal move"),
        ("7", "no position"),
        ("-1 and 12", "no position"),
        ("7 and 7 and 7", "no position"),
        ("7 and 8", "left 7 and 8, from where the other wins"),
    ],
)
def test_the_referee_says_why_a_move_loses(script: ModuleType, leave: str, why: str) -> None:
    assert refereed(script, "7 and 12", leave) == (False, why)


@pytest.mark.parametrize("script", ["selfplay/nim.py"], indirect=True)
def test_the_referee_replays_the_game_of_a_lesson_and_adjudicates_where_there_is_none(script: ModuleType) -> None:
    assert refereed(script, "7 and 12", "7 and 7")[0]
    assert refereed(script, "3 and 1", "3 and 0", "3 and 0; 2 and 0; 0 and 0")[0], "won, though it need not have been"
    assert refereed(script, "3 and 1", "3 and 0", "3 and 0; 0 and 0") == (False, "lost the game")
    assert refereed(script, "3 and 1", "3 and 0", "3 and 0; 5 and 0; 0 and 0")[1] == "move 2 of the record is illegal"
    assert not refereed(script, "3 and 1", "3 and 0", "1 and 1; 0 and 1; 0 and 0")[0], "a record of another move"


@pytest.mark.parametrize("script", ["selfplay/nim.py"], indirect=True)
def test_the_heaps_that_the_referee_calls_won_are_those_from_which_every_reply_loses(script: ModuleType) -> None:
    positions = [(a, b) for a in range(9) for b in range(9)]
    lost: set[tuple[int, int]] = set()
    for heaps in sorted(positions, key=sum):
        if not any(left in lost for left in script.moves(heaps)):
            lost.add(heaps)

    assert {heaps for heaps in positions if script.wins(heaps)} == lost


@pytest.mark.parametrize("script", ["selfplay/nim.py"], indirect=True)
def test_what_a_move_is_worth_comes_from_the_games_alone(script: ModuleType) -> None:
    game = script.Game
    played = [game((2, 1), [(1, 1), heaps, (0, 0)]) for heaps in ((0, 1), (1, 0)) for _ in range(8)]
    played += [game((2, 1), [(2, 0), (0, 0)])] * 8
    values = script.Values(played)

    assert script.Values([]).of((1, 1)) == 0.5
    assert values.of((1, 1)) == 0.9, "both replies lost eight of eight"
    assert values.of((2, 0)) == 0.0, "a reply ends the game"
    assert values.won((1, 1)) == "16/16"


# --- phi4


@pytest.mark.parametrize("script", ["phi4/words.py"], indirect=True)
def test_an_instruction_and_its_formula_lead_to_each_other(script: ModuleType) -> None:
    rng = random.Random(1)
    for _ in range(300):
        steps = script.drawn(rng)
        assert script.understood(script.said(steps, rng), rng) == steps == script.steps_of(script.formula(steps))


@pytest.mark.parametrize("script", ["phi4/words.py"], indirect=True)
def test_a_program_that_does_not_err_comes_back_to_the_formula(script: ModuleType) -> None:
    exact, wrong = {"error_rate": 0.0}, {"error_rate": 1.0}
    formula = "( ( x + 3 ) * 2 )"

    [row] = json.loads(script.reverse({"seed": 1, "item": {"answer": formula}, "options": exact}))

    assert script.solve({"seed": 1, "row": row, "options": exact}) == formula
    assert len({script.solve({"seed": seed, "row": row, "options": wrong}) for seed in range(9)}) > 2


# --- tutor


@pytest.mark.parametrize("script", ["tutor/tutoring.py"], indirect=True)
def test_each_line_of_the_rubric_passes_the_right_words_and_fails_its_own_fault(script: ModuleType) -> None:
    rubric = ("form", "mistake", "working", "result")
    row = script.pupil(47, 38, "you forgot the carry")

    def failed(answer: str) -> list[str]:
        return [line for line in rubric if not getattr(script, line)({"row": row, "answer": answer})[0]]

    right = script.explained(47, 38, "you forgot the carry")
    assert failed(right) == []
    assert failed(right.replace("you forgot the carry", "that is right")) == ["mistake"]
    assert failed(right.replace("so 85", "so 75")) == ["result"]
    assert failed(right.replace("7 + 8 = 15", "7 + 8 = 14")) == ["working"]
    assert failed(right.replace("4 + 3 + 1 = 8", "4 + 3 = 7")) == ["working"]
    assert failed(right.replace("7 + 8 = 15", "8 + 8 = 16")) == ["working"], "a true step of another sum"
    assert failed(right + ", well done") == ["form", "working", "result"]
    assert failed("85") == list(rubric)


@pytest.mark.parametrize("script", ["tutor/tutoring.py"], indirect=True)
def test_a_pupil_who_could_have_made_two_mistakes_is_no_row(script: ModuleType) -> None:
    assert script.pupil(11, 11, "you swapped the digits") is None
    assert script.pupil(47, 31, "you forgot the carry") is None
    for row in map(json.loads, (EXAMPLES / "tutor" / "rows" / "holdout.jsonl").read_text().splitlines()):
        assert script.mistakes(*script.numbers(row)) == [row["kind"]]


# --- a turn of the wheel

KEPT = """SELECT c.generator, d."row", d.target, c.reference, c.reference_from, j.pass_rate FROM dataset d
    JOIN candidates c USING (candidate_id) JOIN judged j USING (candidate_id) WHERE d.origin = 'new'"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_turn_of_a_shrunken_loop_makes_the_student_better(project: Path, tiny: str) -> None:
    spec = project / "flywheel.yaml"
    for text, small in SHRUNKEN[project.name].items():
        spec.write_text(spec.read_text().replace(text, small))
    assert spec_of(project).student.base == tiny
    suite = next(iter(spec_of(project).evals))

    before, after = score_of(turn_once(project), suite)

    assert after > before
    CHECKS[project.name](project, asked(project, KEPT))


def games_were_won(project: Path, kept: list[dict[str, Any]]) -> None:
    held = {json.loads(line)["heaps"] for line in (project / "rows" / "holdout.jsonl").read_text().splitlines()}
    for lesson in kept:
        record = lesson["reference"].split("; ")
        assert record[0] == lesson["target"]
        assert record[-1] == "0 and 0"
        assert len(record) % 2 == 1, "a move of the player who lost"
        assert lesson["row"]["heaps"] not in held


def labels_are_votes(project: Path, kept: list[dict[str, Any]]) -> None:
    voted = [lesson for lesson in kept if lesson["generator"] == "plurality"]
    assert voted
    assert all(lesson["reference_from"].startswith("vote:") for lesson in voted)
    assert all(0 < lesson["pass_rate"] < 1 for lesson in voted), "what all or none say is dropped"
    assert any(lesson["generator"] == "reversed" for lesson in kept)


def the_rubric_holds(project: Path, kept: list[dict[str, Any]]) -> None:
    tutoring = load_script(project / "tutoring.py")
    assert len(kept) > 100
    for lesson in kept:
        for line in spec_of(project).tasks["explain"].verify:
            assert getattr(tutoring, line)({"row": lesson["row"], "answer": lesson["target"]})[0], (line, lesson)


def rounds_practise(project: Path, kept: list[dict[str, Any]]) -> None:
    """That it pays takes more rounds than a test has time for: README.md has the figures."""
    samples = asked(project, "SELECT round, question_id, gold, outcome FROM samples")
    assert {row["round"] for row in samples} == {1, 2}
    assert len({row["question_id"] for row in samples}) == 128, "each round has questions of its own"
    assert any(row["gold"] is None for row in samples)
    assert {row["outcome"] for row in samples} == {"pass", "fail"}


CHECKS = {"selfplay": games_were_won, "phi4": labels_are_votes, "tutor": the_rubric_holds, "practice": rounds_practise}
