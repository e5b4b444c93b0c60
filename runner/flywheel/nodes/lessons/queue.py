"""human: rows that wait for a person, in a file of the project. An empty queue never blocks the wheel.

`human/<generator>.jsonl` gets one line a failure, with the target left null. A person fills in targets, whenever; the
next generate node takes what is filled in and has not been taken. The file is no part of a fingerprint: a person at
work must not make the wheel start over. What `flywheel review` settled counts where the file has no answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from flywheel.errors import NodeFailed, SpecInvalid
from flywheel.files import sync_folder
from flywheel.hashing import fingerprint
from flywheel.nodes.lessons.pieces import Piece
from flywheel.nodes.lessons.round import Round
from flywheel.plan.shares import whole
from flywheel.records import Candidate, Reference, Row
from flywheel.records.reviews import Review, item_name, last_words, settled
from flywheel.records.rows import read_rows, rows_of_text, shown, target_text

FOLDER = "human"
HUMAN = "human"
"""The teacher of what people answered."""
#: Columns of the queue's own; a task's row cannot have them too.
OWN = ("id", "mode", "answer_of_student", "reason")


def human(g: Round, wanted: Mapping[str, int]) -> list[Piece]:
    """Rows that people have answered since the last time; and asks for those that are still wanted."""
    if clash := [column for column in OWN if column in (*g.work.columns, g.work.target)]:
        raise NodeFailed(
            f'{g.generator.name}: the queue has a column "{clash[0]}" of its own, and so has the task '
            f'"{g.work.task_name}". Rename it in the rows; where the prompt reads the whole row, let it read the '
            "columns it needs."
        )
    path = g.ctx.root / FOLDER / f"{g.generator.name}.jsonl"
    if heal(path):
        g.remarks.append(f"{FOLDER}/{path.name}: the last line was cut off; it is in {kept_torn(path).name}")
    spoken = _spoken(g)
    waiting = [_filled(g, row, spoken) for row in _read(path)]
    taken = _taken(g)
    # By id: a line that an editor doubled is one lesson, as it was last answered.
    ready = {row["id"]: row for row in waiting if _is_answered(g, row) and row["id"] not in taken}
    _append(path, _asked(g, wanted, waiting, spoken))
    left = [row for row in _read(path) if not _is_answered(g, row) and row["id"] not in spoken]
    g.notes |= {"answered": len(ready), "waiting": len(left)}
    return [Piece(_candidate(g, row)) for row in ready.values()]


def _is_answered(g: Round, row: Row) -> bool:
    """Blank is not an answer yet: taken once, a row is never taken again."""
    value = row.get(g.work.target)
    return value is not None and target_text(value).strip() != ""


def _spoken(g: Round) -> dict[str, str | None]:
    """Id → what people settled on the page; None where they found no right answer."""
    before = item_name("lesson", g.generator.name, "")
    rows = g.ctx.query(
        """SELECT review_id, item, person, value, note, needed FROM reviews WHERE starts_with(item, ?)
           ORDER BY sequence""",
        [before],
    )
    found = {item: settled(words) for item, words in last_words(Review(**row) for row in rows).items()}
    return {item.removeprefix(before): said.value for item, said in found.items() if said.state == "settled"}


def _filled(g: Round, row: Row, spoken: Mapping[str, str | None]) -> Row:
    return row if _is_answered(g, row) else {**row, g.work.target: spoken.get(row["id"], row.get(g.work.target))}


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        rows = read_rows(path)
    except SpecInvalid as invalid:
        raise NodeFailed(f"the queue cannot be read: {invalid}") from invalid
    if lost := next((n for n, row in enumerate(rows, 1) if not row.get("id")), None):
        raise NodeFailed(f'{path.parent.name}/{path.name}: row {lost} has no "id". Put it back, or remove the row.')
    return [{**row, "id": str(row["id"])} for row in rows]  # a person's own row may have the number 7


def _taken(g: Round) -> set[str]:
    """Ids of rows that became candidates before. One that was only too many for its iteration's budget comes again: a
    person's work is not lost."""
    rows = g.ctx.query(
        """SELECT c.parent_id FROM candidates c
           LEFT JOIN curation u ON u.candidate_id = c.candidate_id AND list_contains(?, u.node)
           WHERE list_contains(?, c.node) AND c.teacher = 'human' AND u.stage IS DISTINCT FROM 'quota'""",
        [g.ctx.earlier("curate"), g.work.earlier_nodes],
    )
    return {row["parent_id"] for row in rows}


