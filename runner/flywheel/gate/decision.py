"""One decision from all rules: judge each on its suite, then promote, reject or say what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from flywheel.gate.arms import FEW_COSTS, Arms, arms_of, measured_arms
from flywheel.gate.comparisons import (
    COMPARISONS,
    Comparison,
    Evidence,
    Name,
    further_items,
    loss_p,
    rate_before,
    threshold_of,
)
from flywheel.gate.wording import ended, explain, further_words, label, not_measured, raised, without_verdict
from flywheel.hashing import seed_from
from flywheel.records.decision import Decision, DecisionOutcome, PairedItem, Precondition, RuleResult, Staging
from flywheel.spec.models import GateRule, Measure
from flywheel.stats import alpha_at, holm, predicted_power, stage_level
from flywheel.text import plural

#: Above this share of unknown items a suite decides nothing.
MOST_UNKNOWN = 0.01
#: Evaluation ends, too, where a rule would come to hold with less than this chance.
HOPELESS = 0.02
_WHOLE = Staging((1,), 1)
#: The precondition that speaks of the verifiers and not of the candidate: without it nothing is decided.
VERIFIERS_ANSWERED = "no verifier errors"


@dataclass(frozen=True)
class _Case:
    """One rule on its data, before it is judged."""

    rule: GateRule
    name: Name
    threshold: float
    """The rule's, or the noise floor above it."""
    arms: Arms
    seed: int
    alpha: float
    """What this look may spend on the rule."""
    staging: Staging
    """Of one stage where the suite is evaluated whole."""

    @property
    def comparison(self) -> Comparison:
        return COMPARISONS[self.name]

    @property
    def fault(self) -> str:
        """Why nothing can be said, or nothing."""
        if not self.arms.n:
            return f"No results for the suite {self.rule.suite}; evaluate both models with `flywheel apply`."
        if self.arms.unknown > MOST_UNKNOWN * self.arms.n:
            return not_measured(self.arms) if self.arms.measure else without_verdict(self.arms)
        if self.arms.measure and not self.arms.rate and len(self.arms.clusters) < FEW_COSTS:
            items = plural(len(self.arms.clusters), "item")
            return f"{items} say too little of a mean; at least {FEW_COSTS} are needed."
        if self.name == "falls_by" and rate_before(self.arms) <= 0:
            return f"The incumbent never shows it on {plural(self.arms.n, 'item')}: nothing is left to fall."
        return ""

    @property
    def p_value(self) -> float:
        return self.comparison.p_value(self.arms, self.threshold, self.seed)

    @property
    def looked(self) -> tuple[float, ...]:
        """Shares of the items at which the suite was looked at, up to now."""
        return self.staging.shares[: self.staging.stage]

    @property
    def is_early(self) -> bool:
        return self.looked[-1] < 1

    @property
    def hopeless(self) -> bool:
        """Whether the items to come would hardly make the rule hold. Not binding: no error rate rests on it."""
        if self.fault or not self.is_early:
            return False
        z = self.comparison.z_score(self.arms, self.threshold, self.seed)
        return predicted_power(z, self.looked[-1], stage_level(self.alpha, self.staging.shares)) < HOPELESS


def decide(
    rules: Sequence[GateRule],
    suites: Mapping[str, Sequence[PairedItem]],
    preconditions: Sequence[Precondition],
    look: int,
    seed: int,
    measures: Mapping[tuple[str, Measure], Sequence[PairedItem]] = MappingProxyType({}),
    noise: Mapping[str, float] = MappingProxyType({}),
    stages: Mapping[str, Staging] = MappingProxyType({}),
) -> Decision:
    """Promote when every precondition and every rule holds.

    `suites`: paired items by suite name; `measures`: the same with what each answer cost, by suite and measure;
    `noise`: by suite the share of items that scored otherwise when one model was measured twice, below which no
    `better_by` is asked; `look`: how many times this holdout has been looked at, this time
    included, from 1; `stages`: by suite how far it was evaluated, where that may end early. A rule's level is
    1 - confidence, spent over looks (`alpha_at`) and stages (`stage_level`), and shared among the rules that claim
    a gain (Holm). The same arguments give the same decision, in whatever order items come. Raises ValueError for a
    look before the first, or a rule without exactly one comparison.
    """
    results = tuple(_results(_cases(rules, suites, look, seed, measures, noise, stages)))
    outcome, explanation = _conclude(results, preconditions, look)
    return Decision(outcome, results, tuple(preconditions), look, explanation)


