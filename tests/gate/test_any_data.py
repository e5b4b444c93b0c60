"""Whatever the data, the gate answers, and never promotes on what it cannot know."""

import math
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.gate import decide
from flywheel.records.decision import PairedItem
from flywheel.spec.models import GateRule

scores = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 0.5, math.nan, math.inf, -1.0, 7.0]), st.floats(0, 1))
modes = st.sampled_from([None, "slip", "typo"])
items = st.lists(
    st.builds(
        PairedItem,
        item_id=st.sampled_from("abcdefghijkl"),
        incumbent=scores,
        candidate=scores,
        incumbent_mode=modes,
        candidate_mode=modes,
        cluster=st.sampled_from([None, "x", "y", "z"]),
    ),
    max_size=25,
)
shares = st.floats(0.01, 0.99)
rules = st.one_of(
    st.builds(lambda d, m: GateRule(suite="s", better_by=d, mode=m), shares, modes),
    st.builds(lambda d, m: GateRule(suite="s", not_worse_than=d, mode=m), shares, modes),
    st.builds(lambda d, m: GateRule(suite="s", at_least=d, mode=m), st.floats(0, 1), modes),
    st.builds(lambda d, m: GateRule(suite="s", falls_by=d, mode=m), shares, modes),
)


def known(score):
    return score is not None and 0 <= score <= 1


@settings(max_examples=150, deadline=None)
@given(items, st.lists(rules, max_size=3), st.integers(1, 12))
def test_every_input_has_a_finite_answer(data, gate, look):
    decision = decide(gate, {"s": data}, [], look, seed=1)
    for rule in decision.rules:
        assert all(math.isfinite(v) for v in asdict(rule).values() if isinstance(v, float))
        assert rule.explanation
        assert rule.low is None or rule.high is None or rule.low <= rule.high
    if not all(known(i.incumbent) and known(i.candidate) for i in data):
        assert decision.outcome == "inconclusive"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 5))
def test_one_more_fixed_item_never_costs_a_promotion(fixed, broken, look):
    def promoted(fixed):
        pairs = [(0.0, 1.0)] * fixed + [(1.0, 0.0)] * broken + [(0.0, 0.0)] * (100 - fixed - broken)
        data = [PairedItem(str(k), a, b) for k, (a, b) in enumerate(pairs)]
        rule = GateRule(suite="s", better_by=0.02)
        return decide([rule], {"s": data}, [], look, seed=1).outcome == "promote"

    assert promoted(fixed + 1) or not promoted(fixed)


costs = st.one_of(st.none(), st.sampled_from([0.0, 1.0, math.nan, math.inf, -1.0, 1e9]), st.floats(0, 1e4))
measured = st.lists(
    st.builds(
        PairedItem,
        item_id=st.sampled_from([f"i{k}" for k in range(60)]),
        incumbent=costs,
        candidate=costs,
        cluster=st.sampled_from([None, None, None, "x", "y"]),
    ),
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(
    measured,
    st.sampled_from(["tokens", "seconds", "refusals", "truncated"]),
    st.sampled_from([0.0, 0.05, 1.0, 40.0]),
    st.integers(1, 12),
)
def test_every_cost_has_a_finite_answer(data, measure, most, look):
    rule = GateRule(suite="s", measure=measure, at_most=most)
    decision = decide([rule], {}, [], look, seed=1, measures={("s", measure): data})
    found = decision.rules[0]
    assert all(math.isfinite(v) for v in asdict(found).values() if isinstance(v, float))
    assert found.low is None or found.high is None or found.low <= found.high
    limit = 1.0 if measure in ("refusals", "truncated") else 1e9
    if sum(not (i.candidate is not None and 0 <= i.candidate <= limit) for i in data) > 0.01 * len(data):
        assert decision.outcome == "inconclusive"
    if decision.outcome == "promote":
        assert found.observed <= most * (1 + 1e-9)
