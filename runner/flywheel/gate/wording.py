"""A rule's result in plain words."""

from __future__ import annotations

import math

from flywheel.gate.arms import Arms
from flywheel.gate.comparisons import Evidence, Name, Outcome, rate_before, threshold_of
from flywheel.records.decision import Staging
from flywheel.spec.models import GateRule
from flywheel.text import plural, signed


def label(rule: GateRule, name: Name) -> str:
    """As in the spec: `holdout better_by 0.02`, `holdout wrong_sum falls_by 0.3`, `holdout tokens at_most 40`."""
    about = rule.mode or rule.measure
    return " ".join(part for part in (rule.suite, about, name, f"{threshold_of(rule)[1]:g}") if part)


def explain(rule: GateRule, name: Name, threshold: float, arms: Arms, evidence: Evidence, outcome: Outcome) -> str:
    """What was seen, then what the rule makes of it."""
    seen = _SEEN[name](arms, evidence)
    about = f" ({_without(rule.mode)})" if rule.mode and name != "falls_by" else ""
    return f"{seen}{about}{unknown_words(arms)}. {_judged(name, threshold, arms, evidence, outcome)}"


def further_words(items: int | None, arms: Arms) -> str:
    """`items`: how many more would settle it; None where no number is worth naming."""
    if items is not None:
        return f" About {plural(items, 'further item')} would settle it."
    if arms.unchanged:
        return ""
    return (
        f" This cannot be settled here: such a difference on {plural(arms.n, 'item')} may be chance, and on ten "
        "times as many it might be. A larger difference would settle it, or a rule that asks otherwise."
    )


def raised(rule: GateRule, threshold: float) -> str:
    """Where the noise floor stands above what the spec asks."""
    if rule.better_by is None or threshold <= rule.better_by:
        return ""
    return (
        f" The spec asks {_points(rule.better_by)} points; the same model measured twice differed on "
        f"{_percent(threshold)} of the items, so no less is asked."
    )


def ended(staging: Staging) -> str:
    """Where the evaluation of the suite ended before all of its items."""
    if staging.used == staging.planned:
        return ""
    return (
        f" Evaluation ended here, after {staging.used:,} of {plural(staging.planned, 'item')} (stage {staging.stage} "
        f"of {len(staging.ends)}); limit and interval are this stage's."
    )


def unknown_words(arms: Arms) -> str:
    if not arms.unknown:
        return ""
    if arms.measure:
        return f"; {plural(arms.unknown, 'answer')} without a figure, counted as the worst"
    return f"; {plural(arms.unknown, 'item')} unknown, counted against the candidate"


def without_verdict(arms: Arms) -> str:
    """Too many unknown items to decide: why, and what to mend."""
    why, mend = [], []
    if arms.too_long:
        why.append(f"{arms.too_long:,} because the prompt does not fit the model")
        mend.append("Shorten those prompts, or leave those items out")
    if arms.unknown > arms.too_long:
        why.append("verifier errors")
        mend.append("Repair the verifier")
    return (
        f"{arms.unknown:,} of {plural(arms.n, 'item')} are unknown in one arm or the other "
        f"({', else '.join(why)}); above 1% nothing is decided. {'. '.join(mend)} and run `flywheel apply` again."
    )


def not_measured(arms: Arms) -> str:
    return (
        f"{arms.unknown:,} of {plural(arms.n, 'answer')} of the candidate: {arms.measure} not measured; above 1% "
        "nothing is decided. Run `flywheel apply` again so that the suite is evaluated anew."
    )


