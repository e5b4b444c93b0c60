"""generate: teachers write lessons for the modes that are still short, in parallel, by weight and style.

Round 1 asks for the whole budget, a refill round for what verification left missing. Rows without a known answer get a
second opinion, so that comparing verifiers have something to compare with.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flywheel.errors import NodeFailed
from flywheel.hashing import fingerprint, seed_from
from flywheel.nodes.context import Context, Result
from flywheel.plan.estimates import ACCEPTANCE_GUESS
from flywheel.plan.shares import whole
from flywheel.prompting import extract_answer, parse_rows
from flywheel.records import Candidate, Counts, LessonRequest, Message, Reply, Row
from flywheel.records.rows import target_text
from flywheel.spec.models import DatasetTeacher, Generator, StudentTeacher
from flywheel.teachers import is_final
from flywheel.text import one_line, plural

#: Failures of a mode that a data-set teacher sees, to pick rows like them.
MATCHED = 500


@dataclass(frozen=True)
class _Failure:
    failure_id: str
    shown: Row
    """`row`, `gold`, `answer`, `reason`."""


@dataclass(frozen=True)
class _Piece:
    """Something a reply held: a candidate, or a problem."""

    candidate: Candidate
    problem: str = ""
    text: str = ""


@dataclass(frozen=True)
class _Ask:
    """A request and what it was made from."""

    request: LessonRequest
    failure_ids: tuple[str, ...]
    gold: str | None
    """The known right answer of `request.row`."""


def generate(ctx: Context) -> Result:
    return _Generation(ctx).run()


class _Generation:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.generator: Generator = next(g for g in ctx.spec.generate if g.name == ctx.node.subject)
        self.task = ctx.spec.task_of(self.generator)
        spec = ctx.spec.tasks[self.task]
        self.columns = ctx.columns(self.task)
        self.target = spec.target
        self.seeds = [row.columns for row in ctx.task_rows(self.task, spec.seeds)] if spec.seeds else []
        self.earlier = self._earlier_nodes()
        self.model = ctx.incumbent()

    def run(self) -> Result:
        wanted = self._short()
        asks = [ask for mode, count in wanted.items() for ask in self._asks(mode, count)]
        replies = self.ctx.ask([ask.request for ask in asks], self.model.arm)
        self._refuse_silence(replies)
        pieces = [piece for ask, reply in zip(asks, replies, strict=True) for piece in self._pieces(ask, reply)]
        pieces, opinions = self._second_opinions(pieces)
        failed = [reply for reply in replies if reply.status == "failed"]
        unparsed = sum(1 for piece in pieces if piece.problem)
        return Result(
            Counts(len(pieces) + len(failed), len(pieces) - unparsed, unparsed, len(failed)),
            {"candidates": [self._stored(piece) for piece in pieces]},
            {
                "wanted": wanted,
                "asked": dict(Counter(f"{a.request.teacher}/{a.request.mode}" for a in asks)),
                "calls": len(replies) + len(opinions),
                "calls_cached": sum(r.cached for r in [*replies, *opinions]),
                "calls_failed": dict(Counter(r.fault for r in [*failed, *opinions] if r.status == "failed")),
                "keys": sorted({r.key for r in [*replies, *opinions]}),
                "usd": sum(r.usd for r in [*replies, *opinions] if not r.cached),
                "tokens": sum(r.input_tokens + r.output_tokens for r in [*replies, *opinions] if not r.cached),
            },
        )

    def _refuse_silence(self, replies: Sequence[Reply]) -> None:
        """Raise NodeFailed where no teacher could be reached at all.

        A node that is done is never run again: an outage must not pass for an iteration without lessons.
        """
        lost = [reply for reply in replies if not is_final(reply)]
        if not replies or len(lost) < len(replies):
            return
        faults = Counter(f"{reply.teacher}: {reply.fault}" for reply in lost)
        common = ", ".join(f"{fault} ({number:,})" for fault, number in faults.most_common(3))
        raise NodeFailed(
            f"{self.ctx.node.name}: no teacher answered any of {plural(len(replies), 'call')}: {common}. The last: "
            f"{one_line(lost[-1].detail, 300)}. Mend the teacher and run `flywheel apply` again; it goes on here."
        )

    # -- how many

    def _earlier_nodes(self) -> list[str]:
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

    def _short(self) -> dict[str, int]:
        """Mode → candidates to ask for now, by what is missing and the acceptance measured so far."""
        budgets = self.ctx.query(
            "SELECT mode, lessons FROM budgets WHERE list_contains(?, node) AND generator = ? AND lessons > 0",
            [self.ctx.fingerprints("budget"), self.generator.name],
        )
        tried, accepted = self._so_far()
        missing = {b["mode"]: max(0, b["lessons"] - accepted.get(b["mode"], 0)) for b in budgets}
        rates = self._acceptance()
        asked = {
            mode: math.ceil(short / rates.get(mode, rates.get("", ACCEPTANCE_GUESS)))
            for mode, short in missing.items()
            if short
        }
        left = self.ctx.spec.max_candidates_of(self.generator) - sum(tried.values())
        if sum(asked.values()) > left:
            shares = [count / sum(asked.values()) for count in asked.values()]
            asked = dict(zip(asked, whole(shares, max(0, left)), strict=True))
        return {mode: count for mode, count in asked.items() if count}

    def _so_far(self) -> tuple[dict[str, int], dict[str, int]]:
        """This iteration, earlier rounds: candidates by mode, and distinct new accepted ones by mode."""
        rows = self.ctx.query(
            """SELECT c.mode, count(*) AS tried,
                   count(DISTINCT c."row") FILTER (j.outcome = 'pass' AND c."row" NOT IN (
                       SELECT "row" FROM dataset WHERE list_contains(?, node))) AS accepted
               FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
               WHERE list_contains(?, c.node) AND c.generator = ? GROUP BY c.mode""",
            [
                self.ctx.earlier("curate"),
                self.ctx.fingerprints("verify"),
                [n for n in self.earlier if n in self.ctx.fingerprints("generate")],
                self.generator.name,
            ],
        )
        return {r["mode"]: r["tried"] for r in rows}, {r["mode"]: r["accepted"] for r in rows}

    def _acceptance(self) -> dict[str, float]:
        """Measured share of candidates that passed, by mode and ("") overall, never under 5%."""
        verifies = self.ctx.earlier("verify") + self.ctx.fingerprints("verify")
        rows = self.ctx.query(
            """SELECT c.mode, count(*) AS tried, count(*) FILTER (j.outcome = 'pass') AS passed
               FROM candidates c LEFT JOIN judged j ON j.candidate_id = c.candidate_id AND list_contains(?, j.node)
               WHERE list_contains(?, c.node) AND c.generator = ? GROUP BY c.mode""",
            [verifies, self.earlier, self.generator.name],
        )
        rates = {r["mode"]: max(0.05, r["passed"] / r["tried"]) for r in rows if r["tried"] >= 20}
        if tried := sum(r["tried"] for r in rows):
            rates[""] = max(0.05, sum(r["passed"] for r in rows) / tried)
        return rates

    # -- requests

    def _asks(self, mode: str, count: int) -> list[_Ask]:
        weights = self.ctx.spec.weights_of(self.generator)
        shares = [weight / sum(weights.values()) for weight in weights.values()]
        asks: list[_Ask] = []
        failures = self._failures(mode)
        for teacher, number in zip(weights, whole(shares, count), strict=True):
            if self._answers_rows(teacher):
                asks += self._row_asks(teacher, mode, number, failures)
            else:
                asks += self._lesson_asks(teacher, mode, number, failures)
        return asks

    def _answers_rows(self, teacher: str) -> bool:
        """Whether this teacher answers given rows rather than writing rows of its own."""
        return self.generator.parse == "text" or isinstance(self.ctx.spec.teachers[teacher], StudentTeacher)

    def _failures(self, mode: str) -> list[_Failure]:
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
            _Failure(row["failure_id"], {key: row[key] or "" for key in ("row", "gold", "answer", "reason")})
            for row in rows
        ]  # fmt: skip

    def _first_sample(self, teacher: str, mode: str) -> int:
        """How many calls this teacher has had for this mode: sample numbers go on, so that nothing repeats."""
        rows = self.ctx.query("SELECT summary FROM nodes WHERE list_contains(?, node)", [self.earlier])
        return sum((row["summary"].get("asked") or {}).get(f"{teacher}/{mode}", 0) for row in rows)

    def _lesson_asks(self, teacher: str, mode: str, number: int, failures: list[_Failure]) -> list[_Ask]:
        first = self._first_sample(teacher, mode)
        size = self.generator.per_call
        # A data set is read in slices of one size: a smaller last one would shift all that follow.
        least = size if isinstance(self.ctx.spec.teachers[teacher], DatasetTeacher) else 1
        sizes = [max(least, min(size, number - start)) for start in range(0, number, size)]
        return [self._lesson_ask(teacher, mode, first + i, n, failures) for i, n in enumerate(sizes)]

    def _lesson_ask(self, teacher: str, mode: str, sample: int, n: int, failures: list[_Failure]) -> _Ask:
        seed = seed_from(self.ctx.spec.seed, self.ctx.node.iteration, self.generator.name, teacher, mode, sample)
        rng = random.Random(seed)
        limit = MATCHED if isinstance(self.ctx.spec.teachers[teacher], DatasetTeacher) else self.generator.examples
        chosen = rng.sample(failures, min(limit, len(failures)))
        seeds = rng.sample(self.seeds, min(self.generator.examples, len(self.seeds)))
        request = self._request(teacher, "lessons", mode, seed, sample)
        request = replace(
            request,
            n=n,
            # A data set is matched against all failures: which of them were drawn first must not change the pick.
            failures=tuple(f.shown for f in (failures[:limit] if limit == MATCHED else chosen)),
            seeds=tuple(seeds),
        )
        return _Ask(self._with_prompt(request), tuple(f.failure_id for f in chosen[: self.generator.examples]), None)

    def _with_prompt(self, request: LessonRequest) -> LessonRequest:
        if self.generator.prompt is None or isinstance(self.ctx.spec.teachers[request.teacher], DatasetTeacher):
            return request
        text = self.ctx.render(
            self.generator.prompt,
            {
                "task": self._task_values(),
                "mode": request.mode,
                "mode_description": request.mode_description,
                "n": request.n,
                "failures": list(request.failures),
                "seeds": list(request.seeds),
                "style": self.ctx.spec.teachers[request.teacher].style,
                "row": request.row or {},
            },
        )
        return replace(request, messages=(Message("user", text),))

    def _task_values(self) -> Row:
        description = self.ctx.spec.tasks[self.task].description
        return {"name": self.task, "description": description, "columns": self.columns, "target": self.target}

    def _row_asks(self, teacher: str, mode: str, number: int, failures: list[_Failure]) -> list[_Ask]:
        """Failed rows first, then seeds, over and over with fresh sample numbers."""
        first = self._first_sample(teacher, mode)
        pool: list[tuple[Row, str, tuple[str, ...]]] = [
            (f.shown["row"], f.shown["gold"], (f.failure_id,)) for f in failures
        ]
        pool += [(seed, target_text(seed[self.target]), ()) for seed in self.seeds]
        if not pool:
            return []
        return [self._row_ask(teacher, mode, i, *pool[i % len(pool)]) for i in range(first, first + number)]

    def _row_ask(
        self, teacher: str, mode: str, sample: int, row: Row, gold: str | None, failure_ids: tuple[str, ...]
    ) -> _Ask:
        seed = seed_from(self.ctx.spec.seed, self.ctx.node.iteration, self.generator.name, teacher, mode, sample)
        request = replace(self._request(teacher, "answer", mode, seed, sample), row=self._inputs(row))
        return _Ask(self._asked(request, self.generator.prompt), failure_ids, gold)

    def _asked(self, request: LessonRequest, prompt: str | None) -> LessonRequest:
        """The request with the words that ask for the answer to its row."""
        assert request.row is not None
        if isinstance(self.ctx.spec.teachers[request.teacher], StudentTeacher) or prompt is None:
            text = self.ctx.prompt(self.task, request.row)
            return replace(request, messages=(Message("user", text),))
        values: Row = {"task": self._task_values(), "row": request.row, "mode": request.mode, "style": "", "n": 1,
                  "mode_description": request.mode_description, "failures": [], "seeds": []}  # fmt: skip
        return replace(request, messages=(Message("user", self.ctx.render(prompt, values)),))

    def _inputs(self, row: Row) -> Row:
        return {column: row.get(column) for column in self.columns}

    def _request(self, teacher: str, purpose: Any, mode: str | None, seed: int, sample: int) -> LessonRequest:
        parameters = dict(self.ctx.teacher_parameters[teacher])
        if isinstance(self.ctx.spec.teachers[teacher], StudentTeacher):
            parameters["model_id"] = self.model.model_id
        described = {m.name: m.description for m in self.ctx.spec.taxonomy}
        return LessonRequest(
            teacher=teacher, purpose=purpose, task=self.task, mode=mode, mode_description=described.get(mode or "", ""),
            n=1, failures=(), seeds=(), row=None, messages=(), parameters=parameters, sample=sample, seed=seed,
        )  # fmt: skip

    # -- replies

    def _pieces(self, ask: _Ask, reply: Reply) -> list[_Piece]:
        if reply.status == "failed":
            return []
        if ask.request.purpose == "answer":
            return [self._answer_piece(ask, reply)]
        rows, problems = parse_rows(reply.text, [*self.columns, self.target])
        is_data = isinstance(self.ctx.spec.teachers[reply.teacher], DatasetTeacher)
        pieces = []
        for index, row in enumerate(rows):
            target = target_text(row[self.target])
            candidate = self._candidate(ask, reply, index, row, target)
            if is_data:  # people's rows are their own reference
                candidate = replace(candidate, reference=target, reference_from="person")
            pieces.append(_Piece(candidate, "" if target else "an empty answer"))
        for index, problem in enumerate(problems, start=len(rows)):
            pieces.append(_Piece(self._candidate(ask, reply, index, {}, ""), problem, reply.text[:4_000]))
        return pieces

    def _answer_piece(self, ask: _Ask, reply: Reply) -> _Piece:
        assert ask.request.row is not None
        is_student = isinstance(self.ctx.spec.teachers[reply.teacher], StudentTeacher)
        target = reply.text.strip() if is_student else extract_answer(reply.text)
        candidate = self._candidate(ask, reply, 0, ask.request.row, target)
        if ask.gold is not None:
            candidate = replace(candidate, reference=ask.gold, reference_from="row")
        return _Piece(candidate, "" if target else "an empty answer", "" if target else reply.text[:4_000])

    def _candidate(self, ask: _Ask, reply: Reply, index: int, row: Mapping[str, Any], target: str) -> Candidate:
        return Candidate(
            candidate_id=fingerprint([self.ctx.node.fingerprint, reply.key, index])[:16],
            task=self.task,
            generator=self.generator.name,
            teacher=reply.teacher,
            mode=ask.request.mode,
            call_key=reply.key,
            row={column: row.get(column) for column in self.columns} if row else {},
            target=target,
            reference=None,
            reference_from="",
            failure_ids=ask.failure_ids,
        )

    # -- second opinions

    def _second_opinions(self, pieces: Sequence[_Piece]) -> tuple[list[_Piece], list[Reply]]:
        """Pieces without a known answer, answered again by somebody who did not write them."""
        need = [i for i, p in enumerate(pieces) if not p.problem and p.candidate.reference is None]
        if not self.generator.second_opinion or not need:
            return list(pieces), []
        requests = [self._opinion(pieces[i].candidate) for i in need]
        replies = self.ctx.ask(requests, self.model.arm)
        found = list(pieces)
        for i, reply in zip(need, replies, strict=True):
            if reply.status == "ok" and (answer := extract_answer(reply.text)):
                candidate = replace(found[i].candidate, reference=answer, reference_from=f"teacher:{reply.teacher}")
                found[i] = replace(found[i], candidate=candidate)
        return found, replies

    def _opinion(self, candidate: Candidate) -> LessonRequest:
        teacher = next(t for t in self.generator.second_opinion if t != candidate.teacher)
        seed = seed_from(self.ctx.spec.seed, "second opinion", teacher, candidate.row)
        request = replace(self._request(teacher, "answer", candidate.mode, seed, 0), row=candidate.row)
        return self._asked(request, self.generator.second_opinion_prompt)

    def _stored(self, piece: _Piece) -> dict[str, Any]:
        c = piece.candidate
        return {
            "node": self.ctx.node.fingerprint, "candidate_id": c.candidate_id, "task": c.task,
            "generator": c.generator, "teacher": c.teacher, "mode": c.mode, "round": self.ctx.node.round,
            "call_key": c.call_key, "row": c.row, "target": c.target, "reference": c.reference,
            "reference_from": c.reference_from, "failure_ids": list(c.failure_ids),
            "status": "unparsed" if piece.problem else "parsed", "problem": piece.problem, "text": piece.text,
        }  # fmt: skip