def _asked(g: Round, wanted: Mapping[str, int], waiting: list[Row], spoken: Collection[str]) -> list[Row]:
    """Rows to ask about: no more than with those that wait come to `accept`. (What is wanted of a teacher counts what
    will not pass, too.)"""
    left = [row for row in waiting if not _is_answered(g, row) and row["id"] not in spoken]
    wished = [_wished(g, mode, count, waiting, left) for mode, count in wanted.items()]
    total, room = sum(map(len, wished)), max(0, g.generator.accept - len(left))
    counts = whole([len(rows) / total for rows in wished], room) if total > room else map(len, wished)
    return [row for rows, count in zip(wished, counts, strict=True) for row in rows[:count]]


def _wished(g: Round, mode: str, count: int, waiting: list[Row], left: list[Row]) -> list[Row]:
    """Failures of the mode to ask about: as many as are wanted and not waiting already. `left`: not yet answered."""
    known = {row["id"] for row in waiting}
    open_ = sum(row.get("mode") == mode for row in left)
    items = [item for item in g.sources.of(mode) if item.source_id not in known]
    shown = dict(g.sources.failures(mode))
    return [
        {
            "id": item.source_id, "mode": mode, **item.row,
            "answer_of_student": shown.get(item.source_id, {}).get("answer"),
            "reason": shown.get(item.source_id, {}).get("reason"), g.work.target: None,
        }
        for item in items[: max(0, count - open_)]
    ]  # fmt: skip


def _append(path: Path, rows: list[Row]) -> None:
    """New lines only: what a person has open in an editor is not rewritten."""
    if not rows:
        return
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        text = "\n" + text
    is_new = not path.exists()
    with path.open("a", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    if is_new:
        sync_folder(path.parent)


def heal(path: Path) -> bool:
    """Take a last line away that a kill cut off while it was appended, and say whether there was one; its row is asked
    for again. What stood there is kept beside the file, in case a person wrote it."""
    torn = _torn(path)
    if not torn:
        return False
    with kept_torn(path).open("ab") as handle:
        handle.write(torn + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size - len(torn))
        os.fsync(handle.fileno())
    return True


def queued_rows(path: Path) -> list[Row]:
    """Rows of a queue that may be appended to just now, or was when its writer was killed. Raises SpecInvalid with
    `file:line` for any other line that is none."""
    torn = _torn(path)
    if not torn:
        return read_rows(path)
    try:
        whole = path.read_bytes()[: -len(torn)].decode("utf-8-sig")
    except UnicodeDecodeError:
        return read_rows(path)  # it says where
    return rows_of_text(whole, shown(path))


def kept_torn(path: Path) -> Path:
    return path.with_suffix(".torn")


def _torn(path: Path) -> bytes:
    """What follows the last line end and is no row."""
    content = path.read_bytes() if path.exists() else b""
    last = content[content.rfind(b"\n") + 1 :]
    return last if last.strip() and not _is_json(last) else b""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _candidate(g: Round, row: Row) -> Candidate:
    target = target_text(row[g.work.target])
    return Candidate(
        candidate_id=fingerprint([g.ctx.node.fingerprint, "human", row["id"]])[:16],
        task=g.work.task_name,
        generator=g.generator.name,
        teacher=HUMAN,
        mode=str(row["mode"]) if row.get("mode") else None,
        call_key="",
        row=g.work.inputs(row),
        target=target,
        reference=Reference(target, "person"),
        strategy="human",
        parent=row["id"],
    )
