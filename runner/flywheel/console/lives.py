"""A row's life as text: what happened in a line each, or every column of it. What a model wrote is shown escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flywheel.console.looks import cell
from flywheel.text import one_line, plural, printable, usd

Row = dict[str, Any]
Chapter = tuple[str, Row]

#: Characters of a text on its line.
WIDTH = 140


def columns_text(chapters: Sequence[Chapter]) -> str:
    """One block a chapter, in the order in which it happened; empty columns left out."""
    blocks = []
    for title, row in chapters:
        lines = [title.upper()]
        lines += [f"  {key:<14} {_indented(value)}" for key, value in row.items() if value not in (None, "", [], {})]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _indented(value: Any) -> str:
    return printable(cell(value), 2_000).replace("\n", "\n" + " " * 17)


def life_text(chapters: Sequence[Chapter]) -> str:
    """The same told: what happened, in which step, and the texts that one has to see."""
    return "\n".join(line for title, row in chapters for line in _TOLD[title](row))


def _answer(row: Row) -> Iterator[str]:
    yield _head("answer", row["answer_id"], row, f"{row['outcome']}, of model {row['model_id']}")
    yield from _texts(row, asked="prompt", said="answer", right="gold")


def _verdict(row: Row) -> Iterator[str]:
    reason = f", {one_line(row['reason'], WIDTH)}" if row["reason"] else ""
    yield f"    {row['verifier']}: {row['outcome']}{reason}{' (advisory)' if row['advisory'] else ''}"


def _failure(row: Row) -> Iterator[str]:
    yield _head("failure", row["failure_id"], row, f"{row['mode']}, {row['severity']}")


def _asked_for(row: Row) -> Iterator[str]:
    ids = row["candidates"]
    shown = f": {', '.join(ids[:4])}{', …' if len(ids) > 4 else ''}" if ids else ""
    yield f"    {plural(len(ids), 'candidate')} asked for because of it{shown}"


def _call(row: Row) -> Iterator[str]:
    mode = f" for {row['mode']}" if row["mode"] else ""
    cost = f", {usd(row['usd'])}" if row["usd"] else ""
    yield f"call {row['key']}: {row['teacher']}, {row['purpose']}{mode}: {row['status']}{cost}"
    yield from _texts(row, said="text")


def _candidate(row: Row) -> Iterator[str]:
    mode = f" for {row['mode']}" if row["mode"] else ""
    yield _head("candidate", row["candidate_id"], row, f"by {row['teacher']}{mode}")
    yield from _texts(row, row="row", answer="target", problem="problem")


def _judged(row: Row) -> Iterator[str]:
    why = f", {one_line(row['reason'], WIDTH)}" if row["reason"] else ""
    yield f"    all together: {row['outcome']}{why}"


def _curation(row: Row) -> Iterator[str]:
    why = ": ".join(one_line(row[key], WIDTH) for key in ("stage", "reason") if row[key])
    rank = f", rank {row['rank']:,}" if row["rank"] is not None else ""
    yield f"    {_step(row)}{row['decision']}{rank}{f' ({why})' if why else ''}"


def _dataset(row: Row) -> Iterator[str]:
    yield f"    {_step(row)}lesson {row['lesson_id']}, {row['origin']}: {one_line(cell(row['target']), WIDTH)}"


def _adapter(row: Row) -> Iterator[str]:
    what = f"{plural(row['rows'], 'row')}, {plural(row['steps'], 'step')}, loss {row['loss']:.3g}"
    yield _head("adapter", row["model_id"], row, what)


def _scores(row: Row) -> Iterator[str]:
    score = "not judged" if row["score"] is None else f"{100 * row['score']:.1f}%"
    yield f"    {row['suite']}: {score} of {plural(row['items'], 'item')}, as {row['arm']}"


def _score(row: Row) -> Iterator[str]:
    mode = f", {row['mode']}" if row["mode"] else ""
    told = f"{row['outcome']}{mode}, by {row['arm']} {row['model_id']} on {row['suite']}"
    yield _head("item", row["item_id"], row, told)
    yield from _texts(row, asked="row", said="answer", right="gold")


def _decision(row: Row) -> Iterator[str]:
    yield f"    {_step(row)}{one_line(row['explanation'], 1_000)}"


def _deployment(row: Row) -> Iterator[str]:
    yield f"    {_step(row)}{row['action']} {row['model_id']}, {row['deployed_at']:%Y-%m-%d %H:%M}"


_TOLD: Mapping[str, Callable[[Row], Iterator[str]]] = {
    "answer": _answer,
    "verdict": _verdict,
    "failure": _failure,
    "lessons asked for": _asked_for,
    "call": _call,
    "candidate": _candidate,
    "judged": _judged,
    "curation": _curation,
    "dataset row": _dataset,
    "adapter": _adapter,
    "scores": _scores,
    "score": _score,
    "decision": _decision,
    "deployment": _deployment,
}
"""What a chapter of `engine.lookback.life` is told as."""


def _head(what: str, name: str, row: Row, told: str) -> str:
    step = f" ({row['node_name']})" if row.get("node_name") else ""
    return f"{what} {name}{step}: {told}"


def _step(row: Row) -> str:
    return f"{row['node_name']}: " if row.get("node_name") else ""


def _texts(known: Row, **columns: str) -> Iterator[str]:
    """A line each: its name here, and the text of its column."""
    for name, column in columns.items():
        if known.get(column) not in (None, "", {}):
            yield f"    {name:<9} {one_line(cell(known[column]), WIDTH)}"
