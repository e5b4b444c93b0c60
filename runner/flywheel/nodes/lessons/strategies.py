"""The strategies: how lessons are made. Each takes a round and what is wanted (mode → how many) and returns what
its teachers wrote; verification, curation and the ledgers do not know which strategy a candidate came from.

All calls of one step go out together, over all modes and sources; of a paid teacher a few go first, to see whether they
can be read. A strategy is a few steps, whatever its size.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from flywheel.answers import extract_answer, final_answer, without_thoughts
from flywheel.errors import FlywheelError, NodeFailed
from flywheel.nodes.lessons.filters import filtered
from flywheel.nodes.lessons.pieces import Ask, Material, Piece
from flywheel.nodes.lessons.queue import human
from flywheel.nodes.lessons.round import Round
from flywheel.nodes.lessons.shares import asked_of
from flywheel.project_code import where
from flywheel.records import Candidate, Reference, Reply, Row, row_id
from flywheel.text import normalised

Wanted = Mapping[str, int]


# --- rows from examples ---


def targeted(g: Round, wanted: Wanted) -> Iterable[Piece]:
    """New rows like the failures of a mode; teachers that only answer (`parse: text`, the student) get failed rows."""

    def asks() -> Iterator[Ask]:
        for mode, count in wanted.items():
            for teacher, number in g.shares.split(count, mode).items():
                answers = g.generator.whole_text or g.teacher(teacher).is_student
                yield from _row_asks(g, teacher, mode, number) if answers else g.requests.rows(teacher, mode, number)

    return _with_opinions(g, _pieces(g, g.opened(asks())))


def _row_asks(g: Round, teacher: str, mode: str, number: int) -> list[Ask]:
    """Failed rows first, then seeds, over and over with fresh sample numbers."""
    pool = g.sources.failed(mode) + g.sources.of_seeds()
    first = g.shares.first_sample(teacher, mode)
    prompt = None if g.teacher(teacher).is_student else g.generator.prompt
    if not pool:
        return []
    return [g.requests.answer(teacher, mode, i, pool[i % len(pool)], prompt) for i in range(first, first + number)]


def _with_opinions(g: Round, pieces: Iterable[Piece]) -> Iterable[Piece]:
    """Second opinions on what the generator's rules do not drop: the others would be paid for and never verified."""
    return g.second_opinions(filtered(g, pieces))


def _pieces(g: Round, answered: Iterable[tuple[Ask, Reply]]) -> Iterator[Piece]:
    for ask, reply in answered:
        yield from (g.read.answers if ask.request.purpose == "answer" else g.read.rows)(ask, reply)


# --- rows from a row ---


def evolve(g: Round, wanted: Wanted) -> Iterable[Piece]:
    """A row made harder, broader or more constrained (Xu et al. 2023, Evol-Instruct). `depth` counts the steps."""
    directions = g.generator.directions

    def ask(teacher: str, mode: str, sample: int, source: Material) -> Ask:
        return g.requests.rows_from(teacher, mode, sample, source, direction=directions[sample % len(directions)])

    asks = _source_asks(g, wanted, ask, lambda source: source.depth < g.generator.max_depth)
    return _with_opinions(g, _pieces(g, g.opened(asks)))


def paraphrase(g: Round, wanted: Wanted) -> Iterable[Piece]:
    """The question in other words; its answer stays, and somebody must still come to it."""
    asks = _source_asks(g, wanted, g.requests.rows_from, lambda source: source.answer is not None)
    pieces = (
        piece
        for ask, reply in g.opened(asks)
        if ask.source is not None
        for piece in g.read.rows(ask, reply, target=ask.source.answer)
    )
    return _with_opinions(g, pieces)


def back_translate(g: Round, wanted: Wanted) -> Iterable[Piece]:
    """A question for a known answer (Li et al. 2023, instruction back-translation). Faithful is one that leads
    somebody back to the answer."""
    return paraphrase(g, wanted)


