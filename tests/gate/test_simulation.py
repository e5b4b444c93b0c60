"""The gate's error rates and power, with the models of bench/gate.py. Small here; whole under `slow`."""

import importlib.util
import sys
from pathlib import Path

import pytest

from flywheel.gate import decide
from flywheel.records.decision import PairedItem
from flywheel.spec.models import GateRule
from flywheel.stats import alpha_at, items_needed

BENCH = Path(__file__).resolve().parents[2] / "bench" / "gate.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_gate", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_gate"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_gate"]


def at_most(share, level):
    """The simulation does not contradict "at most `level`"."""
    return share.interval[0] <= level


@pytest.mark.parametrize("look", [1, 3])
@pytest.mark.parametrize("broken", [0, 7, 20])
def test_the_short_suites_of_the_bench_decide_as_whole_ones(bench, broken, look):
    rule = GateRule(suite="holdout", better_by=0.0)
    for fixed in range(broken, broken + 25):
        whole = [*bench.suite_of(fixed, broken), *(PairedItem(f"more{k}", 0.0, 0.0) for k in range(400))]
        promoted = decide([rule], {"holdout": whole}, [], look, seed=0).outcome == "promote"
        assert bench.gate_promotes(fixed, broken, look) == promoted


def test_ten_looks_at_one_holdout_keep_the_level(bench):
    curves = bench.equal_models(runs=200, looks=10, seed=21)
    assert at_most(curves[bench.GATE][-1], 0.05)
    assert at_most(curves[bench.GATE][0], alpha_at(1, 0.05))
    assert curves[bench.MCNEMAR][-1].value > 0.12  # without spending, ten looks cost ten times
    assert curves[bench.NAIVE][-1].value > 0.8


def test_a_planted_gain_is_found_four_times_in_five(bench):
    rows = bench.advised(runs=600, seed=22, gains=(0.05, 0.10))
    assert all(found.interval[1] >= 0.8 for _, _, found in rows)
    assert rows[0][1] == items_needed(0.05, bench.CHANGED, alpha_at(1, 0.05))


def test_a_worse_model_is_hardly_ever_promoted(bench):
    ways = bench.against(runs=300, items=100, gain=-0.02, seed=23)
    assert at_most(ways[bench.GATE], 0.01)
    assert ways[bench.NAIVE].value > 0.15


def test_clusters_keep_the_level_only_when_told(bench):
    told, untold = bench.clustered(runs=150, clusters=12, size=20, seed=24)
    assert at_most(told, alpha_at(1, 0.05))
    assert untold.value > 0.1


def test_several_rules_do_not_add_up(bench):
    promoted, claimed = bench.many_rules(runs=300, seed=25)
    assert at_most(promoted, alpha_at(1, 0.05))
    assert at_most(claimed, alpha_at(1, 0.05))


@pytest.mark.slow
def test_the_whole_simulation_stays_within_its_levels(bench):
    """2,000 runs each: false promotions at most the level plus two standard errors."""
    runs = 2_000
    first, whole = (level + 2 * (level * (1 - level) / runs) ** 0.5 for level in (alpha_at(1, 0.05), 0.05))
    curve = bench.equal_models(runs, looks=10, seed=31)[bench.GATE]
    assert curve[0].value <= first
    assert curve[-1].value <= whole
    assert bench.mixed_chain(runs, 10, seed=32)["false"].value <= whole
    assert bench.clustered(runs, 50, 10, seed=33)[0].value <= first
    assert bench.clustered_guard(runs, 50, 10, seed=34).value <= first
    assert max(s.value for s in bench.graded(runs, 100, seed=35)) <= first + 0.01  # 1,000 draws, not 20,000
    assert max(s.value for s in bench.many_rules(runs, seed=36)) <= first
    assert min(found.value for _, _, found in bench.advised(runs, seed=37)) >= 0.78


def test_stopping_when_decided_saves_half_where_the_gain_is_large(bench):
    better = GateRule(suite="holdout", better_by=0.0)
    equal, large = (bench.stopped(60, better, gain, seed=26) for gain in (0.0, 0.10))
    assert at_most(equal.holds, alpha_at(1, 0.05))
    assert large.holds.value > 0.95
    assert large.used <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "truth"), [({"better_by": 0.0}, 0.0), ({"not_worse_than": 0.05}, -0.05)])
def test_stopping_when_decided_keeps_the_level(bench, rule, truth):
    found = bench.stopped(1_000, GateRule(suite="s", **rule), truth, seed=27)
    assert at_most(found.holds, alpha_at(1, 0.05))
    assert found.used < 0.7
