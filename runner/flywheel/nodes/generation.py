"""What all strategies share: what lessons are made from, how teachers are asked, what replies hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from flywheel.errors import NodeFailed
from flywheel.hashing import fingerprint, seed_from
from flywheel.nodes.allocation import Paid, thompson_shares
from flywheel.nodes.context import Context
from flywheel.plan.shares import whole
from flywheel.prompting import parse_rows
from flywheel.records import Candidate, LessonRequest, Message, Reply, Row, Subject, row_id
from flywheel.records.rows import target_text
from flywheel.spec.models import DatasetTeacher, Generator, LitellmTeacher, StudentTeacher
from flywheel.spec.outline import judged_columns, with_fallbacks
from flywheel.teachers import is_final
from flywheel.teachers.faults import OUT_OF_REACH
from flywheel.text import one_line, plural

#: Failures of a mode that a data-set teacher sees, to pick rows like them.
MATCHED = 500


@dataclass(frozen=True)
class Item:
    """What a lesson is made from: a failure, a seed, a row of a file, or an earlier lesson."""

    item_id: str
    row: Row
    """The input columns."""
    answer: str | None
    """The known right answer."""
    failure_ids: tuple[str, ...] = ()
    depth: int = 0


@dataclass(frozen=True)
class Ask:
    """A request and what it was made from."""

    request: LessonRequest
    failure_ids: tuple[str, ...] = ()
    item: Item | None = None


@dataclass(frozen=True)
class Piece:
    """Something a reply held: a candidate, or a problem with it. `status`: parsed, unparsed or filtered."""

    candidate: Candidate
    status: Literal["parsed", "unparsed", "filtered"] = "parsed"
    problem: str = ""
    text: str = ""


class Generation:
    """One generator in one round. `replies` are all that were asked for, `problem` pieces included nowhere else."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.generator: Generator = next(g for g in ctx.spec.generate if g.name == ctx.node.subject)
        self.task = ctx.spec.task_of(self.generator)
        self.spec = ctx.spec.tasks[self.task]
        self.columns = ctx.columns(self.task)
        self.target = self.spec.target
        self.model = ctx.incumbent()
        self.replies: list[Reply] = []
        self.asked: list[Ask] = []
        self.notes: dict[str, Any] = {}
        self._failures: dict[str, list[tuple[str, Row]]] = {}

    @cached_property
    def seeds(self) -> list[Row]:
        return [row.columns for row in self.ctx.task_rows(self.task, self.spec.seeds)] if self.spec.seeds else []

    @cached_property
    def earlier_nodes(self) -> list[str]:
        """Generate nodes of this generator that ran before this one: earlier iterations, earlier rounds."""
        nodes = self.ctx.earlier("generate") + self.ctx.fingerprints("generate")
        before = nodes[: nodes.index(self.ctx.node.fingerprint)]
        # Other generators run beside this one: what they have done by now is a matter of luck.
        rows = self.ctx.query(
            "SELECT DISTINCT node FROM nodes WHERE list_contains(?, node) AND split_part(name, '.', 3) = ?",
            [before, self.generator.name],
        )
        own = {row["node"] for row in rows}
        return [node for node in before if node in own]

    def is_student(self, teacher: str) -> bool:
        return isinstance(self.ctx.spec.teachers[teacher], StudentTeacher)

    def is_data(self, teacher: str) -> bool:
        return isinstance(self.ctx.spec.teachers[teacher], DatasetTeacher)

    def inputs(self, row: Mapping[str, Any]) -> Row:
        return {column: row.get(column) for column in self.columns}

    # -- what lessons are made from

    def items(self, mode: str) -> list[Item]:
        """What `from` names, in a seeded order that all rounds and iterations share."""
        found = {"errors": self.failed_items, "seeds": self.seed_items, "data": self._data, "lessons": self._lessons}
        items = found[self.generator.source](mode)
        random.Random(seed_from(self.ctx.spec.seed, "items", self.generator.name, mode)).shuffle(items)
        return items

    def failed_items(self, mode: str) -> list[Item]:
        return [
            Item(failure_id, self.inputs(shown["row"]), shown["gold"], (failure_id,))
            for failure_id, shown in self.failures(mode)
        ]

    def seed_items(self, mode: str = "") -> list[Item]:
        del mode
        return [Item(row_id(row), self.inputs(row), target_text(row[self.target])) for row in self.seeds]

    def _data(self, mode: str) -> list[Item]:
        del mode
        assert self.generator.data is not None
        return [
            Item(row_id(row), self.inputs(row), None if row.get(self.target) is None else target_text(row[self.target]))
            for row in self.ctx.rows(self.generator.data)
        ]

    def _lessons(self, mode: str) -> list[Item]:
        return self.seed_items() + [
            Item(lesson["lesson_id"], lesson["row"], lesson["target"], depth=lesson["depth"])
            for lesson in self.earlier_lessons
        ]

    @cached_property
    def earlier_lessons(self) -> list[dict[str, Any]]:
        """Lessons of this task that earlier iterations kept: lesson_id, row, target, depth."""
        return self.ctx.query(
            """SELECT d.lesson_id, d."row", d.target, coalesce(max(c.depth), 0) AS depth
               FROM dataset d LEFT JOIN candidates c ON c.candidate_id = d.candidate_id
               WHERE list_contains(?, d.node) AND d.origin = 'new' AND d.task = ?
               GROUP BY d.lesson_id, d."row", d.target ORDER BY d.lesson_id""",
            [self.ctx.earlier("curate"), self.task],
        )

    def failures(self, mode: str) -> list[tuple[str, Row]]:
        """(failure id, {row, gold, answer, reason}) of a mode, in order of id."""
        if mode not in self._failures:
            self._failures[mode] = self._read_failures(mode)
        return self._failures[mode]

    def _read_failures(self, mode: str) -> list[tuple[str, Row]]:
        rows = self.ctx.query(
            """SELECT f.failure_id, a."row", a.gold, a.answer,
                   (SELECT string_agg(v.verifier || ': ' || v.reason, '; ' ORDER BY v.verifier) FROM verdicts v
                    WHERE v.subject_id = a.answer_id AND list_contains(?, v.node) AND v.outcome = 'fail') AS reason
               FROM failures f JOIN answers a ON a.answer_id = f.answer_id AND list_contains(?, a.node)
               WHERE list_contains(?, f.node) AND f.task = ? AND f.mode = ? ORDER BY f.failure_id""",
            [
                self.ctx.fingerprints("probe"),
                self.ctx.fingerprints("probe"),
                self.ctx.fingerprints("diagnose"),
                self.task,
                mode,
            ],
        )
        return [
            (row["failure_id"], {key: row[key] or "" for key in ("row", "gold", "answer", "reason")}) for row in rows
        ]

    # -- who is asked

    def split(self, count: int) -> dict[str, int]:
        """Teacher → how many of `count`, by weight, or by what theirs has paid."""
        weights = self.ctx.spec.weights_of(self.generator)
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        if self.generator.allocate == "bandit" and (paid := self._paid()):
            shares = thompson_shares({name: paid.get(name, Paid()) for name in weights}, self.ctx.seed())
            self.notes["allocation"] = {name: round(share, 4) for name, share in shares.items()}
        return dict(zip(shares, whole(list(shares.values()), count), strict=True))

    def _paid(self) -> dict[str, Paid]:
        """What each teacher's candidates of earlier iterations came to."""
        nodes = [node for node in self.earlier_nodes if node in self.ctx.earlier("generate")]
        rows = self.ctx.query(
            """WITH spent AS (SELECT key, sum(usd) AS usd FROM calls GROUP BY key)
               SELECT c.teacher, count(*) AS tried, count(*) FILTER (j.outcome = 'pass') AS accepted,
                   coalesce(sum(spent.usd / share.n), 0) AS usd
               FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
               LEFT JOIN spent ON spent.key = c.call_key
               LEFT JOIN (SELECT call_key, count(*) AS n FROM candidates WHERE list_contains(?, node) GROUP BY call_key)
                   AS share ON share.call_key = c.call_key
               WHERE list_contains(?, c.node) GROUP BY c.teacher""",
            [self.ctx.earlier("verify"), nodes, nodes],
        )
        return {r["teacher"]: Paid(r["tried"], r["accepted"], r["usd"]) for r in rows}

    def first_sample(self, teacher: str, mode: str) -> int:
        """How many calls this teacher has had for this mode: sample numbers go on, so that nothing repeats."""
        return self._asked_before[f"{teacher}/{mode}"]

    @cached_property
    def _asked_before(self) -> Counter[str]:
        """`teacher/mode` → calls of earlier rounds and iterations."""
        found: Counter[str] = Counter()
        for row in self.ctx.query("SELECT summary FROM nodes WHERE list_contains(?, node)", [self.earlier_nodes]):
            found.update(row["summary"].get("asked") or {})
        return found

    # -- requests

    def lesson_asks(self, teacher: str, mode: str, number: int) -> list[Ask]:
        """Requests for `number` new rows, shown failures, seeds and lessons, `per_call` rows each."""
        first = self.first_sample(teacher, mode)
        size = self.generator.per_call
        # A data set is read in slices of one size: a smaller last one would shift all that follow.
        least = size if self.is_data(teacher) else 1
        sizes = [max(least, min(size, number - start)) for start in range(0, number, size)]
        failures = (
            self.failures(mode) if self.generator.source == "errors" or self.generator.strategy == "targeted" else []
        )
        return [self._lesson_ask(teacher, mode, first + i, n, failures) for i, n in enumerate(sizes)]

    def _lesson_ask(self, teacher: str, mode: str, sample: int, n: int, failures: list[tuple[str, Row]]) -> Ask:
        request = self.request(teacher, "lessons", mode, sample)
        rng = random.Random(request.seed)
        examples = self.generator.examples
        chosen = rng.sample(failures, min(MATCHED if self.is_data(teacher) else examples, len(failures)))
        seeds = rng.sample(self.seeds, min(examples, len(self.seeds)))
        # A data set is matched against all failures: which of them were drawn first must not change the pick.
        shown = failures[:MATCHED] if self.is_data(teacher) else chosen
        request = replace(request, n=n, failures=tuple(f for _, f in shown), seeds=tuple(seeds))
        lessons = rng.sample(self.earlier_lessons, min(self.generator.own_examples, len(self.earlier_lessons)))
        own = [{**lesson["row"], self.target: lesson["target"]} for lesson in lessons]
        if self.generator.prompt is not None and not self.is_data(teacher):
            request = self.with_prompt(request, self.generator.prompt, lessons=own)
        return Ask(self.held_to_rows(request), tuple(failure_id for failure_id, _ in chosen[:examples]))

    def item_ask(self, teacher: str, mode: str, sample: int, item: Item, n: int = 1, **shown: Any) -> Ask:
        """A request for new rows made from one item."""
        known = {"row": item.row, "answer": item.answer, **shown}
        request = replace(self.request(teacher, "lessons", mode, sample), n=n, item=known)
        if self.generator.prompt is not None:
            request = self.with_prompt(request, self.generator.prompt, **shown)
        return Ask(self.held_to_rows(request), item.failure_ids, item)

    def answer_ask(
        self, teacher: str, mode: str, sample: int, item: Item, prompt: str | None = None, **shown: Any
    ) -> Ask:
        """A request for the answer to an item's row: in the words of `prompt`, else as the student is asked."""
        request = replace(self.request(teacher, "answer", mode, sample), row=item.row)
        if shown:
            request = replace(request, item={"row": item.row, **shown})
        return Ask(self.asking_for_answer(request, prompt, **shown), item.failure_ids, item)

    def asking_for_answer(self, request: LessonRequest, prompt: str | None, **shown: Any) -> LessonRequest:
        assert request.row is not None
        if prompt is None:
            return replace(request, messages=(Message("user", self.ctx.prompt(self.task, request.row)),))
        return self.with_prompt(request, prompt, **shown)

    def with_prompt(self, request: LessonRequest, prompt: str, **shown: Any) -> LessonRequest:
        """The request in the words of a Jinja file."""
        style = self.ctx.spec.teachers[request.teacher].style_of(request.sample) if request.purpose == "lessons" else ""
        values: Row = {
            "task": self.task_values(),
            "mode": request.mode or "",
            "mode_description": request.mode_description,
            "n": request.n,
            "failures": list(request.failures),
            "seeds": list(request.seeds),
            "lessons": [],
            "style": style,
            "row": request.row or (request.item or {}).get("row") or {},
            "item": request.item or {},
            "direction": "",
            "answer": (request.item or {}).get("answer") or "",
            "reference": "",
            "tests": "",
            "output": "",
            **shown,
        }
        return replace(request, messages=(Message("user", self.ctx.render(prompt, values)),))

    def held_to_rows(self, request: LessonRequest) -> LessonRequest:
        """The request with the JSON schema of the rows that are asked for, for teachers that can be held to one."""
        if not isinstance(self.ctx.spec.teachers[request.teacher], LitellmTeacher) or self.generator.parse != "rows":
            return request
        columns = self.asked_columns
        text = {"type": "string"}
        row = {"type": "object", "properties": dict.fromkeys(columns, text), "required": columns}
        rows = {"type": "array", "items": {**row, "additionalProperties": False}}
        schema = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
        return replace(request, schema=schema)

    @cached_property
    def asked_columns(self) -> list[str]:
        """The columns of a row that a teacher writes: without the target where the answer is known or comes later."""
        judged = judged_columns(self.ctx.spec.verifiers[name] for name in self.spec.verify)
        if self.generator.strategy in ("paraphrase", "back_translate", "self_play"):
            # Tests and the like stay those of the item.
            return [column for column in self.columns if column not in judged]
        if self.generator.strategy == "code_with_tests":
            return [*(column for column in self.columns if column not in judged[:1]), self.target]
        return [*self.columns, self.target]

    def task_values(self) -> Row:
        description = self.spec.description
        return {"name": self.task, "description": description, "columns": self.columns, "target": self.target}

    def request(self, teacher: str, purpose: Any, mode: str, sample: int) -> LessonRequest:
        seed = seed_from(self.ctx.spec.seed, self.ctx.node.iteration, self.generator.name, teacher, mode, sample)
        meaning = next((m.description for m in self.ctx.spec.taxonomy if m.name == mode), "")
        return LessonRequest(
            teacher=teacher, purpose=purpose, task=self.task, mode=mode or None, mode_description=meaning, n=1,
            failures=(), seeds=(), row=None, messages=(), parameters=self._parameters(teacher), sample=sample,
            seed=seed,
        )  # fmt: skip

    def _parameters(self, teacher: str) -> Row:
        parameters = dict(self.ctx.teacher_parameters[teacher])
        if self.is_student(teacher):
            parameters["model_id"] = self.model.model_id
            if self.spec.stop:
                parameters["stop"] = self.spec.stop
        return parameters

    # -- asking

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """Replies in order. One whose teacher is out of reach comes from its fallbacks, if one of them answers."""
        self.asked = self.asked or list(asks)  # the first step's: sample numbers go on from them
        requests = [ask.request for ask in asks]
        return self._answered(requests, [self._stand_ins(request.teacher) for request in requests])

    def _answered(self, requests: Sequence[LessonRequest], stand_ins: Sequence[Sequence[str]]) -> list[Reply]:
        replies = self.ctx.ask(requests, self.model.arm)
        chains = [iter(names) for names in stand_ins]
        while again := [
            (index, other)
            for index, reply in enumerate(replies)
            if reply.status == "failed" and reply.fault in OUT_OF_REACH and (other := next(chains[index], None))
        ]:
            others = [replace(requests[i], teacher=name, parameters=self._parameters(name)) for i, name in again]
            self.replies += [replies[i] for i, _ in again]
            for (index, _), reply in zip(again, self.ctx.ask(others, self.model.arm), strict=True):
                replies[index] = reply
        self.replies += replies
        return replies

    def _stand_ins(self, teacher: str) -> list[str]:
        return with_fallbacks(self.ctx.spec, [teacher])[1:]

    # -- what replies hold

    def row_pieces(self, ask: Ask, reply: Reply, target: str | None = None) -> list[Piece]:
        """A candidate for each JSON row in the reply, and a problem for each broken piece.

        With `target` the rows are questions to that answer.
        """
        if reply.status == "failed":
            return []
        rows, problems = parse_rows(reply.text, self.asked_columns)
        pieces = [self._row_piece(ask, reply, index, row, target) for index, row in enumerate(rows)]
        for index, problem in enumerate(problems, start=len(rows)):
            pieces.append(Piece(self.candidate(ask, reply, index, {}, ""), "unparsed", problem, reply.text[:4_000]))
        return pieces

    def _row_piece(self, ask: Ask, reply: Reply, index: int, row: Row, target: str | None) -> Piece:
        row = {**(ask.item.row if target is not None and ask.item else {}), **row}
        candidate = self.candidate(ask, reply, index, row, target_text(row[self.target]) if target is None else target)
        if self.is_data(reply.teacher):  # people's rows are their own reference
            candidate = replace(candidate, reference=candidate.target, reference_from="person", depth=0)
        return Piece(candidate) if candidate.target else Piece(candidate, "unparsed", "an empty answer")

    def answer_pieces(self, ask: Ask, reply: Reply, group: str = "") -> list[Piece]:
        """The candidate of a reply that answers an item's row, compared with the item's answer where it is known.

        Reasoning stays, where the task says how to find the `final` answer.
        """
        if reply.status == "failed":
            return []
        assert ask.item is not None
        whole_text = self.is_student(reply.teacher) or self.spec.final is not None
        target = reply.text.strip() if whole_text else self.ctx.read(self.task, reply.text, ask.item.row)
        candidate = replace(self.candidate(ask, reply, 0, ask.item.row, target), group=group)
        if ask.item.answer is not None:
            candidate = replace(candidate, reference=ask.item.answer, reference_from="row")
        return [Piece(candidate) if target else Piece(candidate, "unparsed", "an empty answer", reply.text[:4_000])]

    def candidate(self, ask: Ask, reply: Reply, index: int, row: Mapping[str, Any], target: str) -> Candidate:
        return Candidate(
            candidate_id=fingerprint([self.ctx.node.fingerprint, reply.key, index])[:16],
            task=self.task,
            generator=self.generator.name,
            teacher=reply.teacher,
            mode=ask.request.mode,
            call_key=reply.key,
            row=self.inputs(row) if row else {},
            target=target,
            reference=None,
            reference_from="",
            failure_ids=ask.failure_ids,
            strategy=self.generator.strategy,
            depth=ask.item.depth + 1 if ask.item else 1,
            parent=ask.item.item_id if ask.item else "",
        )

    # -- judging and second opinions

    def judged(self, pieces: Sequence[Piece]) -> list[tuple[str, str]]:
        """(outcome, reason) of each piece's candidate by the task's verifiers."""
        from flywheel.nodes.context import judge_all

        verdicts, outcomes = judge_all(self.ctx, [subject_of(piece.candidate) for piece in pieces])
        reasons = ["; ".join(v.reason for v in found if v.outcome == "fail") for found in verdicts]
        return list(zip(outcomes, reasons, strict=True))

    def second_opinions(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Pieces without a known answer, answered again by somebody who did not write them."""
        need = [i for i, p in enumerate(pieces) if p.status == "parsed" and p.candidate.reference is None]
        if not self.generator.second_opinion or not need:
            return list(pieces)
        requests = [self._opinion(pieces[i].candidate) for i in need]
        # A stand-in may be the author, who cannot give a second opinion.
        stand_ins = [
            [name for name in self._stand_ins(request.teacher) if name != pieces[i].candidate.teacher]
            for i, request in zip(need, requests, strict=True)
        ]
        replies = self._answered(requests, stand_ins)
        refuse_silence(self.ctx.node.name, replies)
        found = list(pieces)
        for i, reply in zip(need, replies, strict=True):
            row = found[i].candidate.row
            if reply.status == "ok" and (answer := self.ctx.read(self.task, reply.text, row)):
                candidate = replace(found[i].candidate, reference=answer, reference_from=f"teacher:{reply.teacher}")
                found[i] = replace(found[i], candidate=candidate)
        return found

    def other_than(self, author: str) -> str | None:
        """The first teacher for second opinions that is not `author`."""
        return next((name for name in self.generator.second_opinion if name != author), None)

    def _opinion(self, candidate: Candidate) -> LessonRequest:
        teacher = self.other_than(candidate.teacher)
        assert teacher is not None  # the loader refuses a generator whose only second opinion is the author's own
        seed = seed_from(self.ctx.spec.seed, "second opinion", teacher, candidate.row)
        request = self.request(teacher, "answer", candidate.mode or "", 0)
        request = replace(request, seed=seed, row=candidate.row)
        prompt = None if self.is_student(teacher) else self.generator.second_opinion_prompt
        return self.asking_for_answer(request, prompt)


def refuse_silence(node: str, replies: Sequence[Reply]) -> None:
    """Raise NodeFailed where no teacher could be reached at all.

    A node that is done is never run again: an outage must not pass for an iteration without lessons.
    """
    lost = [reply for reply in replies if not is_final(reply)]
    if not replies or len(lost) < len(replies):
        return
    faults = Counter(f"{reply.teacher}: {reply.fault}" for reply in lost)
    common = ", ".join(f"{fault} ({number:,})" for fault, number in faults.most_common(3))
    raise NodeFailed(
        f"{node}: no teacher answered any of {plural(len(replies), 'call')}: {common}. The last: "
        f"{one_line(lost[-1].detail, 300)}. Mend the teacher and run `flywheel apply` again; it goes on here."
    )


def subject_of(candidate: Candidate) -> Subject:
    return Subject(
        candidate.candidate_id, candidate.task, candidate.row, candidate.target, candidate.reference,
        is_trusted(candidate.reference_from), candidate.teacher,
    )  # fmt: skip


def is_trusted(reference_from: str) -> bool:
    """Whether a reference is known to be right: not another teacher's opinion, nor a vote."""
    return reference_from != "" and not reference_from.startswith(("teacher:", "vote:"))