def _source_asks(
    g: Round, wanted: Wanted, ask: Callable[[str, str, int, Material], Ask], fits: Callable[[Material], bool]
) -> list[Ask]:
    """One request an source, going on through the sources where the last round stopped."""
    asks: list[Ask] = []
    for mode, count in wanted.items():
        sources = [source for source in g.sources.of(mode) if fits(source)]
        turn = sum(g.shares.first_sample(teacher, mode) for teacher in g.generator.weights)
        for teacher, number in g.shares.split(count, mode).items():
            first = g.shares.first_sample(teacher, mode)
            for sample in range(first, first + number) if sources else ():
                asks.append(ask(teacher, mode, sample, sources[turn % len(sources)]))
                turn += 1
    return asks


# --- worked answers ---


def trace(g: Round, wanted: Wanted) -> list[Piece]:
    """Worked answers to a question, several samples each. Where the answer is not known, the samples vote (Wang et al.
    2022, self-consistency); what all or none get right is dropped when they are verified."""
    asks, dropped = _worth_asking(g, _sample_asks(g, wanted, lambda source: True))
    return [*dropped, *_voted(g, _samples(g, asks, g.open(asks)))]


def rationalize(g: Round, wanted: Wanted) -> list[Piece]:
    """STaR (Zelikman et al. 2022): questions that no sample gets right are tried again with the answer as a hint. The
    lesson has the question without the hint."""
    asks, dropped = _worth_asking(g, _sample_asks(g, wanted, lambda source: source.answer is not None))
    first = _samples(g, asks, g.open(asks))
    tried = [piece for piece in first if piece.status == "parsed"]
    solved = {
        piece.candidate.group
        for piece, (outcome, _) in zip(tried, g.judged(tried), strict=True)
        if outcome == "pass"
    }  # fmt: skip
    again = [_hinted(g, ask) for ask in asks if ask.source is not None and _group(g, ask) not in solved]
    second = _samples(g, again, g.ask(again))
    g.notes |= {"solved": len(solved), "hinted": len({_group(g, ask) for ask in again})}
    # What failed without the hint is no candidate for this question any more: its hinted answers are.
    return [*dropped, *(piece for piece in first if piece.candidate.group in solved), *second]


def _hinted(g: Round, ask: Ask) -> Ask:
    """The same question with the answer told. The student and functions are asked in these words, too: without them
    there is no hint."""
    assert ask.source is not None
    known = {"answer": ask.source.answer, "hint": True}
    return g.requests.again(ask, g.generator.hint_prompt, known)


def _sample_asks(g: Round, wanted: Wanted, fits: Callable[[Material], bool]) -> list[Ask]:
    """`samples` requests an source. A teacher answers all samples of its sources."""
    asks: list[Ask] = []
    size = g.generator.samples
    for mode, count in wanted.items():
        # A question that stands twice in a file is one: its samples are the same calls.
        sources = list({source.source_id: source for source in g.sources.of(mode) if fits(source)}.values())
        turn = sum(g.shares.first_sample(teacher, mode) for teacher in g.generator.weights) // size
        # A question once a round: samples of it that came twice would count twice.
        for teacher, number in g.shares.split(min(count, len(sources)), mode).items():
            first = g.shares.first_sample(teacher, mode)
            for place in range(number):
                source = sources[turn % len(sources)]
                asks += g.requests.samples(teacher, mode, first + place * size, size, source, g.generator.prompt)
                turn += 1
    return asks


def _worth_asking(g: Round, asks: Sequence[Ask]) -> tuple[list[Ask], list[Piece]]:
    """`_worth_answering` for a first step, in which a question that is dropped has had its turn."""
    left, dropped = _worth_answering(g, asks)
    without = {piece.candidate.group for piece in dropped}
    g.asked.update(asked_of(ask) for ask in asks if _group(g, ask) in without)
    return left, dropped


def _worth_answering(g: Round, asks: Sequence[Ask]) -> tuple[list[Ask], list[Piece]]:
    """Requests for questions that no rule of the generator drops, and a piece for each other question: an answer to it
    would be paid for and never verified."""
    questions: dict[str, Ask] = {}
    for ask in asks:
        questions.setdefault(_group(g, ask), ask)
    pieces = [Piece(g.read.question(ask, group)) for group, ask in questions.items()]
    dropped = {piece.candidate.group: piece for piece in filtered(g, pieces) if piece.status == "filtered"}
    return [ask for ask in asks if _group(g, ask) not in dropped], list(dropped.values())


