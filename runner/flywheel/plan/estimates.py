"""What a node would cost, from what the same kind of node did before, or from the spec alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from flywheel.plan.model import Estimate
from flywheel.spec.models import Spec, Suite
from flywheel.spec.outline import judges_of
from flywheel.spec.strategies import Generator

#: Acceptance before any was measured: a guess, and `plan` says so.
ACCEPTANCE_GUESS = 0.7
#: What only keeps books (diagnosis, budget, gate, report) takes so many seconds, whatever the domain.
BOOKS = (0.0, 5.0)
#: How far a time that was measured for a few rows may be from that of many, as a factor.
MARGIN = 1.5
#: The same node again, on another iteration's rows.
AGAIN = 1.25
#: Tokens of a rendered prompt before any was measured.
PROMPT_GUESS = 800


Seconds = tuple[float, float]
"""At least, at most."""


Role = Literal["writer", "opinion", "judge"]
"""What a teacher is asked as: by it calls differ in length. One that answers a suite is asked as for an opinion."""


@dataclass(frozen=True)
class CallSize:
    """Means over a teacher's answered calls in one role."""

    input_tokens: float
    output_tokens: float
    usd: float


@dataclass(frozen=True)
class Speed:
    """Seconds of the student on this machine, by calibration."""

    load: float
    answer: Seconds
    """An answer as long as the right ones are, and one as long as it may be."""
    read: float
    """A lesson, to see how hard it is."""
    learn: float | None
    """A lesson, each time that a training reads it; None where another command trains."""
    rows_read: Callable[[int], int]
    """Lessons → how many rows a training on them reads, over its epochs."""


