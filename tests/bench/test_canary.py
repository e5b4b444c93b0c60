"""The error rates of a live stream under continuous looking, with the streams of bench/canary.py. Small here; whole
under `slow`."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from flywheel.stats import stream_evidence, wilson

BENCH = Path(__file__).resolve().parents[2] / "bench" / "canary.py"
PAGE = BENCH.parents[1] / "docs" / "gate.md"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_canary", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_canary"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_canary"]


def keeps_the_level(first):
    """The simulation does not contradict "at most 5%"."""
    return wilson(int((first > 0).sum()), len(first))[0] <= 0.05


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_an_equal_model_is_hardly_ever_shown_to_lose_whenever_one_looks(bench, share):
    assert keeps_the_level(bench.first_shown(300, 2_000, share, (0.3, 0.3), 5, 0.0))


@pytest.mark.parametrize("harmless", [False, True])
def test_a_loss_of_just_the_margin_is_hardly_ever_shown_to_be_more_or_less(bench, harmless):
    assert keeps_the_level(bench.first_shown(300, 2_000, 0.5, (0.15, 0.1), 6, 0.05, harmless))


def test_a_loss_of_ten_points_is_found(bench):
    assert (bench.first_shown(50, 4_000, 0.5, (0.2, 0.1), 7, 0.0) > 0).mean() > 0.9


def test_a_units_evidence_is_that_of_all_units_up_to_it(bench):
    new, former = next(bench.streams(3, 50, 0.2, (0.5, 0.3), 8))
    evidence = stream_evidence(new, former, np.arange(1, 51), 0.2, 0.0)
    assert evidence.shape == (3, 50)
    assert evidence[1, 20] == pytest.approx(float(stream_evidence(int(new[1, 20]), int(former[1, 20]), 21, 0.2, 0.0)))


def test_the_page_has_what_was_measured_at_full_size(bench):
    page = PAGE.read_text()
    block = page.split(bench.BEGIN)[1].split(bench.END)[0]
    assert f"{bench.RUNS:,} runs" in block
    assert block.count("\n| 0.") == 4 + 16


@pytest.mark.slow
def test_ten_thousand_units_keep_the_level(bench):
    """2,000 runs, looked at after every unit: false findings at most the level plus two standard errors."""
    for share in bench.SHARES:
        first = bench.first_shown(2_000, 10_000, share, (0.1, 0.1), 9, 0.0)
        assert (first > 0).mean() <= 0.05 + 2 * (0.05 * 0.95 / 2_000) ** 0.5
