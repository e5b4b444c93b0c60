"""`flywheel review --write`: what people settled goes into the files that a fingerprint covers, in the open."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flywheel.engine.project import open_project
from flywheel.engine.reviewing.items import ReviewDesk, ReviewItem, ReviewTable, has_answer
from flywheel.engine.reviewing.log import read_reviews
from flywheel.errors import UsageError
from flywheel.files import write_text
from flywheel.records import Row
from flywheel.records.reviews import Settled, last_words, settled
from flywheel.records.rows import read_rows
from flywheel.spec.data import CASE_LABELS


@dataclass(frozen=True)
class Written:
    """`rows` of the file got a right answer or were added; `left` still wait for one."""

    path: Path
    rows: int
    left: int


def write(desk: ReviewDesk) -> list[Written]:
    """Right answers into the rows of `--rows`, labels into the judges' files of cases. Each file is replaced whole.

    Raises UsageError where a file of cases is of another kind than JSON lines.
    """
    said = {item: settled(words) for item, words in last_words(read_reviews(desk.state)).items()}
    found = [_golds(table, said) for table in desk.tables]
    return found + (_cases(desk.spec, desk.items(said), said) if desk.spec is not None else [])


def _golds(table: ReviewTable, said: Mapping[str, Settled]) -> Written:
    rows = read_rows(table.path)
    answered = [_answered(table, row, said) for row in rows]
    filled = sum(after is not before for before, after in zip(rows, answered, strict=True))
    if filled:
        _write(table.path, answered)
    return Written(table.path, filled, sum(not has_answer(row, table.target) for row in answered))


def _answered(table: ReviewTable, row: Row, said: Mapping[str, Settled]) -> Row:
    word = said.get(table.item_of(row))
    if has_answer(row, table.target) or word is None or word.value is None:
        return row
    return {**row, table.target: word.value}


def _cases(spec: Path, items: Sequence[ReviewItem], said: Mapping[str, Settled]) -> list[Written]:
    project = open_project(spec)
    found = []
    for name, verifier in project.spec.verifiers.items():
        if not verifier.cases_of_people:
            continue
        path = project.root / verifier.cases_of_people
        mine = [item for item in items if item.name.startswith(f"case/{name}/")]
        labelled = [
            {**item.place, CASE_LABELS["calibration"]: said[item.name].value}
            for item in mine
            if item.place is not None and item.name in said and said[item.name].value is not None
        ]
        if labelled:
            _refuse_other_kinds(path)
            _write(path, [*(read_rows(path) if path.is_file() else []), *labelled])
        found.append(Written(path, len(labelled), len(mine) - len(labelled)))
    return found


def _refuse_other_kinds(path: Path) -> None:
    if path.suffix != ".jsonl":
        raise UsageError(f"{path}: cases can be added to JSON lines only. Make it a .jsonl and name that in the spec.")


def _write(path: Path, rows: Sequence[Row]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