def settled(
    rules: Sequence[GateRule],
    suites: Mapping[str, Sequence[PairedItem]],
    preconditions: Sequence[Precondition],
    look: int,
    seed: int,
    measures: Mapping[tuple[str, Measure], Sequence[PairedItem]] = MappingProxyType({}),
    noise: Mapping[str, float] = MappingProxyType({}),
    stages: Mapping[str, Staging] = MappingProxyType({}),
) -> set[str]:
    """Suites of which no further item is needed: each of their rules holds, fails beyond chance, or would hardly come
    to hold. Arguments as of `decide`, which then says the same."""
    del preconditions
    cases = _cases(rules, suites, look, seed, measures, noise, stages)
    open_ = {c.rule.suite for c, result in zip(cases, _results(cases), strict=True) if not _is_settled(c, result)}
    return {rule.suite for rule in rules} - open_


def _is_settled(case: _Case, result: RuleResult) -> bool:
    if not case.is_early:
        return True
    if result.outcome == "holds":
        return not case.comparison.speaks_of_all(case.arms, case.threshold)
    if result.outcome == "fails" and not case.comparison.superiority:
        return True
    # A score that fell on a part of the items may rise on the rest: what fails must be ruled out.
    ruled_out = result.high is not None and result.high < max(case.threshold, 0.0)
    return (ruled_out and case.comparison.superiority and not case.arms.unchanged) or case.hopeless


def _cases(
    rules: Sequence[GateRule],
    suites: Mapping[str, Sequence[PairedItem]],
    look: int,
    seed: int,
    measures: Mapping[tuple[str, Measure], Sequence[PairedItem]],
    noise: Mapping[str, float],
    stages: Mapping[str, Staging],
) -> list[_Case]:
    return [
        _case(
            rule, _arms(rule, suites, measures), noise.get(rule.suite, 0.0), look, seed, stages.get(rule.suite, _WHOLE)
        )
        for rule in rules
    ]


def _results(cases: Sequence[_Case]) -> list[RuleResult]:
    p_values = [1.0 if case.fault else case.p_value for case in cases]
    return [
        _unjudged(case) if case.fault else _judge(case, p, alpha)
        for case, p, alpha in zip(cases, p_values, _levels(cases, p_values), strict=True)
    ]


def _arms(
    rule: GateRule,
    suites: Mapping[str, Sequence[PairedItem]],
    measures: Mapping[tuple[str, Measure], Sequence[PairedItem]],
) -> Arms:
    if rule.measure is not None:
        return measured_arms(measures.get((rule.suite, rule.measure), ()), rule.measure)
    return arms_of(suites.get(rule.suite, ()), rule.mode)


def _case(rule: GateRule, arms: Arms, noise: float, look: int, seed: int, staging: Staging) -> _Case:
    name, threshold = threshold_of(rule)
    return _Case(
        rule=rule,
        name=name,
        threshold=max(threshold, noise) if name == "better_by" else threshold,
        arms=arms,
        seed=seed_from(seed, rule.suite, rule.mode or rule.measure, name),
        alpha=alpha_at(look, 1 - rule.confidence),
        staging=staging,
    )


def _levels(cases: Sequence[_Case], p_values: Sequence[float]) -> list[float]:
    """Each rule's level: Holm among the claims of a gain, what the look may spend at this stage for all others."""
    levels = [stage_level(case.alpha, case.looked) for case in cases]
    claims = [i for i, case in enumerate(cases) if case.comparison.superiority]
    shared = holm([p_values[i] for i in claims], [cases[i].alpha for i in claims], [cases[i].looked for i in claims])
    for i, level in zip(claims, shared, strict=True):
        levels[i] = level
    return levels


