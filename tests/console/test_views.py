"""What a person sees: tables, progress, a live picture; text from a model is never trusted."""

from __future__ import annotations

import io
from typing import Any

import pytest

from flywheel.console.lives import columns_text
from flywheel.console.looks import table_text
from flywheel.console.picture import Picture
from flywheel.console.progress import PlainLines
from flywheel.console.view import RunView


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
    for text in (table_text([{"answer": bad}]), columns_text([("candidate", {"answer": bad})])):
        assert not set(bad) & set("\x1b\u202e\x00\x9b") & set(text)


def test_a_life_has_a_block_a_chapter_and_leaves_out_what_is_empty() -> None:
    text = columns_text([("failure", {"mode": "m", "note": None}), ("call", {"text": "one\ntwo"})])

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

    Console(file=out, width=160).print(Picture(view))

    assert "3/4 steps" in out.getvalue()
    assert "[/nor this]" in out.getvalue()


def deep(steps: int) -> dict[str, Any]:
    """A plan of three iterations of so many steps."""
    return started(*(f"i{n}.verify.g{step:02d}" for n in (1, 2, 3) for step in range(steps)))


def drawn(view: RunView, width: int = 80, height: int = 24) -> list[str]:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, height=height).print(Picture(view))
    return out.getvalue().splitlines()


def verified(name: str) -> dict[str, Any]:
    return {
        "event": "node_done", "at": 2.0, "node": name, "seconds": 1.0,
        "counts": {"rows_in": 1, "kept": 1, "rejected": 0, "failed": 0},
        "summary": {"fates": {"pass": 1, "spare": 0, "fail": 0, "unknown": 0}},
    }  # fmt: skip


@pytest.mark.parametrize("done", range(0, 90, 7))
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (132, 50), (20, 4)])
def test_what_runs_is_in_view_in_any_window_and_no_line_is_wider(done: int, width: int, height: int) -> None:
    view = RunView()
    view.take(deep(30))
    names = list(view.nodes)
    for name in names[:done]:
        view.take(verified(name))
    for name in names[done : done + 2]:
        view.take({"event": "node_started", "at": 1.0, "node": name, "kind": "verify", "iteration": 1})
        view.take({"event": "progress", "at": 1.5, "node": name, "done": 3, "total": 4, "what": "judged", "passed": 2})

    lines = drawn(view, width, height)

    assert len(lines) < height
    assert max(map(len, lines)) <= width
    shown = sum(line.startswith("▸") for line in lines)
    assert shown == min(2, height - 3)


def test_finished_steps_fold_and_the_newest_stay() -> None:
    view = RunView()
    view.take(deep(30))
    for name in list(view.nodes)[:20]:
        view.take(verified(name))
    view.take({"event": "node_started", "at": 1.0, "node": "i1.verify.g20", "kind": "verify", "iteration": 1})

    text = "\n".join(drawn(view))

    assert "finished steps" in text
    assert "verify.g19" in text
    assert "verify.g00" not in text
    assert "9 steps to come" in text, text
    assert "2 iterations to come" in text


def test_once_it_has_ended_nothing_is_cut_and_what_was_to_come_is_left_out() -> None:
    view = RunView()
    view.take(started("i1.gate", "i2.gate"))
    view.take(gate_done("Promote. " + "All of it holds. " * 12 + "The end."))
    view.take({"event": "run_ended"})

    lines = drawn(view)

    assert "The end." in " ".join(lines)
    assert max(map(len, lines)) <= 80
    assert "iteration 2" not in " ".join(lines)


def calls(done: int, **more: Any) -> dict[str, Any]:
    told = {"event": "calls", "at": 1.0, "teacher": "terse", "asked": 10, "done": done, "failed": 0, "cached": 2}
    return {**told, "calls_per_second": 0.5, "usd": 0.0, **more}


def test_a_teacher_that_is_asked_is_in_view_until_all_is_answered() -> None:
    view = RunView()
    view.take(started("i1.gate"))
    view.take({"event": "node_started", "at": 1.0, "node": "i1.gate", "kind": "gate", "iteration": 1})
    view.take(calls(3, failed=1))

    assert any("ask terse  3/8 calls  1 failed  2.0 s each  10 s left" in line for line in drawn(view))
    view.take(calls(0, calls_per_second=0.0))
    assert any(line.endswith("ask terse  0/8 calls") for line in drawn(view))
    view.take(calls(8))
    assert not any("ask terse" in line for line in drawn(view))


def test_plain_lines_say_every_ten_seconds_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    show = PlainLines(lambda: now[0])
    now[0] = 9.5
    show.beat()
    assert capsys.readouterr().out.split() == ["preparing", "…"]
    show(started("i1.gate", "i1.train"))
    show({"event": "node_started", "at": 10.0, "node": "i1.train", "kind": "train", "iteration": 1})
    show({"event": "progress", "at": 10.0, "node": "i1.train", "done": 0, "total": 40, "what": "steps"})
    show({"event": "progress", "at": 14.0, "node": "i1.train", "done": 4, "total": 40, "what": "steps", "loss": 0.5})
    capsys.readouterr()

    said = []
    for second in range(10, 40):
        now[0] = float(second)
        show.beat()
        said += [(second, line) for line in capsys.readouterr().out.splitlines()]

    assert [second for second, _ in said] == [19, 28, 37]
    assert said[0][1].split("…")[1].strip() == "4/40 steps  loss 0.500  1.0/s  31 s left  9.0 s so far"
