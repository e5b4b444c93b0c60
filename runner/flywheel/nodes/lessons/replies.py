"""How teachers are asked, who stands in for one that is out of reach, and what replies hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from flywheel.errors import NodeFailed
from flywheel.hashing import fingerprint
from flywheel.nodes.lessons.pieces import Ask, Assignment, Piece
from flywheel.nodes.lessons.requests import Requests
from flywheel.nodes.lessons.stopping import FEWEST, is_useless
from flywheel.prompting import parse_rows
from flywheel.records import Candidate, LessonRequest, Reference, Reply, Row
from flywheel.records.rows import target_text
from flywheel.spec.outline import with_fallbacks
from flywheel.teachers import is_final
from flywheel.teachers.faults import ANSWERED, OUT_OF_REACH
from flywheel.text import one_line, plural

#: The fault of an answer of which the end is missing.
CUT_OFF = "truncated"
#: What a file says whose rows have all been given.
NOTHING_LEFT = "[]"
#: Requests that are out, or answered and not yet read, at a time.
AT_A_TIME = 1_024


class Heard:
    """What is remembered of replies, failed attempts included: not their texts."""

    def __init__(self, replies: Iterable[Reply] = ()) -> None:
        self.number = self.cached = self.failed = self.tokens = 0
        self.usd = 0.0
        self.keys: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.lost_to: Counter[str] = Counter()
        """`teacher: fault` of those that asking again may yet bring."""
        self.last_detail = ""
        for reply in replies:
            self.add(reply)

    def add(self, reply: Reply) -> None:
        self.number += 1
        self.keys.add(reply.key)
        if reply.cached:
            self.cached += 1
        else:
            self.usd += reply.usd
            self.tokens += reply.input_tokens + reply.output_tokens
        if reply.status == "failed":
            self.failed += reply.fault != CUT_OFF  # which leaves a candidate
            self.faults[reply.fault] += 1
        if not is_final(reply):
            self.lost_to[f"{reply.teacher}: {reply.fault}"] += 1
            self.last_detail = reply.detail


class Exchange:
    """Asks. `heard`: of all that came. `stopped`: teacher → why it is asked no more."""

    def __init__(self, work: Assignment, requests: Requests) -> None:
        self._work, self._requests = work, requests
        self.heard = Heard()
        self.stopped: dict[str, str] = {}
        self._tried: Counter[str] = Counter()

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """Replies in order. One whose teacher is out of reach comes from its fallbacks, if one of them answers."""
        return self.answered([ask.request for ask in asks], [self.stand_ins(ask.request.teacher) for ask in asks])

    def ask_warily(self, asks: Iterable[Ask]) -> Iterator[tuple[Ask, Reply]]:
        """The same, for rows, in blocks: the first calls of each paid teacher go out before the rest, and the rest of
        one that wrote nothing that can be read goes to its fallbacks, or to nobody."""
        waiting = iter(asks)
        while block := list(islice(waiting, AT_A_TIME)):
            first = self._first_of_each([ask.request for ask in block])
            tried = dict(zip(first, self.ask([block[i] for i in first]), strict=True))
            self.stopped |= self._unreadable(tried.values())
            rest = [i for i in range(len(block)) if i not in tried]
            going = [i for i in rest if block[i].request.teacher not in self.stopped]
            found = tried | dict(zip(going, self.ask([block[i] for i in going]), strict=True))
            found |= self._instead([(i, block[i].request) for i in rest if i not in found])
            yield from ((ask, found[i]) for i, ask in enumerate(block))

    def _first_of_each(self, requests: Sequence[LessonRequest]) -> list[int]:
        """So many of each paid teacher's as can stop it; nothing of those that were tried, or cost nothing."""
        first = []
        for index, request in enumerate(requests):
            wary = self._work.ctx.spec.teachers[request.teacher].remote and request.purpose == "lessons"
            if wary and self._tried[request.teacher] < FEWEST:
                self._tried[request.teacher] += 1
                first.append(index)
        return first

    def _unreadable(self, replies: Iterable[Reply]) -> dict[str, str]:
        """Teacher → what is said of it, of those that are to be asked no more."""
        heard: dict[str, list[Reply]] = defaultdict(list)
        for reply in replies:
            if self._work.ctx.spec.teachers[reply.teacher].remote and (reply.status == "ok" or reply.fault in ANSWERED):
                heard[reply.teacher].append(reply)
        found = {}
        for teacher, said in heard.items():
            read = sum(map(self._is_read, said))
            if is_useless(read, len(said) - read):
                wrote = next(reply.text or reply.detail for reply in said if not self._is_read(reply))
                found[teacher] = f"{read} of {plural(len(said), 'answer')} could be read; it wrote: {_shown(wrote)}"
        return found

    def _is_read(self, reply: Reply) -> bool:
        """Whether something is in it that can be used."""
        if self._work.generator.whole_text:
            return reply.status == "ok"
        return _holds_rows(reply) and bool(parse_rows(reply.text, self._work.asked_columns)[0])

    def _instead(self, left: Sequence[tuple[int, LessonRequest]]) -> dict[int, Reply]:
        """Replies to what stopped teachers were to be asked."""
        if not left:
            return {}
        unasked = [
            Reply(request.key, request.teacher, "failed", fault="unavailable", detail=self.stopped[request.teacher])
            for _, request in left
        ]
        stand_ins = [[n for n in self.stand_ins(request.teacher) if n not in self.stopped] for _, request in left]
        replies = self._from_stand_ins([request for _, request in left], unasked, stand_ins)
        return dict(zip((index for index, _ in left), replies, strict=True))

    def answered(self, requests: Sequence[LessonRequest], stand_ins: Sequence[Sequence[str]]) -> list[Reply]:
        """The same with the stand-ins named."""
        return self._from_stand_ins(requests, self._sent(requests), stand_ins)

    def _from_stand_ins(
        self, requests: Sequence[LessonRequest], replies: list[Reply], stand_ins: Sequence[Sequence[str]]
    ) -> list[Reply]:
        waiting = [iter(names) for names in stand_ins]
        while again := [
            (index, other)
            for index, reply in enumerate(replies)
            if reply.status == "failed" and reply.fault in OUT_OF_REACH and (other := next(waiting[index], None))
        ]:
            others = [
                replace(requests[i], teacher=name, parameters=self._requests.parameters(name)) for i, name in again
            ]
            for index, _ in again:
                self.heard.add(replies[index])
            for (index, _), reply in zip(again, self._sent(others), strict=True):
                replies[index] = reply
        for reply in replies:
            self.heard.add(reply)
        return replies

    def stand_ins(self, teacher: str) -> list[str]:
        return with_fallbacks(self._work.ctx.spec, [teacher])[1:]

    def _sent(self, requests: Sequence[LessonRequest]) -> list[Reply]:
        return list(self._work.ctx.ask(requests, self._work.model.arm))


