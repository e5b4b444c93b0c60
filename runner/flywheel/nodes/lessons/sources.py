"""What lessons are made from: the failures of a mode, rows that people wrote, rows of a file, earlier lessons."""

from __future__ import annotations

import random
from collections.abc import Collection
from functools import cached_property
from typing import Any

from flywheel.hashing import seed_from
from flywheel.nodes.lessons.pieces import Assignment, Material
from flywheel.nodes.lessons.policies import at_edge, confused
from flywheel.records import Row, row_id
from flywheel.records.rows import target_text
from flywheel.spec.policies import POLICIES

EDGE, CONFUSED = POLICIES["edge"].made_from, POLICIES["confusion"].made_from


class Sources:
    """Read once a node."""

    def __init__(self, work: Assignment) -> None:
        self._work = work
        self._ctx = work.ctx
        self._failures: dict[str, list[tuple[str, Row]]] = {}

    def of(self, mode: str) -> list[Material]:
        """What `from` names, in a seeded order that all rounds and iterations share."""
        found = {"errors": self.failed, "seeds": self.of_seeds, "data": self._data, "lessons": self._lessons}
        sources = found[self._work.generator.source](mode)
        random.Random(seed_from(self._ctx.spec.seed, "items", self._work.generator.name, mode)).shuffle(sources)
        return sources

    @cached_property
    def seeds(self) -> list[Row]:
        """Whole rows."""
        task = self._work.task
        return [row.columns for row in self._ctx.task_rows(self._work.task_name, task.seeds)] if task.seeds else []

    def failed(self, mode: str) -> list[Material]:
        return [
            # Of what production was asked, nobody may know the answer.
            Material(failure_id, self._work.inputs(shown["row"]), shown["gold"] or None, (failure_id,))
            for failure_id, shown in self.failures(mode)
        ]

    def of_seeds(self, mode: str = "") -> list[Material]:
        del mode
        return [
            Material(row_id(row), self._work.inputs(row), target_text(row[self._work.target])) for row in self.seeds
        ]

    def _data(self, mode: str) -> list[Material]:
        del mode
        assert self._work.generator.data is not None
        rows = self._ctx.rows(self._work.generator.data)
        return [Material(row_id(row), self._work.inputs(row), self._answer(row)) for row in rows]

    def _answer(self, row: Row) -> str | None:
        gold = row.get(self._work.target)
        return None if gold is None else target_text(gold)

    def _lessons(self, mode: str) -> list[Material]:
        return self.of_seeds() + [
            Material(lesson["lesson_id"], lesson["row"], lesson["target"], depth=lesson["depth"])
            for lesson in self.earlier_lessons
        ]

    @cached_property
    def earlier_lessons(self) -> list[dict[str, Any]]:
        """Lessons of this task that earlier iterations kept: lesson_id, row, target, depth."""
        return self._ctx.query(
            """SELECT d.lesson_id, d."row", d.target, coalesce(max(c.depth), 0) AS depth
               FROM dataset d LEFT JOIN candidates c ON c.candidate_id = d.candidate_id
               WHERE list_contains(?, d.node) AND d.origin = 'new' AND d.task = ?
               GROUP BY d.lesson_id, d."row", d.target ORDER BY d.lesson_id""",
            [self._ctx.earlier("curate"), self._work.task_name],
        )

    def failures(self, mode: str) -> list[tuple[str, Row]]:
        """(failure id, {row, gold, answer, reason}) of a mode; without a mode the probes as they come, right and wrong
        alike, and nothing of what the student said. So are those that a policy chose.

        In the order of what they hold, so that the same failures make the same requests, which are not paid again,
        whatever in the spec gave their nodes another fingerprint.
        """
        if mode not in self._failures:
            chosen = {"": self._read_probes, EDGE: self._read_edge, CONFUSED: self._read_confused}
            self._failures[mode] = chosen[mode]() if mode in chosen else self._read_failures(mode)
        return self._failures[mode]

    def _read_confused(self) -> list[tuple[str, Row]]:
        return self._of_probes(confused(self._ctx, self._work.task_name))

    def _of_probes(self, ids: Collection[str]) -> list[tuple[str, Row]]:
        return [(answer_id, shown) for answer_id, shown in self._read_probes() if answer_id in ids]

    def _read_edge(self) -> list[tuple[str, Row]]:
        rows = self._ctx.query(
            "SELECT * FROM edges WHERE list_contains(?, node) AND task = ?",
            [self._ctx.fingerprints("budget"), self._work.task_name],
        )
        return self._of_probes({row["answer_id"] for row in rows if at_edge(row)})

    def _read_probes(self) -> list[tuple[str, Row]]:
        rows = self._ctx.query(
            """SELECT answer_id, "row", gold FROM answers WHERE list_contains(?, node) AND task = ?
               ORDER BY row_id, answer, answer_id""",
            [self._ctx.fingerprints("probe", "mine"), self._work.task_name],
        )
        return [(r["answer_id"], {"row": r["row"], "gold": r["gold"], "answer": "", "reason": ""}) for r in rows]

    def _read_failures(self, mode: str) -> list[tuple[str, Row]]:
        probes = self._ctx.fingerprints("probe", "mine")
        rows = self._ctx.query(
            """SELECT f.failure_id, a."row", a.gold, a.answer,
                   (SELECT string_agg(v.verifier || ': ' || v.reason, '; ' ORDER BY v.verifier) FROM verdicts v
                    WHERE v.subject_id = a.answer_id AND list_contains(?, v.node) AND v.outcome = 'fail') AS reason
               FROM failures f JOIN answers a ON a.answer_id = f.answer_id AND list_contains(?, a.node)
               WHERE list_contains(?, f.node) AND f.task = ? AND f.mode = ?
               ORDER BY a.row_id, a.answer, f.failure_id""",
            [probes, probes, self._ctx.fingerprints("diagnose"), self._work.task_name, mode],
        )
        return [
            (row["failure_id"], {key: row[key] or "" for key in ("row", "gold", "answer", "reason")}) for row in rows
        ]