@dataclass(frozen=True)
class History:
    """What was measured: seconds by (verb, subject), least and most; acceptance by generator; size of calls by
    (teacher, role); rows of files; and the student's speed."""

    seconds: Mapping[tuple[str, str], Seconds] = field(default_factory=dict)
    acceptance: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[tuple[str, Role], CallSize] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows of each file of probes, items, seeds and calibration cases."""
    count: Callable[[str], int] | None = None
    """Rows of a file that a generator starts from, counted when they matter."""
    speed: Speed | None = None
    prices: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    """Dollars of a million tokens, read and written, of teachers whose price the spec leaves open; None where nobody
    knows."""

    def rows_of(self, file: str | None, limit: int | None = None) -> int:
        rows = self.rows.get(file or "", 0)
        return rows if limit is None else min(rows, limit)


Asked = tuple[str, Role, float]
"""A teacher, as what, and the calls to it."""


def priced(asked: Iterable[Asked], spec: Spec, history: History, seconds: Seconds | None) -> Estimate:
    """Calls with their tokens and dollars. Only calls to a model cost tokens; a function's or a data set's are counted
    as calls alone."""
    calls = tokens = usd = 0.0
    unpriced: list[str] = []
    for name, role, number in asked:
        read, written, price = _each(name, role, spec, history)
        calls, tokens, usd = calls + number, tokens + number * (read + written), usd + number * (price or 0.0)
        unpriced += [name] if price is None and number else []
    return Estimate(round(calls), round(tokens), usd, seconds, tuple(dict.fromkeys(unpriced)))


def _each(name: str, role: Role, spec: Spec, history: History) -> tuple[float, float, float | None]:
    """Of one call: tokens read, tokens written, dollars, if anybody knows."""
    teacher, seen = spec.teachers[name], history.calls.get((name, role))
    if teacher.answer_tokens is None:
        return 0.0, 0.0, 0.0
    read = seen.input_tokens if seen else PROMPT_GUESS
    written = seen.output_tokens if seen else teacher.answer_tokens
    if seen and seen.usd:
        return read, written, seen.usd
    prices = teacher.price[:2] if teacher.price else history.prices.get(name, (0.0, 0.0))
    return read, written, None if prices is None else (read * prices[0] + written * prices[1]) / 1e6


# --- lessons ----------------------------------------------------------------------------------------------------------


def candidates_of(generator: Generator, history: History) -> float:
    """Candidates that so many lessons need, by the measured acceptance; of a file whose rows are each asked once, no
    more than it has. Samples of one question count as one."""
    wanted = min(generator.accept / acceptance_of(generator, history), generator.candidates_limit)
    if generator.asks_rows_once and generator.data is not None and history.count is not None:
        return min(wanted, history.count(generator.data))
    return wanted


def acceptance_of(generator: Generator, history: History) -> float:
    """The share of its candidates that is expected to be accepted."""
    return max(0.05, history.acceptance.get(generator.name, ACCEPTANCE_GUESS))


def calls_of_lessons(generator: Generator, history: History) -> Iterator[Asked]:
    candidates = candidates_of(generator, history)
    weights = generator.weights
    for teacher, weight in weights.items():
        written = candidates * weight / sum(weights.values())
        yield teacher, "writer", written * generator.calls_each(ACCEPTANCE_GUESS)
        if other := next((name for name in generator.opinions if name != teacher), None):
            yield other, "opinion", written * generator.opinions_each


# --- judges and suites ------------------------------------------------------------------------------------------------


def votes(spec: Spec, task: str, answers: float) -> Iterator[Asked]:
    """A judge is counted as asked about every answer, though it is spared those that another verifier fails."""
    for judge in judges_of(spec, task).values():
        if judge.asks is not None:
            yield judge.asks, "judge", answers * judge.calls_each


def suite_calls(spec: Spec, suite: Suite, history: History, models: int) -> Iterator[Asked]:
    """Of those who judge the answers of so many models to a suite."""
    if suite.task is not None:
        yield from votes(spec, suite.task, models * suite.repeats * history.rows_of(suite.data, suite.limit))


def calibrations(verb: str, subject: str, spec: Spec, history: History) -> Iterator[Asked]:
    """A judge is calibrated once, by the first node that asks it."""
    judges = {name: judge for task in spec.tasks for name, judge in judges_of(spec, task).items()}
    for name, judge in judges.items():
        if judge.asks is not None and judge.cases_of_people and (verb, subject) == _first_to_ask(name, spec):
            yield judge.asks, "judge", history.rows_of(judge.cases_of_people) * judge.calls_each


def _first_to_ask(judge: str, spec: Spec) -> tuple[str, str]:
    tasks = [name for name, task in spec.tasks.items() if judge in task.verify]
    probes = [("probe", name) for name in tasks if spec.tasks[name].probes is not None]
    verified = [("verify", generator.name) for generator in spec.generate if spec.task_of(generator) in tasks]
    return next(iter([*probes, *verified]), ("evaluate", ""))


# --- time -------------------------------------------------------------------------------------------------------------


def seconds_before(verb: str, subject: str, history: History) -> Seconds | None:
    """What the same node took, in whatever iteration."""
    found = history.seconds.get((verb, subject))
    return None if found is None else (found[0] / AGAIN, found[1] * AGAIN)


def answering(speed: Speed | None, answers: float, shown: float = 0.0) -> Seconds | None:
    """`shown`: solved examples that are read before the questions, in all, beyond those that the student always has."""
    if speed is None:
        return None
    return _about(speed.load, [answers * each + shown * speed.read for each in speed.answer])


def reading(speed: Speed | None, lessons: float) -> Seconds | None:
    """Of lessons to be ranked. Where all find a place none is read."""
    return None if speed is None else (0.0, MARGIN * lessons * speed.read + BOOKS[1])


def learning(speed: Speed | None, lessons: float) -> Seconds | None:
    if speed is None or speed.learn is None:
        return None
    return _about(speed.load, [speed.rows_read(round(lessons)) * speed.learn] * 2)


def preferring(speed: Speed | None, answers: float) -> Seconds | None:
    """Of judged answers that are learned from: each is read once more, by the student as it was. Where all are right,
    or all wrong, none is learned from."""
    if speed is None or speed.learn is None:
        return None
    return 0.0, _about(speed.load, [answers * (speed.learn + speed.read)] * 2)[1]


def added(*parts: Seconds | None) -> Seconds | None:
    """None where one of them is not known."""
    known = [part for part in parts if part is not None]
    return None if len(known) < len(parts) else (sum(low for low, _ in known), sum(high for _, high in known))


def _about(load: float, span: list[float]) -> Seconds:
    return span[0] / MARGIN, load + span[1] * MARGIN + BOOKS[1]


def lessons_of(spec: Spec, iterations: int, history: History) -> float:
    """Rows that a training after so many iterations has: new lessons, replayed ones, human seeds."""
    new = float(sum(generator.accept for generator in spec.generate))
    mix = spec.curate.mix
    earlier = iterations - 1 if mix.window is None else min(mix.window, iterations - 1)
    lessons = new + new * earlier * mix.replay
    share = mix.seeds
    seeds = sum(history.rows_of(task.seeds) for task in spec.tasks.values())
    return lessons + (min(seeds, lessons * share / (1 - share)) if share < 1 else seeds)


def of_suites(spec: Spec, suites: Iterable[Suite], history: History, models: int) -> Seconds | None:
    """Of so many models that answer these suites; None where one is lm-eval's own, whose size is not known."""
    suites = list(suites)
    if any(suite.task is None for suite in suites):
        return None
    answers = [models * suite.repeats * history.rows_of(suite.data, suite.limit) for suite in suites]
    further = [max(0, (suite.num_fewshot or 0) - spec.student.shots) for suite in suites]
    shown = sum(count * shots for count, shots in zip(answers, further, strict=True))
    return answering(history.speed, sum(answers), shown)