class Reader:
    """Candidates in replies."""

    def __init__(self, work: Assignment) -> None:
        self._work = work
        self._teachers = work.ctx.spec.teachers

    def rows(self, ask: Ask, reply: Reply, target: str | None = None) -> list[Piece]:
        """A candidate for each JSON row in the reply, and a problem for each broken piece; of a reply that was cut off
        the whole rows, which are paid for.

        With `target` the rows are questions to that answer.
        """
        recorded = self._teachers[reply.teacher].recorded
        if not _holds_rows(reply) or (recorded and reply.text == NOTHING_LEFT):
            return []
        rows, problems = parse_rows(reply.text, self._work.asked_columns)
        if reply.fault == CUT_OFF:
            problems = [] if rows else ["the answer met max_tokens"]
        pieces = [self._row(ask, reply, index, row, target) for index, row in enumerate(rows)]
        for index, problem in enumerate(problems, start=len(rows)):
            pieces.append(Piece(self._candidate(ask, reply, index, {}, ""), "unparsed", problem, reply.text[:4_000]))
        return pieces

    def _row(self, ask: Ask, reply: Reply, index: int, row: Row, target: str | None) -> Piece:
        row = {**(ask.source.row if target is not None and ask.source else {}), **row}
        text = target_text(row[self._work.target]) if target is None else target
        candidate = self._candidate(ask, reply, index, row, text)
        if self._teachers[reply.teacher].recorded:  # people's rows are their own reference
            candidate = replace(candidate, reference=Reference(candidate.target, "person"), depth=0)
        return Piece(candidate) if candidate.target else Piece(candidate, "unparsed", "an empty answer")

    def answers(self, ask: Ask, reply: Reply, group: str = "") -> list[Piece]:
        """The candidate of a reply that answers a source's row, compared with the source's answer where it is known.

        Reasoning stays where the task says how to find the `final` answer, and thoughts where it keeps them.
        """
        assert ask.source is not None
        if reply.fault == CUT_OFF:
            lost = replace(self._candidate(ask, reply, 0, ask.source.row, ""), group=group)
            return [Piece(lost, "unparsed", "the answer met max_tokens", reply.text[:4_000])]
        if reply.status == "failed":
            return []
        spoken = self._teachers[reply.teacher].is_student
        taught = self._work.ctx.taught
        target = reply.text.strip() if spoken else taught(self._work.task_name, reply.text, ask.source.row)
        candidate = replace(self._candidate(ask, reply, 0, ask.source.row, target), group=group)
        if ask.source.answer is not None:
            candidate = replace(candidate, reference=Reference(ask.source.answer, "row"))
        return [Piece(candidate) if target else Piece(candidate, "unparsed", "an empty answer", reply.text[:4_000])]

    def question(self, ask: Ask, group: str) -> Candidate:
        """The candidate of a source's row that nobody is asked to answer."""
        assert ask.source is not None
        nobody = Reply(group, ask.request.teacher, "failed")
        return replace(self._candidate(ask, nobody, 0, ask.source.row, ""), call_key="", group=group)

    def _candidate(self, ask: Ask, reply: Reply, index: int, row: Mapping[str, Any], target: str) -> Candidate:
        work, source = self._work, ask.source
        return Candidate(
            candidate_id=fingerprint([work.ctx.node.fingerprint, reply.key, index])[:16],
            task=work.task_name,
            generator=work.generator.name,
            teacher=reply.teacher,
            mode=ask.request.mode,
            call_key=reply.key,
            row=work.inputs(row) if row else {},
            target=target,
            failure_ids=ask.failure_ids,
            strategy=work.generator.strategy,
            depth=source.depth + 1 if source else 1,
            parent=source.source_id if source else "",
        )


def _holds_rows(reply: Reply) -> bool:
    """Whether rows may be in it."""
    return reply.status == "ok" or reply.fault == CUT_OFF


def _shown(text: str) -> str:
    return repr(one_line(text, 160))


def refuse_silence(node: str, heard: Heard) -> None:
    """Raise NodeFailed where no teacher could be reached at all.

    A node that is done is never run again: an outage must not pass for an iteration without lessons.
    """
    if not heard.number or heard.lost_to.total() < heard.number:
        return
    common = ", ".join(f"{fault} ({number:,})" for fault, number in heard.lost_to.most_common(3))
    raise NodeFailed(
        f"{node}: no teacher answered any of {plural(heard.number, 'call')}: {common}. The last: "
        f"{one_line(heard.last_detail, 300)}. Mend the teacher and run `flywheel apply` again; it goes on here."
    )
