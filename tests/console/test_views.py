"""What a person sees: tables, progress, a live picture; text from a model is never trusted."""

from __future__ import annotations

import io
from typing import Any

import pytest

from flywheel.console.looks import life_text, table_text
from flywheel.console.progress import PlainLines, RunView, picture


def started(*names: str) -> dict[str, Any]:
    nodes = [[name, name.split(".")[1], int(name[1]), "new"] for name in names]
    return {"event": "run_started", "at": 0.0, "run_id": "r", "name": "colours", "nodes": nodes}


def gate_done(explanation: str = "Promote. All hold.") -> dict[str, Any]:
    return {
        "event": "node_done", "at": 2.0, "node": "i1.gate", "seconds": 1.0,
        "counts": {"rows_in": 1, "kept": 1, "rejected": 0, "failed": 0},
        "summary": {"outcome": "promote", "explanation": explanation},
    }  # fmt: skip


def test_a_table_lines_its_columns_up_and_counts_its_rows() -> None:
    text = table_text([{"mode": "a", "n": 1}, {"mode": "longer", "n": None}])

    lines = text.splitlines()
    assert lines[0].index("n") == lines[2].index("1")
    assert lines[-1] == "(2 rows)"
    assert table_text([]) == "(no rows)"


@pytest.mark.parametrize("bad", ["\x1b[31mred", "\u202egnihtyna", "a\x00b", "\x9b2J"])
def test_what_a_model_wrote_cannot_steer_the_terminal(bad: str) -> None:
    for text in (table_text([{"answer": bad}]), life_text([("candidate", {"answer": bad})])):
        assert not set(bad) & set("\x1b\u202e\x00\x9b") & set(text)


def test_a_life_has_a_block_a_chapter_and_leaves_out_what_is_empty() -> None:
    text = life_text([("failure", {"mode": "m", "note": None}), ("call", {"text": "one\ntwo"})])

    assert text.count("\n\n") == 1
    assert "note" not in text
    assert "FAILURE" in text


def test_plain_lines_tell_starts_ends_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    show = PlainLines()
    show(started("i1.gate", "i1.train"))
    show({"event": "node_started", "at": 1.0, "node": "i1.gate", "kind": "gate", "iteration": 1})
    show(gate_done())
    show({"event": "node_failed", "at": 3.0, "node": "i1.train", "error": "no memory"})

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("colours: 2 nodes to run")
    assert "i1.gate" in lines[1]
    assert "Promote" in lines[1]
    assert "FAILED" in lines[2]
    assert "no memory" in lines[2]


def test_the_live_picture_shows_running_nodes_and_takes_markup_literally() -> None:
    from rich.console import Console

    view = RunView()
    view.take(started("i1.gate", "i1.train"))
    view.take({"event": "node_started", "at": 1.0, "node": "i1.train", "kind": "train", "iteration": 1})
    view.take({"event": "progress", "at": 1.5, "node": "i1.train", "done": 3, "total": 4, "what": "steps", "loss": 0.5})
    view.take(gate_done("[bold]not markup[/] [/nor this]"))
    out = io.StringIO()

    Console(file=out, width=160).print(picture(view))

    assert "3/4 steps" in out.getvalue()
    assert "[/nor this]" in out.getvalue()