def _group(g: Round, ask: Ask) -> str:
    assert ask.source is not None
    return f"{g.ctx.node.fingerprint[:8]}:{ask.request.mode or ''}:{ask.source.source_id}"


def _samples(g: Round, asks: Sequence[Ask], replies: Sequence[Reply]) -> list[Piece]:
    return [
        piece
        for ask, reply in zip(asks, replies, strict=True)
        for piece in g.read.answers(ask, reply, group=_group(g, ask))
    ]


def _voted(g: Round, pieces: Sequence[Piece]) -> list[Piece]:
    """Samples of questions without a known answer get the answer that most of them gave, if one leads."""
    ballots: dict[str, list[str]] = defaultdict(list)
    for piece in pieces:
        if piece.status == "parsed" and piece.candidate.reference is None:
            ballots[piece.candidate.group].append(_vote(g, piece.candidate))
    elected = {group: won for group, votes in ballots.items() if (won := plurality(votes)) is not None}
    return [_with_vote(g, piece, elected, ballots) for piece in pieces]


def _vote(g: Round, candidate: Candidate) -> str:
    return final_answer(without_thoughts(candidate.target).strip(), g.work.task.final)


def plurality(votes: Sequence[str]) -> str | None:
    """The answer that more votes are for than for any other, and more than one; None where none is."""
    counted = Counter(normalised(vote) for vote in votes).most_common(2)
    if not counted or counted[0][1] < 2 or (len(counted) > 1 and counted[1][1] == counted[0][1]):
        return None
    return next(vote for vote in votes if normalised(vote) == counted[0][0])


def _with_vote(g: Round, piece: Piece, elected: Mapping[str, str], ballots: Mapping[str, Sequence[str]]) -> Piece:
    group = piece.candidate.group
    if piece.candidate.reference is not None or group not in elected:
        return piece
    answer, votes = elected[group], ballots[group]
    share = sum(normalised(vote) == normalised(answer) for vote in votes)
    candidate = replace(piece.candidate, reference=Reference(answer, "vote", f"{share}/{len(votes)}"))
    return replace(piece, candidate=candidate)


# --- code ---


def code_with_tests(g: Round, wanted: Wanted) -> list[Piece]:
    """Problem and solution, then tests by somebody else where there is one, run; what the run says goes back for
    `repairs` better solutions (as in Llama 3's code data, 2024)."""
    asks = [
        ask
        for mode, count in wanted.items()
        for teacher, number in g.shares.split(count, mode).items()
        for ask in g.requests.rows(teacher, mode, number)
    ]
    pieces = _with_tests(g, list(filtered(g, _pieces(g, g.opened(asks)))))
    for attempt in range(g.generator.repairs):
        pieces, repaired = _repaired(g, pieces, attempt)
        if not repaired:
            break
    return pieces


def _with_tests(g: Round, pieces: Sequence[Piece]) -> list[Piece]:
    good = [i for i, piece in enumerate(pieces) if piece.status == "parsed"]
    asks = [_tests_ask(g, pieces[i].candidate, i) for i in good]
    found = list(pieces)
    column = _tests_column(g)
    for i, reply in zip(good, g.ask(asks), strict=True):
        tests = extract_answer(reply.text) if reply.status == "ok" else ""
        c = pieces[i].candidate
        opinion = Reference(c.target, "teacher", reply.teacher)
        tested = replace(c, row={**c.row, column: tests}, reference=opinion)
        found[i] = Piece(tested) if tests else Piece(tested, "unparsed", "nobody wrote tests", reply.detail[:400])
    return found


def _tests_column(g: Round) -> str:
    """The first that the verifier reads."""
    return g.work.judged[0]


def _tests_ask(g: Round, candidate: Candidate, sample: int) -> Ask:
    teacher = g.other_than(candidate.teacher) or candidate.teacher
    return _code_ask(g, teacher, candidate, sample, g.generator.tests_prompt, {"step": "tests"})