def _judge(case: _Case, p_value: float, alpha: float) -> RuleResult:
    evidence = _evidence(case, p_value, alpha)
    outcome = case.comparison.outcome(evidence, case.threshold)
    words = explain(case.rule, case.name, case.threshold, case.arms, evidence, outcome)
    words += raised(case.rule, case.threshold) + ended(case.staging)
    further = None
    if outcome == "undecided":
        # Further items are advised for a test at the end, whose level is not an early stage's.
        further = further_items(case.name, case.arms, case.threshold, case.alpha if case.is_early else alpha)
        words += further_words(further, case.arms)
    return replace(
        _unjudged(case),
        observed=evidence.observed,
        low=evidence.low,
        high=evidence.high,
        p_value=p_value,
        alpha=alpha,
        outcome=outcome,
        items_needed=further,
        explanation=words,
    )


def _evidence(case: _Case, p_value: float, alpha: float) -> Evidence:
    low, high = case.comparison.interval(case.arms, 1 - 2 * alpha, case.seed)
    return Evidence(
        observed=case.comparison.observed(case.arms, case.threshold),
        low=low,
        high=high,
        p_value=p_value,
        alpha=alpha,
        unchanged=case.arms.unchanged,
        worse_p=loss_p(case.arms, case.seed) if case.name == "not_worse_than" else 1.0,
    )


def _unjudged(case: _Case) -> RuleResult:
    """The rule's counts, undecided for `case.fault`."""
    before, after = _means(case)
    return RuleResult(
        label=label(case.rule, case.name),
        suite=case.rule.suite,
        comparison=case.name,
        mode=case.rule.mode,
        threshold=case.threshold,
        items=case.arms.n,
        incumbent=before,
        candidate=after,
        observed=None,
        low=None,
        high=None,
        p_value=None,
        alpha=case.alpha,
        fixed=case.arms.fixed,
        broken=case.arms.broken,
        outcome="undecided",
        items_needed=None,
        explanation=case.fault,
    )


def _means(case: _Case) -> tuple[float | None, float | None]:
    """Each arm's mean score or cost; for `falls_by` its rate of what should fall."""
    arms = case.arms
    if not arms.n:
        return None, None
    before, after = math.fsum(arms.incumbent) / arms.n, math.fsum(arms.candidate) / arms.n
    return (1 - before, 1 - after) if case.name == "falls_by" else (before, after)


def _conclude(
    results: Sequence[RuleResult], preconditions: Sequence[Precondition], look: int
) -> tuple[DecisionOutcome, str]:
    lacking = [p for p in preconditions if not p.holds]
    broken = [_lacks(p) for p in lacking if p.name != VERIFIERS_ANSWERED]
    blind = [_lacks(p) for p in lacking if p.name == VERIFIERS_ANSWERED]
    failed = [f"{r.label}: {r.explanation}" for r in results if r.outcome == "fails"]
    open_ = [f"{r.label}: {r.explanation}" for r in results if r.outcome == "undecided"]
    if broken or (failed and not blind):
        return "reject", "Reject. " + " ".join(broken + blind + failed)
    if blind or open_:
        return "inconclusive", "Inconclusive. " + " ".join(blind + open_)
    if not results:
        return "inconclusive", "Inconclusive. The gate has no rules; add one under `gate:` in the spec."
    return "promote", f"Promote. {_all_hold(results, preconditions)} at look {look} at this holdout."


def _lacks(precondition: Precondition) -> str:
    return f"{precondition.name} does not hold: {precondition.detail}"


def _all_hold(results: Sequence[RuleResult], preconditions: Sequence[Precondition]) -> str:
    checks = f" and {plural(len(preconditions), 'precondition')}" if preconditions else ""
    verb = "holds" if len(results) + len(preconditions) == 1 else "hold"
    return f"{plural(len(results), 'rule')}{checks} {verb}"
