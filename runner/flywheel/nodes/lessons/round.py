"""One round of a generator: what every strategy works with, and second opinions on what it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from flywheel.hashing import seed_from
from flywheel.nodes.context import Context, judge_all
from flywheel.nodes.lessons.pieces import Ask, Assignment, Piece
from flywheel.nodes.lessons.replies import CUT_OFF, Exchange, Heard, Reader, refuse_silence
from flywheel.nodes.lessons.requests import Requests
from flywheel.nodes.lessons.shares import Shares, asked_of
from flywheel.nodes.lessons.sources import Sources
from flywheel.records import Candidate, LessonRequest, Reference, Reply, Subject
from flywheel.spec.teachers import Teacher
from flywheel.teachers import Repeats


class Round:
    """`asked`: how much the first step asked of whom, from which the next round's sample numbers go on. `said`: its
    answers with new rows. `notes`: for the node's summary; `remarks`:
    of them those that are said in the terminal."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.work = Assignment(ctx)
        self.generator: Any = self.work.generator
        """Of the class that the strategy's own function takes."""
        self.sources = Sources(self.work)
        self.shares = Shares(self.work)
        self.requests = Requests(self.work, self.sources, self.shares)
        self.exchange = Exchange(self.work, self.requests)
        self.read = Reader(self.work)
        self.asked: Counter[str] = Counter()
        self.said = Repeats()
        self.notes: dict[str, Any] = {}
        self.remarks: list[str] = []

    def teacher(self, name: str) -> Teacher:
        return self.ctx.spec.teachers[name]

    def open(self, asks: Sequence[Ask]) -> list[Reply]:
        """The first step of a strategy: asks, and remembers how much was asked."""
        return [reply for _, reply in self.opened(asks)]

    def opened(self, asks: Iterable[Ask]) -> Iterator[tuple[Ask, Reply]]:
        """The same for more than memory holds: each request with its reply, a block of them at a time."""
        for ask, reply in self.exchange.ask_warily(asks):
            self.asked[asked_of(ask)] += 1
            if ask.request.purpose == "lessons" and reply.key == ask.request.key:
                self.said.add(reply)
            yield ask, reply

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        return self.exchange.ask(asks)

    def judged(self, pieces: Sequence[Piece]) -> list[tuple[str, str]]:
        """(outcome, reason) of each piece's candidate by the task's verifiers."""
        verdicts, outcomes = judge_all(self.ctx, [subject_of(piece.candidate) for piece in pieces])
        reasons = ["; ".join(v.reason for v in found if v.outcome == "fail") for found in verdicts]
        return list(zip(outcomes, reasons, strict=True))

    # -- second opinions

    def second_opinions(self, pieces: Iterable[Piece]) -> Iterable[Piece]:
        """Pieces without a known answer, answered again by somebody who did not write them; where no answer came of
        that, the piece's `problem` says why."""
        if not self.generator.opinions:
            return pieces
        pieces = list(pieces)
        need = [i for i, p in enumerate(pieces) if p.status == "parsed" and p.candidate.reference is None]
        if not need:
            return pieces
        requests = [self._opinion(pieces[i].candidate) for i in need]
        # A stand-in may be the author, who cannot give a second opinion.
        stand_ins = [
            [n for n in self.exchange.stand_ins(request.teacher) if not self._is_author(n, pieces[i].candidate.teacher)]
            for i, request in zip(need, requests, strict=True)
        ]
        replies = self.exchange.answered(requests, stand_ins)
        refuse_silence(self.ctx.node.name, Heard(replies))
        found = pieces
        for i, reply in zip(need, replies, strict=True):
            row = found[i].candidate.row
            answer = self.ctx.read(self.work.task_name, reply.text, row) if reply.status == "ok" else ""
            if answer:
                opinion = Reference(answer, "teacher", reply.teacher)
                found[i] = replace(found[i], candidate=replace(found[i].candidate, reference=opinion))
            else:
                found[i] = replace(found[i], problem=f"the second opinion {_lack(reply)}")
        return found

    def other_than(self, author: str) -> str | None:
        """The first teacher for second opinions that is not `author`, under whatever name."""
        return next((name for name in self.generator.opinions if not self._is_author(name, author)), None)

    def _is_author(self, name: str, author: str) -> bool:
        known = self.ctx.spec.teachers
        return name == author or (author in known and known[name].same_source(known[author]))

    def _opinion(self, candidate: Candidate) -> LessonRequest:
        teacher = self.other_than(candidate.teacher)
        assert teacher is not None  # the loader refuses a generator whose only second opinion is the author's own
        seed = seed_from(self.ctx.spec.seed, "second opinion", teacher, candidate.row)
        request = self.requests.request(teacher, "answer", candidate.mode or "", 0)
        request = replace(request, seed=seed, row=candidate.row)
        prompt = None if self.teacher(teacher).is_student else self.generator.prompts.get("second_opinion_prompt")
        return self.requests.for_answer(request, prompt)


def _lack(reply: Reply) -> str:
    """Why a reply brought no answer."""
    if reply.fault == CUT_OFF:
        why = "was cut off: it met max_tokens"
    else:
        why = f"failed: {reply.fault}" if reply.status == "failed" else "holds no answer"
    return f"of {reply.teacher} {why}"


def subject_of(candidate: Candidate) -> Subject:
    """A candidate as verifiers see it."""
    known = candidate.reference
    return Subject(
        candidate.candidate_id, candidate.task, candidate.row, candidate.target, known.text if known else None,
        known is not None and known.trusted, candidate.teacher,
    )  # fmt: skip