def _repaired(g: Round, pieces: list[Piece], attempt: int) -> tuple[list[Piece], int]:
    """The pieces with a further solution where tests failed, and how many were tried."""
    good = [i for i, piece in enumerate(pieces) if piece.status == "parsed"]
    verdicts = g.judged([pieces[i] for i in good])
    failed = [(i, reason) for i, (outcome, reason) in zip(good, verdicts, strict=True) if outcome == "fail"]
    column = _tests_column(g)
    asks = [
        _code_ask(
            # A sample number of its own: with the same one, and so the same seed, all repairs would err alike.
            g, pieces[i].candidate.teacher, pieces[i].candidate, (attempt + 1) * len(pieces) + i,
            g.generator.repair_prompt, {"step": "repair", "tests": pieces[i].candidate.row[column], "output": reason},
        )
        for i, reason in failed
    ]  # fmt: skip
    found = list(pieces)
    for (i, _), reply in zip(failed, g.ask(asks), strict=True):
        old = pieces[i].candidate
        if reply.status == "ok" and (answer := g.ctx.read(g.work.task_name, reply.text, old.row)):
            mended = None if old.reference is None else replace(old.reference, text=answer)
            new = replace(old, target=answer, reference=mended, call_key=reply.key, teacher=reply.teacher)
            found[i] = Piece(new)
    g.notes[f"repairs {attempt + 1}"] = len(failed)
    return found, len(failed)


def _code_ask(
    g: Round, teacher: str, candidate: Candidate, sample: int, prompt: str | None, shown: dict[str, str]
) -> Ask:
    source = Material(candidate.candidate_id, candidate.row, candidate.target)
    return g.requests.answer(teacher, candidate.mode or "", sample, source, prompt, answer=candidate.target, **shown)


# --- self-play ---


def self_play(g: Round, wanted: Wanted) -> list[Piece]:
    """The student asks, and answers each question several times; verifiers and its own votes referee. What it solves
    sometimes is at the edge of what it can do, and is kept."""
    proposals = [
        ask
        for mode, count in wanted.items()
        for teacher, number in g.shares.split(count, mode).items()
        for ask in g.requests.rows(teacher, mode, number)
    ]
    answered: list[Ask] = []
    problems: list[Piece] = []
    for ask, reply in zip(proposals, g.open(proposals), strict=True):
        for row in _proposed(g, ask, reply, problems):
            source = Material(row_id(row), row, None, ask.failure_ids)
            first = len(answered)
            answered += [
                g.requests.answer(ask.request.teacher, ask.request.mode or "", first + i, source)
                for i in range(g.generator.samples)
            ]
    answered, dropped = _worth_answering(g, answered)
    return [*problems, *dropped, *_voted(g, _samples(g, answered, g.ask(answered)))]


def _proposed(g: Round, ask: Ask, reply: Reply, problems: list[Piece]) -> Iterator[Row]:
    """Questions in a reply; with `parse: text` all of it is the one column of a row."""
    if g.generator.whole_text and reply.status == "ok":
        yield {g.work.columns[0]: reply.text.strip()}
        return
    for piece in g.read.rows(ask, reply, target="not answered yet"):
        if piece.status == "parsed":
            yield piece.candidate.row
        else:
            problems.append(piece)


MAKE: Mapping[str, Callable[[Round, Wanted], Iterable[Piece]]] = {
    "targeted": targeted,
    "self_instruct": targeted,
    "evolve": evolve,
    "paraphrase": paraphrase,
    "trace": trace,
    "rationalize": rationalize,
    "code_with_tests": code_with_tests,
    "back_translate": back_translate,
    "self_play": self_play,
    "human": human,
}
"""What runs each strategy. A strategy's keys and facts are its class in `spec.strategies`."""


def made(g: Round, wanted: Wanted) -> Iterable[Piece]:
    """What the round's strategy makes, read once. Raises NodeFailed where a stranger's raises, with its place."""
    if g.generator.origin is None:
        return MAKE[g.generator.strategy](g, wanted)
    try:
        return list(g.generator.make(g, wanted))
    except FlywheelError:
        raise
    except Exception as error:
        raise NodeFailed(f"{g.ctx.node.name}: {g.generator.strategy} raised {where(error)}") from error
