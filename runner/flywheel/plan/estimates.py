"""What a node would cost, from what the same kind of node did before, or from the spec alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.plan.model import Estimate
from flywheel.spec.models import Generator, LitellmTeacher, Spec

#: Acceptance before any was measured: a guess, and `plan` says so.
ACCEPTANCE_GUESS = 0.7
#: Tokens of a rendered prompt before any was measured.
PROMPT_GUESS = 800


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
    """What was measured: seconds by (kind, subject), acceptance by generator, means by teacher."""

    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    acceptance: Mapping[str, float] = field(default_factory=dict)
    teachers: Mapping[str, TeacherHistory] = field(default_factory=dict)


def estimate(kind: str, subject: str, round: int, spec: Spec, history: History) -> Estimate:
    """Expected calls, tokens, dollars and seconds. Refill rounds are expected to find nothing missing: round 1 asks for
    as many as the measured acceptance needs."""
    seconds = history.seconds.get((kind, subject))
    if kind != "generate" or round > 1:
        return Estimate(seconds=seconds)
    generator = next(g for g in spec.generate if g.name == subject)
    return _calls(generator, spec, history, seconds)


def _calls(generator: Generator, spec: Spec, history: History, seconds: float | None) -> Estimate:
    acceptance = max(0.05, history.acceptance.get(generator.name, ACCEPTANCE_GUESS))
    candidates = min(generator.accept / acceptance, spec.max_candidates_of(generator))
    weights = spec.weights_of(generator)
    calls = tokens = 0.0
    usd = 0.0
    for teacher, weight in weights.items():
        share = weight / sum(weights.values())
        asked = candidates * share * _calls_each(generator)
        calls, tokens, usd = _add((calls, tokens, usd), teacher, asked, spec, history)
    if generator.second_opinion and generator.strategy != "code_with_tests":
        calls, tokens, usd = _add((calls, tokens, usd), generator.second_opinion[0], candidates, spec, history)
    return Estimate(calls=round(calls), tokens=round(tokens), usd=usd, seconds=seconds)


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
