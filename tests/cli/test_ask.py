"""`flywheel ask`: a row in any of the ways people write one."""

from __future__ import annotations

import io
import json
import sys

import pytest

from mini_domain import Domain
from stand_in import WORK, answer

LINES = '{"text": "old sky 1"}\n{"text": "old rose 2"}\n'


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["text=old sky 1"], "blue\n"),
        (['{"text": "old sky 1"}'], "blue\n"),
        (["rows.jsonl"], "blue\nred\n"),
        (["rows.csv"], "blue\n"),
        (["-"], "blue\nred\n"),
        (["text=old rose = sky"], "blue\n"),
        (["text=old sky 1", "--iteration", "0"], "red\n"),
        (["text=old sky 1", "--iteration", "1"], "blue\n"),
    ],
)
def test_a_row_is_asked(applied: Domain, flywheel, monkeypatch, words: list[str], answers: str) -> None:
    (applied.root / "rows.jsonl").write_text(LINES)
    (applied.root / "rows.csv").write_text("text\nold sky 1\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(LINES))

    assert flywheel(applied, "ask", "colour", *words) == (0, answers, "")


def test_an_answer_stops_where_the_tasks_answers_stop(applied: Domain, flywheel, monkeypatch) -> None:
    stops: list[tuple[str, ...]] = []
    monkeypatch.setitem(
        WORK, "flywheel.student.work:answer", lambda job, told: stops.append(job.stop) or answer(job, told)
    )
    applied.edit(lambda spec: spec["tasks"]["colour"].update(stop=["\n"]))

    assert flywheel(applied, "ask", "colour", "text=old sky 1")[0] == 0
    assert stops == [("\n",)]


def test_the_verifiers_are_shown_where_they_are_asked(applied: Domain, flywheel) -> None:
    _, out, _ = flywheel(applied, "ask", "colour", "text=old sky 1", "--judge")

    assert [line.split() for line in out.splitlines()] == [
        ["blue"], ["pass"], ["known:", "pass"], ["right:", "pass", "by", "the", "noun"],
    ]  # fmt: skip


def test_json_has_a_line_for_each_answer(applied: Domain, flywheel) -> None:
    (applied.root / "rows.jsonl").write_text(LINES)

    _, out, _ = flywheel(applied, "ask", "colour", "rows.jsonl", "--json")

    found = [json.loads(line) for line in out.splitlines()]
    assert [(row["row"]["text"], row["answer"]) for row in found] == [("old sky 1", "blue"), ("old rose 2", "red")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["color", "text=sky"], 'Did you mean "colour"'),
        (["colour", "sky"], "neither column=value, nor a JSON object, nor a file"),
        (["colour", '{"text": '], "ROW:1: not JSON"),
        (["colour", "-"], "stdin:2: not JSON"),
        (["colour", "empty.jsonl"], "no row in it"),
        (["colour", "note.txt"], 'unknown kind of data file ".txt"'),
        (["colour", "colour=sky"], 'reads the column "text", which is not there. It reads text.'),
        (["colour", "txt=sky"], "row 1 (it has txt) cannot be asked about: prompts/colour.md:1 reads the column"),
        (["colour", "txt=sky"], 'column "text", which is not there. Write "text" for "txt".'),
        (["colour"], "Missing argument"),
        (["colour", "text=sky", "--iteration", "7"], "iteration 7 has trained no model"),
        (["colour", "text=sky", "--iteration", "-1"], "--iteration"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error_with_its_place(
    applied: Domain, flywheel, monkeypatch, words: list[str], message: str
) -> None:
    (applied.root / "empty.jsonl").write_text("")
    (applied.root / "note.txt").write_text("old sky")
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"text": "sky"}\nsky\n'))

    code, out, error = flywheel(applied, "ask", *words)

    assert (code, out) == (64, "")
    assert message in error
    assert "Traceback" not in error


def test_what_a_model_wrote_is_shown_escaped(applied: Domain, flywheel, monkeypatch) -> None:
    monkeypatch.setattr("stand_in.say", lambda adapter, prompt: "\x1b[31mblue\u202e")

    _, out, _ = flywheel(applied, "ask", "colour", "text=sky")

    assert "\x1b" not in out
    assert "blue" in out
