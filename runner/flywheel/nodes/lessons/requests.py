"""What is asked: requests for new rows, for rows made from a row, and for the answer to one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from flywheel.hashing import seed_from
from flywheel.nodes.lessons.pieces import Ask, Assignment, Material
from flywheel.nodes.lessons.shares import Shares
from flywheel.nodes.lessons.sources import Sources
from flywheel.records import LessonRequest, Message, Row, SharedRows
from flywheel.spec.policies import POLICIES

#: Failures of a mode that a data-set teacher sees, to pick rows like them.
MATCHED = 500
_MEANINGS = {policy.made_from: policy.meaning for policy in POLICIES.values() if policy.made_from}


class Requests:
    def __init__(self, work: Assignment, sources: Sources, shares: Shares) -> None:
        self._work, self._sources, self._shares = work, sources, shares
        self._spec = work.ctx.spec
        self._prompts = work.generator.prompts

    # -- new rows

    def rows(self, teacher: str, mode: str, number: int) -> Iterator[Ask]:
        """Requests for `number` new rows, shown failures, seeds and lessons, so many rows each."""
        first = self._shares.first_sample(teacher, mode)
        size = self._work.generator.shown.rows_a_call
        # A data set is read in slices of one size: a smaller last one would shift all that follow.
        least = size if self._spec.teachers[teacher].recorded else 1
        sizes = [max(least, min(size, number - start)) for start in range(0, number, size)]
        failures = self._sources.failures(mode) if self._work.generator.has_modes else []
        # A data set is matched against all failures: which of them were drawn first must not change the pick.
        matched = SharedRows(failure for _, failure in failures[:MATCHED])
        for place, n in enumerate(sizes):
            yield self._rows(teacher, mode, first + place, n, failures, matched)

    def _rows(
        self, teacher: str, mode: str, sample: int, n: int, failures: Sequence[tuple[str, Row]], matched: SharedRows
    ) -> Ask:
        request = self.request(teacher, "lessons", mode, sample)
        rng = random.Random(request.seed)
        recorded, shown, seeds = self._spec.teachers[teacher].recorded, self._work.generator.shown, self._sources.seeds
        chosen = rng.sample(failures, min(MATCHED if recorded else shown.examples, len(failures)))
        drawn = rng.sample(seeds, min(shown.examples, len(seeds)))
        seen = matched if recorded else tuple(failure for _, failure in chosen)
        request = replace(request, n=n, failures=seen, seeds=tuple(drawn))
        earlier = self._sources.earlier_lessons if shown.lessons else []
        lessons = rng.sample(earlier, min(shown.lessons, len(earlier)))
        own = [{**lesson["row"], self._work.target: lesson["target"]} for lesson in lessons]
        if not recorded:
            request = self._worded(request, self._prompts.get("prompt"), lessons=own)
        return Ask(self._held_to_rows(request), tuple(failure_id for failure_id, _ in chosen[: shown.examples]))

    def rows_from(self, teacher: str, mode: str, sample: int, source: Material, **shown: Any) -> Ask:
        """A request for a new row made from one source."""
        known = {"row": source.row, "answer": source.answer, **shown}
        request = replace(self.request(teacher, "lessons", mode, sample), item=known)
        request = self._worded(request, self._prompts.get("prompt"), **shown)
        return Ask(self._held_to_rows(request), source.failure_ids, source)

    # -- the answer to a row

    def answer(
        self, teacher: str, mode: str, sample: int, source: Material, prompt: str | None = None, **shown: Any
    ) -> Ask:
        """A request for the answer to a source's row: in the words of `prompt`, else as the student is asked."""
        return self._answer(self.request(teacher, "answer", mode, sample), source, prompt, shown)

    def samples(
        self, teacher: str, mode: str, first: int, number: int, source: Material, prompt: str | None
    ) -> list[Ask]:
        """Requests for so many answers to a source's row. A paid-for question is the same one in every round and
        iteration, and so is answered once; the student, who has changed, answers anew from sample `first` on."""
        if self._spec.teachers[teacher].is_student:
            return [self.answer(teacher, mode, first + i, source, prompt) for i in range(number)]
        seeds = [seed_from(self._spec.seed, "sample", teacher, source.row, i) for i in range(number)]
        requests = [replace(self.request(teacher, "answer", mode, i), seed=seed) for i, seed in enumerate(seeds)]
        return [self._answer(request, source, prompt, {}) for request in requests]

    def again(self, ask: Ask, prompt: str | None, shown: Row) -> Ask:
        """The same question in other words, and with more of it shown."""
        assert ask.source is not None
        return self._answer(ask.request, ask.source, prompt, shown)

    def _answer(self, request: LessonRequest, source: Material, prompt: str | None, shown: Row) -> Ask:
        request = replace(request, row=source.row)
        if shown:
            request = replace(request, item={"row": source.row, **shown})
        return Ask(self.for_answer(request, prompt, **shown), source.failure_ids, source)

    def for_answer(self, request: LessonRequest, prompt: str | None, **shown: Any) -> LessonRequest:
        assert request.row is not None
        if prompt is None:
            text = self._work.ctx.prompt(self._work.task_name, request.row)
            return replace(request, messages=(Message("user", text),))
        return self._worded(request, prompt, **shown)

    # -- parts

    def request(self, teacher: str, purpose: Any, mode: str, sample: int) -> LessonRequest:
        work = self._work
        seed = seed_from(self._spec.seed, work.ctx.node.iteration, work.generator.name, teacher, mode, sample)
        meaning = next((m.description for m in self._spec.taxonomy if m.name == mode), _MEANINGS.get(mode, ""))
        return LessonRequest(
            teacher=teacher, purpose=purpose, task=work.task_name, mode=mode or None, mode_description=meaning, n=1,
            failures=(), seeds=(), row=None, messages=(), parameters=self.parameters(teacher), sample=sample, seed=seed,
        )  # fmt: skip

    def parameters(self, teacher: str) -> Row:
        """What identifies the teacher; of the student also who it is now."""
        parameters = dict(self._work.ctx.teacher_parameters[teacher])
        if self._spec.teachers[teacher].is_student:
            parameters["model_id"] = self._work.model.model_id
            if self._work.task.stop:
                parameters["stop"] = self._work.task.stop
        return parameters

    def _worded(self, request: LessonRequest, prompt: str | None, **shown: Any) -> LessonRequest:
        """The request in the words of a Jinja file, where there is one."""
        if prompt is None:
            return request
        style = self._spec.teachers[request.teacher].style_of(request.sample) if request.purpose == "lessons" else ""
        item = request.item or {}
        task = self._work.task
        values: Row = {
            "task": {
                "name": self._work.task_name, "description": task.description, "columns": self._work.columns,
                "target": self._work.target,
            },
            "mode": request.mode or "",
            "mode_description": request.mode_description,
            "n": request.n,
            "failures": list(request.failures),
            "seeds": list(request.seeds),
            "lessons": [],
            "style": style,
            "row": request.row or item.get("row") or {},
            "item": item,
            "direction": "",
            "answer": item.get("answer") or "",
            "reference": "",
            "tests": "",
            "output": "",
            **shown,
        }  # fmt: skip
        return replace(request, messages=(Message("user", self._work.ctx.render(prompt, values)),))

    def _held_to_rows(self, request: LessonRequest) -> LessonRequest:
        """The request with the JSON schema of the rows that are asked for, for teachers that can be held to one."""
        if not self._spec.teachers[request.teacher].remote or self._work.generator.whole_text:
            return request
        columns = self._work.asked_columns
        text = {"type": "string"}
        row = {"type": "object", "properties": dict.fromkeys(columns, text), "required": columns}
        rows = {"type": "array", "items": {**row, "additionalProperties": False}}
        schema = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
        return replace(request, schema=schema)