def _points(value: float) -> str:
    return signed(100 * value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _interval(evidence: Evidence) -> str:
    return f"{100 * (1 - 2 * evidence.alpha):.1f}% interval"


def _movement(arms: Arms) -> str:
    if not arms.graded:
        return f"{arms.fixed:,} fixed, {arms.broken:,} broken"
    return f"{arms.fixed:,} scored higher, {arms.broken:,} lower"


def _clusters(arms: Arms) -> str:
    return f" in {plural(len(arms.clusters), 'cluster')}" if arms.clustered else ""


def _over(arms: Arms) -> str:
    return f"over {plural(arms.n, 'item')}{_clusters(arms)}"


def _difference(arms: Arms, evidence: Evidence) -> str:
    edges = f"{_points(evidence.low)} to {_points(evidence.high)}"
    gain = f"{_points(evidence.observed)} points ({_interval(evidence)} {edges})"
    return f"{gain} {_over(arms)}: {_movement(arms)}"


def _score(arms: Arms, evidence: Evidence) -> str:
    edges = f"{_percent(evidence.low)} to {_percent(evidence.high)}"
    return f"{_percent(evidence.observed)} ({_interval(evidence)} {edges}) {_over(arms)}"


def _fall(arms: Arms, evidence: Evidence) -> str:
    before = rate_before(arms)
    edges = f"{_percent(evidence.low)} to {_percent(evidence.high)}"
    verb = "fell" if evidence.observed >= 0 else "rose"
    change = f"The rate {verb} by {_percent(abs(evidence.observed))} of what it was"
    rates = f"from {_percent(before)} to {_percent(before - arms.gain)}"
    return f"{change} ({_interval(evidence)} of the fall {edges}), {rates} {_over(arms)}: {_movement(arms)}"


def _cost(arms: Arms, evidence: Evidence) -> str:
    edges = f"{_amount(arms, evidence.low)} to {_amount(arms, evidence.high)}"
    before = _amount(arms, math.fsum(arms.incumbent) / arms.n)
    seen = f"{_amount(arms, evidence.observed)} {_UNITS[arms.measure or 'tokens']} ({_interval(evidence)} {edges})"
    return f"{seen} {_over(arms)}, the incumbent {before}"


_UNITS = {"tokens": "tokens an answer", "seconds": "seconds an answer", "refusals": "refusals", "truncated": "cut off"}


def _amount(arms: Arms, value: float) -> str:
    return _percent(value) if arms.rate else f"{value:.3g}"


def _without(mode: str) -> str:
    return f"items free of {mode}"


_SEEN = {
    "better_by": _difference, "not_worse_than": _difference, "at_least": _score, "at_most": _cost, "falls_by": _fall,
}  # fmt: skip


def _chance(evidence: Evidence) -> str:
    return f"p = {evidence.p_value:.2g}, limit {evidence.alpha:.3g}"


def _judged(name: Name, threshold: float, arms: Arms, evidence: Evidence, outcome: Outcome) -> str:
    if name == "not_worse_than":
        return _judged_guard(threshold, evidence, outcome)
    if name == "at_least":
        return _judged_score(threshold, evidence, outcome)
    if name == "at_most":
        return _judged_cost(_amount(arms, threshold), evidence, outcome)
    asked = f"a gain of {100 * threshold:.1f} points" if name == "better_by" else f"a fall of {_percent(threshold)}"
    return _judged_gain(asked, threshold, evidence, outcome)


def _judged_gain(asked: str, threshold: float, evidence: Evidence, outcome: Outcome) -> str:
    if outcome == "holds":
        return f"Asked was {asked}, and this is beyond chance ({_chance(evidence)})."
    if outcome == "fails":
        return "It moved the wrong way." if evidence.observed < 0 else f"Asked was {asked}: ruled out."
    if evidence.unchanged:
        return f"Asked was {asked}, and no item changed."
    if evidence.observed < threshold:
        return f"Asked was {asked}: not reached, and not ruled out."
    return f"That could still be chance ({_chance(evidence)})."


def _judged_guard(margin: float, evidence: Evidence, outcome: Outcome) -> str:
    allowed = f"{100 * margin:.1f} points"
    if outcome == "holds":
        return f"A loss of {allowed} is ruled out ({_chance(evidence)})."
    if outcome == "fails":
        return f"The loss is beyond chance and reaches the margin of {allowed}."
    return f"A loss of {allowed} is not ruled out ({_chance(evidence)})."


def _judged_score(least: float, evidence: Evidence, outcome: Outcome) -> str:
    if outcome == "holds":
        return f"{_percent(least)} is reached ({_chance(evidence)})."
    if outcome == "fails":
        return f"{_percent(least)} is not reached."
    return f"Whether it reaches {_percent(least)} is open ({_chance(evidence)})."


def _judged_cost(most: str, evidence: Evidence, outcome: Outcome) -> str:
    if outcome == "holds":
        return f"More than {most} is ruled out ({_chance(evidence)})."
    if outcome == "fails":
        return f"It is above {most}."
    return f"Whether it stays within {most} is open ({_chance(evidence)})."
