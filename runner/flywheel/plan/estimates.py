"""What a node would cost, from what the same kind of node did before, or from the spec alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flywheel.plan.model import Estimate
from flywheel.spec.models import Generator, JudgeVerifier, LitellmTeacher, Spec, Suite
from flywheel.spec.outline import judges_of

#: Acceptance before any was measured: a guess, and `plan` says so.
ACCEPTANCE_GUESS = 0.7
#: Tokens of a rendered prompt before any was measured.
PROMPT_GUESS = 800
#: Strategies that have several answers to a question judged.
SAMPLED = ("trace", "rationalize", "self_play")


@dataclass(frozen=True)
class TeacherHistory:
    """Means over a teacher's answered calls."""

    calls: int
    input_tokens: float
    output_tokens: float
    usd: float
    seconds: float


@dataclass(frozen=True)
class History:
    """What was measured: seconds by (kind, subject), acceptance by generator, means by teacher; and rows of files."""

    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    acceptance: Mapping[str, float] = field(default_factory=dict)
    teachers: Mapping[str, TeacherHistory] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows of each file of probes, items and calibration cases, where a teacher is asked about them."""


Asked = tuple[str, float]
"""A teacher, and the calls to it."""


def estimate(kind: str, subject: str, round: int, spec: Spec, history: History, iteration: int = 1) -> Estimate:
    """Expected calls, tokens, dollars and seconds.

    Refill rounds are expected to find nothing missing: round 1 asks for as many as the measured acceptance needs. A
    judge is counted as asked about every answer, though it is spared those that another verifier fails.
    """
    asked = _asked(kind, subject, round, spec, history, iteration)
    return _priced(asked, spec, history, history.seconds.get((kind, subject)))


def _priced(asked: Iterable[Asked], spec: Spec, history: History, seconds: float | None) -> Estimate:
    sums = (0.0, 0.0, 0.0)
    for teacher, calls in asked:
        sums = _add(sums, teacher, calls, spec, history)
    return Estimate(round(sums[0]), round(sums[1]), sums[2], seconds)


def _asked(kind: str, subject: str, round: int, spec: Spec, history: History, iteration: int) -> Iterator[Asked]:
    if iteration == 1 and round <= 1:
        yield from _calibrations(kind, subject, spec, history)
    match kind:
        case "probe":
            task = spec.tasks[subject]
            yield from _votes(spec, subject, _rows(history, task.probes, task.probe_limit))
        case "generate" if round == 1:
            yield from _lessons(_generator(spec, subject), spec, history)
        case "verify" if round == 1:
            generator = _generator(spec, subject)
            samples = generator.samples if generator.strategy in SAMPLED else 1
            yield from _votes(spec, spec.task_of(generator), samples * _candidates(generator, spec, history))
        case "evaluate":
            for suite in spec.evals.values():
                yield from _evaluated(spec, suite, history, iteration)
        case "ablate":
            suite = next(spec.evals[a.suite] for a in spec.ablate if a.name == subject)
            yield from _student_judged(spec, suite, history, models=2)


def _generator(spec: Spec, name: str) -> Generator:
    return next(generator for generator in spec.generate if generator.name == name)


def _rows(history: History, file: str | None, limit: int | None) -> int:
    rows = history.rows.get(file or "", 0)
    return rows if limit is None else min(rows, limit)


# --- lessons ----------------------------------------------------------------------------------------------------------


def _candidates(generator: Generator, spec: Spec, history: History) -> float:
    """Samples of one question count as one."""
    acceptance = max(0.05, history.acceptance.get(generator.name, ACCEPTANCE_GUESS))
    return min(generator.accept / acceptance, spec.max_candidates_of(generator))


def _lessons(generator: Generator, spec: Spec, history: History) -> Iterator[Asked]:
    candidates = _candidates(generator, spec, history)
    weights = spec.weights_of(generator)
    for teacher, weight in weights.items():
        yield teacher, candidates * weight / sum(weights.values()) * _calls_each(generator)
    if generator.second_opinion and generator.strategy != "code_with_tests":
        yield generator.second_opinion[0], candidates


def _calls_each(generator: Generator) -> float:
    """Calls for one candidate, before any second opinion."""
    match generator.strategy:
        case "trace" | "rationalize":
            return generator.samples
        case "self_play":
            return generator.samples + 1 / generator.per_call
        case "evolve" | "paraphrase" | "back_translate":
            return 1
        case "code_with_tests":  # solution, tests, and a repair where the first try fails
            return 1 / generator.per_call + 1 + min(1, generator.repairs) * (1 - ACCEPTANCE_GUESS)
    return 1 if generator.parse == "text" else 1 / generator.per_call


# --- judges and suites ------------------------------------------------------------------------------------------------


def _votes_each(judge: JudgeVerifier) -> int:
    """Calls for one answer: a pair is shown in both orders."""
    return judge.votes * (2 if judge.compare == "pair" else 1)


def _votes(spec: Spec, task: str, answers: float) -> Iterator[Asked]:
    for judge in judges_of(spec, task).values():
        yield judge.teacher, answers * _votes_each(judge)


def _evaluated(spec: Spec, suite: Suite, history: History, iteration: int) -> Iterator[Asked]:
    """From the second iteration on, incumbent and teachers were measured before."""
    if suite.task is None:
        return
    yield from _student_judged(spec, suite, history, models=2 if iteration == 1 else 1)
    if iteration == 1:
        items = _rows(history, suite.data, suite.limit)
        for teacher in suite.teachers:
            yield teacher, items
            yield from _votes(spec, suite.task, items)


def _student_judged(spec: Spec, suite: Suite, history: History, models: int) -> Iterator[Asked]:
    if suite.task is not None:
        yield from _votes(spec, suite.task, models * suite.repeats * _rows(history, suite.data, suite.limit))


def _calibrations(kind: str, subject: str, spec: Spec, history: History) -> Iterator[Asked]:
    """A judge is calibrated once, by the first node that asks it."""
    judges = {name: judge for task in spec.tasks for name, judge in judges_of(spec, task).items()}
    for name, judge in judges.items():
        if judge.calibration is not None and (kind, subject) == _first_to_ask(name, spec):
            yield judge.teacher, _rows(history, judge.calibration, None) * _votes_each(judge)


def _first_to_ask(judge: str, spec: Spec) -> tuple[str, str]:
    tasks = [name for name, task in spec.tasks.items() if judge in task.verify]
    probes = [("probe", name) for name in tasks if spec.tasks[name].probes is not None]
    verified = [("verify", generator.name) for generator in spec.generate if spec.task_of(generator) in tasks]
    return next(iter([*probes, *verified]), ("evaluate", ""))


# --- what a call costs ------------------------------------------------------------------------------------------------


def _add(
    sums: tuple[float, float, float], name: str, calls: float, spec: Spec, history: History
) -> tuple[float, float, float]:
    """Only calls to a model cost tokens; a function's or a data set's are counted as calls alone."""
    teacher = spec.teachers[name]
    if not isinstance(teacher, LitellmTeacher):
        return sums[0] + calls, sums[1], sums[2]
    seen = history.teachers.get(name)
    read = seen.input_tokens if seen else PROMPT_GUESS
    written = seen.output_tokens if seen else teacher.max_tokens
    price = (read * (teacher.usd_per_million_input or 0) + written * (teacher.usd_per_million_output or 0)) / 1e6
    if seen and seen.usd:
        price = seen.usd
    return sums[0] + calls, sums[1] + calls * (read + written), sums[2] + calls * price
