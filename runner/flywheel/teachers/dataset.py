"""A teacher that is a file: rows that people wrote, handed out in a fixed order."""

from __future__ import annotations

import asyncio
import heapq
import json
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from sys import intern
from tempfile import TemporaryFile
from typing import Any

from flywheel.hashing import canonical, seed_from
from flywheel.project_code import project_file
from flywheel.records import LessonRequest, Row
from flywheel.records.rows import each_row
from flywheel.spec.teachers import DatasetTeacher
from flywheel.teachers.chat import Completion
from flywheel.teachers.faults import TeacherFault
from flywheel.teachers.parameters import at_its_place

MODE_COLUMN = "mode"
"""`match: mode` compares a row's own column "mode" with the error mode's name."""


class Dataset:
    """`Transport` to rows of a file. Call `i` for one mode gives the `i`-th `n` rows of the mode's order."""

    def __init__(self, name: str, teacher: DatasetTeacher, root: Path, seed: int) -> None:
        with at_its_place(("teachers", name, "path")):
            self._file = project_file(teacher.path, root)
        self._teacher = teacher
        self._seed = seed_from(seed, name)
        self._texts = TemporaryFile()  # noqa: SIM115
        """Each row as JSON, as it is handed out."""
        self._ends = array("Q", [0])
        self._values: list[str] = []
        """Each row's value of the matched column."""
        self._order = lru_cache(maxsize=64)(self._ordered)

    async def open(self) -> None:
        await asyncio.to_thread(self._read)

    def _read(self) -> None:
        for row in each_row(self._file):
            text = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self._ends.append(self._ends[-1] + self._texts.write(text))
            if self._teacher.match is not None:
                self._values.append(intern(canonical(row.get(self._teacher.match))))

    def _text(self, place: int) -> str:
        start, end = self._ends[place : place + 2]
        self._texts.seek(start)
        return self._texts.read(end - start).decode("utf-8", "surrogatepass")

    async def complete(self, request: LessonRequest) -> Completion:
        text = self._answer(request) if request.purpose == "answer" else self._lessons(request)
        return Completion(text, model=self._teacher.path)

    async def close(self) -> None:
        self._texts.close()

    def _lessons(self, request: LessonRequest) -> str:
        wanted = tuple(sorted(wanted_values(self._teacher.match, request).items()))
        order = self._order(request.mode or "", wanted)
        start = request.sample * request.n
        return f"[{', '.join(map(self._text, order[start : start + request.n]))}]"

    def _ordered(self, mode: str, wanted: tuple[tuple[str, int], ...]) -> Sequence[int]:
        """Indices of rows, the best first; nothing where no row matches."""
        indices = array("q", range(len(self._ends) - 1))
        random.Random(seed_from(self._seed, mode)).shuffle(indices)
        if self._teacher.match is None or (self._teacher.match == MODE_COLUMN and not mode):
            return indices
        groups: dict[str, list[int]] = {value: [] for value, _ in wanted}
        for index in indices:
            if self._values[index] in groups:
                groups[self._values[index]].append(index)
        return in_proportion([(count, groups[value]) for value, count in wanted])

    @cached_property
    def _rows(self) -> list[Row]:
        return [json.loads(self._text(place)) for place in range(len(self._ends) - 1)]

    def _answer(self, request: LessonRequest) -> str:
        """The recorded answer to `request.row`: the one column of a row that has all the others."""
        asked = request.row or {}
        for row in self._rows:
            rest = [column for column in row if column not in asked]
            if len(rest) == 1 and all(row.get(column) == value for column, value in asked.items()):
                value = row[rest[0]]
                return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        raise TeacherFault("empty", f"{self._teacher.path} has no answer recorded for this row")


def wanted_values(match: str | None, request: LessonRequest) -> Counter[str]:
    """How often each value (as canonical JSON) of the matched column stands among the mode's failures."""
    if match is None:
        return Counter()
    if match == MODE_COLUMN:
        return Counter([canonical(request.mode)])
    return Counter(canonical(_value(failure, match)) for failure in request.failures)


def _value(failure: Row, column: str) -> Any:
    """From the failure's row; the target is not in it, and then the column is the target: its gold."""
    row = failure.get("row") or {}
    return row[column] if column in row else failure.get("gold")


def in_proportion(groups: Sequence[tuple[int, list[int]]]) -> list[int]:
    """All members, interleaved so that each prefix holds the groups in proportion to their weights (Sainte-
    Laguë).
    """
    order: list[int] = []
    queue = [(0.5 / weight, position, 0) for position, (weight, members) in enumerate(groups) if members]
    heapq.heapify(queue)
    while queue:
        _, position, taken = heapq.heappop(queue)
        weight, members = groups[position]
        order.append(members[taken])
        if taken + 1 < len(members):
            heapq.heappush(queue, ((taken + 1.5) / weight, position, taken + 1))
    return order
